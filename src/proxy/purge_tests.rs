//! Who may purge by the method, and what requests mean, as those who send them write them.

use super::*;

fn fields(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in list {
        fields.append(*name, HeaderValue::from_str(value).expect("a field value"));
    }
    fields
}

#[test]
fn who_may() {
    let off = PurgeSettings::default();
    let allow = PurgeSettings {
        allow: vec!["10.0.0.0/8".parse().expect("a network")],
        token: None,
    };
    let token = PurgeSettings {
        token: Some("secret".to_owned()),
        ..PurgeSettings::default()
    };
    let both = PurgeSettings {
        token: token.token.clone(),
        ..allow.clone()
    };
    let (friend, stranger) = ("10.1.2.3", "192.0.2.1");
    let bearer = ("authorization", "Bearer secret");
    for (settings, client, sent, expected) in [
        (&off, friend, &[bearer][..], Err(405)),
        (&allow, friend, &[], Ok(())),
        (&allow, stranger, &[], Err(403)),
        (&allow, stranger, &[bearer], Err(403)),
        (&token, friend, &[], Err(403)),
        (&token, friend, &[bearer], Ok(())),
        (&token, stranger, &[("fastly-key", "secret")], Ok(())),
        (&token, stranger, &[("fastly-key", "secre")], Err(403)),
        (&token, stranger, &[("fastly-key", "")], Err(403)),
        (
            &token,
            stranger,
            &[("authorization", "Basic secret")],
            Err(403),
        ),
        (&token, stranger, &[("authorization", "secret")], Err(403)),
        (&both, friend, &[], Ok(())),
        (&both, stranger, &[], Err(403)),
        (&both, stranger, &[bearer], Ok(())),
    ] {
        let client = client.parse().expect("an address");
        let outcome = permit(settings, client, &fields(sent));
        let outcome = outcome.map_err(|told| told.status.as_u16());
        assert_eq!(outcome, expected, "{settings:?} {client} {sent:?}");
    }
}

#[test]
fn tags_in_everybodys_words() {
    for (sent, soft, expected) in [
        (&[][..], false, ""),
        (&[("xkey", "a b")][..], false, "hard tag:a, tag:b"),
        (&[("xkey", " a,  b,")][..], false, "hard tag:a, tag:b"),
        (
            &[("surrogate-key", "a,b c")][..],
            false,
            "hard tag:a,b, tag:c",
        ),
        (
            &[("xkey-purge", "a"), ("xkey-purge", "b,c")],
            false,
            "hard tag:a, tag:b,c, tag:b, tag:c",
        ),
        (
            &[("xkey-softpurge", "c52 ez-all")],
            false,
            "soft tag:c52, tag:ez-all",
        ),
        (
            &[("xkey-softpurge", "a"), ("xkey-purge", "b")],
            false,
            "hard tag:b; soft tag:a",
        ),
        (&[("surrogate-key", "a b")], true, "soft tag:a, tag:b"),
        (
            &[("cache-tag", "one tag,another")],
            false,
            "hard tag:one tag, tag:another",
        ),
        (
            &[("x-cache-tags", "product-1,product-2")],
            false,
            "hard tag:product-1, tag:product-2",
        ),
    ] {
        let purges = tags(&fields(sent), soft).expect("they are tags");
        let told: Vec<String> = purges
            .iter()
            .map(|purge| format!("{} {}", purge.mode.word(), purge.scope))
            .collect();
        assert_eq!(told.join("; "), expected, "{sent:?}");
    }
    for (name, value) in [("xkey", ""), ("xkey-purge", " , "), ("cache-tag", ",")] {
        let told = tags(&fields(&[(name, value)]), false).expect_err("no tag");
        assert_eq!(told.status, 400, "{name}: {value:?}");
    }
}

#[test]
fn what_an_address_means() {
    for (authority, scheme, path, target, expected) in [
        (
            "Site.Test",
            Scheme::Http,
            "/a",
            "/a",
            Ok("url:http://site.test/a"),
        ),
        (
            "site.test:80",
            Scheme::Http,
            "/a",
            "/a?b=1",
            Ok("url:http://site.test/a?b=1"),
        ),
        (
            "site.test:443",
            Scheme::Https,
            "/",
            "/",
            Ok("url:http://site.test/"),
        ),
        (
            "site.test:8080",
            Scheme::Http,
            "/",
            "/",
            Ok("url:http://site.test:8080/"),
        ),
        (
            "site.test",
            Scheme::Http,
            "/a/*",
            "/a/*",
            Ok("prefix:http://site.test/a/"),
        ),
        (
            "site.test",
            Scheme::Http,
            "/*",
            "/*",
            Ok("prefix:http://site.test/"),
        ),
        (
            "site.test",
            Scheme::Http,
            "/a%2A",
            "/a%2A",
            Ok("url:http://site.test/a%2A"),
        ),
        (
            "site.test",
            Scheme::Http,
            "/a*",
            "/a*",
            Err("`/*` at the end"),
        ),
        (
            "site.test",
            Scheme::Http,
            "/a/*",
            "/a/*?b",
            Err("without a query"),
        ),
    ] {
        match (addressed(authority, scheme, path, target), expected) {
            (Ok(scope), Ok(expected)) => assert_eq!(scope.to_string(), expected),
            (Err(told), Err(expected)) => {
                let text = told.value.to_string();
                assert!(told.status == 400 && text.contains(expected), "{text}");
            }
            (got, _) => panic!("{authority} {target}: {got:?}"),
        }
    }
}

#[test]
fn what_came_of_it() {
    let purge = |tag: &str, mode| Purge {
        scope: Scope::Tags(vec![tag.to_owned()]),
        mode,
    };
    for (done, status, matched) in [
        (
            vec![
                (purge("a", Mode::Hard), Some(2)),
                (purge("b", Mode::Soft), Some(0)),
            ],
            200,
            json!(2),
        ),
        (
            vec![
                (purge("a", Mode::Hard), Some(0)),
                (purge("b", Mode::Soft), Some(0)),
            ],
            404,
            json!(0),
        ),
        (vec![(purge("a", Mode::Hard), None)], 200, json!(null)),
    ] {
        let told = outcome(&done);
        assert_eq!(
            (told.status.as_u16(), &told.value["matched"]),
            (status, &matched),
            "{told:?}"
        );
    }
}

#[test]
fn only_these_methods_are_kept_here() {
    for (method, expected) in [
        ("PURGE", true),
        ("PURGEKEYS", true),
        ("PURGETAGS", true),
        ("BAN", true),
        ("purge", false),
        ("GET", false),
        ("DELETE", false),
    ] {
        let method = Method::from_bytes(method.as_bytes()).expect("a token");
        assert_eq!(is_purge(&method), expected, "{method}");
    }
}
