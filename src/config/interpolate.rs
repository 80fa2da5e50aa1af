//! `${NAME}` and `${NAME:-default}` in string values: replaced by the environment after TOML has been parsed.
//!
//! Because it happens after parsing, a variable's value can never add keys or end a string, and every place in
//! the file stays true. A variable that is set but empty takes the default, as in a shell. `$${` is a literal `${`.

/// Why a string could not be completed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InterpolationError {
    #[error(
        "environment variable `{0}` is not set; set it, or give a default as in `${{{0}:-value}}`"
    )]
    Unset(String),
    #[error("`${{` is not closed by `}}`; write `$${{` for a literal `${{`")]
    Unclosed,
    #[error(
        "`{0}` is no name of an environment variable: letters, digits and `_`; write `$${{` for a literal `${{`"
    )]
    BadName(String),
}

impl InterpolationError {
    /// How the faulty variable is written, as far as that is known.
    pub(super) fn written(&self) -> String {
        match self {
            Self::Unset(name) => format!("${{{name}}}"),
            Self::BadName(name) => format!("${{{name}"),
            Self::Unclosed => "${".to_owned(),
        }
    }
}

/// Replaces the variables in `text`; `None` when it has none and stays as it is.
pub(super) fn interpolate(
    text: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<String>, InterpolationError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from_dollar) = rest.split_at(dollar);
        out.push_str(before);
        if let Some(after) = from_dollar.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(after) = from_dollar.strip_prefix("${") {
            let (inside, after) = after.split_once('}').ok_or(InterpolationError::Unclosed)?;
            out.push_str(&value_of(inside, variable)?);
            rest = after;
        } else {
            out.push('$');
            rest = from_dollar.get(1..).unwrap_or_default();
        }
    }
    out.push_str(rest);
    Ok(Some(out))
}

/// The value of what stands between the braces.
fn value_of(
    inside: &str,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, InterpolationError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(InterpolationError::BadName(name.to_owned()));
    }
    match (variable(name), default) {
        (Some(value), None) => Ok(value),
        (Some(value), Some(_)) if !value.is_empty() => Ok(value),
        (_, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(InterpolationError::Unset(name.to_owned())),
    }
}

/// Writes a text so that [`interpolate`] gives it back: the opposite of `$${`.
pub(super) fn escape(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn variable(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("app".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced() {
        for (text, expected) in [
            ("plain", None),
            ("{host}", None),
            ("cost: 5$", None),
            ("${HOST}", Some("app")),
            ("http://${HOST}:80${EMPTY}", Some("http://app:80")),
            ("${NONE:-x}", Some("x")),
            ("${NONE:-}", Some("")),
            ("${EMPTY:-x}", Some("x")),
            ("${NONE:-a:-b}", Some("a:-b")),
            ("$${HOST}", Some("${HOST}")),
            ("$$${HOST}", Some("$${HOST}")),
            ("$ ${HOST}$", Some("$ app$")),
            ("${NESTED}", Some("${HOST}")),
        ] {
            assert_eq!(
                interpolate(text, &variable).map(Option::unwrap_or_default),
                Ok(expected.unwrap_or_default().to_owned()),
                "{text}"
            );
        }
        for (text, error) in [
            ("${NONE}", InterpolationError::Unset("NONE".to_owned())),
            ("a${HOST", InterpolationError::Unclosed),
            ("${}", InterpolationError::BadName(String::new())),
            ("${A B}", InterpolationError::BadName("A B".to_owned())),
            ("${1A}", InterpolationError::BadName("1A".to_owned())),
        ] {
            assert_eq!(interpolate(text, &variable), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_comes_back(text in "[${}A:-]{0,20}|.{0,20}") {
            let back = interpolate(&escape(&text), &variable);
            prop_assert_eq!(back.map(|back| back.unwrap_or_else(|| text.clone())), Ok(text));
        }
    }
}
