//! Asking a service whether a request may go on: a request of our own to its upstream, which holds and retries as for any.

use super::fetch;
use super::front::Proxy;
use super::walk::Entered;
use crate::access::forward::{Answer, Forward, Way};
use crate::listen::exchange::inner::Recipient;
use crate::routing::settings::RouteSettings;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, StatusCode};
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The longest page that a service may refuse with.
const BODY_MAX: usize = 1024 * 1024;

/// Comes by an answer: it is known, or somebody asks the same, or the service is asked.
pub(super) async fn ask(
    proxy: &Proxy,
    entered: &Entered,
    forward: &Arc<Forward>,
    question: HeaderMap,
) -> Answer {
    let patience = forward.settings.timeout;
    let answered = answered(proxy, entered, forward, question);
    match timeout(patience, answered).await {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            forward.unwell("its answer was not whole, or larger than 1 MiB");
            Answer::Unavailable
        }
        Err(_) => {
            forward.unwell(&format!("no answer within {patience:?}"));
            Answer::Unavailable
        }
    }
}

/// The same, for as long as it takes. None where no whole answer comes.
async fn answered(
    proxy: &Proxy,
    entered: &Entered,
    forward: &Arc<Forward>,
    question: HeaderMap,
) -> Option<Answer> {
    let asking = match forward.way(&question, entered.client) {
        Way::Known(granted) => return Some(Answer::Granted(granted)),
        Way::Ask(asking) => Some(asking),
        Way::Wait(mut other) => {
            // What others were refused with is theirs: who gets no yes from them asks by itself.
            let granted = other.wait_for(Option::is_some).await;
            if let Some(granted) = granted.ok().and_then(|granted| granted.clone()) {
                return Some(Answer::Granted(granted));
            }
            None
        }
    };
    let answer = inquire(proxy, entered, forward, question).await?;
    if let (Answer::Granted(granted), Some(asking)) = (&answer, asking) {
        asking.answered(granted);
    }
    Some(answer)
}

/// None where no whole answer comes.
async fn inquire(
    proxy: &Proxy,
    entered: &Entered,
    forward: &Forward,
    question: HeaderMap,
) -> Option<Answer> {
    let target = forward.settings.target.as_bytes();
    let mut header = RequestHeader::build(Method::GET, target, Some(question.len())).ok()?;
    for (name, value) in &question {
        header.append_header(name.clone(), value.clone()).ok()?;
    }
    let (answer, answered) = oneshot::channel();
    let ear = Ear {
        answer: Some(answer),
        head: None,
        body: BytesMut::new(),
    };
    let route = Arc::new(route_to(&forward.settings.upstream));
    fetch::ask(proxy, header, entered, route, Box::new(ear));
    let (status, fields, body) = answered.await.ok()?;
    Some(forward.judge(status, fields, body))
}

/// A route that does nothing but lead there. It is none of the site's, so nothing is kept or counted for it.
fn route_to(upstream: &str) -> RouteSettings {
    RouteSettings {
        index: usize::MAX,
        ..RouteSettings::all_to(upstream)
    }
}

type Whole = (StatusCode, HeaderMap, Bytes);

/// Hears the answer. Dropped before its end, nobody hears of it.
#[derive(Debug)]
struct Ear {
    answer: Option<oneshot::Sender<Whole>>,
    head: Option<(StatusCode, HeaderMap)>,
    body: BytesMut,
}

impl Recipient for Ear {
    fn asked(&mut self) {
        // A second try begins anew.
        self.head = None;
        self.body.clear();
    }

    fn interim(&mut self, _: StatusCode, _: HeaderMap) {}

    fn head(&mut self, status: StatusCode, fields: HeaderMap) {
        self.head = Some((status, fields));
    }

    fn data(&mut self, data: Bytes) {
        if self.body.len() + data.len() > BODY_MAX {
            self.answer = None;
            return;
        }
        self.body.extend_from_slice(&data);
    }

    fn end(&mut self) {
        if let (Some(answer), Some((status, fields))) = (self.answer.take(), self.head.take()) {
            // Who asked may have gone.
            let _ = answer.send((status, fields, self.body.split().freeze()));
        }
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.answer {
            Some(answer) => answer.poll_closed(cx),
            None => Poll::Ready(()),
        }
    }
}
