//! The control plane over real sockets, with a server that is made up.

use super::*;
use crate::admin::settings::{AdminListen, AdminSettings};
use crate::admin::stats::Stats;
use crate::admin::{Explained, Readiness, ReloadReport, RouteReadiness};
use crate::cache::inspect::{Filter, Listing, Order, Summary};
use crate::cache::purge::{Cause, Mode, Purge, PurgeEvent, Purged, Scope};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::net::SocketAddr;
use std::path::Path;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;

/// A server with a route that is ready and one that is not.
#[derive(Default)]
struct Made {
    draining: bool,
    healthy: bool,
    bad_file: bool,
    /// A reload begins with a permit here where `held` is set, and says so in `begun`.
    held: Option<Arc<Notify>>,
    begun: Arc<Notify>,
    done: Arc<Notify>,
    /// What was purged and listed.
    purged: Arc<Mutex<Vec<Purge>>>,
    listed: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Control for Made {
    async fn reload(&self) -> Result<ReloadReport, String> {
        self.begun.notify_one();
        if let Some(held) = &self.held {
            held.notified().await;
        }
        self.done.notify_one();
        if self.bad_file {
            return Err("proxy.toml:1:1: unknown key `x`".to_owned());
        }
        Ok(ReloadReport {
            changes: vec!["route `a`: new".to_owned()],
            needs_restart: Vec::new(),
        })
    }

    fn readiness(&self) -> Readiness {
        let reason = (!self.healthy).then(|| "upstream `b`: no server".to_owned());
        Readiness {
            draining: self.draining,
            routes: vec![
                RouteReadiness {
                    route: "a.example/".to_owned(),
                    ready: true,
                    reason: None,
                },
                RouteReadiness {
                    route: "b".to_owned(),
                    ready: self.healthy,
                    reason,
                },
            ],
        }
    }

    fn upstreams(&self) -> serde_json::Value {
        serde_json::json!([{ "name": "b" }])
    }

    async fn stats(&self) -> Stats {
        Stats::default()
    }

    fn metrics(&self) -> String {
        "# EOF\n".to_owned()
    }

    /// A cache in which `items` is on three responses, and nothing else is known.
    fn purge(&self, purge: &Purge) -> Purged {
        self.begun.notify_one();
        self.purged.lock().push(purge.clone());
        let matched = match &purge.scope {
            Scope::Url(_) => Some(0),
            Scope::Tags(tags) => Some(if tags.iter().any(|tag| tag == "items") {
                3
            } else {
                0
            }),
            Scope::Prefix(_) | Scope::Host(_) | Scope::Everything => None,
        };
        self.done.notify_one();
        Purged { matched }
    }

    /// One for each permit of `held`.
    fn purges(&self) -> broadcast::Receiver<Arc<PurgeEvent>> {
        let (told, purges) = broadcast::channel(4);
        let held = self.held.clone();
        tokio::spawn(async move {
            let Some(held) = held else { return };
            loop {
                held.notified().await;
                let event = PurgeEvent {
                    cause: Cause::Purge,
                    scope: Scope::Tags(vec!["a".to_owned()]),
                    mode: Mode::Soft,
                    matched: Some(2),
                    at: std::time::UNIX_EPOCH,
                };
                let _ = told.send(Arc::new(event));
            }
        });
        purges
    }

    fn cached(&self, filter: &Filter, order: Order, limit: usize) -> Listing {
        self.listed
            .lock()
            .push(format!("{filter:?} {order:?} {limit}"));
        Listing {
            entries: Vec::new(),
            total: 0,
            more: false,
        }
    }

    fn cache_stats(&self) -> Summary {
        Summary {
            keys: 7,
            ..Summary::default()
        }
    }

    async fn explain(&self, question: serde_json::Value) -> Result<Explained, String> {
        match question["url"].as_str() {
            Some(url) => Ok(Explained {
                value: serde_json::json!({ "verdict": url }),
                text: format!("{url}\n"),
            }),
            None => Err("missing field `url`".to_owned()),
        }
    }
}

/// A control plane that serves until it is stopped.
struct Plane {
    addr: SocketAddr,
    stop: Arc<Notify>,
    serving: JoinHandle<io::Result<()>>,
}

fn plane(made: Made, token: Option<&str>) -> Plane {
    let settings = AdminSettings {
        listen: Some(AdminListen::Tcp(([127, 0, 0, 1], 0).into())),
        token: token.map(str::to_owned),
    };
    let listen = settings.listen.as_ref().expect("set above");
    let socket = Socket::bind(listen).expect("a free port");
    let AdminListen::Tcp(addr) = *socket.address() else {
        panic!("bound to TCP")
    };
    let stop = Arc::new(Notify::new());
    let stopped = Arc::clone(&stop);
    let serving = tokio::spawn(serve(
        socket,
        Access::new(&settings),
        Arc::new(made),
        async move { stopped.notified().await },
    ));
    Plane {
        addr,
        stop,
        serving,
    }
}

/// Sends a head without its end and returns the whole answer: its status line, fields and body.
async fn talk(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &str) -> String {
    let request = format!("{request}\r\nConnection: close\r\n\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("the service reads");
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .await
        .expect("the service answers");
    answer
}

impl Plane {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("it listens")
    }

    async fn ask(&self, request: &str) -> String {
        let request = format!("{request} HTTP/1.1\r\nHost: {}", self.addr);
        talk(self.connect().await, &request).await
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

#[tokio::test]
async fn each_path_answers() {
    let plane = plane(Made::default(), None);
    for (request, code, text) in [
        ("GET /healthz", "200", "alive"),
        ("HEAD /healthz", "200", "application/json"),
        ("GET /readyz", "503", "upstream `b`: no server"),
        ("GET /readyz?route=a.example%2F", "200", "a.example/"),
        ("GET /readyz?route=b", "503", "unready"),
        ("GET /readyz?route=c", "404", "no route is named `c`"),
        ("GET /metrics", "200", "# EOF"),
        ("GET /upstreams", "200", "\"name\": \"b\""),
        ("POST /reload", "200", "route `a`: new"),
        ("GET /reload", "405", "allow: POST"),
        ("POST /metrics", "405", "allow: GET, HEAD"),
        ("GET /nowhere", "404", "POST /reload"),
        ("GET /stats", "200", "\"hit_ratio\""),
        ("GET /", "200", "default-src 'none'; script-src 'sha256-"),
    ] {
        let answer = plane.ask(request).await;
        assert_eq!(status(&answer), code, "{request}: {answer}");
        assert!(answer.contains(text), "{request}: {answer}");
        assert!(answer.contains("cache-control: no-store"), "{request}");
    }
}

#[tokio::test]
async fn readiness_turns_with_the_routes_and_the_drain() {
    for (draining, healthy, code, word) in [
        (false, true, "200", "\"ready\""),
        (false, false, "503", "\"unready\""),
        (true, true, "503", "\"draining\""),
    ] {
        let made = Made {
            draining,
            healthy,
            ..Made::default()
        };
        let answer = plane(made, None).ask("GET /readyz").await;
        assert_eq!(status(&answer), code, "{answer}");
        assert!(answer.contains(word), "{answer}");
    }
}

#[tokio::test]
async fn a_bad_file_is_told_to_the_caller() {
    let made = Made {
        bad_file: true,
        ..Made::default()
    };
    let answer = plane(made, None).ask("POST /reload").await;
    assert_eq!(status(&answer), "422", "{answer}");
    assert!(answer.contains("proxy.toml:1:1"), "{answer}");
}

#[tokio::test]
async fn strangers_are_refused() {
    let plane = plane(Made::default(), Some("secret"));
    let answer = plane.ask("POST /reload").await;
    assert_eq!(status(&answer), "401", "{answer}");
    assert!(answer.contains("www-authenticate: Bearer"), "{answer}");

    let host = format!("Host: {}", plane.addr);
    for (fields, code) in [
        (format!("{host}\r\nAuthorization: Bearer secret"), "200"),
        (format!("{host}\r\nAuthorization: Bearer wrong"), "401"),
        ("Host: evil.example".to_owned(), "401"),
        (format!("{host}\r\nOrigin: http://evil.example"), "403"),
    ] {
        let request = format!("POST /reload HTTP/1.1\r\n{fields}");
        let answer = talk(plane.connect().await, &request).await;
        assert_eq!(status(&answer), code, "{fields}: {answer}");
    }
    let rebound = "GET /metrics HTTP/1.1\r\nHost: evil.example";
    let answer = talk(plane.connect().await, rebound).await;
    assert_eq!(status(&answer), "403", "{answer}");
}

#[tokio::test]
async fn a_body_too_large_is_refused() {
    let plane = plane(Made::default(), None);
    let head = format!(
        "POST /reload HTTP/1.1\r\nHost: {}\r\nContent-Length: 10000000\r\n\r\n",
        plane.addr
    );
    let mut stream = plane.connect().await;
    let sent = stream.write_all(head.as_bytes());
    sent.await.expect("the service reads");
    // It is there before the body is, which would be taken in for a while.
    let mut answer = [0; 12];
    let read = stream.read_exact(&mut answer);
    read.await.expect("the service answers");
    assert_eq!(&answer, b"HTTP/1.1 413");
}

#[tokio::test]
async fn a_caller_that_leaves_does_not_stop_a_reload() {
    let held = Arc::new(Notify::new());
    let made = Made {
        held: Some(Arc::clone(&held)),
        ..Made::default()
    };
    let (begun, done) = (Arc::clone(&made.begun), Arc::clone(&made.done));
    let plane = plane(made, None);
    let mut caller = plane.connect().await;
    let request = format!("POST /reload HTTP/1.1\r\nHost: {}\r\n\r\n", plane.addr);
    caller
        .write_all(request.as_bytes())
        .await
        .expect("the service reads");
    begun.notified().await;
    drop(caller);
    held.notify_one();
    // The reload reaches its end although nobody waits for the answer.
    done.notified().await;
}

#[tokio::test]
async fn who_is_connected_and_says_nothing_keeps_nobody_out() {
    let plane = plane(Made::default(), None);
    let mut silent = Vec::new();
    for n in 0..300 {
        let mut stream = plane.connect().await;
        if n % 2 == 0 {
            let begun = stream.write_all(b"GET /healthz HT").await;
            begun.expect("it is open");
        }
        silent.push(stream);
    }
    assert_eq!(status(&plane.ask("GET /healthz").await), "200");
}

#[tokio::test]
async fn a_stop_lets_an_answer_end_and_closes_the_door() {
    let held = Arc::new(Notify::new());
    let made = Made {
        held: Some(Arc::clone(&held)),
        ..Made::default()
    };
    let begun = Arc::clone(&made.begun);
    let plane = plane(made, None);
    let request = format!("POST /reload HTTP/1.1\r\nHost: {}", plane.addr);
    let stream = plane.connect().await;
    let caller = tokio::spawn(async move { talk(stream, &request).await });
    begun.notified().await;
    plane.stop.notify_one();
    held.notify_one();

    let answer = caller.await.expect("no panic");
    assert_eq!(status(&answer), "200", "{answer}");
    plane.serving.await.expect("no panic").expect("it served");
    TcpStream::connect(plane.addr).await.expect_err("closed");
}

#[tokio::test]
async fn a_unix_socket_serves_too() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let path = dir.path().join("forebay.sock");
    let listen = AdminListen::Unix(path.clone());
    let settings = AdminSettings {
        listen: Some(listen.clone()),
        token: None,
    };
    let socket = Socket::bind(&listen).expect("a fresh name");
    tokio::spawn(serve(
        socket,
        Access::new(&settings),
        Arc::new(Made::default()),
        std::future::pending(),
    ));
    let stream = UnixStream::connect(Path::new(&path))
        .await
        .expect("it listens");
    let answer = talk(stream, "GET /metrics HTTP/1.1\r\nHost: any").await;
    assert_eq!(status(&answer), "200", "{answer}");
}

#[path = "calls_tests.rs"]
mod calls;
