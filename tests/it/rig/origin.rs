//! A scripted origin server that records every byte that reached it and panics when one of them is not canonical HTTP.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::stream::Stream;
use super::wire::{Body, Head, Transcript};
use super::{Reply, free_port, h1_origin, h2_origin, status, within};

/// One request as it reached the origin.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// Which connection it came on, counted from 0.
    pub connection: usize,
    /// Which request of its connection it was, counted from 0.
    pub nth: usize,
    /// Its head. Of an HTTP/2 request: `GET /path HTTP/2` and the fields, pseudo-fields included.
    pub head: Head,
    /// Its body so far.
    pub body: Body,
    /// Whether the body has ended as its framing says.
    pub complete: bool,
    /// What ended it otherwise.
    pub failure: Option<String>,
}

impl Received {
    /// The method.
    pub fn method(&self) -> &str {
        self.head.word(0)
    }

    /// The request target.
    pub fn target(&self) -> &str {
        self.head.word(1)
    }

    /// Whether it is for this target, or for this path with any query.
    fn is_for(&self, target: &str) -> bool {
        self.target() == target || self.target().split('?').next() == Some(target)
    }

    /// The one value of this field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.content).into_owned()
    }
}

/// What is known of one connection.
#[derive(Debug, Default)]
struct Wire {
    transcript: Transcript,
    closed: bool,
}

/// Everything that happened at an origin.
#[derive(Debug, Default)]
pub struct Record {
    received: Vec<Received>,
    wires: Vec<Wire>,
    faults: Vec<String>,
}

impl Record {
    fn fetches(&self, target: &str) -> usize {
        self.received.iter().filter(|r| r.is_for(target)).count()
    }
}

#[derive(Debug, Clone)]
struct Route {
    path: String,
    /// For requests that are not the first of their connection.
    reused_only: bool,
    replies: Vec<Reply>,
    used: usize,
}

/// What an origin and its connections share.
#[derive(Debug)]
pub struct Shared {
    name: String,
    routes: Mutex<Vec<Route>>,
    record: Mutex<Record>,
    changed: watch::Sender<()>,
}

impl Shared {
    /// Changes the record and wakes whoever waits for a change.
    pub fn note<T>(&self, change: impl FnOnce(&mut Record) -> T) -> T {
        let out = change(&mut self.record.lock());
        self.changed.send_replace(());
        out
    }

    /// A new connection's number.
    pub fn connected(&self, transcript: Transcript) -> usize {
        self.note(|r| {
            r.wires.push(Wire {
                transcript,
                closed: false,
            });
            r.wires.len() - 1
        })
    }

    /// A new request's number.
    pub fn arrived(&self, received: Received) -> usize {
        self.note(|r| {
            r.received.push(received);
            r.received.len() - 1
        })
    }

    /// Changes what is known of request `id`.
    pub fn update(&self, id: usize, change: impl FnOnce(&mut Received)) {
        self.note(|r| change(&mut r.received[id]));
    }

    /// Connection `n` has ended.
    pub fn hung_up(&self, n: usize) {
        self.note(|r| r.wires[n].closed = true);
    }

    /// Remembers that the edge sent something that it must not send.
    pub fn fault(&self, what: String) {
        self.note(|r| r.faults.push(what));
    }

    /// What is known of request `id`.
    pub fn received(&self, id: usize) -> Received {
        self.record.lock().received[id].clone()
    }

    /// The answer to a request for `target`.
    pub fn reply(&self, target: &str, reused: bool) -> Reply {
        let path = target.split('?').next().unwrap_or_default();
        let mut routes = self.routes.lock();
        let fits = |r: &Route| (r.path == path || r.path == "*") && (!r.reused_only || reused);
        let found = routes.iter_mut().find(|r| r.reused_only && fits(r));
        let Some(route) = (match found {
            Some(route) => Some(route),
            None => routes.iter_mut().find(|r| fits(r)),
        }) else {
            return status(404).body(format!("{} has no {target}", self.name));
        };
        let reply = route.replies[route.used.min(route.replies.len() - 1)].clone();
        route.used += 1;
        reply
    }
}

/// How an origin listens.
#[derive(Clone)]
enum Listening {
    Tcp,
    Unix,
    Tls(TlsAcceptor),
}

/// An origin: first being described, then running.
pub struct Origin {
    shared: Arc<Shared>,
    listening: Listening,
    http2: bool,
    addr: String,
    tasks: Option<(watch::Sender<bool>, JoinSet<()>)>,
    directory: tempfile::TempDir,
}

