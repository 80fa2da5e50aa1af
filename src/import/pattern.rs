//! Regular expressions of the simple kind, as Forebay's path patterns; and what is left of a pattern below a prefix.
//!
//! Text, `\.`, `.*`, `[^/]*`, groups, `|` and `?` are understood. Anything else is not, and its location is told.

/// A regular expression in a form that can be written as paths.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Globs {
    /// Each is a path without a star, for that path only, or with some: `*` is text without a slash, `**` any text.
    pub(super) patterns: Vec<String>,
    /// False where `.+` or `[^/]+` was taken for text that may be empty.
    pub(super) exact: bool,
}

/// What a `rewrite` is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Source {
    /// Every path; `$1` is this many bytes shorter than the path: 0 for `^(.*)$`, 1 for `^/(.*)$`.
    All(usize),
    /// All paths that begin so; `$1` is what follows.
    Prefix(String),
    /// These paths only.
    Exact(Vec<String>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Char(char),
    /// `.*`, `.+`, `[^/]*`, `[^/]+`
    Text {
        within: bool,
        may_be_empty: bool,
    },
    Group(Vec<Vec<Node>>),
    Optional(Box<Node>),
    End,
}

/// More patterns than anybody wants to read, or a parser to make.
const PATTERNS_MAX: usize = 64;
const NESTED_MAX: usize = 8;

/// The paths that a location's regular expression matches. `None` where it is not of the simple kind.
pub(super) fn globs(regex: &str) -> Option<Globs> {
    let (anchored, nodes) = parse(regex)?;
    let mut exact = true;
    let mut open = expand(&nodes, &mut exact)?;
    for text in &mut open {
        match text.strip_suffix('$') {
            Some(closed) => closed.to_owned().clone_into(text),
            None => text.push_str("**"),
        }
    }
    let mut patterns: Vec<String> = Vec::new();
    for text in open {
        // The `$` of a way that is not its last.
        if text.contains('$') {
            return None;
        }
        if anchored {
            patterns.push(text);
        } else {
            // What is found anywhere is found at the start, or behind a slash and any text.
            if text.starts_with('/') {
                patterns.push(text.clone());
            }
            patterns.push(format!("/**{text}"));
        }
    }
    for pattern in &mut patterns {
        while pattern.contains("***") {
            *pattern = pattern.replace("***", "**");
        }
        if let Some(rest) = pattern.strip_prefix("**") {
            // Every path begins with a slash.
            *pattern = format!("/**{rest}");
        }
    }
    patterns.retain(|pattern| pattern.starts_with('/'));
    patterns.dedup();
    (!patterns.is_empty() && patterns.len() <= PATTERNS_MAX).then_some(Globs { patterns, exact })
}

/// What a `rewrite`'s regular expression is for. `None` where it is not of the simple kind.
pub(super) fn source(regex: &str) -> Option<Source> {
    let (anchored, nodes) = parse(regex)?;
    let mut literal = String::new();
    let mut rest = nodes.as_slice();
    while let [Node::Char(c), behind @ ..] = rest {
        literal.push(*c);
        rest = behind;
    }
    let any = |node: &Node| match node {
        Node::Group(ways) => {
            matches!(ways.as_slice(), [way] if matches!(way.as_slice(), [Node::Text { within: false, .. }]))
        }
        Node::Text { within, .. } => !within,
        _ => false,
    };
    let rest = match rest {
        [before @ .., Node::End] => before,
        // Without an end, text without a star at it is a beginning.
        [] if anchored && literal.len() > 1 => return Some(Source::Prefix(literal)),
        other => other,
    };
    if !anchored {
        let whole = literal.is_empty() && matches!(rest, [node] if any(node));
        return (whole || nodes.is_empty()).then_some(Source::All(0));
    }
    match rest {
        [] if nodes.is_empty() => Some(Source::All(0)),
        [] => Some(Source::Exact(vec![literal])),
        // `^/old/?(.*)$`: the slash is nearly always there.
        [Node::Optional(slash), node] if **slash == Node::Char('/') && any(node) => {
            Some(match literal.as_str() {
                "" => Source::All(1),
                _ => Source::Prefix(literal + "/"),
            })
        }
        // `^/old/?$`
        [Node::Optional(slash)] if **slash == Node::Char('/') => {
            let with = format!("{literal}/");
            Some(Source::Exact(vec![literal, with]))
        }
        [node] if any(node) => Some(match literal.as_str() {
            "" => Source::All(0),
            "/" => Source::All(1),
            _ => Source::Prefix(literal),
        }),
        _ => None,
    }
    .filter(|source| match source {
        Source::All(_) => true,
        Source::Prefix(text) => text.starts_with('/'),
        Source::Exact(texts) => texts.iter().all(|text| text.starts_with('/')),
    })
}

