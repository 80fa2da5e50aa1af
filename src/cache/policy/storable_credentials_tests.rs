//! What may be stored of requests and responses that carry secrets, one row a clause.

use super::*;

#[test]
fn credentials() {
    let rules = Rules::default();
    let password: Fields = &[("authorization", "Basic eDp5")];
    for (clause, value, expected) in [
        ("§3.5", "max-age=60", Err(Reason::Authorization)),
        ("§3.5: public", "public, max-age=60", Ok(())),
        ("§3.5: s-maxage", "s-maxage=60", Ok(())),
        (
            "§3.5: s-maxage unreadable",
            "s-maxage=x, max-age=60",
            Err(Reason::Authorization),
        ),
        (
            "§3.5: must-revalidate",
            "must-revalidate, max-age=60",
            Ok(()),
        ),
        (
            "§3.5: proxy-revalidate is not named",
            "proxy-revalidate, max-age=60",
            Err(Reason::Authorization),
        ),
        (
            "§5.2.2.7",
            "public, private, max-age=60",
            Err(Reason::Private),
        ),
    ] {
        let response = headers(&[("cache-control", value)]);
        let request = headers(password);
        let asked = Asked {
            method: &Method::GET,
            path: "/x",
            headers: (&request).into(),
        };
        let found = evaluate(asked, received(200, &response), &rules).map(|_| ());
        assert_eq!(found, expected, "{clause}");
    }
    let cookie: Fields = &[("cookie", "a=1")];
    for (rule, request, response, expected) in [
        (
            "Set-Cookie",
            &[][..],
            &[("set-cookie", "a=1"), ("cache-control", "max-age=60")][..],
            Err(Reason::SetCookie),
        ),
        (
            "Set-Cookie: public",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, public"),
            ],
            Ok(()),
        ),
        (
            "Set-Cookie: s-maxage",
            &[],
            &[("set-cookie", "a=1"), ("cache-control", "s-maxage=60")],
            Ok(()),
        ),
        (
            "Set-Cookie: not stored (no-cache)",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, no-cache=\"Set-Cookie\""),
            ],
            Ok(()),
        ),
        (
            "Set-Cookie: not stored (private)",
            &[],
            &[
                ("set-cookie", "a=1"),
                ("cache-control", "max-age=60, private=\"Set-Cookie\""),
            ],
            Ok(()),
        ),
        (
            "Cookie: explicitly fresh",
            cookie,
            &[("cache-control", "max-age=60")],
            Ok(()),
        ),
        (
            "Cookie: Expires",
            cookie,
            &[("expires", "Sun, 06 Nov 1994 09:49:37 GMT")],
            Ok(()),
        ),
        (
            "Cookie: a guess",
            cookie,
            &[MODIFIED],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: a guess, public",
            cookie,
            &[MODIFIED, ("cache-control", "public")],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: validator only",
            cookie,
            &[ETAG, ("cache-control", "no-cache")],
            Err(Reason::CookieHeuristic),
        ),
        (
            "Cookie: explicitly to be validated",
            cookie,
            &[ETAG, ("cache-control", "max-age=0")],
            Ok(()),
        ),
    ] {
        check(rule, request, 200, response, &rules, expected);
    }
}

/// Leave to share that holds until the origin is asked again is none for a time of the operator's.
#[test]
fn credentials_under_a_ttl() {
    let rules = Rules {
        ttl: Some(Duration::from_secs(300)),
        ..Rules::default()
    };
    let judged = |request: &[(&str, &str)], response: &[(&str, &str)]| {
        let (request, response) = (headers(request), headers(response));
        let asked = Asked {
            method: &Method::GET,
            path: "/x",
            headers: (&request).into(),
        };
        evaluate(asked, received(200, &response), &rules).map(|_| ())
    };
    let (secret, cookie) = (Err(Reason::Authorization), Err(Reason::SetCookie));
    for (value, with_password, with_cookie) in [
        ("public", Ok(()), Ok(())),
        ("public, max-age=60", Ok(()), Ok(())),
        ("s-maxage=60", Ok(()), Ok(())),
        ("must-revalidate, max-age=60", Ok(()), cookie),
        ("must-revalidate", secret, cookie),
        ("must-revalidate, max-age=0", secret, cookie),
        ("public, max-age=0", secret, cookie),
        ("s-maxage=0", secret, cookie),
        ("s-maxage=0, proxy-revalidate", secret, cookie),
    ] {
        let control = ("cache-control", value);
        let found = judged(&[("authorization", "Basic eDp5")], &[control]);
        assert_eq!(found, with_password, "{value}");
        let found = judged(&[], &[("set-cookie", "a=1"), control]);
        assert_eq!(found, with_cookie, "{value}");
    }
}
