//! Credentials as `Authorization` has them (RFC 9110 §11.4): the one scheme that is read here, `Bearer` (RFC 6750 §2.1).

/// The token of `Bearer …`, in whatever case the scheme is written; `None` for all else and for no token.
pub fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(7)?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(b"bearer ") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

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
