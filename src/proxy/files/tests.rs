//! Every outcome of the file server, one row each.

use super::*;
use http::header::{
    ACCEPT_ENCODING, CONTENT_RANGE, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE,
    IF_UNMODIFIED_SINCE, RANGE,
};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Sun, 06 Nov 1994 08:49:37.5: with a fraction, which no HTTP date shows.
const MODIFIED: Duration = Duration::from_millis(784_111_777_500);
const MODIFIED_DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const DAY_BEFORE: &str = "Sat, 05 Nov 1994 08:49:37 GMT";
const DAY_AFTER: &str = "Mon, 07 Nov 1994 08:49:37 GMT";

struct Site {
    dir: tempfile::TempDir,
    fallback: Option<&'static str>,
}

/// What came out: the status, the fields, the body as text.
struct Seen {
    status: u16,
    headers: HeaderMap,
    body: String,
}

impl Site {
    fn new() -> Self {
        let site = Self {
            dir: tempfile::tempdir().expect("a directory"),
            fallback: None,
        };
        for (name, content) in [
            ("index.html", "<p>home"),
            ("a.txt", "0123456789"),
            ("empty.bin", ""),
            ("docs/index.html", "<p>docs"),
            ("no-index/file.css", "p{}"),
            ("a:b/index.html", "colon"),
            ("app.js", "plain js"),
            ("app.js.br", "BR"),
            ("app.js.gz", "GZ"),
            (".env", "secret"),
            (".well-known/x", "known"),
            ("data.json", "{}"),
            ("stale.js", "new"),
            ("stale.js.gz", "OLD"),
        ] {
            site.write(name, content, UNIX_EPOCH + MODIFIED);
        }
        let older = UNIX_EPOCH + MODIFIED - Duration::from_secs(1);
        site.write("stale.js.gz", "OLD", older);
        site
    }

    fn write(&self, name: &str, content: &str, modified: SystemTime) {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(&path, content).expect("written");
        let file = fs::File::options().write(true).open(&path).expect("opened");
        file.set_modified(modified).expect("set");
    }

    fn get(&self, target: &str, fields: &[(HeaderName, &str)]) -> Seen {
        self.send(&Method::GET, target, target, fields)
    }

    fn send(
        &self,
        method: &Method,
        asked: &str,
        served: &str,
        fields: &[(HeaderName, &str)],
    ) -> Seen {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        let (served, query) = match served.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (served, None),
        };
        let asked = asked.split('?').next().unwrap_or(asked);
        let directory = Directory {
            root: self.dir.path(),
            index: "index.html",
            fallback: self.fallback,
        };
        let request = FileRequest {
            method,
            path: served,
            asked,
            query,
            headers: &headers,
        };
        let answer = answer(directory, &request);
        let promised = answer.body.length();
        let mut reader = answer.body.into_reader();
        let mut body = Vec::new();
        while let Some(chunk) = reader.next_chunk().expect("readable") {
            body.extend_from_slice(&chunk);
        }
        assert_eq!(promised, body.len() as u64);
        if !body.is_empty() {
            assert_eq!(answer.headers[CONTENT_LENGTH], body.len().to_string());
        }
        Seen {
            status: answer.status.as_u16(),
            headers: answer.headers,
            body: String::from_utf8(body).expect("text"),
        }
    }
}

impl Seen {
    fn field(&self, name: &HeaderName) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("ASCII"))
    }
}

#[test]
fn what_is_served_and_what_is_not() {
    let site = Site::new();
    for (target, status, body) in [
        ("/", 200, "<p>home"),
        ("/a.txt", 200, "0123456789"),
        ("/%61.txt", 200, "0123456789"),
        ("//a.txt", 200, "0123456789"),
        ("/a.txt?x=1", 200, "0123456789"),
        ("/empty.bin", 200, ""),
        ("/docs/", 200, "<p>docs"),
        ("/docs/index.html", 200, "<p>docs"),
        ("/.well-known/x", 200, "known"),
        ("/docs", 308, ""),
        ("/no-index/", 404, ""),
        ("/no-index", 404, ""),
        ("/a.txt/", 404, ""),
        ("/a.txt/x", 404, ""),
        ("/absent", 404, ""),
        ("/.env", 404, ""),
        ("/%2eenv", 404, ""),
        ("/docs/../.env", 404, ""),
        ("/docs%2findex.html", 404, ""),
        ("/%2e%2e/etc/passwd", 404, ""),
        ("/..%2f..%2fetc/passwd", 404, ""),
        ("/a.txt%00.html", 404, ""),
        ("//etc/passwd", 404, ""),
    ] {
        let seen = site.get(target, &[]);
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (status, body),
            "{target}"
        );
    }
}

