//! Heads that are refused: table 3.1 of the hostile inputs, row by row.
//!
//! Every row is followed by a complete request for `/smuggled` on the same connection. A row passes when it is answered
//! with its status, the connection is closed after that one answer, and nothing at all has reached the origin.

use crate::rig::{Edge, Origin, edge, ok, origin};

const FOLLOWING: &[u8] = b"GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

async fn pair() -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    (o, e)
}

/// Each of `rows`, a complete hostile message, is refused with one of `statuses`.
async fn refused(statuses: &[u16], rows: Vec<(String, Vec<u8>)>) {
    let (o, e) = pair().await;
    let mut wrong = Vec::new();
    for (name, bytes) in rows {
        let before = o.requests().len();
        let mut k = e.client().connect().await;
        // The edge may have read enough before everything is written.
        let _ = k.try_write([bytes.as_slice(), FOLLOWING].concat()).await;
        let got = k.response("GET").await;
        if statuses.contains(&got.status) && got.cut.is_none() {
            let rest = k.rest().await;
            if !rest.is_empty() {
                let rest = String::from_utf8_lossy(&rest);
                wrong.push(format!("{name}: not closed after the refusal: {rest:?}"));
            }
        } else {
            let (status, cut) = (got.status, got.cut);
            wrong.push(format!("{name}: answered {status} {cut:?}"));
        }
        for seen in &o.requests()[before..] {
            wrong.push(format!("{name}: reached the origin: {:?}", seen.head));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // A refusal is no reason to doubt the next client.
    let ordinary = e.client().get("/ordinary").send().await;
    ordinary.expect(200).body("v1");
    assert_eq!(o.requests().len(), 1);
}

/// A request with these header lines besides a good Host.
fn with_lines(lines: &[u8]) -> (String, Vec<u8>) {
    let bytes = [
        b"POST /row HTTP/1.1\r\nHost: site.test\r\n",
        lines,
        b"\r\n\r\n",
    ]
    .concat();
    (String::from_utf8_lossy(lines).into_owned(), bytes)
}

/// A request with this first line and a good Host.
fn with_start(start: &[u8]) -> (String, Vec<u8>) {
    let bytes = [start, b"\r\nHost: site.test\r\n\r\n"].concat();
    (String::from_utf8_lossy(start).into_owned(), bytes)
}

/// A request with this Host line, or none.
fn with_host(lines: &str) -> (String, Vec<u8>) {
    (
        format!("host lines {lines:?}"),
        format!("GET /row HTTP/1.1\r\n{lines}\r\n").into_bytes(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn two_framings() {
    refused(
        &[400],
        vec![
            with_lines(b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
            with_lines(b"Transfer-Encoding: chunked\r\nContent-Length: 5"),
            with_lines(b"Content-Length: 0\r\nTransfer-Encoding: chunked"),
            with_lines(b"Content-Length: 5\r\nTransfer-Encoding: identity"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_codings_that_are_not_exactly_chunked() {
    let values: [&[u8]; 22] = [
        b"gzip",
        b"gzip, chunked",
        b"chunked, gzip",
        b"identity",
        b"chunked, identity",
        b"xchunked",
        b"chunkedx",
        b"chunked, chunked",
        b"chunked,chunked",
        b"\x0bchunked",
        b"chunked\x0b",
        b"chun\x00ked",
        b"chunked\x00",
        b"chunked\xff",
        b"\xa0chunked",
        b"\"chunked\"",
        b"'chunked'",
        b"chunked;q=1",
        b"chunked;",
        b"chunked foo",
        b"",
        b"chu nked",
    ];
    let mut rows: Vec<_> = values
        .iter()
        .map(|v| with_lines(&[b"Transfer-Encoding: ", *v].concat()))
        .collect();
    rows.push(with_lines(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    ));
    rows.push(with_lines(
        b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
    ));
    rows.push(with_lines(
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
    ));
    refused(&[400, 501], rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn transfer_encoding_in_http_1_0() {
    let bytes = b"POST /row HTTP/1.0\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n";
    refused(&[400], vec![("1.0 with TE".to_owned(), bytes.to_vec())]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn content_lengths_that_are_not_a_number() {
    let values = [
        "+5",
        "-5",
        "-0",
        "0x5",
        "5.0",
        "5e0",
        "\"5\"",
        "5;",
        "5_0",
        "",
        "5 0",
        "5 ;",
        "five",
        "５",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "99999999999999999999999999",
        "5, 6",
        "5,6",
        "5, 5, 6",
        "5, -5",
    ];
    let mut rows: Vec<_> = values
        .iter()
        .map(|v| with_lines(format!("Content-Length: {v}").as_bytes()))
        .collect();
    rows.push(with_lines(b"Content-Length: 5\r\nContent-Length: 6"));
    rows.push(with_lines(
        b"Content-Length: 5\r\nX-Between: 1\r\nContent-Length: 0",
    ));
    rows.push(with_lines(b"Content-Length: 5\r\nContent-Length:"));
    // A number that is honest and beyond any limit is too large, not malformed; both close.
    refused(&[400, 413], rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_are_not_fields() {
    refused(
        &[400],
        vec![
            with_lines(b"X-A : b"),
            with_lines(b"X-A\t: b"),
            with_lines(b"Content-Length : 5"),
            with_lines(b"Transfer-Encoding : chunked"),
            (
                "space before the first field".into(),
                b"GET /row HTTP/1.1\r\n Host: site.test\r\nHost: site.test\r\n\r\n".to_vec(),
            ),
            (
                "tab before the first field".into(),
                b"GET /row HTTP/1.1\r\n\tX: y\r\nHost: site.test\r\n\r\n".to_vec(),
            ),
            with_lines(b"X-A: b\r\n folded"),
            with_lines(b"X-A: b\r\n\tfolded"),
            with_lines(b"Transfer-Encoding:\r\n chunked"),
            with_lines(b"X-A: b\r\n "),
            with_lines(b"no colon here"),
            with_lines(b": empty name"),
            with_lines(b"X A: b"),
            with_lines(b"X(A): b"),
            with_lines(b"X\"A\": b"),
            with_lines(b"[X]: b"),
            with_lines(b"X/A: b"),
            with_lines(b"X\xe9: b"),
            with_lines(b"X\x01: b"),
            with_lines(b"X\x7f: b"),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_bytes() {
    let mut rows = vec![
        with_lines(b"X-A: b\x00c"),
        with_lines(b"X\x00A: b"),
        with_lines(b"X-A: b\rc"),
        with_lines(b"X-A: b\rTransfer-Encoding: chunked"),
        with_lines(b"X-A: b\r\rX-B: c"),
        with_start(b"GET /ro\x00w HTTP/1.1"),
        with_start(b"GET /ro\rw HTTP/1.1"),
        with_start(b"GET /row\x7f HTTP/1.1"),
    ];
    rows.extend(
        [1, 7, 8, 0x0b, 0x0c, 0x1b, 0x1f, 0x7f]
            .map(|byte| with_lines(&[b"X-A: b".as_slice(), &[byte], b"c"].concat())),
    );
    refused(&[400], rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts() {
    let mut rows = vec![
        with_host(""),
        with_host("Host: site.test\r\nHost: site.test\r\n"),
        with_host("Host: site.test\r\nhost: other.test\r\n"),
    ];
    let values = [
        "",
        "a b",
        "a/b",
        "a@b",
        "user:pw@a",
        "a:b",
        "a:99999",
        "a:-1",
        "a:80:80",
        "a,b",
        "a#b",
        "a?b",
        "a\\b",
        "[::1",
        "::1",
        "[::1]x",
        "[gg::1]",
        "a\"b",
        "http://a",
        "a%",
    ];
    rows.extend(values.map(|v| with_host(&format!("Host: {v}\r\n"))));
    refused(&[400], rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets() {
    let starts: [&[u8]; 14] = [
        b"GET row HTTP/1.1",
        b"GET  HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /a#b HTTP/1.1",
        b"GET # HTTP/1.1",
        b"GET /a\x01 HTTP/1.1",
        b"GET /\"a\" HTTP/1.1",
        b"GET /\xe9 HTTP/1.1",
        b"GET * HTTP/1.1",
        b"GET ?a=b HTTP/1.1",
        b"GET site.test:80 HTTP/1.1",
        b"GET http:///row HTTP/1.1",
        b"GET http://user@site.test/ HTTP/1.1",
    ];
    refused(&[400], starts.into_iter().map(with_start).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_is_not_for_a_gateway() {
    let rows = vec![
        with_start(b"CONNECT site.test:443 HTTP/1.1"),
        with_start(b"CONNECT / HTTP/1.1"),
    ];
    refused(&[400, 405, 501], rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn methods() {
    let starts: [&[u8]; 6] = [
        b"G(T /row HTTP/1.1",
        b"G\"T /row HTTP/1.1",
        b" GET /row HTTP/1.1",
        b"/row HTTP/1.1",
        b"G\x01T /row HTTP/1.1",
        b"G\xe9T /row HTTP/1.1",
    ];
    refused(&[400, 501], starts.into_iter().map(with_start).collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn versions() {
    let major: [&[u8]; 3] = [
        b"GET /row HTTP/2.0",
        b"GET /row HTTP/3.0",
        b"GET /row HTTP/0.9",
    ];
    refused(&[400, 505], major.into_iter().map(with_start).collect()).await;
    let malformed: [&[u8]; 12] = [
        b"GET /row http/1.1",
        b"GET /row HTTX/1.1",
        b"GET /row HTTP/1",
        b"GET /row HTTP/1.",
        b"GET /row HTTP/1.1x",
        b"GET /row HTTP/1.1 x",
        b"GET /row HTTP/1.1 ",
        b"GET /row HTTP /1.1",
        b"GET  /row HTTP/1.1",
        b"GET /row  HTTP/1.1",
        b"GET\t/row\tHTTP/1.1",
        b"GET /row HTTP/11.1",
    ];
    refused(&[400, 505], malformed.into_iter().map(with_start).collect()).await;
    // HTTP/0.9 has neither version nor fields.
    refused(
        &[400, 505],
        vec![("HTTP/0.9".into(), b"GET /row\r\n".to_vec())],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_over_the_limits() {
    let long = |n: usize| "a".repeat(n);
    let lines = |n: usize| (0..n).fold(String::new(), |lines, i| lines + &format!("X-{i}: v\r\n"));
    refused(
        &[431],
        vec![
            with_lines(format!("X-Long: {}", long(70_000)).as_bytes()),
            with_lines(lines(120).trim_end().as_bytes()),
        ],
    )
    .await;
    refused(
        &[414, 431],
        vec![with_start(
            format!("GET /{} HTTP/1.1", long(70_000)).as_bytes(),
        )],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols() {
    refused(
        &[400],
        vec![(
            "PROXY v1".into(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec(),
        )],
    )
    .await;
    let (o, e) = pair().await;
    let hello = b"\x16\x03\x01\x00\xc8\x01\x00\x00\xc4\x03\x03";
    let proxy_v2 =
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02";
    for bytes in [hello.as_slice(), proxy_v2] {
        let mut k = e.client().connect().await;
        let _ = k.try_write([bytes, FOLLOWING].concat()).await;
        let rest = String::from_utf8_lossy(&k.rest().await).into_owned();
        assert!(
            rest.is_empty() || rest.starts_with("HTTP/1.1 400"),
            "{rest}"
        );
        assert_eq!(
            rest.matches("HTTP/1.1").count(),
            usize::from(!rest.is_empty()),
            "{rest}"
        );
    }
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_http2_preface_where_http2_is_off() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[listen]]\naddr = \"{listen}\"\nhttp2 = false\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    let _ = k
        .try_write([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), FOLLOWING].concat())
        .await;
    let rest = String::from_utf8_lossy(&k.rest().await).into_owned();
    assert!(
        rest.is_empty() || rest.starts_with("HTTP/1.1 505") || rest.starts_with("HTTP/1.1 400"),
        "{rest}"
    );
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_are_logged_and_counted() {
    let (_o, e) = pair().await;
    e.client()
        .raw("GET /row HTTP/1.1\r\n\r\n")
        .await
        .expect(400);
    let line = e.log_where(|l| l["status"] == 400).await;
    assert!(
        line["error"].as_str().is_some_and(|why| !why.is_empty()),
        "{line:#}"
    );
}
