//! Loading, renewal and hand-shakes, on certificates made on the spot.

use super::settings::{CertificateSettings, TlsSettings};
use super::*;
use crate::tls::watch::watch_every;
use rcgen::{CertificateParams, DnType, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, ServerConnection,
};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

/// A directory with pairs in it.
struct Pairs {
    directory: TempDir,
}

impl Pairs {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a directory"),
        }
    }

    fn files(&self, pair: &str) -> CertificateSettings {
        CertificateSettings {
            cert: self.directory.path().join(format!("{pair}.crt")),
            key: self.directory.path().join(format!("{pair}.key")),
        }
    }

    /// Makes a pair for these names and writes it.
    fn write(&self, pair: &str, names: &[&str]) {
        let (cert, key) = make(names);
        fs::write(self.files(pair).cert, cert).expect("writing");
        fs::write(self.files(pair).key, key).expect("writing");
    }

    fn settings(&self, pairs: &[&str]) -> TlsSettings {
        TlsSettings {
            certificates: pairs.iter().map(|pair| self.files(pair)).collect(),
            clients: None,
        }
    }

    fn load(&self, pairs: &[&str]) -> Result<Acceptor, TlsError> {
        Acceptor::load(&self.settings(pairs), true)
    }
}

fn make(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate().expect("a key");
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let params = CertificateParams::new(names).expect("valid names");
    let cert = params.self_signed(&key).expect("a certificate");
    (cert.pem(), key.serialize_pem())
}

/// What a client saw.
struct Seen {
    protocol: Option<ProtocolVersion>,
    alpn: Option<Vec<u8>>,
    kind: Option<HandshakeKind>,
}

/// A client that trusts the certificate in use and speaks one version of TLS.
fn client(
    acceptor: &Acceptor,
    version: &'static rustls::SupportedProtocolVersion,
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in acceptor.pairs.lock().iter() {
        roots
            .add(pair.certificate.key.cert[0].clone())
            .expect("a trust anchor");
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[version])
        .expect("a version that ring has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

/// A whole hand-shake in memory.
fn shake_hands(
    client: &Arc<ClientConfig>,
    acceptor: &Acceptor,
    name: &str,
) -> Result<Seen, rustls::Error> {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(acceptor.config())?;
    let mut wire = Vec::new();
    // Tickets come after the hand-shake, so go on until neither side has anything to say.
    while client.wants_write() || server.wants_write() {
        wire.clear();
        client.write_tls(&mut wire).expect("writing to memory");
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            server.read_tls(&mut bytes).expect("reading from memory");
            server.process_new_packets()?;
        }
        wire.clear();
        server.write_tls(&mut wire).expect("writing to memory");
        let mut bytes = wire.as_slice();
        while !bytes.is_empty() {
            client.read_tls(&mut bytes).expect("reading from memory");
            client.process_new_packets()?;
        }
    }
    Ok(Seen {
        protocol: client.protocol_version(),
        alpn: client.alpn_protocol().map(ToOwned::to_owned),
        kind: client.handshake_kind(),
    })
}

#[test]
fn both_versions_and_resumption() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    let acceptor = pairs.load(&["a"]).expect("a good pair");
    for (version, expected) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = client(&acceptor, version);
        let first = shake_hands(&client, &acceptor, "a.org").expect("a hand-shake");
        assert_eq!(first.protocol, Some(expected));
        assert_eq!(first.kind, Some(HandshakeKind::Full));
        assert_eq!(first.alpn.as_deref(), Some(&b"h2"[..]));
        let second = shake_hands(&client, &acceptor, "a.org").expect("a hand-shake");
        assert_eq!(second.kind, Some(HandshakeKind::Resumed));
    }
}

#[test]
fn without_http2_only_http1_is_offered() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    let acceptor = Acceptor::load(&pairs.settings(&["a"]), false).expect("a good pair");
    let seen = shake_hands(
        &client(&acceptor, &rustls::version::TLS13),
        &acceptor,
        "a.org",
    );
    assert_eq!(
        seen.expect("a hand-shake").alpn.as_deref(),
        Some(&b"http/1.1"[..])
    );
    assert!(acceptor.is_for(&pairs.settings(&["a"]), false));
    assert!(!acceptor.is_for(&pairs.settings(&["a"]), true));
}

