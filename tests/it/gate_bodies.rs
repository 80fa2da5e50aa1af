//! Chunked bodies that are refused: the last row of table 3.1. The upload must not look complete to the origin.

use crate::rig::{edge, ok, origin};

const HEAD: &str = "POST /row HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n";
const FOLLOWING: &str = "GET /smuggled HTTP/1.1\r\nHost: site.test\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn chunked_bodies() {
    let bodies = [
        "5\r\nhello\r\n\r\n\r\n",      // an empty size
        "\r\n5\r\nhello\r\n0\r\n\r\n", // a leading empty line
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5_0\r\nhello\r\n0\r\n\r\n",
        "g\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello\r\n0\r\n\r\n", // beyond 2^63
        "00000000000000005\r\nhello\r\n0\r\n\r\n", // 17 digits
        "5\r\nhelloX\r\n0\r\n\r\n",               // data not ended by CRLF
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n", // bare LF after a size
        "5\rhello\r\n0\r\n\r\n",
        "5;a=\0\r\nhello\r\n0\r\n\r\n", // NUL in an extension
        "5;a=b\rc\r\nhello\r\n0\r\n\r\n",
        "5;a=b\nc\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
        "5\r\nhello\r\n0\r\nX : y\r\n\r\n",
        "5\r\nhello\r\n0\r\n folded\r\n\r\n",
    ];
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let mut wrong = Vec::new();
    for body in bodies {
        let mut k = e.client().connect().await;
        let _ = k.try_write(format!("{HEAD}{body}{FOLLOWING}")).await;
        let got = k.response("POST").await;
        if got.status != 400 || got.cut.is_some() {
            wrong.push(format!("{body:?}: answered {} {:?}", got.status, got.cut));
        } else if !k.rest().await.is_empty() {
            wrong.push(format!("{body:?}: not closed after the refusal"));
        }
    }
    // What was good in front of a fault may have been sent on, but never as a complete upload.
    let seen = o.requests();
    wrong.extend(
        seen.iter()
            .filter(|r| r.complete)
            .map(|r| format!("looked complete: {r:?}")),
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_never_look_complete_where_uploads_are_streamed() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e =
        edge("[upstream.o]\nservers = [\"{o1}\"]\nbuffer_request = \"0\"\n[[route]]\nto = \"o\"")
            .origin(&o)
            .start()
            .await;
    let mut k = e.client().connect().await;
    k.write(format!("{HEAD}5\r\nhello\r\n")).await;
    // The good chunk is on its way before the bad one comes.
    o.body_of(0, 5).await;
    k.write(format!("\r\n\r\n{FOLLOWING}")).await;
    let got = k.response("POST").await;
    assert!(got.status == 400 || got.cut.is_some(), "{got:#?}");
    assert!(k.rest().await.is_empty());
    let seen = o.request(0).await;
    assert!(!seen.complete && seen.failure.is_some(), "{seen:#?}");
    assert_eq!(o.requests().len(), 1);
}
