//! Clients' certificates: who gets a connection, who gets in, what the application is told, and new authorities.

use crate::rig::{Authority, Client, Edge, client, edge, ok, origin, within};

const TOML: &str = r#"
[[listen]]
addr = "{listen}"
tls = { cert = "{dir}/a.pem", key = "{dir}/a.key" }
client_certificates = { ca = "{dir}/ca.pem", optional = true }
[[listen]]
addr = "{listen2}"
tls = { cert = "{dir}/a.pem", key = "{dir}/a.key" }
client_certificates = { ca = "{dir}/ca.pem" }
[[route]]
to = "{o1}"
[[route]]
path = "/any/"
to = "{o1}"
auth = { certificate = true }
[[route]]
path = "/ann/"
to = "{o1}"
auth = { certificate = ["ann.test", "{print}"], pass = true }
"#;

/// An edge whose own certificate is of `ca`, and that trusts clients of `clients`.
async fn edge_of(o: &crate::rig::Origin, ca: &Authority, clients: &Authority, print: &str) -> Edge {
    let e = edge(TOML)
        .origin(o)
        .value("print", print)
        .file("ca.pem", clients.pem());
    ca.write(e.dir(), "a", &["a.test"]);
    e.start().await
}

fn as_nobody(e: &Edge, ca: &Authority) -> Client {
    e.client().tls(ca.client(&[]), "a.test")
}

fn fingerprint(pem: &str) -> String {
    use rustls::pki_types::pem::PemObject;
    let der = rustls::pki_types::CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let octets = digest.as_ref().iter();
    let digits: Vec<String> = octets.map(|octet| format!("{octet:02X}")).collect();
    format!("sha256:{}", digits.join(":"))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_a_certificate_gets_in() {
    let ca = Authority::new();
    let o = origin("o1").on("/x", ok().max_age(600).body("open"));
    let o = o
        .on("/any/x", ok().max_age(600).body("any"))
        .on("/ann/x", ok().body("ann"));
    let o = o.start().await;
    let [ann, bob, carol] = ["ann.test", "bob.test", "carol.test"].map(|it| ca.certificate(&[it]));
    let e = edge_of(&o, &ca, &ca, &fingerprint(&carol.0)).await;
    let with = |certificate| e.client().tls(ca.client_with(certificate), "a.test");
    for _ in 0..2 {
        as_nobody(&e, &ca).get("/x").send().await.expect(200);
        as_nobody(&e, &ca).get("/any/x").send().await.expect(403);
        as_nobody(&e, &ca).get("/ann/x").send().await.expect(403);
        with(&bob).get("/any/x").send().await.expect(200);
        with(&bob).get("/ann/x").send().await.expect(403);
        with(&ann).get("/ann/x").send().await.expect(200);
        with(&carol)
            .get("/ann/x")
            .header("Client-Cert", ":AAAA:")
            .send()
            .await
            .expect(200);
    }
    assert_eq!((o.fetches("/x"), o.fetches("/any/x")), (1, 1));
    assert_eq!(o.last("/any/x").header("client-cert"), None);
    let told = o.last("/ann/x");
    let told = told.header("client-cert").unwrap();
    let pem: String = carol
        .0
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect();
    assert_eq!(told, format!(":{pem}:"));
    for (path, word) in [
        ("/any/x", "no-certificate"),
        ("/ann/x", "wrong-certificate"),
    ] {
        e.log_where(|line| line["path"] == path && line["error"] == word)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_is_required_there_is_no_connection_without() {
    let (ca, others) = (Authority::new(), Authority::new());
    let o = origin("o1").on("/x", ok()).start().await;
    let e = edge_of(&o, &ca, &ca, "nobody").await;
    let strict = |config| client(e.value("listen2")).tls(config, "a.test");
    let ann = ca.certificate(&["ann.test"]);
    strict(ca.client_with(&ann))
        .get("/x")
        .send()
        .await
        .expect(200);
    // With TLS 1.3 the client hears of it when it reads.
    for config in [
        ca.client(&[]),
        ca.client_with(&others.certificate(&["ann.test"])),
    ] {
        assert!(!gets_in(&strict(config)).await);
    }
    // Where it is optional, one that nobody trusts is none to go on with either.
    let stranger = ca.client_with(&others.certificate(&["ann.test"]));
    assert!(!gets_in(&e.client().tls(stranger, "a.test")).await);
    e.metric_becomes("forebay_tls_handshake_failures_total", 3.0)
        .await;
    let told = e
        .stderr("clients without a certificate that is trusted were turned away")
        .await;
    assert!(
        told.contains(e.value("listen2")) && told.contains("127.0.0.1"),
        "{told}"
    );
}

/// Whether a request is answered at all.
async fn gets_in(client: &Client) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let Ok(mut stream) = client.try_stream().await else {
        return false;
    };
    let asked = stream
        .write_all(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        .await;
    let mut first = [0];
    asked.is_ok() && stream.read_exact(&mut first).await.is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn new_authorities_are_taken_up_and_bad_ones_are_not() {
    let (ca, old, new) = (Authority::new(), Authority::new(), Authority::new());
    let o = origin("o1").on("/any/x", ok()).start().await;
    let e = edge_of(&o, &ca, &old, "nobody").await;
    let (olds, news) = (
        old.certificate(&["ann.test"]),
        new.certificate(&["ann.test"]),
    );
    // One configuration, so that it would resume its session if it could.
    let old_client = client(e.value("listen2")).tls(ca.client_with(&olds), "a.test");
    let new_client = client(e.value("listen2")).tls(ca.client_with(&news), "a.test");
    old_client.get("/any/x").send().await.expect(200);
    assert!(!gets_in(&new_client).await);
    std::fs::write(e.dir().join("ca.pem"), new.pem()).unwrap();
    // Each of the two listeners says so.
    within("both listeners to read them", async {
        let said = |line: &&String| line.contains("were read again");
        while e.stderr_lines().iter().filter(said).count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    new_client.get("/any/x").send().await.expect(200);
    assert!(!gets_in(&old_client).await);
    std::fs::write(e.dir().join("ca.pem"), "not PEM").unwrap();
    e.stderr("the authorities loaded before stay in use").await;
    new_client.get("/any/x").send().await.expect(200);
}
