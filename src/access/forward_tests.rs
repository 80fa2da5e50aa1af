//! What a service is told, what its answers mean, and for how long.

use super::*;
use std::time::Duration;

fn settings() -> ForwardSettings {
    ForwardSettings {
        upstream: "auth".to_owned(),
        target: "/verify".to_owned(),
        host: None,
        copy: vec![HeaderName::from_static("remote-user")],
        send: Some(vec![http::header::COOKIE]),
        cache: Some(Duration::from_secs(30)),
        cache_by: CacheBy::Url,
        timeout: ForwardSettings::TIMEOUT,
    }
}

fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let fields = fields.iter().map(|(name, value)| {
        (
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        )
    });
    fields.collect()
}

fn subject<'a>(fields: &'a HeaderMap, target: &'a str) -> Subject<'a> {
    Subject {
        method: &Method::POST,
        scheme: "https",
        host: "site.test",
        target,
        fields,
        client: IpAddr::from([192, 0, 2, 1]),
    }
}

#[test]
fn what_the_service_is_told() {
    let fields = map(&[
        ("cookie", "sid=1"),
        ("accept", "text/html"),
        ("content-length", "3"),
        ("range", "bytes=0-1"),
        ("if-none-match", "\"a\""),
        ("x-forwarded-for", "198.51.100.1"),
    ]);
    let told = |send: Option<Vec<HeaderName>>| {
        let settings = ForwardSettings { send, ..settings() };
        Forward::new(settings).question(&subject(&fields, "/a?b=c"))
    };
    let always = [
        ("x-forwarded-method", "POST"),
        ("x-original-method", "POST"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "site.test"),
        ("x-forwarded-uri", "/a?b=c"),
        ("x-original-url", "https://site.test/a?b=c"),
        ("x-original-uri", "/a?b=c"),
        ("x-forwarded-for", "198.51.100.1"),
        ("host", "site.test"),
        ("cookie", "sid=1"),
    ];
    let mut expected = map(&always);
    assert_eq!(told(Some(vec![http::header::COOKIE])), expected);
    expected.extend(map(&[("accept", "text/html")]));
    assert_eq!(told(None), expected);
    let settings = ForwardSettings {
        host: Some("auth.test".into()),
        ..settings()
    };
    let question = Forward::new(settings).question(&subject(&fields, "/"));
    assert_eq!(question[HOST], "auth.test");
}

#[test]
fn who_asks_the_same() {
    let one = map(&[("cookie", "sid=1")]);
    let other = map(&[("cookie", "sid=2")]);
    for (by, fields, target, client, expected) in [
        (CacheBy::Url, &one, "/a", 1, true),
        (CacheBy::Url, &one, "/b", 1, false),
        (CacheBy::Url, &other, "/a", 1, false),
        (CacheBy::Url, &one, "/a", 2, false),
        (CacheBy::Session, &one, "/b", 1, true),
        (CacheBy::Session, &other, "/a", 1, false),
        (CacheBy::Session, &one, "/a", 2, false),
    ] {
        let forward = Forward::new(ForwardSettings {
            cache_by: by,
            ..settings()
        });
        let same = |fields, target, client: u8| {
            let question = forward.question(&subject(fields, target));
            forward.same(&question, IpAddr::from([192, 0, 2, client]))
        };
        let is_same = same(&one, "/a", 1) == same(fields, target, client);
        assert_eq!(is_same, expected, "{by:?} {target} {client}");
    }
}

fn grant(forward: &Forward, fields: &[(&'static str, &'static str)]) -> Arc<Granted> {
    match forward.judge(StatusCode::OK, map(fields), Bytes::new()) {
        Answer::Granted(granted) => granted,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_an_answer_means() {
    let forward = Forward::new(settings());
    let granted = grant(
        &forward,
        &[("remote-user", "ann"), ("set-cookie", "a=b"), ("x", "y")],
    );
    assert_eq!(granted.fields.len(), 1);
    assert_eq!(granted.cookies, ["a=b"]);
    let judged = |status: u16, fields| {
        let status = StatusCode::from_u16(status).expect("a status");
        forward.judge(status, map(fields), Bytes::new())
    };
    for status in [101, 304, 412, 416, 417, 500, 600, 999] {
        assert!(
            matches!(judged(status, &[]), Answer::Unavailable),
            "{status}"
        );
    }
    // What its `Connection` names is not for others, and not everything may be named.
    let own = grant(
        &forward,
        &[("connection", "remote-user"), ("remote-user", "ann")],
    );
    assert!(own.fields.is_empty());
    let taken = judged(401, &[("connection", "set-cookie"), ("set-cookie", "a=b")]);
    assert!(matches!(taken, Answer::Unavailable));
    let fields = &[
        ("location", "/login"),
        ("content-length", "9"),
        ("connection", "close, x-a"),
        ("x-a", "1"),
    ];
    let Answer::Refused(status, fields, _) = judged(302, fields) else {
        panic!("a redirect refuses");
    };
    assert_eq!(status, 302);
    assert_eq!(
        fields,
        map(&[("location", "/login"), ("cache-control", "no-store")])
    );
}

#[test]
fn a_yes_is_remembered_unless_it_says_otherwise() {
    for (fields, remembered) in [
        (&[("remote-user", "ann")][..], true),
        (&[("cache-control", "private, max-age=60")], true),
        (&[("cache-control", "No-Store")], false),
        (&[("cache-control", "private, no-cache")], false),
        (&[("cache-control", "max-age=0")], false),
        (&[("set-cookie", "a=b")], false),
    ] {
        let forward = Arc::new(Forward::new(settings()));
        let client = IpAddr::from([192, 0, 2, 1]);
        let question = map(&[("cookie", "sid=1")]);
        let Way::Ask(asking) = forward.way(&question, client) else {
            panic!("nobody has asked yet");
        };
        let Way::Wait(waiting) = forward.way(&question, client) else {
            panic!("somebody asks");
        };
        asking.answered(&grant(&forward, fields));
        assert_eq!(waiting.borrow().is_some(), remembered, "{fields:?}");
        let known = matches!(forward.way(&question, client), Way::Known(_));
        assert_eq!(known, remembered, "{fields:?}");
    }
}

#[test]
fn who_gives_up_leaves_nobody_waiting() {
    let forward = Arc::new(Forward::new(settings()));
    let client = IpAddr::from([192, 0, 2, 1]);
    let question = map(&[("cookie", "sid=1")]);
    let asking = forward.way(&question, client);
    let Way::Wait(waiting) = forward.way(&question, client) else {
        panic!("somebody asks");
    };
    drop(asking);
    assert!(waiting.has_changed().is_err());
    assert!(matches!(forward.way(&question, client), Way::Ask(_)));
}

#[test]
fn without_a_time_everybody_asks() {
    let forward = Arc::new(Forward::new(ForwardSettings {
        cache: None,
        ..settings()
    }));
    let ways = [1, 1].map(|last| forward.way(&HeaderMap::new(), IpAddr::from([192, 0, 2, last])));
    assert!(ways.iter().all(|way| matches!(way, Way::Ask(_))));
    assert!(forward.asking.lock().is_empty());
}
