//! Credentials as `Authorization` has them (RFC 9110 §11.4): the schemes that are read here are `Bearer` (RFC 6750 §2.1) and
//! `Basic` (RFC 7617 §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The token of `Bearer …`, in whatever case the scheme is written; `None` for all else and for no token.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

/// Name and password of `Basic …`, in whatever case the scheme is written; `None` for all else. A name is text, because the
/// files that it is looked up in are; a password is whatever it is.
pub fn basic(value: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, rest) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let pair = STANDARD.decode(rest.trim_ascii()).ok()?;
    // "The user-id […] MUST NOT contain a colon": the first one ends it.
    let colon = pair.iter().position(|&octet| octet == b':')?;
    let (name, password) = pair.split_at_checked(colon)?;
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some((name, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_and_a_password() {
        for (value, expected) in [
            ("Basic YW5uOnNlY3JldA==", Some(("ann", "secret"))),
            ("bAsIc   YW5uOmE6Yg== ", Some(("ann", "a:b"))),
            ("Basic Og==", Some(("", ""))),
            ("Basic YW5u", None),
            ("Basic YW5uOnNlY3JldA", None),
            ("Basic !", None),
            ("Basic", None),
            ("Basic ", None),
            ("Bearer YW5uOnNlY3JldA==", None),
            ("Basic /zpi", None),
            ("", None),
        ] {
            let found = basic(value.as_bytes());
            let expected = expected.map(|(name, word)| (name.to_owned(), word.as_bytes().to_vec()));
            assert_eq!(found, expected, "{value:?}");
        }
    }

    #[test]
    fn only_a_bearer_has_a_token() {
        for (value, token) in [
            ("Bearer secret", Some("secret")),
            ("bearer   secret ", Some("secret")),
            ("BEARER a b", Some("a b")),
            ("Bearer ", None),
            ("Bearer", None),
            ("Bearersecret", None),
            ("Basic c2VjcmV0", None),
            ("", None),
        ] {
            let expected = token.map(str::as_bytes);
            assert_eq!(bearer(value.as_bytes()), expected, "{value:?}");
        }
    }
}