#[test]
fn other_methods_are_refused_and_head_has_no_body() {
    let site = Site::new();
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let seen = site.send(&method, "/a.txt", "/a.txt", &[]);
        assert_eq!((seen.status, seen.field(&ALLOW)), (405, "GET, HEAD"));
    }
    let range = [(RANGE, "bytes=0-1")];
    let seen = site.send(&Method::HEAD, "/a.txt", "/a.txt", &range);
    assert_eq!((seen.status, seen.body.as_str()), (200, ""));
    assert_eq!(seen.field(&CONTENT_LENGTH), "10");
    assert_eq!(seen.field(&ACCEPT_RANGES), "bytes");
}

#[test]
fn types_go_by_extension() {
    let site = Site::new();
    for (target, expected) in [
        ("/", "text/html; charset=utf-8"),
        ("/a.txt", "text/plain; charset=utf-8"),
        ("/no-index/file.css", "text/css; charset=utf-8"),
        ("/app.js", "text/javascript; charset=utf-8"),
        ("/data.json", "application/json"),
        ("/empty.bin", "application/octet-stream"),
        ("/.well-known/x", "application/octet-stream"),
    ] {
        let seen = site.get(target, &[]);
        assert_eq!(seen.field(&CONTENT_TYPE), expected, "{target}");
    }
}

#[test]
fn directories_are_redirected_relative_to_what_was_asked() {
    let site = Site::new();
    for (asked, served, expected) in [
        ("/docs", "/docs", "./docs/"),
        ("/docs?a=b", "/docs?a=b", "./docs/?a=b"),
        ("/static/docs", "/docs", "./docs/"),
        // The prefix was stripped, and what is left is the root.
        ("/static", "/", "./static/"),
        ("/a:b", "/a:b", "./a:b/"),
        ("//docs", "//docs", "./docs/"),
        ("/docs?\"", "/docs?\"", "./docs/?%22"),
    ] {
        let seen = site.send(&Method::GET, asked, served, &[]);
        assert_eq!(seen.status, 308, "{asked}");
        assert_eq!(seen.field(&LOCATION), expected, "{asked}");
    }
}

#[test]
fn the_fallback_is_served_where_nothing_matches() {
    let mut site = Site::new();
    site.fallback = Some("/index.html");
    for (target, body) in [
        ("/app/route/7", "<p>home"),
        ("/no-index/", "<p>home"),
        ("/.env", "<p>home"),
        ("/%2e%2e/x", "<p>home"),
        ("/a.txt", "0123456789"),
    ] {
        let seen = site.get(target, &[]);
        assert_eq!((seen.status, seen.body.as_str()), (200, body), "{target}");
    }
    site.fallback = Some("../../etc/passwd");
    assert_eq!(site.get("/absent", &[]).status, 404);
}

