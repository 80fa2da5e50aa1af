//! A target as Pingora wants it, for HTTP/2 and upgrades: an `HttpPeer` with an address and every option set.
//!
//! Facts of Pingora 0.9.1 with rustls that this file rests on (`connectors/tls/rustls/mod.rs`, `upstreams/peer.rs`):
//!
//! * The connector honours a peer's own CA and client certificate; it builds a TLS configuration for each connection
//!   from them, so there is no session resumption to such servers.
//! * The key under which idle connections are kept covers address, scheme, SNI, verification and the serial numbers of
//!   the client certificate, but neither the CA nor whose settings they are: `group_key` is ours for that.
//! * All timeouts default to none; `HttpPeer::new` resolves names, with an `unwrap`, unless it is given an address.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::l4::ext::TcpKeepalive;
use pingora::protocols::tls::CaType;
use pingora::tls::load_native_certs;
use pingora::upstreams::peer::{ALPN, HttpPeer};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use pingora::{Error, ErrorType};
use rustls_pki_types::CertificateDer;

use super::Target;
use super::Upstream;
use super::address::Socket;
use super::claim::ConnectFailure;
use super::connect;
use super::settings::UpstreamHttp;
use super::trust::Trust;

/// Streams at once on one HTTP/2 connection to a server.
const H2_STREAMS: usize = 100;

const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: connect::KEEPALIVE_AFTER,
    interval: connect::KEEPALIVE_APART,
    count: connect::KEEPALIVE_TRIES as usize,
    user_timeout: Duration::ZERO,
};

/// An upstream's trust in Pingora's types.
#[derive(Debug)]
pub struct PeerTrust {
    ca: Option<Arc<CaType>>,
    identity: Option<Arc<CertKey>>,
    verify: bool,
    group_key: u64,
}

impl PeerTrust {
    /// The same trust. Its certificates were checked to be parsable, which Pingora relies on.
    pub(super) fn new(trust: &Trust) -> Self {
        let parsed = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
        let ca = trust.authorities.as_ref();
        let identity = trust.identity.as_ref().map(|(chain, key)| {
            let chain = chain.iter().map(|der| der.to_vec()).collect();
            Arc::new(CertKey::new(chain, key.secret_der().to_vec()))
        });
        Self {
            ca: ca.map(|ders| ders.iter().map(parsed).collect()),
            identity,
            verify: !trust.insecure,
            group_key: trust.fingerprint,
        }
    }
}

/// The peer for a try at `target`.
///
/// Pingora has one read timeout for the answer's header and its body alike: it is set to the longer of `first_byte`
/// and `between_bytes`. The shorter one, `retry.per_try`, and lifting it for upgraded connections are the proxy's.
///
/// # Errors
/// When a unix socket's path does not fit a socket address, which [`Upstreams::build`](super::Upstreams::build) refuses.
pub fn peer(target: &Target, upstream: &Upstream) -> Result<Box<HttpPeer>, Box<Error>> {
    let settings = &upstream.settings;
    let (tls, sni) = if target.tls() {
        (true, target.sni().to_owned())
    } else {
        (false, String::new())
    };
    let mut peer = match target.socket() {
        Socket::Tcp(addr) => HttpPeer::new(*addr, tls, sni),
        Socket::Unix(path) => HttpPeer::new_uds(&path.to_string_lossy(), tls, sni)?,
    };
    let trust = upstream.peer_trust.load();
    peer.group_key = trust.group_key;
    let options = &mut peer.options;
    if tls {
        options.verify_cert = trust.verify;
        options.verify_hostname = trust.verify;
        options.ca.clone_from(&trust.ca);
        peer.client_cert_key.clone_from(&trust.identity);
    }
    options.alpn = match (settings.http, tls) {
        (UpstreamHttp::Http1, _) | (UpstreamHttp::Auto, false) => ALPN::H1,
        // Without TLS there is no ALPN: then this is prior knowledge (RFC 9113 §3.3).
        (UpstreamHttp::Http2, _) => ALPN::H2,
        (UpstreamHttp::Auto, true) => ALPN::H2H1,
    };
    if options.alpn != ALPN::H1 {
        options.max_h2_streams = H2_STREAMS;
    }
    let timeouts = &settings.timeouts;
    options.connection_timeout = Some(timeouts.connect);
    options.total_connection_timeout = Some(timeouts.connect);
    options.read_timeout = Some(timeouts.first_byte.max(timeouts.between_bytes));
    options.write_timeout = Some(timeouts.send);
    options.idle_timeout = Some(settings.keepalive.idle);
    if matches!(target.socket(), Socket::Tcp(_)) {
        options.tcp_keepalive = Some(TCP_KEEPALIVE);
    }
    Ok(Box::new(peer))
}

