//! A metric's label value taken from the configuration. The metrics library writes label values as they are, so that a
//! quote in a route's name would end the value and break the whole scrape; this type escapes it.

use std::fmt::{self, Write};
use std::sync::Arc;

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A label value of free text. Use it for every label that is not a word of this program's own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label(Arc<str>);

impl From<&str> for Label {
    fn from(text: &str) -> Self {
        if text.contains(['\\', '"', '\n']) {
            let escaped = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            Self(escaped.into())
        } else {
            Self(text.into())
        }
    }
}

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_value_is_escaped() {
        for (text, escaped) in [
            ("example.org/api/", "example.org/api/"),
            ("a\"b", "a\\\"b"),
            ("a\\b", "a\\\\b"),
            ("a\nb", "a\\nb"),
            ("a\\\"b", "a\\\\\\\"b"),
        ] {
            assert_eq!(&*Label::from(text).0, escaped);
        }
    }
}
