//! A real request that an operator asks for: made inside the process, on the same way as a client's, and told instead of sent.

use super::explain::reason_of;
use super::front::Proxy;
use crate::cache::explain::Because;
use crate::clock;
use crate::listen::exchange::Exchange;
use crate::listen::exchange::inner::Recipient;
use crate::listen::exchange::ticket::Ticket;
use crate::listen::gate::Request;
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use crate::telemetry::access_log::AccessEntry;
use bytes::Bytes;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderName, StatusCode};
use parking_lot::Mutex;
use serde::Serialize;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// A probe takes no longer than this; an operator waits for it. What it has begun for the cache goes on.
pub const WITHIN: Duration = Duration::from_secs(60);

/// What it calls itself where the operator does not.
const AGENT: &str = concat!("forebay-explain/", env!("CARGO_PKG_VERSION"));

/// A request to be made.
#[derive(Debug)]
pub struct Probe {
    /// As the gate let it through, without a body.
    pub request: Request,
    /// Whom it is from.
    pub client: Arc<Client>,
    /// The limits in force.
    pub limits: LimitSettings,
    /// Who wants to know.
    pub answer: oneshot::Sender<Probed>,
}

/// What came of a probe.
#[derive(Debug)]
pub struct Probed {
    /// For the operator.
    pub fetched: Fetched,
    /// For the access log: it was a request like any other.
    pub entry: Option<Box<AccessEntry>>,
}

/// What came of a real request.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fetched {
    /// The status that a client gets; 0 where nothing came in time.
    pub status: u16,
    /// The fields that a client gets.
    pub fields: Vec<(String, String)>,
    /// Octets of the body.
    pub bytes: u64,
    /// Whether the answer was whole.
    pub complete: bool,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
    /// What we say of it in `Cache-Status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_status: Option<String>,
    /// Whether it was stored.
    pub stored: bool,
    /// Why it was or was not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Because>,
    /// The upstream that was asked; none where nobody had to be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_addr: Option<String>,
    /// What it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_status: Option<u16>,
    /// Tries made.
    pub tries: u32,
    /// What went wrong, as in the access log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is heard of the answer. Guards a few words; nothing else is done while it is held.
type Heard = Arc<Mutex<Fetched>>;

/// Listens to the answer and keeps nothing of its body.
#[derive(Debug)]
struct Listener(Heard);

impl Recipient for Listener {
    fn asked(&mut self) {}

    fn interim(&mut self, _: StatusCode, _: HeaderMap) {}

    fn head(&mut self, status: StatusCode, fields: HeaderMap) {
        let mut heard = self.0.lock();
        heard.status = status.as_u16();
        heard.cache_status = own_status(&fields);
        heard.fields = fields
            .iter()
            .map(|(name, value)| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                (name.as_str().to_owned(), value)
            })
            .collect();
    }

    fn data(&mut self, data: Bytes) {
        self.0.lock().bytes += data.len() as u64;
    }

    fn end(&mut self) {
        self.0.lock().complete = true;
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Our own member, which stands behind those of others.
fn own_status(fields: &HeaderMap) -> Option<String> {
    const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
    let last = fields.get_all(CACHE_STATUS).iter().next_back()?;
    last.to_str().ok().map(str::to_owned)
}

impl Proxy {
    /// Makes the requests that are asked for, each as a task of its own on this thread.
    pub async fn probe(&self, mut probes: mpsc::Receiver<Probe>) {
        while let Some(probe) = probes.recv().await {
            let proxy = self.clone();
            // In a box: a task is moved into its place, and a walk is large.
            tokio::spawn(Box::pin(async move { proxy.make(probe).await }));
        }
    }

    async fn make(&self, probe: Probe) {
        let Probe {
            request,
            client,
            limits,
            answer,
        } = probe;
        let begin = clock::now();
        let mut header = request.header;
        if !header.headers.contains_key(USER_AGENT) {
            // A name of the program's own is always a field value.
            let _ = header.insert_header(USER_AGENT, AGENT);
        }
        let ticket = Arc::new(Ticket::new(client, request.host, &limits, true));
        let heard = Heard::default();
        let recipient = Box::new(Listener(heard.clone()));
        let exchange = Box::new(Exchange::inner(header, recipient, ticket.clone()));
        // Given up, it is left like by a client that leaves.
        let late = timeout(WITHIN, self.answer(exchange)).await.is_err();
        let mut fetched = heard.lock().clone();
        let entry = ticket.take_entry().map(|mut entry| {
            entry.bytes_out = fetched.bytes;
            entry
        });
        fetched.took_ms = u64::try_from((clock::now() - begin).as_millis()).unwrap_or(u64::MAX);
        if late {
            fetched.error = Some("probe-timeout".to_owned());
        }
        fetched.learn(entry.as_deref());
        // Who asked may have gone.
        let _ = answer.send(Probed { fetched, entry });
    }
}

impl Fetched {
    /// Completes it by what the log says of the request.
    fn learn(&mut self, entry: Option<&AccessEntry>) {
        let status = self.cache_status.as_deref().unwrap_or_default();
        self.stored = status.split("; ").any(|word| word == "stored");
        let detail = status.split("; ").find_map(|it| it.strip_prefix("detail="));
        self.reason = detail.and_then(reason_of).map(Because::from);
        let Some(entry) = entry else { return };
        self.upstream = entry.upstream.as_deref().map(str::to_owned);
        self.upstream_addr.clone_from(&entry.upstream_addr);
        self.upstream_status = entry.upstream_status;
        self.tries = entry.tries;
        if self.error.is_none() {
            self.error = entry.error.as_deref().map(str::to_owned);
        }
    }
}
