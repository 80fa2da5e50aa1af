//! Which requests get the same stored response, row by row.

use super::*;
use proptest::prelude::*;

fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for &(name, value) in lines {
        map.append(name, value.parse().expect("a value"));
    }
    map
}

fn nominated(vary: &str, request: &HeaderMap) -> Nominated {
    Nominated::new(&map(&[("vary", vary)]), request).expect("it fits others")
}

#[test]
fn what_vary_says() {
    let request = map(&[("accept", "a/b")]);
    for (vary, expected) in [
        (&["*"][..], Err(Reason::VaryStar)),
        (&["accept, *"], Err(Reason::VaryStar)),
        (&["accept", "cookie,*"], Err(Reason::VaryStar)),
        (&["accept encoding"], Err(Reason::VaryStar)),
        (&["a,b,c,d,e,f,g,h"], Ok(8)),
        (&["a,b,c,d,e,f,g,h,A", "B"], Ok(8)),
        (&["a,b,c,d", "e,f,g,h,i"], Err(Reason::VaryMany)),
        (&["a,b,c,d,e,f,g,h,i,*"], Err(Reason::VaryStar)),
        (&["", " , "], Ok(0)),
        (&[], Ok(0)),
    ] {
        let lines: Vec<_> = vary.iter().map(|line| ("vary", *line)).collect();
        let found = Nominated::new(&map(&lines), &request).map(|nominated| {
            let mut rest = nominated.as_bytes();
            let mut parts = 0;
            while let Some((_, after)) = read_part(rest) {
                rest = after;
                parts += 1;
            }
            parts / 2
        });
        assert_eq!(found, expected, "{vary:?}");
    }
}

#[test]
fn which_values_are_the_same() {
    for (name, one, other, same) in [
        // §4.1: "adding or removing whitespace, where allowed".
        ("x", &["a, b"][..], &["a ,b"][..], true),
        ("x", &["a,,b,"], &["a,b"], true),
        ("x", &[" a\t"], &["a"], true),
        // §4.1: "combining multiple header field lines with the same field name".
        ("x", &["a", "b"], &["a, b"], true),
        ("x", &["a", ""], &["a"], true),
        // "normalizing … in a way that is known to have identical semantics": order and case are not known to be.
        ("x", &["a, b"], &["b, a"], false),
        ("x", &["a"], &["A"], false),
        ("x", &["\"a,b\""], &["\"a, b\""], false),
        ("x", &["ab"], &["a"], false),
        // "If (after any normalization that might take place) a header field is absent from a request, it can only match
        // another request if it is also absent there."
        ("x", &[], &[], true),
        ("x", &[], &[""], false),
        ("x", &[""], &[" , "], true),
        ("x", &["a"], &[], false),
        ("cookie", &["a=1; b=2"], &["a=1", "b=2"], true),
        ("cookie", &["a=1;b=2;"], &["a=1; b=2"], true),
        ("cookie", &["a=1; b=2"], &["b=2; a=1"], false),
        ("cookie", &["a=1"], &["a=1, b=2"], false),
        ("accept-language", &["de, en;q=0.8"], &["DE,en;q=0.5"], true),
        ("accept-language", &["en;q=0.8, de"], &["de", "en"], true),
        ("accept-language", &["en, de"], &["de, en"], false),
        ("accept-language", &["en, de;q=0"], &["en"], false),
        ("accept-language", &["en, de"], &["en"], false),
        ("accept-language", &["en, en;q=0.1"], &["en"], true),
        (
            "accept-encoding",
            &["gzip, deflate, br, zstd"],
            &["zstd,br,x-gzip"],
            true,
        ),
        ("accept-encoding", &["gzip, br"], &["br, gzip;q=0.5"], true),
        ("accept-encoding", &["gzip, br;q=0.5"], &["br, gzip"], false),
        ("accept-encoding", &["gzip"], &["br"], false),
        ("accept-encoding", &[], &["identity"], false),
        ("accept-encoding", &[""], &["deflate"], true),
    ] {
        let of = |lines: &[&str]| {
            let mut request = HeaderMap::new();
            for line in lines {
                request.append(name, line.parse().expect("a value"));
            }
            request
        };
        let (one, other) = (of(one), of(other));
        let nominated_of = |request| nominated(name, request);
        assert_eq!(
            nominated_of(&one).matches(&other),
            same,
            "{name} {one:?} {other:?}"
        );
        assert_eq!(
            nominated_of(&one) == nominated_of(&other),
            same,
            "{name} {one:?} {other:?}"
        );
        assert!(nominated_of(&one).matches(&one), "{name} {one:?}");
    }
}

