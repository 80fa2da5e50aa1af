//! TLS towards the client: which certificate by name, renewal without a restart, ALPN.

use rustls::pki_types::CertificateDer;

use crate::rig::{Authority, Client, Edge, edge, ok, origin, within};

const TWO: &str = r#"
[[listen]]
addr = "{listen}"
tls = [{ cert = "{dir}/a.pem", key = "{dir}/a.key" }, { cert = "{dir}/b.pem", key = "{dir}/b.key" }]
[[route]]
respond = "hello"
"#;

async fn two(ca: &Authority) -> Edge {
    let e = edge(TWO);
    ca.write(e.dir(), "a", &["a.test"]);
    ca.write(e.dir(), "b", &["b.test", "*.b.test"]);
    e.start().await
}

/// The certificate that the edge shows to who asks for `name`.
async fn shown(client: Client) -> CertificateDer<'static> {
    let stream = client.stream().await;
    stream.tls().get_ref().1.peer_certificates().unwrap()[0]
        .clone()
        .into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_is_chosen_by_name() {
    let ca = Authority::new();
    let e = two(&ca).await;
    for name in ["a.test", "b.test", "x.b.test"] {
        e.client()
            .tls(ca.client(&[]), name)
            .get("/")
            .send()
            .await
            .expect(200)
            .body("hello");
    }
    // The first one serves names that none covers; the client is who refuses it.
    let stranger = e
        .client()
        .tls(ca.client(&[]), "stranger.test")
        .try_stream()
        .await;
    assert!(stranger.is_err());
    e.client()
        .tls(ca.client(&[]), "a.test")
        .get("/")
        .send()
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn alpn() {
    let ca = Authority::new();
    let e = two(&ca).await;
    for (offered, chosen) in [
        (vec!["h2", "http/1.1"], Some("h2")),
        (vec!["http/1.1"], Some("http/1.1")),
        (vec![], None),
    ] {
        let stream = e.client().tls(ca.client(&offered), "a.test").stream().await;
        let agreed = stream
            .tls()
            .get_ref()
            .1
            .alpn_protocol()
            .map(|p| String::from_utf8_lossy(p).into_owned());
        assert_eq!(agreed.as_deref(), chosen, "{offered:?}");
    }
    let off = TWO.replace("[[route]]", "http2 = false\n[[route]]");
    let e = edge(&off);
    ca.write(e.dir(), "a", &["a.test"]);
    ca.write(e.dir(), "b", &["b.test"]);
    let e = e.start().await;
    let stream = e
        .client()
        .tls(ca.client(&["h2", "http/1.1"]), "a.test")
        .stream()
        .await;
    assert_eq!(
        stream.tls().get_ref().1.alpn_protocol(),
        Some(b"http/1.1".as_slice())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_pair_is_taken_up_and_a_bad_one_is_not() {
    let ca = Authority::new();
    let e = two(&ca).await;
    let client = || e.client().tls(ca.client(&[]), "a.test");
    let first = shown(client()).await;
    let mut open = client().connect().await;
    open.get("/").await.expect(200);

    // By renaming the pair into place, the key first, as certbot's and cert-manager's hooks do.
    let renew = |certificate: &str, key: &str| {
        for (name, content) in [("a.key", key), ("a.pem", certificate)] {
            let fresh = e.dir().join(format!("{name}.new"));
            std::fs::write(&fresh, content).unwrap();
            std::fs::rename(fresh, e.dir().join(name)).unwrap();
        }
    };
    let (certificate, key) = ca.certificate(&["a.test"]);
    renew(&certificate, &key);
    within("the renewed certificate", async {
        while shown(client()).await == first {}
    })
    .await;
    let second = shown(client()).await;

    // A certificate without its key changes nothing, and the log says why.
    let (orphan, _) = ca.certificate(&["a.test"]);
    renew(&orphan, &key);
    e.stderr("a.pem").await;
    assert_eq!(shown(client()).await, second);
    renew("not a certificate", "not a key");
    assert_eq!(shown(client()).await, second);

    // A connection from before all this goes on.
    open.get("/").await.expect(200).body("hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_on_a_tls_port_is_told_so_and_hurts_nobody() {
    let ca = Authority::new();
    let e = two(&ca).await;
    let mut k = e.client().connect().await;
    let _ = k.try_write("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    let rest = String::from_utf8_lossy(&k.rest().await).into_owned();
    assert!(rest.starts_with("HTTP/1.1 400 "), "{rest}");
    assert!(rest.contains("ask for https://"), "{rest}");
    assert!(!rest.contains("hello"));
    let refused = e.metric("forebay_refused_total{reason=\"plain-on-tls\"}");
    assert!(refused.await > 0.0);
    e.client()
        .tls(ca.client(&[]), "a.test")
        .get("/")
        .send()
        .await
        .expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_shake_has_a_deadline() {
    let ca = Authority::new();
    let e = edge(&format!("[limits]\nhandshake_timeout = \"300ms\"\n{TWO}"));
    ca.write(e.dir(), "a", &["a.test"]);
    ca.write(e.dir(), "b", &["b.test"]);
    let e = e.start().await;
    let mut k = e.client().connect().await;
    k.write(b"\x16\x03\x01").await;
    k.rest().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_origin_learns_that_it_was_https() {
    let ca = Authority::new();
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&TWO.replace("respond = \"hello\"", "to = \"{o1}\"")).origin(&o);
    ca.write(e.dir(), "a", &["a.test"]);
    ca.write(e.dir(), "b", &["b.test"]);
    let e = e.start().await;
    e.client()
        .tls(ca.client(&[]), "a.test")
        .get("/a")
        .send()
        .await
        .expect(200);
    assert_eq!(o.requests()[0].header("x-forwarded-proto"), Some("https"));
    assert_eq!(e.log_line("/a").await["tls"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_in_sni_and_another_in_host_is_misdirected_or_served_by_host() {
    // Connection reuse across names of one certificate is what browsers do over HTTP/2.
    let ca = Authority::new();
    let e = two(&ca).await;
    let h2 = e.client().tls(ca.client(&["h2"]), "b.test").h2().await;
    h2.send(crate::rig::get("/").host("x.b.test"))
        .await
        .expect(200);
}
