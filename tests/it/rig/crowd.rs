//! Many clients at once: a task each, one connection each, and when each of them saw what.

use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::gate::PATIENCE;
use super::wire::Body;
use super::{Client, Request, Response, within};

/// What one client of a crowd got, and when.
#[derive(Debug)]
pub struct Seen {
    /// The answer.
    pub response: Response,
    /// When the request was out.
    pub asked: Instant,
    /// When the first octet of the body was in; none came where this is missing.
    pub first: Option<Instant>,
    /// When it was over.
    pub ended: Instant,
}

impl Seen {
    /// Seconds from `begin`, or from its own question when that came later, to the first octet of its body.
    #[track_caller]
    pub fn lag(&self, begin: Instant) -> f64 {
        let first = self
            .first
            .unwrap_or_else(|| panic!("no body in {:#?}", self.response));
        first
            .saturating_duration_since(begin.max(self.asked))
            .as_secs_f64()
    }
}

/// How many clients are how far.
#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    asked: usize,
    begun: usize,
    ended: usize,
}

/// Clients on their way.
#[derive(Debug)]
pub struct Crowd {
    clients: Vec<JoinHandle<Seen>>,
    progress: watch::Receiver<Progress>,
}

impl Client {
    /// So many clients that ask the same at once.
    pub fn crowd(&self, count: usize, request: &Request) -> Crowd {
        self.crowd_of((0..count).map(|_| request.clone()))
    }

    /// A client for each of these requests, at once.
    pub fn crowd_of(&self, requests: impl IntoIterator<Item = Request>) -> Crowd {
        let (step, progress) = watch::channel(Progress::default());
        let step = Arc::new(step);
        let clients = requests
            .into_iter()
            .map(|request| tokio::spawn(one(self.clone(), request, step.clone())))
            .collect();
        Crowd { clients, progress }
    }
}

async fn one(client: Client, request: Request, step: Arc<watch::Sender<Progress>>) -> Seen {
    let mut connection = client.connect().await;
    connection.start(&request).await;
    let asked = forebay::clock::now();
    step.send_modify(|p| p.asked += 1);
    let mut first = None;
    let show = |body: &Body| {
        if first.is_none() && !body.content.is_empty() {
            first = Some(forebay::clock::now());
            step.send_modify(|p| p.begun += 1);
        }
    };
    // One panic for all is enough to read: whoever gets nothing has an answer that says so.
    let read = connection.response_seen(&request.method, show);
    let response = tokio::time::timeout(PATIENCE, read).await;
    let response = response.unwrap_or_else(|_| Response {
        cut: Some(format!("not whole within {} s", PATIENCE.as_secs())),
        ..Response::default()
    });
    step.send_modify(|p| p.ended += 1);
    Seen {
        response,
        asked,
        first,
        ended: forebay::clock::now(),
    }
}

impl Crowd {
    /// Waits until all have asked.
    pub async fn asked(&self) {
        let all = self.clients.len();
        self.until("all to have asked", |p| p.asked == all).await;
    }

    /// Waits until so many have seen the first octet of a body.
    pub async fn begun(&self, count: usize) {
        self.until(&format!("{count} bodies to begin"), |p| p.begun >= count)
            .await;
    }

    /// How many are done.
    pub fn done(&self) -> usize {
        self.progress.borrow().ended
    }

    /// Waits for all of them.
    pub async fn all(self) -> Vec<Seen> {
        let mut seen = Vec::with_capacity(self.clients.len());
        for client in self.clients {
            seen.push(
                client
                    .await
                    .expect("a client of the crowd has not panicked"),
            );
        }
        seen
    }

    async fn until(&self, what: &str, is: impl Fn(Progress) -> bool) {
        let mut progress = self.progress.clone();
        let so = progress.wait_for(|p| is(*p));
        let reached = within(what, so).await.is_ok();
        assert!(reached, "the crowd ended before: {what}");
    }
}