/// What a failed connect says of the address, and in which words to complain to the operator.
pub fn connect_failure(error: &Error) -> (ConnectFailure, String) {
    let io = io_cause(error);
    let failure = match error.etype() {
        ErrorType::TLSHandshakeFailure
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::TLSWantX509Lookup
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::H2Error
        | ErrorType::H2Downgrade
        | ErrorType::InvalidH2 => ConnectFailure::Handshake,
        // Pingora calls a unix socket that we may not open its own error; to us it is like one that is not there.
        ErrorType::InternalError if is_denied(io) => ConnectFailure::NotThere,
        ErrorType::BindError | ErrorType::SocketError | ErrorType::InternalError => {
            ConnectFailure::Local
        }
        _ => ConnectFailure::NotThere,
    };
    let inner = innermost(error);
    let complaint = match (error.etype(), io, &inner.context) {
        (_, Some(io), _) => connect::plain(io),
        (ErrorType::ConnectRefused, ..) => "connection refused".to_owned(),
        (ErrorType::ConnectNoRoute, ..) => "no route to host".to_owned(),
        (ErrorType::ConnectTimedout, ..) => "connect timed out".to_owned(),
        (_, None, Some(context)) => context.as_str().to_owned(),
        (kind, None, None) => kind.as_str().to_owned(),
    };
    (failure, complaint)
}

fn is_denied(io: Option<&io::Error>) -> bool {
    io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
}

/// Pingora wraps its errors in its errors: the one that knows most.
fn innermost(error: &Error) -> &Error {
    let cause = error.cause.as_ref();
    match cause.and_then(|cause| cause.downcast_ref::<Box<Error>>()) {
        Some(inner) => innermost(inner),
        None => error,
    }
}