fn parse(regex: &str) -> Option<(bool, Vec<Node>)> {
    let (anchored, text) = match regex.strip_prefix('^') {
        Some(text) => (true, text),
        None => (false, regex),
    };
    let chars: Vec<char> = text.chars().collect();
    let mut at = 0;
    let nodes = sequence(&chars, &mut at, 0)?;
    (at == chars.len()).then_some((anchored, nodes))
}

/// The nodes up to a `|`, a `)` or the end.
fn sequence(chars: &[char], at: &mut usize, depth: usize) -> Option<Vec<Node>> {
    let mut nodes = Vec::new();
    while let Some(&c) = chars.get(*at) {
        let node = match c {
            '|' | ')' if depth > 0 => break,
            '(' if depth < NESTED_MAX => {
                *at += 1;
                group(chars, at, depth)?
            }
            '\\' => {
                *at += 1;
                let escaped = *chars.get(*at)?;
                // `\d` and its like are classes.
                if escaped.is_ascii_alphanumeric() {
                    return None;
                }
                *at += 1;
                literal(escaped)?
            }
            '.' => {
                *at += 1;
                text(chars, at, false)?
            }
            '[' if chars.get(*at..*at + 4) == Some(&['[', '^', '/', ']']) => {
                *at += 4;
                text(chars, at, true)?
            }
            '$' => {
                *at += 1;
                nodes.push(Node::End);
                continue;
            }
            '^' | '[' | ']' | '{' | '}' | '*' | '+' | '?' | '|' | ')' | '(' => return None,
            c => {
                *at += 1;
                literal(c)?
            }
        };
        match chars.get(*at) {
            Some('?') if !matches!(node, Node::Text { .. }) => {
                *at += 1;
                nodes.push(Node::Optional(Box::new(node)));
            }
            // A `?` behind `.*` makes it lazy, which changes what is captured and not what matches.
            Some('?') => {
                *at += 1;
                nodes.push(node);
            }
            Some('*' | '+' | '{') => return None,
            _ => nodes.push(node),
        }
    }
    Some(nodes)
}

/// A character that stands for itself in a path. Stars are Forebay's, and `$` marks the end below.
fn literal(c: char) -> Option<Node> {
    let lawful = c.is_ascii_graphic() && !matches!(c, '*' | '$' | '%');
    lawful.then_some(Node::Char(c))
}

/// The quantifier of `.` or `[^/]`.
fn text(chars: &[char], at: &mut usize, within: bool) -> Option<Node> {
    let may_be_empty = match chars.get(*at)? {
        '*' => true,
        '+' => false,
        _ => return None,
    };
    *at += 1;
    Some(Node::Text {
        within,
        may_be_empty,
    })
}

fn group(chars: &[char], at: &mut usize, depth: usize) -> Option<Node> {
    match chars.get(*at..*at + 2) {
        Some(['?', ':']) => *at += 2,
        Some(['?', _]) => return None,
        _ => {}
    }
    let mut ways = vec![sequence(chars, at, depth + 1)?];
    while chars.get(*at) == Some(&'|') {
        *at += 1;
        ways.push(sequence(chars, at, depth + 1)?);
    }
    (chars.get(*at) == Some(&')')).then(|| *at += 1)?;
    Some(Node::Group(ways))
}