#[test]
fn each_name_gets_its_certificate() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    pairs.write("b", &["b.org", "*.b.org"]);
    let acceptor = pairs.load(&["a", "b"]).expect("good pairs");
    let client = client(&acceptor, &rustls::version::TLS13);
    for name in ["a.org", "b.org", "www.b.org"] {
        assert!(shake_hands(&client, &acceptor, name).is_ok(), "{name}");
    }
    assert!(shake_hands(&client, &acceptor, "www.a.org").is_err());
    let names: Vec<_> = acceptor
        .certificates()
        .into_iter()
        .map(|info| info.name)
        .collect();
    assert_eq!(names, ["a.org", "b.org"]);
}

#[test]
fn a_changed_pair_is_taken_without_restart() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    let acceptor = pairs.load(&["a"]).expect("a good pair");
    assert_eq!(acceptor.reload().renewed, 0);
    pairs.write("a", &["new.org"]);
    assert_eq!(acceptor.reload().renewed, 1);
    assert_eq!(acceptor.reload().renewed, 0);
    let client = client(&acceptor, &rustls::version::TLS13);
    assert!(shake_hands(&client, &acceptor, "new.org").is_ok());
}

#[test]
fn a_bad_pair_keeps_the_old_one_and_is_said_once() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    pairs.write("b", &["b.org"]);
    let acceptor = pairs.load(&["a", "b"]).expect("good pairs");
    let good = fs::read(pairs.files("a").cert).expect("reading");
    let client = client(&acceptor, &rustls::version::TLS13);

    // The certificate of another key, beside a pair that is renewed.
    fs::write(pairs.files("a").cert, make(&["evil.org"]).0).expect("writing");
    pairs.write("b", &["b2.org"]);
    let renewal = acceptor.reload();
    assert_eq!(renewal.renewed, 1);
    assert!(matches!(
        renewal.kept.as_slice(),
        [TlsError::Mismatch { .. }]
    ));
    assert!(acceptor.reload().kept.is_empty(), "said once");
    assert!(shake_hands(&client, &acceptor, "a.org").is_ok());

    // Not there at all.
    fs::remove_file(pairs.files("a").cert).expect("removing");
    assert!(matches!(
        acceptor.reload().kept.as_slice(),
        [TlsError::Read { .. }]
    ));
    assert!(acceptor.reload().kept.is_empty(), "said once");
    assert!(shake_hands(&client, &acceptor, "a.org").is_ok());

    // Back again.
    fs::write(pairs.files("a").cert, good).expect("writing");
    let renewal = acceptor.reload();
    assert_eq!((renewal.renewed, renewal.kept.len()), (0, 0));
    assert!(shake_hands(&client, &acceptor, "a.org").is_ok());
}

/// Tells the first certificate's name whenever something has changed.
fn watched(acceptor: &Arc<Acceptor>, look_every: Duration) -> (Watch, UnboundedReceiver<String>) {
    let (sender, changes) = unbounded_channel();
    let watch = watch_every(
        look_every,
        &Handle::current(),
        vec![Arc::clone(acceptor)],
        move |acceptors| {
            let _ = sender.send(acceptors[0].certificates()[0].name.clone());
        },
    );
    (watch, changes)
}

/// Kubernetes' way: `a.crt` leads through `..data` into a directory that is swapped as a whole. Looking is put off, so
/// that only events can tell; they are real, and so is the time.
#[tokio::test]
async fn swapped_links_are_noticed_again_and_again() {
    let pairs = Pairs::new();
    let root = pairs.directory.path();
    let swap = |generation: &str, name: &str| {
        fs::create_dir(root.join(generation)).expect("a directory");
        pairs.write(&format!("{generation}/a"), &[name]);
        symlink(generation, root.join("..tmp")).expect("a link");
        fs::rename(root.join("..tmp"), root.join("..data")).expect("renaming");
    };
    swap("..1", "one.org");
    for file in ["a.crt", "a.key"] {
        symlink(Path::new("..data").join(file), root.join(file)).expect("a link");
    }
    for pair in ["a", "..data/a"] {
        let acceptor = Arc::new(pairs.load(&[pair]).expect("a good pair"));
        let (_watch, mut changes) = watched(&acceptor, Duration::from_secs(3_600));
        for turn in 2..4 {
            let name = format!("{turn}.org");
            let generation = format!("..{}{turn}", pair.len());
            swap(&generation, &name);
            assert_eq!(changes.recv().await, Some(name));
        }
        // The directory that the link leads to now is watched as well.
        pairs.write("..data/a", &["written.org"]);
        while changes.recv().await.as_deref() != Some("written.org") {}
    }
}