/// RFC 9110 §13.2.2, step by step.
#[test]
fn conditions() {
    let site = Site::new();
    let seen = site.get("/a.txt", &[]);
    let tag = seen.field(&ETAG).to_owned();
    assert!(tag.starts_with('"'), "strong");
    assert_eq!(seen.field(&LAST_MODIFIED), MODIFIED_DATE);
    let weak = format!("W/{tag}");
    for (fields, status) in [
        (&[(IF_MATCH, tag.as_str())][..], 200),
        (&[(IF_MATCH, "*")], 200),
        (&[(IF_MATCH, "\"x\"")], 412),
        (&[(IF_MATCH, &weak)], 412),
        (&[(IF_MATCH, "garbage")], 412),
        (&[(IF_UNMODIFIED_SINCE, MODIFIED_DATE)], 200),
        (&[(IF_UNMODIFIED_SINCE, DAY_BEFORE)], 412),
        // "if If-Match is present, If-Unmodified-Since is ignored"
        (&[(IF_MATCH, &tag), (IF_UNMODIFIED_SINCE, DAY_BEFORE)], 200),
        (&[(IF_NONE_MATCH, &tag)], 304),
        (&[(IF_NONE_MATCH, &weak)], 304),
        (&[(IF_NONE_MATCH, "\"x\""), (IF_NONE_MATCH, &tag)], 304),
        (&[(IF_NONE_MATCH, "*")], 304),
        (&[(IF_NONE_MATCH, "\"x\"")], 200),
        (&[(IF_MODIFIED_SINCE, MODIFIED_DATE)], 304),
        (&[(IF_MODIFIED_SINCE, DAY_AFTER)], 304),
        (&[(IF_MODIFIED_SINCE, DAY_BEFORE)], 200),
        (&[(IF_MODIFIED_SINCE, "garbage")], 200),
        // "if If-None-Match is present, If-Modified-Since is ignored"
        (
            &[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, DAY_AFTER)],
            200,
        ),
        (&[(IF_NONE_MATCH, &tag), (RANGE, "bytes=0-1")], 304),
    ] {
        let seen = site.get("/a.txt", fields);
        assert_eq!(seen.status, status, "{fields:?}");
        if status == 304 {
            assert_eq!(seen.field(&ETAG), tag);
            assert!(!seen.headers.contains_key(CONTENT_LENGTH));
        }
    }
}

#[test]
fn single_ranges() {
    let site = Site::new();
    let tag = site.get("/a.txt", &[]).field(&ETAG).to_owned();
    let weak = format!("W/{tag}");
    let first = (RANGE, "bytes=0-1");
    for (fields, status, range, body) in [
        (&[first.clone()][..], 206, "bytes 0-1/10", "01"),
        (&[(RANGE, "bytes=8-")], 206, "bytes 8-9/10", "89"),
        (&[(RANGE, "bytes=8-99")], 206, "bytes 8-9/10", "89"),
        (&[(RANGE, "bytes=-3")], 206, "bytes 7-9/10", "789"),
        (&[(RANGE, "bytes=-99")], 206, "bytes 0-9/10", "0123456789"),
        (&[(RANGE, "bytes=10-")], 416, "bytes */10", ""),
        (&[(RANGE, "bytes=-0")], 416, "bytes */10", ""),
        (&[(RANGE, "bytes=2-1")], 200, "", "0123456789"),
        (&[(RANGE, "lines=0-1")], 200, "", "0123456789"),
        (&[(RANGE, "bytes=10-,2-3")], 206, "bytes 2-3/10", "23"),
        (&[first.clone(), first.clone()], 200, "", "0123456789"),
        (
            &[first.clone(), (IF_RANGE, &tag)],
            206,
            "bytes 0-1/10",
            "01",
        ),
        (&[first.clone(), (IF_RANGE, &weak)], 200, "", "0123456789"),
        (&[first.clone(), (IF_RANGE, "\"x\"")], 200, "", "0123456789"),
        (
            &[first.clone(), (IF_RANGE, MODIFIED_DATE)],
            206,
            "bytes 0-1/10",
            "01",
        ),
        (
            &[first.clone(), (IF_RANGE, DAY_AFTER)],
            200,
            "",
            "0123456789",
        ),
        (
            &[first.clone(), (IF_RANGE, "garbage")],
            200,
            "",
            "0123456789",
        ),
    ] {
        let seen = site.get("/a.txt", fields);
        assert_eq!(
            (seen.status, seen.body.as_str()),
            (status, body),
            "{fields:?}"
        );
        assert_eq!(seen.field(&CONTENT_RANGE), range, "{fields:?}");
    }
    assert_eq!(site.get("/empty.bin", &[(RANGE, "bytes=0-")]).status, 416);
}

#[test]
fn a_date_within_the_last_second_is_no_strong_validator() {
    let site = Site::new();
    let now = clock::wall();
    site.write("fresh.txt", "0123", now);
    let since = date::format(now);
    let fields = [(RANGE, "bytes=0-1"), (IF_RANGE, since.as_str())];
    assert_eq!(site.get("/fresh.txt", &fields).status, 200);
}

