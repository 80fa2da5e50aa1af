//! Paths for whatever a regular expression matches and perhaps some more: for what is refused, which must not be too little.
//!
//! What is not understood stands for any text. So each expression has patterns, at worst the one for everything.

/// More routes than this for one expression are nobody's wish; then letters and alternatives become any text.
const PATTERNS_MAX: usize = 32;
const NESTED_MAX: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Char(char),
    /// Anything, nothing too.
    Text,
    Start,
    End,
    Group(Vec<Vec<Node>>),
    Optional(Box<Node>),
}

/// Path patterns that match at least what `regex` matches; `any_case` is `~*`.
pub(super) fn superset(regex: &str, any_case: bool) -> Vec<String> {
    let everything = || vec!["/**".to_owned()];
    let (regex, any_case) = match regex.strip_prefix("(?i)") {
        Some(rest) => (rest, true),
        None => (regex, any_case),
    };
    let chars: Vec<char> = regex.chars().collect();
    let mut at = 0;
    let Some(ways) = ways(&chars, &mut at, 0).filter(|_| at == chars.len()) else {
        return everything();
    };
    let mut texts = expand(&[Node::Group(ways)]);
    if any_case {
        texts = in_any_case(&texts);
    }
    let mut patterns: Vec<String> = texts.iter().flat_map(|text| paths(text)).collect();
    for pattern in &mut patterns {
        while pattern.contains("***") {
            *pattern = pattern.replace("***", "**");
        }
    }
    patterns.sort();
    patterns.dedup();
    if patterns.iter().any(|pattern| pattern == "/**") {
        return everything();
    }
    patterns
}

/// Alternatives up to a `)` or the end. `None` where the expression is beyond this parser.
fn ways(chars: &[char], at: &mut usize, depth: usize) -> Option<Vec<Vec<Node>>> {
    let mut all = vec![Vec::new()];
    while let Some(&c) = chars.get(*at) {
        if c == ')' && depth > 0 {
            break;
        }
        *at += 1;
        let node = match c {
            '|' => {
                all.push(Vec::new());
                continue;
            }
            '^' => Node::Start,
            '$' => Node::End,
            '.' => Node::Text,
            '(' if depth < NESTED_MAX => group(chars, at, depth)?,
            '[' => class(chars, at)?,
            '\\' => escaped(chars, at)?,
            '(' | ')' | '*' | '+' | '?' => return None,
            c => literal(c),
        };
        let node = quantified(chars, at, node);
        all.last_mut()?.push(node);
    }
    Some(all)
}

/// A character that clients write as it is: another may come percent-encoded.
fn literal(c: char) -> Node {
    if c.is_ascii_alphanumeric() || matches!(c, '/' | '-' | '_' | '.' | '~') {
        Node::Char(c)
    } else {
        Node::Text
    }
}

/// What stands behind a `(`. A look ahead or behind is left out: without it more is matched.
fn group(chars: &[char], at: &mut usize, depth: usize) -> Option<Node> {
    let starts = |text: &str| {
        let end = *at + text.len();
        chars
            .get(*at..end)
            .is_some_and(|found| found.iter().copied().eq(text.chars()))
    };
    let mut is_look = false;
    if starts("?") {
        let looks = ["?=", "?!", "?<=", "?<!"];
        if let Some(look) = looks.iter().find(|look| starts(look)) {
            is_look = true;
            *at += look.len();
        } else if starts("?:") {
            *at += 2;
        } else if starts("?<") || starts("?P<") || starts("?'") {
            let closing = if starts("?'") { '\'' } else { '>' };
            let name = chars.get(*at + 2..)?;
            let skip = usize::from(starts("?P<"));
            let end = name.iter().skip(skip).position(|c| *c == closing)?;
            *at += 2 + skip + end + 1;
        } else {
            return None;
        }
    }
    let ways = ways(chars, at, depth + 1)?;
    (chars.get(*at) == Some(&')')).then(|| *at += 1)?;
    Some(if is_look {
        nothing()
    } else {
        Node::Group(ways)
    })
}

/// What stands behind a `[`: a few characters are alternatives, all else is any text.
fn class(chars: &[char], at: &mut usize) -> Option<Node> {
    let start = *at;
    let mut end = start;
    if chars.get(end) == Some(&'^') {
        end += 1;
    }
    if chars.get(end) == Some(&']') {
        end += 1;
    }
    loop {
        match chars.get(end)? {
            ']' => break,
            '\\' => end += 2,
            '[' if chars.get(end + 1) == Some(&':') => {
                let close = chars.get(end..)?.windows(2);
                end += close.into_iter().position(|pair| pair == [':', ']'])? + 2;
            }
            _ => end += 1,
        }
    }
    *at = end + 1;
    let inner = chars.get(start..end)?;
    let is_plain = inner
        .iter()
        .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_'));
    Some(if is_plain && (1..=4).contains(&inner.len()) {
        Node::Group(inner.iter().map(|c| vec![literal(*c)]).collect())
    } else {
        Node::Text
    })
}

/// What takes up no text.
fn nothing() -> Node {
    Node::Group(vec![Vec::new()])
}

/// What stands behind a backslash.
fn escaped(chars: &[char], at: &mut usize) -> Option<Node> {
    let c = *chars.get(*at)?;
    *at += 1;
    Some(match c {
        'd' | 'D' | 'w' | 'W' | 's' | 'S' => Node::Text,
        'b' | 'B' => nothing(),
        'A' => Node::Start,
        'z' | 'Z' => Node::End,
        '0'..='9' => {
            while chars.get(*at).is_some_and(char::is_ascii_digit) {
                *at += 1;
            }
            Node::Text
        }
        c if c.is_ascii_alphabetic() => return None,
        c => literal(c),
    })
}

