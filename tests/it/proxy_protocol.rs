//! The PROXY protocol, versions 1 and 2, where a listener asks for it.

use crate::rig::{Authority, Edge, Origin, edge, ok, origin};

const TOML: &str =
    "[[listen]]\naddr = \"{listen}\"\nproxy_protocol = true\n[[route]]\nto = \"{o1}\"";

async fn pair() -> (Origin, Edge) {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(TOML).origin(&o).start().await;
    (o, e)
}

/// A version 2 header: command, family and addresses.
fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n".as_slice(),
        &[0x20 | command, family],
        &length,
        addresses,
    ]
    .concat()
}

const V4: [u8; 12] = [203, 0, 113, 7, 192, 0, 2, 1, 0xdd, 0xd5, 0, 80];

#[tokio::test(flavor = "multi_thread")]
async fn the_client_is_who_the_header_says() {
    let (o, e) = pair().await;
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(
        &"2001:db8::7"
            .parse::<std::net::Ipv6Addr>()
            .unwrap()
            .octets(),
    );
    let with_tlv = [V4.as_slice(), &[0x04, 0, 2, 1, 2]].concat();
    let rows: [(Vec<u8>, &str); 7] = [
        (
            b"PROXY TCP4 203.0.113.7 192.0.2.1 56789 80\r\n".to_vec(),
            "203.0.113.7",
        ),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 56789 80\r\n".to_vec(),
            "2001:db8::7",
        ),
        (v2(1, 0x11, &V4), "203.0.113.7"),
        (v2(1, 0x21, &v6), "2001:db8::7"),
        (v2(1, 0x11, &with_tlv), "203.0.113.7"),
        // Health checks of the balancer itself: the connection's own address counts.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (v2(0, 0x00, &[]), "127.0.0.1"),
    ];
    for (n, (header, client)) in rows.into_iter().enumerate() {
        e.client()
            .prologue(header)
            .get(&format!("/{n}"))
            .send()
            .await
            .expect(200);
        assert_eq!(o.requests()[n].header("x-forwarded-for"), Some(client));
        assert_eq!(e.log_line(&format!("/{n}")).await["client"], client);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn split_anywhere_and_followed_by_the_request_at_once() {
    let (o, e) = pair().await;
    let request = b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n";
    for header in [
        b"PROXY TCP4 203.0.113.7 192.0.2.1 56789 80\r\n".to_vec(),
        v2(1, 0x11, &V4),
    ] {
        let whole = [header.as_slice(), request].concat();
        for at in 1..=header.len() {
            let mut k = e.client().connect().await;
            k.write(&whole[..at]).await;
            tokio::task::yield_now().await;
            k.write(&whole[at..]).await;
            k.response("GET").await.expect(200);
        }
    }
    assert!(
        o.requests()
            .iter()
            .all(|r| r.header("x-forwarded-for") == Some("203.0.113.7"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_valid_header_the_connection_is_closed() {
    let (o, e) = pair().await;
    let request = b"GET /a HTTP/1.1\r\nHost: site.test\r\n\r\n".as_slice();
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
    let rows: [&[u8]; 6] = [
        b"",
        b"PROXY TCP4 999.0.113.7 192.0.2.1 56789 80\r\n",
        b"PROXY TCP4 203.0.113.7\r\n",
        b"PROXY TCP9 203.0.113.7 192.0.2.1 56789 80\r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\x00\x0c\x01\x02\x03\x04\x05\x06\x07\x08\x00\x01\x00\x02",
    ];
    for header in rows {
        let mut k = e.client().connect().await;
        let _ = k.try_write([header, request].concat()).await;
        let rest = k.rest().await;
        assert!(
            rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"),
            "{:?}",
            String::from_utf8_lossy(&rest)
        );
    }
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn before_tls_and_before_http2() {
    let ca = Authority::new();
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = "[[listen]]\naddr = \"{listen}\"\nproxy_protocol = true\ntls = { cert = \"{dir}/a.pem\", key = \"{dir}/a.key\" }\n[[listen]]\naddr = \"{listen2}\"\nproxy_protocol = true\n[[route]]\nto = \"{o1}\"";
    let e = edge(toml).origin(&o);
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    let header = v2(1, 0x11, &V4);
    let tls = e
        .client()
        .tls(ca.client(&["h2"]), "a.test")
        .prologue(&header);
    tls.h2().await.get("/a").await.expect(200);
    let plain = crate::rig::client(e.value("listen2")).prologue(&header);
    plain.h2().await.get("/b").await.expect(200);
    assert!(
        o.requests()
            .iter()
            .all(|r| r.header("x-forwarded-for") == Some("203.0.113.7"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_never_ends_has_a_deadline() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(&format!("[limits]\nhandshake_timeout = \"300ms\"\n{TOML}"))
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    k.write("PROXY TCP4 203").await;
    k.rest().await;
}
