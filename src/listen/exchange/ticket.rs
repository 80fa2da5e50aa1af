//! What a connection, the session given to the proxy and its stops share about one request.

use crate::arena::FileRange;
use crate::clock::{self, Instant};
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use crate::telemetry::access_log::AccessEntry;
use http::HeaderMap;
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// One request's ticket.
#[derive(Debug)]
pub struct Ticket {
    /// Who asks.
    pub client: Arc<Client>,
    /// When the head was whole.
    pub arrived: Instant,
    /// The request's authority as the gate chose it.
    pub host: String,
    terms: Mutex<Terms>,
    /// Request body octets received, without framing.
    bytes_in: AtomicU64,
    /// Response body octets queued for the client, without framing.
    bytes_out: AtomicU64,
    /// Whether the access log is on, so that an entry is worth making.
    logged: bool,
    /// Set by the proxy to end the connection behind this answer.
    close: AtomicBool,
    /// Whether the kernel can send a file's octets to the client.
    sends_files: AtomicBool,
    /// Left by the proxy to be sent as what is left of the body.
    file: Mutex<Option<FileRange>>,
    /// Left by the proxy to be sent behind the body.
    trailers: Mutex<Option<HeaderMap>>,
    /// Left by the proxy when its part is over; recorded by the connection when the last byte is out.
    entry: Mutex<Option<Box<AccessEntry>>>,
}

/// What the proxy asks of the session once it knows the route and the upstream.
#[derive(Debug, Clone)]
pub struct Terms {
    /// A request body above this fails the exchange.
    pub body_limit: u64,
    /// How much of the request body is kept so that a try can be repeated.
    pub replay_limit: usize,
    /// How far the response may be read ahead of the client.
    pub read_ahead: usize,
    /// Between two pieces of the request's body.
    pub body_timeout: Option<Duration>,
    /// Octets of it that must come in a second, until the answer begins; 0 is any.
    pub body_rate: u64,
    /// From the request sent to the response's header.
    pub first_byte: Option<Duration>,
    /// Between two parts of the response's body.
    pub between_bytes: Option<Duration>,
    /// When the whole exchange must be over.
    pub total: Option<Instant>,
}

impl Ticket {
    /// A ticket for a request that has just arrived; no upstream deadline applies yet.
    pub fn new(client: Arc<Client>, host: String, limits: &LimitSettings, logged: bool) -> Self {
        let terms = Terms {
            body_limit: limits.body.bytes(),
            body_timeout: Some(limits.body_timeout),
            body_rate: limits.body_rate.bytes(),
            replay_limit: 64 * 1024,
            read_ahead: 64 * 1024,
            first_byte: None,
            between_bytes: None,
            total: None,
        };
        Self {
            client,
            arrived: clock::now(),
            host,
            terms: Mutex::new(terms),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            logged,
            close: AtomicBool::new(false),
            sends_files: AtomicBool::new(false),
            file: Mutex::new(None),
            trailers: Mutex::new(None),
            entry: Mutex::new(None),
        }
    }

    /// A ticket for a request of our own, made because of this one: the same client and host, deadlines and counts of its
    /// own, no entry in the access log.
    #[must_use]
    pub fn of_our_own(&self) -> Self {
        let terms = Terms {
            body_limit: 0,
            body_timeout: None,
            replay_limit: 0,
            first_byte: None,
            between_bytes: None,
            total: None,
            ..self.terms()
        };
        Self {
            client: self.client.clone(),
            arrived: clock::now(),
            host: self.host.clone(),
            terms: Mutex::new(terms),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            logged: false,
            close: AtomicBool::new(false),
            sends_files: AtomicBool::new(false),
            file: Mutex::new(None),
            trailers: Mutex::new(None),
            entry: Mutex::new(None),
        }
    }

    /// The terms now in force.
    pub fn terms(&self) -> Terms {
        self.terms.lock().clone()
    }

    /// Changes the terms.
    pub fn set_terms(&self, change: impl FnOnce(&mut Terms)) {
        change(&mut self.terms.lock());
    }

    /// Request body octets received so far.
    pub fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Relaxed)
    }

    /// Response body octets given to the client's connection so far.
    pub fn bytes_out(&self) -> u64 {
        self.bytes_out.load(Relaxed)
    }

    pub(super) fn received(&self, octets: usize) -> u64 {
        self.bytes_in.fetch_add(octets as u64, Relaxed) + octets as u64
    }

    pub(super) fn sent(&self, octets: usize) {
        self.bytes_out.fetch_add(octets as u64, Relaxed);
    }

    /// Whether [`leave_file`](Self::leave_file) spares copying.
    pub fn sends_files(&self) -> bool {
        self.sends_files.load(Relaxed)
    }

    pub(super) fn set_sends_files(&self, sends: bool) {
        self.sends_files.store(sends, Relaxed);
    }

    /// Leaves octets of a file to be sent as what is left of the body when it ends.
    pub fn leave_file(&self, file: FileRange) {
        *self.file.lock() = Some(file);
    }

    pub(super) fn take_file(&self) -> Option<FileRange> {
        self.file.lock().take()
    }

    /// Leaves trailers to be sent when the body ends, where the client's HTTP has any.
    pub fn leave_trailers(&self, trailers: HeaderMap) {
        *self.trailers.lock() = Some(trailers);
    }

    pub(super) fn take_trailers(&self) -> Option<HeaderMap> {
        self.trailers.lock().take()
    }

    /// Ends the connection behind this answer.
    pub fn close_after(&self) {
        self.close.store(true, Relaxed);
    }

    pub(super) fn closes(&self) -> bool {
        self.close.load(Relaxed)
    }

    /// Whether an access log entry is wanted.
    pub fn is_logged(&self) -> bool {
        self.logged
    }

    /// Leaves the access log entry for the connection to complete.
    pub fn leave_entry(&self, entry: Box<AccessEntry>) {
        *self.entry.lock() = Some(entry);
    }

    /// Takes the entry that the proxy left, if it came that far.
    pub fn take_entry(&self) -> Option<Box<AccessEntry>> {
        self.entry.lock().take()
    }
}
