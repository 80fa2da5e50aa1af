//! What calls with arguments take, do and answer, over real sockets.

use super::*;

impl Plane {
    async fn post(&self, target: &str, body: &str) -> String {
        let (addr, length) = (self.addr, body.len());
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        let mut stream = self.connect().await;
        let sent = stream.write_all(request.as_bytes());
        sent.await.expect("the service reads");
        let mut answer = String::new();
        let read = stream.read_to_string(&mut answer);
        read.await.expect("the service answers");
        answer
    }
}

#[tokio::test]
async fn who_sends_a_body_too_large_sees_the_answer() {
    // All of it is sent before the answer is read: a reset would have taken that with it.
    let plane = plane(Made::default(), None);
    let body = format!("{{\"tag\": \"{}\"}}", "x".repeat(10_000_000));
    let answer = plane.post("/purge", &body).await;
    assert_eq!(status(&answer), "413", "{answer}");
    assert!(answer.contains("larger than 65536 bytes"), "{answer}");
}

#[tokio::test]
async fn what_is_purged_and_what_is_said() {
    let made = Made::default();
    let purged = Arc::clone(&made.purged);
    let plane = plane(made, None);
    for (body, code, texts, done) in [
        (
            r#"{"tag": "items"}"#,
            "200",
            &["\"purged\": \"tag:items\"", "\"matched\": 3"][..],
            Some(("tag:items", Mode::Hard)),
        ),
        (
            r#"{"tags": ["a", "items"], "soft": true}"#,
            "200",
            &["\"mode\": \"soft\""],
            Some(("tag:a, tag:items", Mode::Soft)),
        ),
        (
            r#"{"tag": "b"}"#,
            "404",
            &["nothing that is stored matches `tag:b`", "\"matched\": 0"],
            Some(("tag:b", Mode::Hard)),
        ),
        (
            r#"{"prefix": "http://h/a/../b%2Dc/"}"#,
            "200",
            &["\"matched\": null"],
            Some(("prefix:http://h/b-c/", Mode::Hard)),
        ),
        (
            r#"{"all": true}"#,
            "200",
            &["\"all\""],
            Some(("all", Mode::Hard)),
        ),
        (
            r#"{"tag": "items", "dry_run": true}"#,
            "404",
            &["\"entries\": []", "\"dry_run\": true"],
            None,
        ),
        (r#"{"url": "/..%2fa"}"#, "400", &["two ways"], None),
        (
            "",
            "400",
            &["the request has no body", "expected JSON such as"],
            None,
        ),
        ("{", "400", &["cannot be used", "line 1"], None),
        ("[1]", "400", &["cannot be used"], None),
        ("{}", "400", &["found 0 of them"], None),
        (
            r#"{"tag": "a", "url": "/"}"#,
            "400",
            &["found 2 of them"],
            None,
        ),
        (
            r#"{"tagg": "a"}"#,
            "400",
            &["unknown field `tagg`", "`dry_run`"],
            None,
        ),
        (
            r#"{"tag": "a", "dry_run": "yes"}"#,
            "400",
            &["`dry_run` is `\\\"yes\\\"`; expected true or false"],
            None,
        ),
        (
            r#"{"tag": "a", "limit": 10001}"#,
            "400",
            &["`limit` is `10001`; expected a whole number from 0 to 10000"],
            None,
        ),
        ("\u{0}\u{1}garbage", "400", &["cannot be used"], None),
    ] {
        let answer = plane.post("/purge", body).await;
        assert_eq!(status(&answer), code, "{body}: {answer}");
        for text in texts {
            assert!(answer.contains(text), "{body}: no {text} in {answer}");
        }
        let purged = purged.lock().pop();
        let purged = purged.map(|purge| (purge.scope.to_string(), purge.mode));
        let expected = done.map(|(scope, mode)| (scope.to_owned(), mode));
        assert_eq!(purged, expected, "{body}");
    }
}

#[tokio::test]
async fn purges_are_told_as_they_come_until_the_listener_stops() {
    let held = Arc::new(Notify::new());
    let made = Made {
        held: Some(Arc::clone(&held)),
        ..Made::default()
    };
    let plane = plane(made, None);
    let mut stream = plane.connect().await;
    let request = format!("GET /purges HTTP/1.1\r\nHost: {}\r\n\r\n", plane.addr);
    let sent = stream.write_all(request.as_bytes());
    sent.await.expect("the service reads");
    let mut seen = String::new();
    for part in [
        "text/event-stream",
        ":\n\n",
        "event: purge\ndata: {",
        "tag:a",
        "1970-01-01",
    ] {
        // The first two come by themselves, and the purge when there is one.
        if part.starts_with("event") {
            held.notify_one();
        }
        while !seen.contains(part) {
            let mut piece = [0; 1024];
            let read = stream.read(&mut piece).await.expect("it goes on");
            assert_ne!(read, 0, "it ended before {part:?}: {seen}");
            seen += &String::from_utf8_lossy(&piece[..read]);
        }
    }
    plane.stop.notify_one();
    plane.serving.await.expect("no panic").expect("it served");
    let mut rest = String::new();
    let ended = stream.read_to_string(&mut rest);
    ended.await.expect("it ends like a whole answer");
    assert!(rest.ends_with("0\r\n\r\n"), "{rest:?}");
}

#[tokio::test]
async fn a_list_is_asked_for_in_the_query() {
    let made = Made::default();
    let listed = Arc::clone(&made.listed);
    let plane = plane(made, None);
    for (target, code, text, asked) in [
        (
            "/cache",
            "200",
            "\"total\": 0",
            "scope: None, route: None } Hits 50",
        ),
        (
            "/cache?tag=a&tag=b&order=size&limit=3",
            "200",
            "",
            "Tags([\"a\", \"b\"])), route: None } Size 3",
        ),
        ("/cache?prefix=/a%2F&order=cost", "200", "", "path: \"/a/\""),
        (
            "/cache?host=h&route=app&order=age",
            "200",
            "",
            "Host(\"h\")), route: Some(\"app\") } Age 50",
        ),
        (
            "/cache?host=h&tag=a",
            "400",
            "one of `prefix`, `host` and `tag`",
            "",
        ),
        (
            "/cache?order=best",
            "400",
            "expected one of `hits`, `size`",
            "",
        ),
        ("/cache?limit=99999", "400", "from 0 to 10000", ""),
        (
            "/cache?prefix=x",
            "400",
            "the parameter `prefix`: expected a path",
            "",
        ),
        ("/cache?tags=a", "400", "unknown parameter `tags`", ""),
        (
            "/cache/entry?url=http://h/a",
            "404",
            "nothing is stored for `http://h/a`",
            "Url(Place",
        ),
        ("/cache/entry", "400", "the parameter `url` is missing", ""),
        ("/cache/entry?url=http://h/?a=1&b=2", "400", "%26", ""),
        ("/cache/stats", "200", "\"keys\": 7", ""),
        ("/cache/stats?x", "400", "unknown parameter `x`", ""),
    ] {
        let answer = plane.ask(&format!("GET {target}")).await;
        assert_eq!(status(&answer), code, "{target}: {answer}");
        assert!(answer.contains(text), "{target}: {answer}");
        let listed = listed.lock().pop().unwrap_or_default();
        assert!(listed.contains(asked), "{target}: {listed}");
        assert_eq!(listed.is_empty(), asked.is_empty(), "{target}: {listed}");
    }
}
