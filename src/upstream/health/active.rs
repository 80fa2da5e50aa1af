//! Active checks: asks every address at intervals whether it is well.

use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use http::Request;
use http::header::{HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::clock;
use crate::units::format_duration;
use crate::upstream::Upstream;
use crate::upstream::address::Address;
use crate::upstream::connect::{Dial, Stream, plain};
use crate::upstream::settings::{HealthSettings, Probe};
use crate::upstream::trust::Encryption;

/// While requests are held, an ill address is asked at least this often.
const HURRIED: Duration = Duration::from_millis(250);

/// Asks one address whether it is well.
#[async_trait]
pub trait Check: Send + Sync {
    /// Nothing, or the complaint.
    async fn check(&self, address: &Address) -> Result<(), String>;
}

/// Passes and failures in a row, and what they make of an address.
#[derive(Debug, Default)]
struct Streak {
    passes: u32,
    failures: u32,
}

impl Streak {
    /// The verdict after one more check; `None` leaves things as they are.
    fn add(&mut self, passed: bool, settings: &HealthSettings) -> Option<bool> {
        if passed {
            self.failures = 0;
            self.passes = self.passes.saturating_add(1);
            (self.passes >= settings.healthy).then_some(true)
        } else {
            self.passes = 0;
            self.failures = self.failures.saturating_add(1);
            (self.failures >= settings.unhealthy).then_some(false)
        }
    }
}

/// Checks one address until it or its upstream is gone.
pub(in crate::upstream) async fn watch(
    upstream: Weak<Upstream>,
    address: Arc<Address>,
    check: Arc<dyn Check>,
    settings: HealthSettings,
    hurry: Arc<Notify>,
) {
    let mut streak = Streak::default();
    loop {
        let began = clock::now();
        let outcome = match tokio::time::timeout(settings.timeout, check.check(&address)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(format!(
                "no answer within {}",
                format_duration(settings.timeout)
            )),
        };
        let Some(upstream) = upstream.upgrade() else {
            return;
        };
        let passed = outcome.is_ok();
        upstream.metrics.checked(passed);
        if passed {
            // It connected, whatever requests found.
            upstream.reached(&address);
        }
        let verdict = streak.add(passed, &settings);
        if let Some(healthy) = verdict {
            upstream.judged(&address, healthy, outcome.err().as_deref().unwrap_or(""));
        }
        drop(upstream);
        if address.is_healthy() {
            // Not quite sure of it: look again soon.
            let doubtful = streak.failures > 0;
            let pause = if doubtful {
                settings.every.min(settings.every_down)
            } else {
                settings.every
            };
            tokio::time::sleep_until(began + pause).await;
        } else {
            tokio::select! {
                () = tokio::time::sleep_until(began + settings.every_down) => {}
                () = hurry.notified() => tokio::time::sleep_until(began + HURRIED).await,
            }
        }
    }
}

/// A check over the network, as the settings say.
pub(in crate::upstream) struct NetworkCheck {
    pub(in crate::upstream) probe: Probe,
    pub(in crate::upstream) dialer: Arc<dyn Dial>,
    /// For servers with TLS; its ALPN says which HTTP. A trust that is read anew takes its place.
    pub(in crate::upstream) tls: Arc<ArcSwapOption<Encryption>>,
    /// Whether HTTP/2 is spoken.
    pub(in crate::upstream) http2: bool,
}

#[async_trait]
impl Check for NetworkCheck {
    async fn check(&self, address: &Address) -> Result<(), String> {
        let stream = self
            .dialer
            .dial(&address.socket)
            .await
            .map_err(|e| plain(&e))?;
        let Probe::Http { path, host, status } = &self.probe else {
            return Ok(());
        };
        let stream = self.encrypt(address, stream).await?;
        let authority = host.as_deref().unwrap_or(&address.server.authority);
        let found = self
            .ask(stream, authority, path, address.server.tls)
            .await?;
        let well = match status.as_slice() {
            [] => (200..400).contains(&found),
            listed => listed.contains(&found),
        };
        if well {
            Ok(())
        } else {
            Err(format!("GET {path} answered {found}"))
        }
    }
}

impl NetworkCheck {
    async fn encrypt(
        &self,
        address: &Address,
        stream: Box<dyn Stream>,
    ) -> Result<Box<dyn Stream>, String> {
        if !address.server.tls {
            return Ok(stream);
        }
        let encryption = self.tls.load_full().ok_or("no trust for TLS")?;
        let name = rustls_pki_types::ServerName::try_from(address.server.sni.clone())
            .map_err(|_| format!("`{}` is not a name for SNI", address.server.sni))?;
        let stream = encryption.checks.connect(name, stream).await;
        Ok(Box::new(stream.map_err(|e| format!("TLS: {}", plain(&e)))?))
    }

    /// The status that a `GET` gets.
    async fn ask(
        &self,
        stream: Box<dyn Stream>,
        authority: &str,
        path: &str,
        tls: bool,
    ) -> Result<u16, String> {
        let http = |e: hyper::Error| format!("HTTP: {e}");
        let request = Request::get(path).header(USER_AGENT, "forebay-health");
        // The connection ends with the check, whether it was answered or not.
        let mut driver = JoinSet::new();
        let answer = if self.http2 {
            let scheme = if tls { "https" } else { "http" };
            let request = request.uri(format!("{scheme}://{authority}{path}"));
            let request = request.body(Empty::<Bytes>::new());
            let (mut sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
                    .await
                    .map_err(http)?;
            driver.spawn(connection);
            let request = request.map_err(|e| format!("cannot ask for `{path}`: {e}"))?;
            sender.send_request(request).await
        } else {
            let request = request
                .header(HOST, authority)
                .header("connection", "close");
            let request = request.body(Empty::<Bytes>::new());
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(TokioIo::new(stream))
                    .await
                    .map_err(http)?;
            driver.spawn(connection);
            let request = request.map_err(|e| format!("cannot ask for `{path}`: {e}"))?;
            sender.send_request(request).await
        };
        answer.map(|r| r.status().as_u16()).map_err(http)
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::upstream::address::{Server, Socket};
    use crate::upstream::connect::SystemDialer;
    use crate::upstream::settings::{Endpoint, ServerSettings, UpstreamTls};

    fn settings(healthy: u32, unhealthy: u32) -> HealthSettings {
        HealthSettings {
            probe: Probe::Tcp,
            every: Duration::from_secs(5),
            every_down: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            healthy,
            unhealthy,
        }
    }

    #[test]
    fn thresholds() {
        let mut streak = Streak::default();
        let settings = settings(2, 3);
        let verdicts: Vec<_> = [false, false, true, false, false, false, true, true]
            .into_iter()
            .map(|passed| streak.add(passed, &settings))
            .collect();
        let (well, ill) = (Some(true), Some(false));
        assert_eq!(
            verdicts,
            [None, None, None, None, None, ill, None, well],
            "a pass between failures starts the count anew"
        );
    }

    /// An HTTP/1 server that answers `answer` to everybody and returns the last request's head.
    async fn server(answer: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("bound");
        let serve = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut head = vec![0; 1024];
            let n = stream.read(&mut head).await.expect("a head");
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&head[..n]).into_owned()
        });
        (addr, serve)
    }

    async fn check(status: Vec<u16>, answer: &'static str) -> (Result<(), String>, String) {
        let (addr, serve) = server(answer).await;
        let endpoint = Endpoint::Tcp {
            host: "app".to_owned(),
            port: 5000,
        };
        let server = Server::new(&ServerSettings::new(endpoint), &UpstreamTls::default());
        let check = NetworkCheck {
            probe: Probe::Http {
                path: "/healthz".to_owned(),
                host: None,
                status,
            },
            dialer: Arc::new(SystemDialer),
            tls: Arc::default(),
            http2: false,
        };
        let address = Address::new(Arc::new(server), Socket::Tcp(addr));
        let outcome = check.check(&address).await;
        (outcome, serve.await.expect("served"))
    }

    #[tokio::test]
    async fn an_http_check_asks_as_a_client_would() {
        let (outcome, head) = check(vec![], "HTTP/1.1 204 No Content\r\n\r\n").await;
        assert_eq!(outcome, Ok(()));
        assert!(head.starts_with("GET /healthz HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("host: app:5000\r\n"), "{head}");
    }

    #[tokio::test]
    async fn an_http_check_obeys_the_list_of_statuses() {
        let not_found = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n";
        let complaint = Err("GET /healthz answered 404".to_owned());
        assert_eq!(check(vec![], not_found).await.0, complaint);
        assert_eq!(check(vec![404], not_found).await.0, Ok(()));
        let no_content = "HTTP/1.1 204 No Content\r\n\r\n";
        assert!(check(vec![200], no_content).await.0.is_err());
    }
}
