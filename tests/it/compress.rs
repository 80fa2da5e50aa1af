//! Content codings of what passes: who gets which, what is left alone, and that nothing is held back.

use std::io::{Read as _, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::rig::{
    Gate, Origin, Reply, Response, edge, gate, get, head, ok, origin, status, within,
};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

const CODINGS: [&str; 3] = ["br", "gzip", "zstd"];

/// Ten KiB of JSON, as an API would send it.
pub fn json() -> String {
    let rows: Vec<_> = (0..170)
        .map(|n| {
            format!(
                "{{\"id\":{n},\"name\":\"Item number {n}\",\"price\":\"{}.99\",\"in_stock\":true}}",
                n * 7 % 100
            )
        })
        .collect();
    format!("[{}]", rows.join(",\n"))
}

pub fn decoded(coding: &str, coded: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    match coding {
        "br" => brotli::Decompressor::new(coded, 4096).read_to_end(&mut plain),
        "gzip" => flate2::read::GzDecoder::new(coded).read_to_end(&mut plain),
        "zstd" => {
            zstd::stream::read::Decoder::new(coded).and_then(|mut d| d.read_to_end(&mut plain))
        }
        other => panic!("{other} is no coding"),
    }
    .unwrap_or_else(|e| panic!("{coding}: {e}"));
    plain
}

/// What can be decoded of a coded text so far.
fn decoded_so_far(coding: &str, coded: &[u8]) -> String {
    let mut plain = Vec::new();
    // A stream that has not ended is an error for the writers' `finish`, which is not called.
    let _ = match coding {
        "br" => brotli::DecompressorWriter::new(&mut plain, 4096).write_all(coded),
        "gzip" => flate2::write::GzDecoder::new(&mut plain).write_all(coded),
        "zstd" => zstd::stream::write::Decoder::new(&mut plain)
            .and_then(|mut decoder| decoder.write_all(coded).and_then(|()| decoder.flush())),
        other => panic!("{other} is no coding"),
    };
    String::from_utf8_lossy(&plain).into_owned()
}

/// It is what an origin sent of `plain`, in this coding.
#[track_caller]
fn expect_coded(got: Response, coding: &str, plain: &str) -> Response {
    let got = got.expect(200).header("content-encoding", coding);
    assert!(
        decoded(coding, &got.body.content) == plain.as_bytes(),
        "{coding}"
    );
    assert!(
        got.body.content.len() * 3 < plain.len(),
        "{coding}: {got:#?}"
    );
    got
}

/// It is what an origin sent, octet for octet.
#[track_caller]
fn expect_plain(got: Response, plain: impl AsRef<[u8]>) -> Response {
    got.expect(200).body(plain)
}

fn uncacheable(content_type: &str, body: &str) -> Reply {
    ok().header("content-type", content_type)
        .header("cache-control", "no-store")
        .body(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_coding_that_it_prefers() {
    let json = json();
    let reply = uncacheable("application/json", &json)
        .header("etag", "\"v1\"")
        .header("vary", "Cookie")
        .header("accept-ranges", "bytes");
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    let mut k = e.client().connect().await;
    for (accept, coding) in [
        ("br", "br"),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, br;q=0.5", "gzip"),
        ("identity;q=0, gzip;q=0.1", "gzip"),
    ] {
        let asked = get("/a").header("Accept-Encoding", accept);
        // The connection is kept: the coded body ends where its framing says.
        for got in [k.send(&asked).await, h2.send(asked).await] {
            expect_coded(got, coding, &json)
                .header("content-type", "application/json")
                .header("vary", "Cookie, Accept-Encoding")
                .header("etag", "W/\"v1\"")
                .no_header("content-length")
                .no_header("accept-ranges");
        }
    }
    for accept in ["", "identity", "deflate", "br;q=0", "identity, br;q=0.5"] {
        let asked = get("/a").header("Accept-Encoding", accept);
        // The coded form is there for others, so caches between us and them must know.
        expect_plain(k.send(&asked).await, &json)
            .header("vary", "Cookie, Accept-Encoding")
            .header("etag", "\"v1\"")
            .header("accept-ranges", "bytes")
            .header("content-length", &json.len().to_string());
    }
    expect_plain(k.get("/a").await, &json).header("vary", "Cookie, Accept-Encoding");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_is_asked_for_what_the_client_takes() {
    let o = origin("o1")
        .on("/a", uncacheable("text/plain", "v1"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    // A fetch that others may share asks in the one form that all of them have in common; then it is known that none can.
    for accept in ["gzip;q=0.3, br", "gzip;q=0.3, br", "identity"] {
        let asked = get("/a").header("Accept-Encoding", accept);
        e.client().request(asked).send().await.expect(200);
    }
    let seen = o.requests();
    assert_eq!(seen[0].header("accept-encoding"), Some("br, gzip"));
    assert_eq!(seen[1].header("accept-encoding"), Some("gzip;q=0.3, br"));
    assert_eq!(seen[2].header("accept-encoding"), Some("identity"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_alone() {
    let json = json();
    let of = |content_type: &str| uncacheable(content_type, &json);
    let o = origin("o1")
        .on("/small", uncacheable("application/json", &json[..1023]))
        .on("/image", of("image/png"))
        .on("/unknown", ok().body(&json))
        .on("/coded", of("text/html").header("content-encoding", "gzip"))
        .on(
            "/no-transform",
            of("text/html").header("cache-control", "private, no-transform"),
        )
        .on(
            "/digest",
            of("text/html").header("repr-digest", "sha-256=:AA==:"),
        )
        .on("/events", of("text/event-stream"))
        .on("/grpc", of("application/grpc"))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for path in [
        "/small",
        "/image",
        "/unknown",
        "/coded",
        "/no-transform",
        "/digest",
        "/events",
        "/grpc",
    ] {
        let got = k
            .send(&get(path).header("Accept-Encoding", "br, gzip, zstd"))
            .await;
        let sent = if path == "/small" {
            &json[..1023]
        } else {
            &json
        };
        let got = expect_plain(got, sent)
            .no_header("vary")
            .header("content-length", &sent.len().to_string());
        let coding = got.head.get("content-encoding");
        assert_eq!(coding, (path == "/coded").then_some("gzip"), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gets_it_as_it_came() {
    let json = json();
    let o = origin("o1")
        .on("/a", uncacheable("application/json", &json))
        .on(
            "/part",
            status(206)
                .header("content-type", "text/plain")
                .header("content-range", "bytes 0-2047/9000")
                .body(&json[..2048]),
        )
        .start()
        .await;
    let toml = "[[route]]\npath = \"/off/\"\nto = \"{o1}\"\nstrip_prefix = true\ncache = { compress = false }\n[[route]]\nto = \"{o1}\"";
    let e = edge(toml).origin(&o).start().await;
    let asked = |path: &str| get(path).header("Accept-Encoding", "gzip");
    // Where only the close ends a body, one that is cut looks whole.
    let got = e.client().request(asked("/a").http10()).send().await;
    expect_plain(got, &json).header("content-length", &json.len().to_string());
    let no_transform = asked("/a").header("Cache-Control", "no-transform");
    let got = e.client().request(no_transform).send().await;
    expect_plain(got, &json).header("vary", "Accept-Encoding");
    let got = e.client().request(asked("/off/a")).send().await;
    expect_plain(got, &json).no_header("vary");
    let part = asked("/part").header("Range", "bytes=0-2047");
    let got = e.client().request(part).send().await.expect(206);
    got.body(&json[..2048])
        .header("content-range", "bytes 0-2047/9000")
        .no_header("vary");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_says_what_a_get_would() {
    let json = json();
    let reply = uncacheable("application/json", &json).header("etag", "\"v1\"");
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    let got = k.send(&head("/a").header("Accept-Encoding", "br")).await;
    got.expect(200)
        .header("content-encoding", "br")
        .header("etag", "W/\"v1\"")
        .header("vary", "Accept-Encoding")
        .no_header("content-length")
        .body("");
    let got = k.send(&get("/a").header("Accept-Encoding", "br")).await;
    expect_coded(got, "br", &json);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_304_is_about_the_form_that_the_client_holds() {
    let o = origin("o1")
        .on("/a", uncacheable("text/plain", "v1"))
        .then(status(304).header("etag", "\"v1\""))
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    // From here on it is known that the client must ask the origin itself.
    e.client().get("/a").send().await.expect(200);
    for (held, answered) in [("W/\"v1\"", "W/\"v1\""), ("\"v1\"", "\"v1\"")] {
        let asked = get("/a").header("If-None-Match", held);
        let got = e.client().request(asked).send().await.expect(304);
        got.header("etag", answered);
    }
}

/// An origin that sends three lines, each after the gate was passed.
async fn slow_page(next: &Gate) -> Origin {
    let page = ok()
        .header("content-type", "text/html")
        .chunks(["<p>first"])
        .hold(next)
        .data("<p>second")
        .hold(next)
        .data("<p>third");
    origin("o1").on("/page", page).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_streamed_page_arrives_piece_by_piece() {
    for coding in CODINGS {
        let next = gate();
        let o = slow_page(&next).await;
        let e = edge(PLAIN).origin(&o).start().await;
        let asked = get("/page").header("Accept-Encoding", coding);
        let h2 = e.client().h2().await;
        let answer = h2.call(&asked, true).await.unwrap().response.await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], coding);
        let mut body = answer.into_body();
        let mut coded = Vec::new();
        for expected in ["<p>first", "<p>first<p>second", "<p>first<p>second<p>third"] {
            // The origin sends the next piece only after the client can read this one.
            within(expected, async {
                while decoded_so_far(coding, &coded) != expected {
                    coded.extend(body.data().await.expect("more comes").unwrap());
                }
            })
            .await;
            next.let_one_through();
        }
        while let Some(rest) = body.data().await {
            coded.extend(rest.unwrap());
        }
        assert_eq!(decoded(coding, &coded), b"<p>first<p>second<p>third");
    }
}

/// The content of as many whole chunks as there are behind a head.
fn dechunked(mut wire: &[u8]) -> Vec<u8> {
    let find = |bytes: &[u8], what: &[u8]| bytes.windows(what.len()).position(|w| w == what);
    let mut content = Vec::new();
    let Some(head) = find(wire, b"\r\n\r\n") else {
        return content;
    };
    wire = &wire[head + 4..];
    while let Some(line) = find(wire, b"\r\n") {
        let size = str::from_utf8(&wire[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = wire.get(line + 2..line + 2 + size) else {
            break;
        };
        content.extend_from_slice(chunk);
        wire = wire.get(line + 2 + size + 2..).unwrap_or_default();
    }
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn and_so_it_does_over_http1() {
    let next = gate();
    let o = slow_page(&next).await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut stream = e.client().stream().await;
    let asked = get("/page").header("Accept-Encoding", "gzip");
    stream
        .write_all(&asked.head_bytes("site.test"))
        .await
        .unwrap();
    let mut wire = Vec::new();
    for expected in ["<p>first", "<p>first<p>second", "<p>first<p>second<p>third"] {
        within(expected, async {
            while decoded_so_far("gzip", &dechunked(&wire)) != expected {
                assert!(stream.read_buf(&mut wire).await.unwrap() > 0, "more comes");
            }
        })
        .await;
        next.let_one_through();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_stays_visible() {
    let json = json();
    let of = |reply: Reply| reply.header("content-type", "application/json");
    let o = origin("o1")
        .on("/length", of(ok()).length(20_000).data(&json).cut())
        .on("/chunked", of(ok()).chunks([json.as_str()]).cut())
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    for path in ["/length", "/chunked"] {
        let asked = get(path).header("Accept-Encoding", "gzip");
        for got in [
            e.client().request(asked.clone()).send().await,
            e.client().h2().await.send(asked).await,
        ] {
            // Nothing had been sent to the client yet: then a 502 is as good a sign.
            assert!(got.cut.is_some() || got.status == 502, "{path}: {got:#?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn from_an_origin_that_speaks_http2() {
    let json = json();
    let of = || ok().header("content-type", "application/json");
    let o = origin("o1")
        .on("/length", of().body(&json))
        .on("/unknown", of().chunks([json.as_str()]))
        .on(
            "/trailers",
            of().chunks([json.as_str()]).trailer("x-sum", "1"),
        )
        .h2()
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    for path in ["/length", "/unknown", "/trailers"] {
        for coding in CODINGS {
            let asked = get(path).header("Accept-Encoding", coding);
            let got = e.client().request(asked.clone()).send().await;
            expect_coded(got, coding, &json);
            expect_coded(h2.send(asked).await, coding, &json);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_ends_with_its_head_has_nothing_to_be_coded() {
    let reply = ok().header("content-type", "text/html").ends_with_head();
    let o = origin("o1").on("/a", reply).h2().start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    for coding in CODINGS {
        let asked = get("/a").header("Accept-Encoding", coding);
        // The first of them is fetched for the cache; the others are forwarded by themselves.
        for got in [
            h2.send(asked.clone()).await,
            e.client().request(asked).send().await,
        ] {
            got.expect(200)
                .no_header("content-encoding")
                .header("content-length", "0")
                .body("");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn trailers_stay_behind_a_coded_body() {
    let json = json();
    let reply = ok()
        .header("content-type", "application/json")
        .chunks([json.as_str()])
        .trailer("x-sum", "1");
    let o = origin("o1").on("/a", reply).h2().start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let h2 = e.client().h2().await;
    // What was fetched for the cache has none.
    h2.send(get("/a")).await.expect(200);
    for coding in CODINGS {
        let got = h2.send(get("/a").header("Accept-Encoding", coding)).await;
        expect_coded(got, coding, &json).trailer("x-sum", "1");
        let asked = get("/a").header("Accept-Encoding", coding);
        let got = e.client().request(asked).send().await;
        assert!(
            expect_coded(got, coding, &json).body.trailers.is_empty(),
            "an HTTP/1 client did not ask for any"
        );
    }
}