/// Tokio's time is paused and runs ahead to the next look before any event can come to rest.
#[tokio::test(start_paused = true)]
async fn what_sends_no_events_is_found_by_looking() {
    let pairs = Pairs::new();
    pairs.write("a", &["one.org"]);
    let acceptor = Arc::new(pairs.load(&["a"]).expect("a good pair"));
    let (_watch, mut changes) = watched(&acceptor, Duration::from_secs(15));
    pairs.write("a", &["two.org"]);
    // Between the two writes of a pair a look may come and keep the old one; the next one has both.
    while changes.recv().await.as_deref() != Some("two.org") {}
}

#[test]
fn messages_say_what_was_found() {
    let pairs = Pairs::new();
    pairs.write("a", &["a.org"]);
    pairs.write("b", &["b.org"]);
    let read = |path: &Path| fs::read_to_string(path).expect("reading");
    let (cert, key) = (read(&pairs.files("a").cert), read(&pairs.files("a").key));
    let (other, _) = make(&["c.org"]);
    let path = |file: &str| pairs.directory.path().join(file).display().to_string();
    for (cert_text, key_text, expected) in [
        (
            "",
            key.as_str(),
            format!(
                "no certificate in `{}`: expected a PEM block CERTIFICATE, found an empty file",
                path("x.crt")
            ),
        ),
        (
            &key,
            &key,
            format!(
                "no certificate in `{}`: expected a PEM block CERTIFICATE, found PRIVATE KEY",
                path("x.crt")
            ),
        ),
        (
            "hello",
            &key,
            format!(
                "no certificate in `{}`: expected a PEM block CERTIFICATE, found no PEM block",
                path("x.crt")
            ),
        ),
        (
            "0\u{1}",
            &key,
            format!(
                "no certificate in `{}`: expected a PEM block CERTIFICATE, found binary data",
                path("x.crt")
            ),
        ),
        (
            &cert,
            &cert,
            format!("no private key in `{}`: ", path("x.key")),
        ),
        (
            &cert,
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
            format!("the private key in `{}` is encrypted; ", path("x.key")),
        ),
        (
            &cert,
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
            format!("the private key in `{}` cannot be used: ", path("x.key")),
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            &key,
            format!(
                "`{}` is not well-formed PEM: a block has no END line",
                path("x.crt")
            ),
        ),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            &key,
            format!("the certificate in `{}` cannot be read: ", path("x.crt")),
        ),
        (
            &other,
            &key,
            format!(
                "the key in `{}` does not match the certificate in `{}`",
                path("x.key"),
                path("x.crt")
            ),
        ),
        (
            &format!("{other}{cert}"),
            &key,
            format!(
                "the key in `{}` matches certificate 2 in `{}`, not the first; ",
                path("x.key"),
                path("x.crt")
            ),
        ),
    ] {
        fs::write(pairs.files("x").cert, cert_text).expect("writing");
        fs::write(pairs.files("x").key, key_text).expect("writing");
        let error = pairs.load(&["x"]).expect_err("a bad pair").to_string();
        assert!(error.starts_with(&expected), "{error}\n{expected}");
    }
    let missing = pairs.load(&["nowhere"]).expect_err("no file").to_string();
    assert!(
        missing.starts_with(&format!("cannot read `{}`: ", path("nowhere.crt"))),
        "{missing}"
    );
    assert!(matches!(pairs.load(&[]), Err(TlsError::Empty)));
}

#[test]
fn the_common_name_counts_where_there_is_no_other() {
    let pairs = Pairs::new();
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Old.example");
    let cert = params.self_signed(&key).expect("a certificate");
    fs::write(pairs.files("a").cert, cert.pem()).expect("writing");
    fs::write(pairs.files("a").key, key.serialize_pem()).expect("writing");
    let acceptor = pairs.load(&["a"]).expect("a good pair");
    assert!(
        acceptor.certificates()[0]
            .names
            .contains(&"old.example".to_owned())
    );
}