/// The I/O error at the bottom of it, where there is one.
fn io_cause(error: &Error) -> Option<&io::Error> {
    let root: &(dyn std::error::Error + 'static) = error.root_cause();
    std::iter::successors(Some(root), |error| error.source())
        .find_map(|error| error.downcast_ref::<io::Error>())
}

/// The authorities that the system trusts, from where Pingora takes them too.
pub(super) fn system_authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    load_native_certs().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::PathBuf;

    use pingora::connectors::TransportConnector;
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::upstream::address::{Address, Server};
    use crate::upstream::metrics::UpstreamMetrics;
    use crate::upstream::settings::{Endpoint, ServerSettings, UpstreamSettings, UpstreamTls};
    use crate::upstream::{Environment, Upstreams};

    /// An upstream with one server at `socket`, called `app`, and a target on it.
    fn rig(socket: Socket, change: impl FnOnce(&mut UpstreamSettings)) -> (Arc<Upstream>, Target) {
        let endpoint = match &socket {
            Socket::Tcp(addr) => Endpoint::Tcp {
                host: "app".to_owned(),
                port: addr.port(),
            },
            Socket::Unix(path) => Endpoint::Unix(path.clone()),
        };
        let mut settings = UpstreamSettings::new("api", vec![ServerSettings::new(endpoint)]);
        change(&mut settings);
        let runtime = tokio::runtime::Handle::current();
        let environment = Environment::new(runtime, UpstreamMetrics::default());
        let server = Server::new(&settings.servers[0], &settings.tls);
        let upstreams = Upstreams::build(&[settings], None, &environment).expect("built");
        let upstream = upstreams.get("api").expect("there");
        let address = Address::new(Arc::new(server), socket);
        (Arc::clone(upstream), Target::new(Arc::new(address)))
    }

    fn somewhere() -> Socket {
        Socket::Tcp(SocketAddr::from(([192, 0, 2, 1], 5000)))
    }

    #[tokio::test]
    async fn every_timeout_is_set() {
        let (upstream, target) = rig(somewhere(), |settings| {
            settings.timeouts.between_bytes = Duration::from_secs(90);
        });
        let peer = peer(&target, &upstream).expect("a peer");
        let options = &peer.options;
        assert_eq!(options.connection_timeout, Some(Duration::from_secs(3)));
        assert_eq!(
            options.total_connection_timeout,
            Some(Duration::from_secs(3))
        );
        assert_eq!(options.read_timeout, Some(Duration::from_secs(90)));
        assert_eq!(options.write_timeout, Some(Duration::from_secs(60)));
        assert_eq!(options.idle_timeout, Some(Duration::from_millis(1_500)));
        assert!(options.tcp_keepalive.is_some());
        assert!(!peer.is_tls());
    }

    #[tokio::test]
    async fn the_http_version_follows_settings_and_tls() {
        for (http, tls, alpn, streams) in [
            (UpstreamHttp::Http1, false, ALPN::H1, 1),
            (UpstreamHttp::Http1, true, ALPN::H1, 1),
            (UpstreamHttp::Http2, false, ALPN::H2, 100),
            (UpstreamHttp::Http2, true, ALPN::H2, 100),
            (UpstreamHttp::Auto, false, ALPN::H1, 1),
            (UpstreamHttp::Auto, true, ALPN::H2H1, 100),
        ] {
            let (upstream, target) = rig(somewhere(), |settings| {
                settings.http = http;
                settings.servers[0].tls = tls;
            });
            let peer = peer(&target, &upstream).expect("a peer");
            assert_eq!(peer.options.alpn, alpn, "{http:?}, TLS: {tls}");
            assert_eq!(peer.options.max_h2_streams, streams);
            assert_eq!(peer.sni, if tls { "app" } else { "" });
            assert!(peer.options.verify_cert && peer.options.verify_hostname);
        }
    }

    #[tokio::test]
    async fn unix_sockets_and_other_trust_have_other_connections() {
        let (upstream, target) = rig(Socket::Unix("/run/app.sock".into()), |_| {});
        let plain = peer(&target, &upstream).expect("a peer");
        assert_eq!(plain._address.to_string(), "/run/app.sock");
        let (insecure, target) = rig(somewhere(), |settings| {
            settings.servers[0].tls = true;
            settings.tls.insecure = true;
        });
        let insecure = peer(&target, &insecure).expect("a peer");
        assert!(!insecure.options.verify_cert && !insecure.options.verify_hostname);
        assert_ne!(plain.group_key, insecure.group_key);
    }

    #[tokio::test]
    async fn failed_connects_are_told_apart() {
        let connector = TransportConnector::new(None);
        let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = closed.local_addr().expect("bound");
        drop(closed);
        let missing = tempfile::tempdir().expect("a directory");
        let missing = Socket::Unix(missing.path().join("app.sock"));
        for (socket, expected) in [
            (Socket::Tcp(addr), "connection refused"),
            (missing, "no such file or directory"),
        ] {
            let (upstream, target) = rig(socket, |_| {});
            let peer = peer(&target, &upstream).expect("a peer");
            let error = connector
                .new_stream(&*peer)
                .await
                .expect_err("nobody is there");
            let (failure, complaint) = connect_failure(&error);
            assert_eq!(failure, ConnectFailure::NotThere);
            assert_eq!(complaint, expected);
        }
    }

    /// A private authority's files, and a server that wants a client certificate of it.
    struct Private {
        files: tempfile::TempDir,
        addr: SocketAddr,
    }

    impl Private {
        async fn new() -> Self {
            let files = tempfile::tempdir().expect("a directory");
            let mut params = CertificateParams::new(Vec::new()).expect("no names");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().expect("a key");
            let ca = CertifiedIssuer::self_signed(params, key).expect("an authority");
            let issue = |name: &str| {
                let key = KeyPair::generate().expect("a key");
                let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
                (params.signed_by(&key, &ca).expect("signed"), key)
            };
            let (client, client_key) = issue("edge");
            for (name, pem) in [
                ("ca.pem", ca.pem()),
                ("cert.pem", client.pem()),
                ("key.pem", client_key.serialize_pem()),
            ] {
                std::fs::write(files.path().join(name), pem).expect("written");
            }
            let mut roots = RootCertStore::empty();
            roots.add(ca.der().clone()).expect("an authority");
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier =
                WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
            let (server, server_key) = issue("app");
            let key = PrivateKeyDer::try_from(server_key.serialize_der()).expect("a key");
            let config = rustls::ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("versions")
                .with_client_cert_verifier(verifier.build().expect("a verifier"))
                .with_single_cert(vec![server.der().clone()], key)
                .expect("a server");
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let addr = listener.local_addr().expect("bound");
            tokio::spawn(Self::serve(listener, TlsAcceptor::from(Arc::new(config))));
            Self { files, addr }
        }

        /// Sends one byte to each client whose certificate is good, and closes.
        async fn serve(listener: TcpListener, acceptor: TlsAcceptor) {
            while let Ok((stream, _)) = listener.accept().await {
                let _: Option<()> = Self::greet(&acceptor, stream).await;
            }
        }

        async fn greet(acceptor: &TlsAcceptor, stream: TcpStream) -> Option<()> {
            let mut stream = acceptor.accept(stream).await.ok()?;
            stream.write_all(b"!").await.ok()?;
            stream.shutdown().await.ok()
        }

        fn file(&self, name: &str) -> PathBuf {
            self.files.path().join(name)
        }

        /// Whether a connection of Pingora's with this TLS gets the byte.
        async fn greets(&self, tls: UpstreamTls) -> Result<bool, ConnectFailure> {
            let (upstream, target) = rig(Socket::Tcp(self.addr), |settings| {
                settings.servers[0].tls = true;
                settings.tls = tls;
            });
            let peer = peer(&target, &upstream).expect("a peer");
            let connector = TransportConnector::new(None);
            let mut stream = match connector.new_stream(&*peer).await {
                Ok(stream) => stream,
                Err(error) => return Err(connect_failure(&error).0),
            };
            let mut byte = [0];
            // TLS 1.3 tells a client only after the hand-shake that its certificate is missing.
            Ok(stream.read_exact(&mut byte).await.is_ok())
        }
    }

    #[tokio::test]
    async fn a_private_authority_and_a_client_certificate_are_honoured() {
        let private = Private::new().await;
        let full = UpstreamTls {
            ca: Some(private.file("ca.pem")),
            cert: Some(private.file("cert.pem")),
            key: Some(private.file("key.pem")),
            ..UpstreamTls::default()
        };
        assert_eq!(private.greets(full.clone()).await, Ok(true));
        let anonymous = UpstreamTls {
            cert: None,
            key: None,
            ..full.clone()
        };
        assert_eq!(private.greets(anonymous).await, Ok(false));
        let public = UpstreamTls {
            ca: None,
            ..full.clone()
        };
        assert_eq!(
            private.greets(public).await,
            Err(ConnectFailure::Handshake),
            "the system does not know this authority"
        );
        let other_name = UpstreamTls {
            sni: Some("other".to_owned()),
            ..full
        };
        assert_eq!(
            private.greets(other_name).await,
            Err(ConnectFailure::Handshake)
        );
    }

    #[tokio::test]
    async fn insecure_accepts_any_certificate() {
        let private = Private::new().await;
        let tls = UpstreamTls {
            cert: Some(private.file("cert.pem")),
            key: Some(private.file("key.pem")),
            ca: Some(private.file("ca.pem")),
            sni: Some("other".to_owned()),
            insecure: true,
        };
        assert_eq!(private.greets(tls).await, Ok(true));
    }
}