/// An origin called `name` that answers 404 to everything so far.
pub fn origin(name: &str) -> Origin {
    let shared = Shared {
        name: name.to_owned(),
        routes: Mutex::default(),
        record: Mutex::default(),
        changed: watch::channel(()).0,
    };
    Origin {
        shared: Arc::new(shared),
        listening: Listening::Tcp,
        http2: false,
        addr: format!("127.0.0.1:{}", free_port()),
        tasks: None,
        directory: super::temporary_directory(),
    }
}

impl Origin {
    /// Answers `path` (without its query; "*" is any) like this.
    pub fn on(self, path: &str, reply: Reply) -> Self {
        self.route(path, false, reply)
    }

    /// Answers `path` like this where the request is not the first of its connection.
    pub fn on_reused(self, path: &str, reply: Reply) -> Self {
        self.route(path, true, reply)
    }

    /// After one request for the path just named, answers like this.
    pub fn then(self, reply: Reply) -> Self {
        self.shared
            .routes
            .lock()
            .last_mut()
            .expect("`then` follows `on`")
            .replies
            .push(reply);
        self
    }

    /// Listens on a unix socket.
    pub fn unix(mut self) -> Self {
        self.listening = Listening::Unix;
        self.addr = format!(
            "unix:{}",
            self.directory.path().join("origin.sock").display()
        );
        self
    }

    /// Listens at this address instead of one of its own.
    pub fn at(mut self, addr: &str) -> Self {
        addr.clone_into(&mut self.addr);
        self
    }

    /// Speaks TLS as this rustls configuration says.
    pub fn tls(mut self, config: rustls::ServerConfig) -> Self {
        self.listening = Listening::Tls(TlsAcceptor::from(Arc::new(config)));
        self
    }

    /// Speaks HTTP/2 only; without TLS by prior knowledge.
    pub fn h2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Starts to listen.
    pub async fn start(mut self) -> Self {
        self.up().await;
        self
    }

    /// Listens again, at the address it always had.
    pub async fn up(&mut self) {
        assert!(self.tasks.is_none(), "{} runs already", self.shared.name);
        let (stop, stopped) = watch::channel(false);
        let mut tasks = JoinSet::new();
        let (shared, http2) = (self.shared.clone(), self.http2);
        match self.listening.clone() {
            Listening::Unix => {
                let path = self.addr.trim_start_matches("unix:");
                let listener = UnixListener::bind(path).expect("a fresh unix socket can be bound");
                tasks.spawn(accept(shared, stopped, http2, async move || {
                    listener
                        .accept()
                        .await
                        .map(|(stream, _)| Ok(Stream::Unix(stream)))
                }));
            }
            Listening::Tcp => {
                let listener = TcpListener::bind(&self.addr)
                    .await
                    .expect("the origin's port is free");
                tasks.spawn(accept(shared, stopped, http2, async move || {
                    let (stream, _) = listener.accept().await?;
                    stream.set_nodelay(true)?;
                    Ok(Ok(Stream::Tcp(stream)))
                }));
            }
            Listening::Tls(acceptor) => {
                let listener = TcpListener::bind(&self.addr)
                    .await
                    .expect("the origin's port is free");
                tasks.spawn(accept(shared, stopped, http2, async move || {
                    let (stream, _) = listener.accept().await?;
                    let tls = acceptor.accept(stream).await;
                    Ok(tls.map(|tls| Stream::Tls(Box::new(tls.into()))))
                }));
            }
        }
        self.tasks = Some((stop, tasks));
    }

    /// Stops: the port refuses, and connections are closed where they stand.
    pub async fn down(&mut self) {
        let (stop, mut tasks) = self.tasks.take().expect("the origin runs");
        stop.send_replace(true);
        while tasks.join_next().await.is_some() {}
        if let Some(path) = self.addr.strip_prefix("unix:") {
            std::fs::remove_file(path).expect("the socket is there");
        }
    }

    /// Stops accepting and closes connections, then listens again with this answer for `path` instead of the old.
    pub fn change(&self, path: &str, reply: Reply) {
        let mut routes = self.shared.routes.lock();
        routes.retain(|r| r.path != path);
        routes.push(Route {
            path: path.to_owned(),
            reused_only: false,
            replies: vec![reply],
            used: 0,
        });
    }

    /// Its name, which is its placeholder in an edge's configuration.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Host and port, or `unix:/path`.
    pub fn addr(&self) -> &str {
        &self.addr
    }