#[test]
fn several_ranges() {
    let site = Site::new();
    let seen = site.get("/a.txt", &[(RANGE, "bytes=0-1, 4-5,-1")]);
    assert_eq!(seen.status, 206);
    let (kind, boundary) = seen
        .field(&CONTENT_TYPE)
        .split_once("boundary=")
        .expect("one");
    assert_eq!(kind, "multipart/byteranges; ");
    let part = |range: &str, text: &str| {
        let kind = "text/plain; charset=utf-8";
        format!(
            "\r\n--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {range}/10\r\n\r\n{text}"
        )
    };
    let parts = [part("0-1", "01"), part("4-5", "45"), part("9-9", "9")].concat();
    assert_eq!(seen.body, format!("{parts}\r\n--{boundary}--\r\n"));
    assert!(!seen.headers.contains_key(CONTENT_RANGE));

    let many = format!("bytes={}", ["0-0"; 17].join(","));
    let overlapping = "bytes=0-,0-,0-,0-";
    for abuse in [many.as_str(), overlapping] {
        assert_eq!(site.get("/a.txt", &[(RANGE, abuse)]).status, 200, "{abuse}");
    }
}

#[test]
fn precompressed_siblings() {
    let site = Site::new();
    for (accept, coding, body) in [
        ("br, gzip", "br", "BR"),
        ("gzip, br", "br", "BR"),
        ("gzip", "gzip", "GZ"),
        ("gzip;q=1, br;q=0.5", "gzip", "GZ"),
        ("zstd", "", "plain js"),
        ("*", "br", "BR"),
        ("br;q=0, *", "gzip", "GZ"),
        ("identity, br;q=0.5", "", "plain js"),
        ("br;q=0", "", "plain js"),
        ("", "", "plain js"),
    ] {
        let seen = site.get("/app.js", &[(ACCEPT_ENCODING, accept)]);
        assert_eq!(seen.field(&CONTENT_ENCODING), coding, "{accept}");
        assert_eq!((seen.status, seen.body.as_str()), (200, body), "{accept}");
        assert_eq!(seen.field(&VARY), "Accept-Encoding");
        assert_eq!(seen.field(&CONTENT_TYPE), "text/javascript; charset=utf-8");
    }
    let plain = site.get("/app.js", &[]);
    let coded = site.get("/app.js", &[(ACCEPT_ENCODING, "br")]);
    assert_ne!(plain.field(&ETAG), coded.field(&ETAG));
    // Where one cannot even be looked for, the file itself can.
    let longest = format!("{}.js", "n".repeat(252));
    site.write(&longest, "plain js", UNIX_EPOCH + MODIFIED);
    let long = site.get(&format!("/{longest}"), &[(ACCEPT_ENCODING, "br")]);
    assert_eq!((long.status, long.body.as_str()), (200, "plain js"));
    let stale = site.get("/stale.js", &[(ACCEPT_ENCODING, "gzip")]);
    assert_eq!((stale.body.as_str(), stale.field(&VARY)), ("new", ""));
}

#[test]
fn a_missing_root_is_the_operators_error() {
    let root = Path::new("/nonexistent-root");
    let directory = Directory {
        root,
        index: "index.html",
        fallback: None,
    };
    let request = FileRequest {
        method: &Method::GET,
        path: "/",
        asked: "/",
        query: None,
        headers: &HeaderMap::new(),
    };
    assert_eq!(answer(directory, &request).status, 500);
}

#[test]
fn a_file_that_shrinks_while_it_is_sent_is_an_error() {
    let site = Site::new();
    let path = site.dir.path().join("a.txt");
    let file = fs::File::open(&path).expect("opened");
    let pieces = vec![serve::Piece::Octets(0..10)];
    let body = FileBody::File { file, pieces };
    fs::write(&path, "0123").expect("written");
    let mut reader = body.into_reader();
    let first = reader.next_chunk().expect("readable").expect("a chunk");
    assert_eq!(&first[..], b"0123");
    let error = reader.next_chunk().expect_err("too short");
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}
