//! `Cookie` (RFC 6265 §4.2): one cookie's value found.

use crate::fields::token::trim_ows;

/// The value of the first cookie called `name` on any line, byte for byte (quotes included); names are case-sensitive.
pub fn find<'a, T>(lines: impl IntoIterator<Item = &'a T>, name: &str) -> Option<&'a [u8]>
where
    T: AsRef<[u8]> + ?Sized + 'a,
{
    find_all(lines, name).next()
}

/// The values of all cookies called `name`, in their order: which of several counts, applications decide differently.
pub fn find_all<'a, T>(
    lines: impl IntoIterator<Item = &'a T>,
    name: &str,
) -> impl Iterator<Item = &'a [u8]>
where
    T: AsRef<[u8]> + ?Sized + 'a,
{
    let pairs = lines
        .into_iter()
        .flat_map(|line| line.as_ref().split(|&octet| octet == b';'));
    pairs.filter_map(move |pair| {
        let (key, value) = pair.split_at_checked(memchr::memchr(b'=', pair)?)?;
        (trim_ows(key) == name.as_bytes())
            .then(|| trim_ows(value.strip_prefix(b"=").unwrap_or(value)))
    })
}

/// Whether any cookie's name begins so.
pub fn any_begins<'a, T>(lines: impl IntoIterator<Item = &'a T>, beginning: &str) -> bool
where
    T: AsRef<[u8]> + ?Sized + 'a,
{
    let mut pairs = lines
        .into_iter()
        .flat_map(|line| line.as_ref().split(|&octet| octet == b';'));
    pairs.any(|pair| {
        let (name, _) = memchr::memchr(b'=', pair).map_or((pair, &[][..]), |at| pair.split_at(at));
        trim_ows(name).starts_with(beginning.as_bytes()) && name.len() < pair.len()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn beginnings() {
        for (line, expected) in [
            ("wordpress_logged_in_abc=1", true),
            ("a=b; wordpress_logged_in_abc=1", true),
            ("wordpress_logged_in_", false),
            ("a=wordpress_logged_in_abc", false),
            ("wordpress=1", false),
        ] {
            assert_eq!(
                any_begins([line], "wordpress_logged_in_"),
                expected,
                "{line}"
            );
        }
    }

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
