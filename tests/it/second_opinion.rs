//! The gate beside a second reading of RFC 9112, which the fuzz target `differential` compares it with: over all raw requests of the
//! battery, and over heads and bodies made of what is nearly right.

use crate::rig::{python, repository};
use proptest::prelude::*;

#[path = "../../fuzz/src/differential.rs"]
mod differential;
#[path = "../../fuzz/src/reference.rs"]
mod reference;

/// The raw requests of the battery, each with an ordinary one behind it.
async fn battery() -> Vec<Vec<u8>> {
    let printed = python("python")
        .await
        .args(["tests/battery/main.py", "--dump"])
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(repository())
        .output()
        .await
        .unwrap();
    assert!(printed.status.success(), "{printed:?}");
    let text = String::from_utf8(printed.stdout).unwrap();
    let octet = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines()
        .map(|line| line.as_bytes().chunks(2).map(octet).collect())
        .collect()
}

#[tokio::test]
async fn what_the_battery_sends() {
    let cases = battery().await;
    let read = cases.iter().map(|case| differential::connection(case));
    let (mut refused, mut accepted) = (0, 0);
    for requests in read {
        if requests == 0 {
            refused += 1;
        } else {
            accepted += 1;
        }
    }
    // Neither side is there for show.
    assert!(refused > 300 && accepted > 80, "{refused} and {accepted}");
}

fn piece() -> impl Strategy<Value = &'static [u8]> {
    let pieces: &[&[u8]] = &[
        b"Host: a\r\n",
        b"host:\ta:80 \r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 5, 5\r\n",
        b"content-length: 05\r\n",
        b"Content-Length: 0\r\n",
        b"Content-Length: +5\r\n",
        b"Content-Length: 18446744073709551616\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: \tCHUNKED \r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer_Encoding: chunked\r\n",
        b"Connection: x-a\r\n",
        b"Connection: close\r\n",
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
        b"Expect: 100-continue\r\n",
        b"X-A: b\r\n",
        b"X-A: \r\n",
        b"X-A: \xe9\r\n",
        b"X-A: b\r\n c\r\n",
        b"X-A : b\r\n",
        b"X-A: b\n",
        b"X-A: b\x01\r\n",
        b"X\0: b\r\n",
        b": b\r\n",
        b"a_b: c\r\n",
        b"Proxy: a\r\n",
        b"TE: trailers\r\n",
        b" \r\n",
    ];
    prop::sample::select(pieces)
}

fn start() -> impl Strategy<Value = &'static [u8]> {
    let lines: &[&[u8]] = &[
        b"GET / HTTP/1.1\r\n",
        b"POST /p?q HTTP/1.1\r\n",
        b"\r\nPUT /p HTTP/1.1\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
        b"GET http://a HTTP/1.1\r\n",
        b"GET HTTP://a?b HTTP/1.1\r\n",
        b"GET http://a:80/b HTTP/1.0\r\n",
        b"POST / HTTP/1.0\r\n",
        b"!#$ / HTTP/1.1\r\n",
        b"GET /\xc3\xa9|{} HTTP/1.1\r\n",
        b"GET  / HTTP/1.1\r\n",
        b"GET / HTTP/1.2\r\n",
        b"GET /\tx HTTP/1.1\r\n",
    ];
    prop::sample::select(lines)
}

fn body() -> impl Strategy<Value = &'static [u8]> {
    let pieces: &[&[u8]] = &[
        b"hello",
        b"5\r\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b"05 ; a=\"b\"\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"0\r\n\r\n",
        b"000;x\r\n\r\n",
        b"0\r\nX: y\r\n\r\n",
        b"0\r\nX : y\r\n\r\n",
        b"+5\r\nhello\r\n",
        b"\r\n",
        b"\n",
        b"5\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ];
    prop::sample::select(pieces)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]
    #[test]
    fn what_is_nearly_right(
        start in start(),
        lines in prop::collection::vec(piece(), 0..4),
        bodies in prop::collection::vec(body(), 0..5),
    ) {
        let octets = [start, b"Host: a\r\n", &lines.concat(), b"\r\n", &bodies.concat()].concat();
        differential::connection(&octets);
        // And with no more lines than those drawn.
        let octets = [start, &lines.concat(), b"\r\n", &bodies.concat()].concat();
        differential::connection(&octets);
    }
}