    /// Its URL as a `servers` entry takes it.
    pub fn url(&self) -> String {
        match (&self.listening, self.http2) {
            (Listening::Unix, _) => self.addr.clone(),
            (Listening::Tcp, false) => format!("http://{}", self.addr),
            (Listening::Tcp, true) => format!("h2c://{}", self.addr),
            (Listening::Tls(_), _) => format!("https://{}", self.addr),
        }
    }

    /// Every request that has arrived.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.record.lock().received.clone()
    }

    /// How many requests for this target, or for this path with any query, have arrived.
    pub fn fetches(&self, target: &str) -> usize {
        self.shared.record.lock().fetches(target)
    }

    /// Waits until so many requests for this target, or for this path with any query, have arrived.
    pub async fn fetched(&self, target: &str, count: usize) {
        let enough = |r: &Record| (r.fetches(target) >= count).then_some(());
        self.eventually(&format!("{count} requests for {target}"), enough)
            .await;
    }

    /// The last request for this target, or for this path with any query.
    #[track_caller]
    pub fn last(&self, target: &str) -> Received {
        let record = self.shared.record.lock();
        let found = record.received.iter().rfind(|r| r.is_for(target));
        found
            .cloned()
            .unwrap_or_else(|| panic!("nobody asked for {target}"))
    }

    /// How many connections were ever made.
    pub fn connections(&self) -> usize {
        self.shared.record.lock().wires.len()
    }

    /// Every byte that came on connection `n`.
    pub fn transcript(&self, n: usize) -> Vec<u8> {
        self.shared.record.lock().wires[n].transcript.lock().clone()
    }

    /// Waits for the head of request `n` (counted from 0).
    pub async fn head(&self, n: usize) -> Received {
        self.eventually(&format!("the head of request {n}"), |r| {
            r.received.get(n).cloned()
        })
        .await
    }

    /// Waits for the whole of request `n` (counted from 0), or for its failure.
    pub async fn request(&self, n: usize) -> Received {
        let over = |r: &Received| r.complete || r.failure.is_some();
        self.eventually(&format!("all of request {n}"), |r| {
            r.received.get(n).filter(|r| over(r)).cloned()
        })
        .await
    }

    /// Waits until `length` bytes of request `n`'s body have arrived.
    pub async fn body_of(&self, n: usize, length: usize) {
        let enough = |r: &Record| {
            r.received
                .get(n)
                .is_some_and(|r| r.body.content.len() >= length)
                .then_some(())
        };
        self.eventually(&format!("{length} bytes of request {n}"), enough)
            .await;
    }

    /// Waits until connection `n` has ended.
    pub async fn disconnected(&self, n: usize) {
        let closed = |r: &Record| r.wires.get(n).is_some_and(|w| w.closed).then_some(());
        self.eventually(&format!("the end of connection {n}"), closed)
            .await;
    }

    async fn eventually<T>(&self, what: &str, mut seen: impl FnMut(&Record) -> Option<T>) -> T {
        let mut changed = self.shared.changed.subscribe();
        let what = format!("{what} at {}", self.shared.name);
        within(&what, async {
            loop {
                changed.borrow_and_update();
                if let Some(value) = seen(&self.shared.record.lock()) {
                    return value;
                }
                changed
                    .changed()
                    .await
                    .expect("the origin outlives its waiters");
            }
        })
        .await
    }

    fn route(self, path: &str, reused_only: bool, reply: Reply) -> Self {
        let route = Route {
            path: path.to_owned(),
            reused_only,
            replies: vec![reply],
            used: 0,
        };
        self.shared.routes.lock().push(route);
        self
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let faults = &self.shared.record.lock().faults;
        assert!(
            faults.is_empty() || std::thread::panicking(),
            "what the edge sent to {} is not canonical HTTP: {faults:#?}",
            self.shared.name
        );
    }
}

/// Accepts until stopped; every connection ends with the accept loop.
async fn accept(
    shared: Arc<Shared>,
    mut stopped: watch::Receiver<bool>,
    http2: bool,
    next: impl AsyncFn() -> io::Result<io::Result<Stream>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = tokio::select! {
            _ = stopped.wait_for(|&stopped| stopped) => break,
            stream = next() => stream.expect("the listener accepts"),
        };
        // A failed TLS hand-shake is the edge's business to notice, not a connection.
        let Ok(stream) = stream else { continue };
        let shared = shared.clone();
        connections.spawn(async move {
            if http2 {
                h2_origin::serve(shared, stream).await;
            } else {
                h1_origin::serve(shared, stream).await;
            }
        });
    }
    connections.shutdown().await;
}