fn quantified(chars: &[char], at: &mut usize, node: Node) -> Node {
    let mut node = node;
    loop {
        match chars.get(*at) {
            Some('?') => node = Node::Optional(Box::new(node)),
            Some('*' | '+') => node = Node::Text,
            Some('{') => {
                let Some(rest) = chars.get(*at + 1..) else {
                    return node;
                };
                let end = rest
                    .iter()
                    .position(|c| !c.is_ascii_digit() && *c != ',')
                    .unwrap_or(0);
                if end == 0 || rest.get(end) != Some(&'}') {
                    return node;
                }
                *at += end + 1;
                node = Node::Text;
            }
            _ => return node,
        }
        *at += 1;
    }
}

/// The texts that a sequence stands for, with `**`, `^` and `$`. Too many of them are any text.
fn expand(nodes: &[Node]) -> Vec<String> {
    let mut all = vec![String::new()];
    for node in nodes {
        let ways: Vec<String> = match node {
            Node::Char(c) => vec![c.to_string()],
            Node::Text => vec!["**".to_owned()],
            Node::Start => vec!["^".to_owned()],
            Node::End => vec!["$".to_owned()],
            Node::Group(ways) => ways.iter().flat_map(|way| expand(way)).collect(),
            Node::Optional(node) => {
                let mut texts = expand(std::slice::from_ref(node));
                texts.push(String::new());
                texts
            }
        };
        let ways = if all.len().saturating_mul(ways.len()) > PATTERNS_MAX {
            vec!["**".to_owned()]
        } else {
            ways
        };
        all = all
            .iter()
            .flat_map(|before| ways.iter().map(move |way| format!("{before}{way}")))
            .collect();
    }
    all
}

/// The same texts with the first of their letters in either case, and any text for the others.
fn in_any_case(texts: &[String]) -> Vec<String> {
    let letters = match texts.len() {
        1 => 3,
        2..=16 => 2,
        _ => 1,
    };
    let mut all = Vec::new();
    for text in texts {
        let mut ways = vec![String::new()];
        let mut seen = 0;
        for c in text.chars() {
            let (lower, upper) = (c.to_ascii_lowercase(), c.to_ascii_uppercase());
            if lower == upper {
                for way in &mut ways {
                    way.push(c);
                }
                continue;
            }
            seen += 1;
            if seen > letters {
                for way in &mut ways {
                    way.push_str("**");
                }
                continue;
            }
            ways = ways
                .iter()
                .flat_map(|way| [format!("{way}{lower}"), format!("{way}{upper}")])
                .collect();
        }
        all.extend(ways);
    }
    all
}

/// The patterns for one text. A beginning or an end in its middle is never met, and may be left out.
fn paths(text: &str) -> Vec<String> {
    let anchored = text.starts_with('^');
    let open = if text.ends_with('$') { "" } else { "**" };
    let plain = text.replace(['^', '$'], "");
    if !anchored {
        // What is found anywhere is found at the start, or behind a slash and any text.
        let anywhere = format!("/**{plain}{open}");
        return if plain.starts_with('/') {
            vec![format!("{plain}{open}"), anywhere]
        } else {
            vec![anywhere]
        };
    }
    if plain.starts_with('/') {
        vec![format!("{plain}{open}")]
    } else if plain.is_empty() || plain.starts_with('*') {
        vec![format!("/**{plain}{open}")]
    } else {
        // No path begins so, unless what stands first is optional, which is a text of its own.
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_least_what_an_expression_matches() {
        for (regex, expected) in [
            (r"^/private/\d+", &["/private/**"][..]),
            (r"[^/]\.php(/|$)", &["/**.php", "/**.php/**"]),
            (r"^/(?<lang>de|en)/x$", &["/de/x", "/en/x"]),
            (r"^/a(?!b)/c$", &["/a/c"]),
            (r"^/v\d+/admin/?$", &["/v**/admin", "/v**/admin/"]),
            (r"^/a{2}/b", &["/**/b**"]),
            (r"^/a*/b$", &["/**/b"]),
            (r"\.[Pp]hp$", &["/**.Php", "/**.php"]),
            (r"^/a|^/b$", &["/a**", "/b"]),
            (
                r"/\.(git|svn)",
                &["/**/.git**", "/**/.svn**", "/.git**", "/.svn**"],
            ),
            (r"^admin", &[]),
            (r"^/?admin$", &["/admin"]),
            (r"(", &["/**"]),
            (r"\x2e", &["/**"]),
            (r"^", &["/**"]),
            (r"\d$", &["/**"]),
            (r"^/(\w+)-(\w+)\.bak$", &["/**-**.bak"]),
        ] {
            assert_eq!(superset(regex, false), expected, "{regex}");
        }
    }

    #[test]
    fn letters_in_either_case() {
        let eight = superset(r"\.env$", true);
        assert_eq!(eight.len(), 8, "{eight:?}");
        assert!(eight.contains(&"/**.eNv".to_owned()), "{eight:?}");
        let long = superset(r"^/administration$", true);
        assert_eq!(long.len(), 8, "{long:?}");
        assert!(long.contains(&"/aDm**".to_owned()), "{long:?}");
        assert_eq!(superset(r"(?i)^/a$", false), ["/A", "/a"]);
    }
}
