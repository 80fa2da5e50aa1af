//! The characters of RFC 9110 §5.5 and §5.6 and RFC 3986 §3.2.2: tokens, field values, optional white space, quoted strings, names
//! of hosts.

/// What an octet may be part of; one table look-up an octet instead of a chain of comparisons.
const TCHAR: u8 = 1;
const HOST_NAME: u8 = 2;

static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut octet = 0usize;
    while octet < 256 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::indexing_slicing,
            reason = "octet < 256, evaluated at compile time"
        )]
        {
            let byte = octet as u8;
            if matches!(
                byte,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            ) || byte.is_ascii_alphanumeric()
            {
                table[octet] |= TCHAR;
            }
            if matches!(
                byte,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b';'
                    | b'='
            ) || byte.is_ascii_alphanumeric()
            {
                table[octet] |= HOST_NAME;
            }
        }
        octet += 1;
    }
    table
}

#[expect(clippy::indexing_slicing, reason = "a u8 cannot exceed a table of 256")]
const fn class(octet: u8) -> u8 {
    CLASS[octet as usize]
}

/// Whether an octet is a `tchar` (RFC 9110 §5.6.2).
pub const fn is_tchar(octet: u8) -> bool {
    class(octet) & TCHAR != 0
}

/// Whether `bytes` are a `token`: one or more `tchar` (RFC 9110 §5.6.2). Methods and field names are tokens.
pub fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|&octet| is_tchar(octet))
}

/// Whether an octet may stand in a field value: visible characters, space, tab and obs-text (RFC 9110 §5.5).
pub const fn is_field_value_octet(octet: u8) -> bool {
    (octet >= b' ' && octet != 0x7f) || octet == b'\t'
}

/// Whether `bytes` may be a field value: no control byte but tab. Stricter than the MAY of RFC 9110 §5.5, which lets a
/// recipient keep other control bytes than CR, LF and NUL: those make caches of two minds poisonable. Empty is valid.
pub fn is_field_value(bytes: &[u8]) -> bool {
    // Without an early end many octets are judged at a time.
    let judged = bytes.iter().map(|&octet| is_field_value_octet(octet));
    judged.fold(true, |all, one| all & one)
}

/// Whether an octet is `unreserved / sub-delims` (RFC 3986 §2) and no comma, which is what two merged `Host` lines look like.
pub const fn is_name_octet(octet: u8) -> bool {
    class(octet) & HOST_NAME != 0
}

/// Whether an octet is optional white space: space or tab (RFC 9110 §5.6.3).
pub const fn is_ows(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// `bytes` without optional white space at both ends. Narrower than `trim_ascii`, which takes CR, LF and FF too.
pub fn trim_ows(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_ows(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_ows(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Reads `1*DIGIT` that fits 64 bits: no sign, no space, no underscore, not empty.
pub fn parse_digits(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |value, &octet| {
        let digit = octet.is_ascii_digit().then(|| u64::from(octet - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        for valid in ["GET", "x", "!#$%&'*+-.^_`|~09azAZ"] {
            assert!(is_token(valid.as_bytes()), "{valid}");
        }
        for invalid in [
            "", " ", "a b", "a:", "a(", "\"", "a/b", "a\u{7f}", "ä", "a\0", "a@b", "[", "{", "=",
            ",",
        ] {
            assert!(!is_token(invalid.as_bytes()), "{invalid:?}");
        }
    }

    #[test]
    fn field_values() {
        for valid in ["", "a b\tc", "\"q\"", "ä"] {
            assert!(is_field_value(valid.as_bytes()), "{valid}");
        }
        for octet in (0u8..=255).filter(|&o| o != b'\t' && (o < b' ' || o == 0x7f)) {
            assert!(!is_field_value(&[b'a', octet]), "{octet:#x}");
        }
    }

    #[test]
    fn white_space() {
        for (text, trimmed) in [
            ("", ""),
            (" \t", ""),
            ("\t a b\t ", "a b"),
            ("\u{b}a\r", "\u{b}a\r"),
        ] {
            assert_eq!(trim_ows(text.as_bytes()), trimmed.as_bytes());
        }
    }

    #[test]
    fn digits() {
        assert_eq!(parse_digits(b"0"), Some(0));
        assert_eq!(parse_digits(b"0018446744073709551615"), Some(u64::MAX));
        for invalid in [
            "",
            "+1",
            "-1",
            " 1",
            "1_0",
            "0x1",
            "18446744073709551616",
            "1.0",
            "١",
        ] {
            assert_eq!(parse_digits(invalid.as_bytes()), None, "{invalid}");
        }
    }
}
