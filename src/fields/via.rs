//! `Via` (RFC 9110 §7.6.3) and `CDN-Loop` (RFC 8586): our own element written, and found again when a request loops.

use http::{HeaderName, Version};

use crate::fields::list;
use crate::fields::token::{is_ows, trim_ows};

/// `CDN-Loop`, of which the `http` crate has no constant.
pub const CDN_LOOP: HeaderName = HeaderName::from_static("cdn-loop");

/// The element we add to `Via`: the version of the message *received*, and our name.
pub fn element(received: Version, name: &str) -> String {
    let version = match received {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        Version::HTTP_3 => "3.0",
        _ => "1.1",
    };
    format!("{version} {name}")
}

/// Whether any element on any `Via` line was added by `name`, ignoring case. Commas inside a comment separate nothing.
pub fn contains<I>(lines: I, name: &str) -> bool
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    lines.into_iter().any(|line| {
        let mut depth = 0usize;
        let mut escaped = false;
        line.as_ref()
            .split(|&octet| {
                if escaped {
                    escaped = false;
                    return false;
                }
                match octet {
                    b'(' => depth += 1,
                    b')' => depth = depth.saturating_sub(1),
                    b'\\' if depth > 0 => escaped = true,
                    b',' if depth == 0 => return true,
                    _ => {}
                }
                false
            })
            .any(|element| received_by(element).is_some_and(|by| is_name(by, name)))
    })
}

/// Whether any element on any `CDN-Loop` line has `name` as its `cdn-id`, ignoring case and parameters.
pub fn cdn_loop_contains<I>(lines: I, name: &str) -> bool
where
    I: IntoIterator,
    I::Item: AsRef<[u8]>,
{
    lines.into_iter().any(|line| {
        list::members(line.as_ref()).any(|info| {
            let id = info.split(|&octet| octet == b';').next().unwrap_or(info);
            is_name(trim_ows(id), name)
        })
    })
}

/// The second word of `received-protocol RWS received-by [ RWS comment ]`.
fn received_by(element: &[u8]) -> Option<&[u8]> {
    element
        .split(|&octet| is_ows(octet))
        .filter(|word| !word.is_empty())
        .nth(1)
}

fn is_name(found: &[u8], name: &str) -> bool {
    found.eq_ignore_ascii_case(name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn via() {
        for line in [
            "1.1 edge-1",
            "1.0 fred, 1.1 Edge-1",
            "HTTP/1.1   edge-1 (a, comment)",
            "1.1 x (a, (b, c) \\), d), 2.0 edge-1",
            "1.1 a,1.1\tedge-1",
        ] {
            assert!(contains([line], "edge-1"), "{line}");
        }
        for line in [
            "",
            "edge-1",
            "1.1 edge-10",
            "1.1 xedge-1",
            "1.1 x (1.1 edge-1)",
            "1.1 x (, 1.1 edge-1)",
            "1.1 edge-1:80",
        ] {
            assert!(!contains([line], "edge-1"), "{line}");
        }
        assert!(contains(["1.1 a", "1.1 edge-1"], "edge-1"));
        assert_eq!(element(Version::HTTP_2, "edge-1"), "2.0 edge-1");
    }

    #[test]
    fn cdn_loop() {
        for line in [
            "edge-1",
            "foo.example, Edge-1",
            "a; x=\"1,2\", edge-1 ; v=\"3\"",
        ] {
            assert!(cdn_loop_contains([line], "edge-1"), "{line}");
        }
        for line in ["", "edge-10", "a; x=\"1, edge-1\"", "a; edge-1"] {
            assert!(!cdn_loop_contains([line], "edge-1"), "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_found(before in "([0-9.]{3} [a-z]{1,5}( \\([a-z, ]{0,8}\\))?, ){0,3}", name in "[A-Za-z0-9.-]{1,12}") {
            let line = format!("{before}{}", element(Version::HTTP_11, &name));
            prop_assert!(contains([line], &name));
        }

        #[test]
        fn reading_never_panics(bytes in prop::collection::vec(prop_oneof![Just(b'('), Just(b')'), Just(b','), Just(b' '), any::<u8>()], 0..48)) {
            let _ = contains([&bytes], "a");
            let _ = cdn_loop_contains([&bytes], "a");
        }
    }
}
