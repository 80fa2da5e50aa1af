//! `Cookie` (RFC 6265 §4.2): one cookie's value found.

use crate::fields::token::trim_ows;

/// The value of the first cookie called `name` on any line, byte for byte (quotes included); names are case-sensitive.
pub fn find<'a, T>(lines: impl IntoIterator<Item = &'a T>, name: &str) -> Option<&'a [u8]>
where
    T: AsRef<[u8]> + ?Sized + 'a,
{
    lines.into_iter().find_map(|line| {
        line.as_ref()
            .split(|&octet| octet == b';')
            .find_map(|pair| {
                let (key, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
                (trim_ows(key) == name.as_bytes())
                    .then(|| trim_ows(value.strip_prefix(b"=").unwrap_or(value)))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finding() {
        for (lines, expected) in [
            (&["sid=1"][..], Some("1")),
            (&["a=b; sid=1; sid=2"], Some("1")),
            (&["a=b;sid= 1 "], Some("1")),
            (&["a=b", "sid=x=y"], Some("x=y")),
            (&["sid="], Some("")),
            (&["sid=\"q\""], Some("\"q\"")),
            (&["Sid=1; xsid=2; sid"], None),
            (&["a=sid=1"], None),
            (&[], None),
        ] {
            let found = find(lines.iter().copied(), "sid");
            assert_eq!(found, expected.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn a_header_map_is_taken_as_it_is() {
        let mut headers = http::HeaderMap::new();
        headers.append(http::header::COOKIE, http::HeaderValue::from_static("a=1"));
        headers.append(http::header::COOKIE, http::HeaderValue::from_static("b=2"));
        assert_eq!(
            find(headers.get_all(http::header::COOKIE), "b"),
            Some(&b"2"[..])
        );
    }

    proptest! {
        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b';'), Just(b'='), any::<u8>()], 0..48)) {
            let _ = find([&bytes], "a");
        }
    }
}
