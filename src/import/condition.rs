//! `if`: conditions of host, scheme and method, as they are known of a route; and what is said of all others.

use super::document::Content;
use super::note::Kind;
use super::scope::Scope;
use super::tree::Directive;

/// Says what becomes of a condition that cannot be carried over.
pub(super) fn unknown(scope: &Scope<'_>, directive: &Directive) {
    let condition = directive.args.join(" ");
    let condition = condition.trim_start_matches(['(', ' ']);
    // A file that says that the site is closed for a while, and the like.
    let is_of_files = condition.trim_start_matches('!').starts_with('-');
    let is_of_whom = [
        "$cookie_",
        "$http_authorization",
        "$remote_",
        "$ssl_client_",
    ]
    .iter()
    .any(|whom| condition.starts_with(whom));
    let refuses = |d: &Directive| match d.name.as_str() {
        "return" => is_of_whom || d.arg(0).starts_with('4') || d.arg(0).starts_with('5'),
        "rewrite" => is_of_whom,
        _ => false,
    };
    for inner in directive.inner() {
        scope.notes.seen(inner);
    }
    if !is_of_files && directive.inner().iter().any(refuses) {
        scope.notes.say(
            Kind::Open,
            directive,
            "write a route with `method`, `header` or `query` that answers 403, or have the application refuse it",
        );
    } else {
        scope.missing(
            directive,
            "conditions are those of a route: `host`, `path`, `scheme`, `method`, `header`, `query`; write a route for it",
        );
    }
}

/// When a condition holds.
#[derive(Debug)]
pub(super) enum Judgement {
    Holds,
    Never,
    /// It holds for these methods, or for all but these.
    ForMethods {
        methods: Vec<String>,
        are_meant: bool,
    },
    Unknown,
}

/// Whether a condition holds, as far as host, scheme and method say it.
pub(super) fn judge(scope: &Scope<'_>, directive: &Directive) -> Judgement {
    let text = directive.args.join(" ");
    let text = text.trim();
    let text = text.strip_prefix('(').unwrap_or(text);
    let text = text.strip_suffix(')').unwrap_or(text).trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (variable, operator, value) = match words.as_slice() {
        [variable, operator, value] => (*variable, *operator, *value),
        [variable, operator @ ("=" | "!=")] => (*variable, *operator, ""),
        _ => return Judgement::Unknown,
    };
    if variable == "$request_method" {
        let methods = match operator {
            "=" | "!=" => Some(vec![value.to_owned()]),
            "~" | "~*" | "!~" | "!~*" => methods(value),
            _ => None,
        };
        return methods.map_or(Judgement::Unknown, |methods| Judgement::ForMethods {
            methods,
            are_meant: !operator.starts_with('!'),
        });
    }
    if !matches!(operator, "=" | "!=") {
        return Judgement::Unknown;
    }
    match scope.compared(variable) {
        Some(known) if !variable.is_empty() => {
            if (known.eq_ignore_ascii_case(value)) == (operator == "=") {
                Judgement::Holds
            } else {
                Judgement::Never
            }
        }
        _ => Judgement::Unknown,
    }
}

/// `^(GET|HEAD)$`
fn methods(regex: &str) -> Option<Vec<String>> {
    let inner = regex.strip_prefix('^')?.strip_suffix('$')?;
    let inner = match inner.strip_prefix('(') {
        Some(inner) => inner.strip_suffix(')')?,
        // Of `^GET|PUT$` each alternative has one of the ends only.
        None if inner.contains('|') => return None,
        None => inner,
    };
    let inner = inner.strip_prefix("?:").unwrap_or(inner);
    let methods = inner.split('|').map(str::to_owned);
    let methods: Vec<String> = methods.collect();
    let is_method =
        |text: &String| !text.is_empty() && text.bytes().all(|b| b.is_ascii_uppercase());
    methods.iter().all(is_method).then_some(methods)
}

/// The methods that may come, and what the others are answered. All may where nothing is said.
#[derive(Debug, Clone, Default)]
pub(super) struct Only(pub(super) Option<(Vec<String>, Content)>);

impl Only {
    /// Of these methods, too.
    pub(super) fn restrict(&mut self, methods: Vec<String>, refusal: Content) {
        self.0 = match self.0.take() {
            None => Some((methods, refusal)),
            Some((before, refusal)) => Some((common(&before, &methods), refusal)),
        };
    }

    /// What is for these methods (none stands for all), in two: those that may come, and those that may not.
    pub(super) fn split(
        &self,
        methods: Vec<String>,
        content: Content,
    ) -> impl Iterator<Item = (Vec<String>, Content)> {
        let parts = match &self.0 {
            Some((only, refusal)) if !content.refuses() => {
                let (may, may_not) = if methods.is_empty() {
                    (only.clone(), Some(methods))
                } else {
                    let may_not = |method: &&String| !only.contains(method);
                    let may_not: Vec<String> = methods.iter().filter(may_not).cloned().collect();
                    let may_not = Some(may_not).filter(|methods| !methods.is_empty());
                    (common(&methods, only), may_not)
                };
                [
                    (!may.is_empty()).then_some((may, content)),
                    may_not.map(|methods| (methods, refusal.clone())),
                ]
            }
            // All others are refused by the routes beside it; with as many conditions as these it keeps its place.
            Some((only, _)) if methods.is_empty() && !only.is_empty() => {
                [Some((only.clone(), content)), None]
            }
            _ => [Some((methods, content)), None],
        };
        parts.into_iter().flatten()
    }
}

fn common(some: &[String], others: &[String]) -> Vec<String> {
    let is_common = |method: &&String| others.contains(method);
    some.iter().filter(is_common).cloned().collect()
}

/// The host names and schemes that conditions of a server ask for.
pub(super) fn asks_for<'a>(directives: &'a [Directive], variables: &[&str]) -> Vec<&'a str> {
    let conditions = directives.iter().filter(|d| d.name == "if");
    let words = conditions.filter_map(|d| {
        let variable = d.arg(0).trim_start_matches('(');
        let value = d.arg(2).trim_end_matches(')');
        let is_equality = matches!(d.arg(1), "=" | "!=");
        (is_equality && variables.contains(&variable)).then_some(value)
    });
    words.collect()
}