#[test]
fn what_the_upstream_is_asked_for() {
    for (asked, sent) in [
        ("gzip, deflate, br, zstd", "zstd, br, gzip"),
        ("gzip, deflate", "gzip"),
        ("GZIP", "gzip"),
        ("x-gzip", "gzip"),
        ("*", "zstd, br, gzip"),
        ("*;q=0.5, br", "br, zstd;q=0.9, gzip;q=0.8"),
        ("gzip, *;q=0", "gzip, identity;q=0"),
        ("gzip, identity;q=0", "gzip, identity;q=0"),
        ("*;q=0", "identity;q=0"),
        ("*;q=0, identity", "identity"),
        ("identity, gzip;q=0.5", "identity, gzip;q=0.9"),
        ("gzip;q=0.5, identity;q=0.5", "gzip"),
        ("gzip, br;q=0.5", "gzip, br;q=0.9"),
        ("br;q=0.001, gzip;q=1.000", "gzip, br;q=0.9"),
        ("br;q=0, gzip", "gzip"),
        ("br;q=0.0000, gzip", "gzip"),
        ("br;q=2, gzip;q=-1", "identity"),
        ("br; Q=0.5 , gzip ;q=0.5", "br, gzip"),
        ("deflate", "identity"),
        ("", "identity"),
    ] {
        let sent_for = |value: &str| accept_encoding((&map(&[("accept-encoding", value)])).into());
        assert_eq!(sent_for(asked).expect("a value"), sent, "{asked}");
        // What is sent means the same as what was asked for.
        assert_eq!(sent_for(sent).expect("a value"), sent, "{asked}");
    }
    assert_eq!(accept_encoding((&HeaderMap::new()).into()), None);
}

#[test]
fn the_order_of_names_does_not_matter() {
    let request = map(&[("accept", "a"), ("x-a", "1")]);
    assert_eq!(
        nominated("accept, X-A", &request),
        nominated("x-a,Accept", &request)
    );
    assert!(nominated("accept", &request).matches(&map(&[("accept", "a"), ("x-a", "2")])));
    assert!(!nominated("accept, x-a", &request).matches(&map(&[("accept", "a"), ("x-a", "2")])));
}

#[test]
fn octets_that_are_nothing_of_ours_match_nothing() {
    for bytes in [&[0][..], &[3, b'x'], &[2, b'x'], &[0xff], &[2, 0xff, 0]] {
        assert!(!matches(bytes, (&HeaderMap::new()).into()), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn equal_if_and_only_if_the_values_are(
        one in prop::collection::vec(("(x-a|x-b|accept-encoding|accept-language|cookie)", "[ab,; =*]{0,5}|gzip|br|gzip,br;q=0\\.5"), 0..4),
        other in prop::collection::vec(("(x-a|x-b|accept-encoding|accept-language|cookie)", "[ab,; =*]{0,5}|gzip|br|gzip,br;q=0\\.5"), 0..4),
    ) {
        let request = |lines: &[(String, String)]| {
            let mut map = HeaderMap::new();
            for (name, value) in lines {
                let name: HeaderName = name.parse().expect("a name");
                map.append(name, value.trim().parse().expect("a value"));
            }
            map
        };
        let (one, other) = (request(&one), request(&other));
        let names = ["x-a", "x-b", "accept-encoding", "accept-language", "cookie"];
        let normal = |request: &HeaderMap| names.map(|name| {
            let mut value = Vec::new();
            normalise(&HeaderName::from_static(name), request.into(), &mut |piece| value.extend_from_slice(piece)).then_some(value)
        });
        let vary = names.join(", ");
        let same = normal(&one) == normal(&other);
        prop_assert_eq!(nominated(&vary, &one) == nominated(&vary, &other), same);
        prop_assert_eq!(nominated(&vary, &one).matches(&other), same);
        prop_assert!(nominated(&vary, &one).matches(&one));
        // By itself, each field decides as it does among others.
        let each = names.iter().all(|name| nominated(name, &one).matches(&other));
        prop_assert_eq!(each, same);
    }

    #[test]
    fn long_values_are_kept(value in "[a-z]{250,260}") {
        let request = map(&[("x-a", &value)]);
        prop_assert!(nominated("x-a", &request).matches(&request));
        prop_assert!(!nominated("x-a", &request).matches(&map(&[("x-a", &value[1..])])));
    }

    #[test]
    fn reading_never_panics(vary in prop::collection::vec(any::<u8>(), 0..32), value in prop::collection::vec(32u8..=0xff, 0..48)) {
        let mut request = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_bytes(&value) {
            for name in ["accept-encoding", "accept-language", "cookie", "x"] {
                request.append(name, value.clone());
            }
        }
        let _ = nominated("accept-encoding, accept-language, cookie, x", &request).matches(&request);
        let _ = matches(&vary, (&request).into());
    }
}