/// The texts that a sequence stands for, with `*` and `**`, and `$` where it must end.
fn expand(nodes: &[Node], exact: &mut bool) -> Option<Vec<String>> {
    let mut all = vec![String::new()];
    for node in nodes {
        let ways: Vec<String> = match node {
            Node::Char(c) => vec![c.to_string()],
            Node::End => vec!["$".to_owned()],
            Node::Text {
                within,
                may_be_empty,
            } => {
                *exact &= may_be_empty;
                vec![if *within { "*" } else { "**" }.to_owned()]
            }
            Node::Group(ways) => {
                let mut texts = Vec::new();
                for way in ways {
                    texts.extend(expand(way, exact)?);
                }
                texts
            }
            Node::Optional(node) => {
                let mut texts = expand(std::slice::from_ref(node), exact)?;
                texts.push(String::new());
                texts
            }
        };
        if all.len().saturating_mul(ways.len()) > PATTERNS_MAX {
            return None;
        }
        all = all
            .iter()
            .flat_map(|before| ways.iter().map(move |way| format!("{before}{way}")))
            .collect();
    }
    Some(all)
}

/// The patterns that match exactly what `pattern` matches of the paths that begin with `prefix`.
///
/// The pattern is run over the prefix as a set of places in it; what stands behind each place may follow.
pub(super) fn below(pattern: &str, prefix: &str) -> Vec<String> {
    let elements = elements(pattern);
    let mut places = vec![false; elements.len() + 1];
    skip_stars(&elements, &mut places, 0);
    for c in prefix.chars() {
        let mut next = vec![false; elements.len() + 1];
        for (at, element) in elements.iter().enumerate() {
            if !places.get(at).copied().unwrap_or(false) {
                continue;
            }
            match element {
                Element::Any => skip_stars(&elements, &mut next, at),
                Element::Within if c != '/' => skip_stars(&elements, &mut next, at),
                Element::Char(wanted) if *wanted == c => {
                    skip_stars(&elements, &mut next, at + 1);
                }
                _ => {}
            }
        }
        places = next;
    }
    let rests = places.iter().enumerate().filter(|(_, is)| **is);
    let rests: Vec<String> = rests.map(|(at, _)| written(&elements[at..])).collect();
    let is_needless = |rest: &String| {
        // A star stands for no text, too; and any text stands for a star's.
        rests.iter().any(|other| {
            *other != *rest
                && (*other == format!("**{rest}")
                    || *other == format!("*{rest}")
                    || (other == "**"))
        })
    };
    let kept = rests.iter().filter(|rest| !is_needless(rest));
    kept.map(|rest| format!("{prefix}{rest}")).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Char(char),
    Within,
    Any,
}

fn elements(pattern: &str) -> Vec<Element> {
    let mut all: Vec<Element> = Vec::new();
    for c in pattern.chars() {
        match (c, all.last_mut()) {
            ('*', Some(star @ (Element::Within | Element::Any))) => *star = Element::Any,
            ('*', _) => all.push(Element::Within),
            (c, _) => all.push(Element::Char(c)),
        }
    }
    all
}

fn written(elements: &[Element]) -> String {
    let mut text = String::new();
    for element in elements {
        match element {
            Element::Char(c) => text.push(*c),
            Element::Within => text.push('*'),
            Element::Any => text.push_str("**"),
        }
    }
    text
}

/// Stands at a place, and behind its star, which may be empty.
fn skip_stars(elements: &[Element], places: &mut [bool], at: usize) {
    let mut at = at;
    loop {
        if let Some(place) = places.get_mut(at) {
            *place = true;
        }
        match elements.get(at) {
            Some(Element::Within | Element::Any) => at += 1,
            _ => return,
        }
    }
}

/// The text before a pattern's first star.
pub(super) fn literal_of(pattern: &str) -> &str {
    pattern.split('*').next().unwrap_or(pattern)
}

#[cfg(test)]
#[path = "pattern_tests.rs"]
mod tests;
