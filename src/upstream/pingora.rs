//! A target as Pingora wants it: an `HttpPeer` with an address and every option set.
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

use super::Upstream;
use super::address::Socket;
use super::claim::{ConnectFailure, Target};
use super::connect;
use super::settings::UpstreamHttp;
use super::trust::Trust;

/// Streams at once on one HTTP/2 connection to a server.
const H2_STREAMS: usize = 100;

/// A dead peer (a host that vanished, a firewall that forgot us) is found out within about a minute and a half.
const TCP_KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(60),
    interval: Duration::from_secs(10),
    count: 3,
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
    let complaint = match (error.etype(), io, &error.context) {
        (_, Some(io), _) => connect::plain(io),
        (ErrorType::ConnectTimedout, ..) => "connect timed out".to_owned(),
        (_, None, Some(context)) => context.as_str().to_owned(),
        (kind, None, None) => kind.as_str().to_owned(),
    };
    (failure, complaint)
}

fn is_denied(io: Option<&io::Error>) -> bool {
    io.is_some_and(|io| io.kind() == io::ErrorKind::PermissionDenied)
}

/// The I/O error at the bottom of Pingora's wrapping.
fn io_cause(error: &Error) -> Option<&io::Error> {
    let cause = error.cause.as_deref()?;
    let first: &(dyn std::error::Error + 'static) = cause;
    std::iter::successors(Some(first), |error| error.source()).find_map(|error| {
        match error.downcast_ref::<Error>() {
            // Pingora's own error keeps its cause to itself.
            Some(nested) => io_cause(nested),
            None => error.downcast_ref::<io::Error>(),
        }
    })
}

/// The authorities that the system trusts, from where Pingora takes them too.
pub(super) fn system_authorities() -> Result<Vec<CertificateDer<'static>>, String> {
    load_native_certs().map_err(|error| error.to_string())
}
