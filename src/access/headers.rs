//! The sets of fields that tell browsers to be careful, and when each is sent.

use super::settings::SecurityHeaders;
use http::{HeaderName, StatusCode};

/// A field, and whether it is for HTTPS only.
#[derive(Debug)]
struct Rule {
    name: HeaderName,
    value: &'static str,
    secure_only: bool,
}

const fn rule(name: &'static str, value: &'static str) -> Rule {
    Rule {
        name: HeaderName::from_static(name),
        value,
        secure_only: false,
    }
}

/// RFC 6797 §7.2: "An HSTS Host MUST NOT include the STS header field in HTTP responses conveyed over non-secure
/// transport."
const fn transport(value: &'static str) -> Rule {
    Rule {
        name: HeaderName::from_static("strict-transport-security"),
        value,
        secure_only: true,
    }
}

static BASIC: [Rule; 4] = [
    // Without `includeSubDomains`: another host of the domain may not have HTTPS yet, and there is no way back for a year.
    transport("max-age=31536000"),
    rule("x-content-type-options", "nosniff"),
    rule("x-frame-options", "SAMEORIGIN"),
    rule("referrer-policy", "strict-origin-when-cross-origin"),
];

static STRICT: [Rule; 8] = [
    transport("max-age=63072000; includeSubDomains"),
    rule("x-content-type-options", "nosniff"),
    rule("x-frame-options", "DENY"),
    rule("referrer-policy", "no-referrer"),
    rule(
        "content-security-policy",
        "default-src 'self'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'; object-src 'none'",
    ),
    rule(
        "permissions-policy",
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
    rule("cross-origin-opener-policy", "same-origin"),
    rule("cross-origin-resource-policy", "same-origin"),
];

impl SecurityHeaders {
    /// The fields for an answer of this status that are sent where the answer does not have them. None for a 304: a browser
    /// would put them in the place of those that it has from the answer with the content (RFC 9111 §3.2).
    pub fn fields(
        self,
        status: StatusCode,
        secure: bool,
    ) -> impl Iterator<Item = (&'static HeaderName, &'static str)> {
        let rules: &[Rule] = match self {
            _ if status == StatusCode::NOT_MODIFIED || status.is_informational() => &[],
            Self::Off => &[],
            Self::Basic => &BASIC,
            Self::Strict => &STRICT,
        };
        let sent = rules.iter().filter(move |rule| secure || !rule.secure_only);
        sent.map(|rule| (&rule.name, rule.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn what_is_sent_when() {
        let count = |set: SecurityHeaders, status, secure| {
            let status = StatusCode::from_u16(status).expect("a status");
            set.fields(status, secure).count()
        };
        for (set, status, secure, expected) in [
            (SecurityHeaders::Off, 200, true, 0),
            (SecurityHeaders::Basic, 200, true, 4),
            (SecurityHeaders::Basic, 404, false, 3),
            (SecurityHeaders::Basic, 304, true, 0),
            (SecurityHeaders::Strict, 200, true, 8),
            (SecurityHeaders::Strict, 101, true, 0),
        ] {
            assert_eq!(count(set, status, secure), expected, "{set:?} {status}");
        }
    }

    #[test]
    fn every_value_is_one() {
        for set in [SecurityHeaders::Basic, SecurityHeaders::Strict] {
            for (name, value) in set.fields(StatusCode::OK, true) {
                assert!(HeaderValue::from_str(value).is_ok(), "{name}");
            }
        }
    }
}
