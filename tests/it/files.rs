//! Files of a directory: types, validators, ranges, index and fallback, and nothing outside the directory.

use crate::rig::{Edge, edge, get, head, post};

/// A directory with a page, a script, a sub-directory, and a secret beside it.
async fn site(more: &str) -> Edge {
    let e = edge(&format!(
        "[[route]]\nfiles = {{ root = \"{{dir}}/www\"{more} }}"
    ))
    .file("www/index.html", "<h1>home</h1>")
    .file("www/app.js", "let a = 1;")
    .file("www/digits.txt", "0123456789")
    .file("www/empty", "")
    .file("www/sub/index.html", "<h1>sub</h1>")
    .file("www/a b.txt", "spaced")
    .file("www/.env", "PASSWORD=1")
    .file("secret.txt", "secret");
    std::os::unix::fs::symlink("../secret.txt", e.dir().join("www/link.txt")).unwrap();
    e.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn types_and_lengths() {
    let e = site("").await;
    let c = e.client();
    for (path, content_type, length) in [
        ("/", "text/html", "13"),
        ("/index.html", "text/html", "13"),
        ("/app.js", "text/javascript", "10"),
        ("/digits.txt", "text/plain", "10"),
        ("/empty", "application/octet-stream", "0"),
        ("/sub/", "text/html", "12"),
        ("/a%20b.txt", "text/plain", "6"),
    ] {
        let got = c
            .get(path)
            .send()
            .await
            .expect(200)
            .header("content-length", length);
        assert!(
            got.value("content-type").starts_with(content_type),
            "{path}: {got:#?}"
        );
        c.head(path)
            .send()
            .await
            .expect(200)
            .header("content-length", length)
            .body("");
    }
    c.get("/missing").send().await.expect(404);
    c.request(post("/app.js", "x"))
        .send()
        .await
        .expect(405)
        .header("allow", "GET, HEAD");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_without_its_slash_is_redirected() {
    let e = site("").await;
    let got = e.client().get("/sub?x=1").send().await;
    assert!([301, 302, 307, 308].contains(&got.status), "{got:#?}");
    assert!(got.value("location").ends_with("/sub/?x=1"), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn validators_give_304() {
    let e = site("").await;
    let c = e.client();
    let first = c.get("/digits.txt").send().await.expect(200);
    let (etag, modified) = (
        first.value("etag").to_owned(),
        first.value("last-modified").to_owned(),
    );
    let conditional = |name: &str, value: &str| c.get("/digits.txt").header(name, value).send();
    conditional("if-none-match", &etag)
        .await
        .expect(304)
        .header("etag", &etag)
        .body("");
    conditional("if-none-match", &format!("\"other\", {etag}"))
        .await
        .expect(304);
    conditional("if-none-match", "*").await.expect(304);
    conditional("if-none-match", "\"other\"").await.expect(200);
    conditional("if-modified-since", &modified)
        .await
        .expect(304);
    conditional("if-modified-since", "Thu, 01 Jan 1970 00:00:00 GMT")
        .await
        .expect(200);
    // RFC 9110 §13.2.2: the tag decides where both are there.
    let both = c
        .get("/digits.txt")
        .header("if-none-match", "\"other\"")
        .header("if-modified-since", &modified);
    both.send().await.expect(200);
    conditional("if-match", "\"other\"").await.expect(412);
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges() {
    let e = site("").await;
    let c = e.client();
    for (range, content_range, body) in [
        ("bytes=0-3", "bytes 0-3/10", "0123"),
        ("bytes=4-", "bytes 4-9/10", "456789"),
        ("bytes=-3", "bytes 7-9/10", "789"),
        ("bytes=8-99", "bytes 8-9/10", "89"),
        ("bytes=-99", "bytes 0-9/10", "0123456789"),
    ] {
        let got = c.get("/digits.txt").header("range", range).send().await;
        got.expect(206)
            .header("content-range", content_range)
            .body(body);
    }
    c.get("/digits.txt")
        .header("range", "bytes=10-")
        .send()
        .await
        .expect(416)
        .header("content-range", "bytes */10");
    for ignored in ["bytes=5-2", "bytes=x-", "lines=0-1", "bytes"] {
        c.get("/digits.txt")
            .header("range", ignored)
            .send()
            .await
            .expect(200)
            .body("0123456789");
    }
    c.get("/digits.txt")
        .send()
        .await
        .expect(200)
        .header("accept-ranges", "bytes");
    // RFC 9110 §14.2: a Range is for GET only.
    c.head("/digits.txt")
        .header("range", "bytes=0-3")
        .send()
        .await
        .expect(200)
        .header("content-length", "10");
}

#[tokio::test(flavor = "multi_thread")]
async fn if_range_is_a_strong_comparison() {
    let e = site("").await;
    let c = e.client();
    let etag = c
        .get("/digits.txt")
        .send()
        .await
        .expect(200)
        .value("etag")
        .to_owned();
    let ranged = |condition: &str| {
        c.get("/digits.txt")
            .header("range", "bytes=0-0")
            .header("if-range", condition)
            .send()
    };
    ranged("\"other\"").await.expect(200).body("0123456789");
    if etag.starts_with("W/") {
        ranged(&etag).await.expect(200);
    } else {
        ranged(&etag).await.expect(206).body("0");
        ranged(&format!("W/{etag}")).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_directory() {
    let e = site("").await;
    let c = e.client();
    for path in [
        "/../secret.txt",
        "/sub/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/sub/..%5c..%5csecret.txt",
        "//../secret.txt",
        "/./../secret.txt",
        "/%00",
        "/digits.txt%00.html",
        "/link.txt",
    ] {
        let got = c.get(path).send().await;
        assert!([400, 403, 404].contains(&got.status), "{path}: {got:#?}");
        assert!(!got.text().contains("secret"), "{path}: {got:#?}");
    }
    c.get("//etc/passwd").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn fallback_for_single_page_applications() {
    let e = site(", fallback = \"index.html\"").await;
    let c = e.client();
    c.get("/some/view")
        .send()
        .await
        .expect(200)
        .body("<h1>home</h1>");
    c.get("/digits.txt")
        .send()
        .await
        .expect(200)
        .body("0123456789");
    c.get("/../secret.txt").send().await;
    let got = c.get("/..%2fsecret.txt").send().await;
    assert!(!got.text().contains("secret"), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_stripped_prefix() {
    let e = edge("[[route]]\npath = \"/static/\"\nfiles = \"{dir}/www\"\nstrip_prefix = true")
        .file("www/a.css", "a{}")
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.send(&get("/static/a.css")).await.expect(200).body("a{}");
    k.send(&head("/static/a.css"))
        .await
        .expect(200)
        .header("content-length", "3")
        .body("");
    k.send(&get("/a.css")).await.expect(404);
}
