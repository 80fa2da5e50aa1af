//! The calls there are: each a line of one table, and a function that answers it.
//!
//! To add one: write its function in a file here, `fn(&Asked) -> Outcome` where it has nothing to wait for and
//! `async fn(Asked) -> Outcome` where it has; add its line to [`CALLS`]; ask the server through a method of
//! [`super::Control`]. Who may call, which method, how large the body: all that is seen to before.

mod cache;
mod explain;
mod health;
mod purge;
mod state;
mod views;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::Method;

use super::access::Need;
use super::answer::{Answer, Failure};
use super::asked::Asked;

/// What a call comes to.
pub(super) type Outcome = Result<Answer, Failure>;

/// All of them, in the order in which they are listed to who asks for another.
pub(super) static CALLS: &[Call] = &[
    Call::probe("/healthz", health::alive),
    Call::probe("/readyz", health::ready),
    Call::read("/metrics", state::metrics),
    Call::read("/upstreams", state::upstreams),
    Call::read_later("/stats", |asked| views::stats(asked).boxed()),
    Call::probe("/", views::page),
    Call::read_later("/cache", |asked| cache::list(asked).boxed()),
    Call::read_later("/cache/entry", |asked| cache::entry(asked).boxed()),
    Call::read_later("/cache/stats", |asked| cache::stats(asked).boxed()),
    Call::read("/purges", purge::follow),
    Call::change("/purge", |asked| purge::purge(asked).boxed()),
    Call::change("/reload", |asked| state::reload(asked).boxed()),
    Call::change("/explain", |asked| explain::explain(asked).boxed()),
];

/// One call.
pub(super) struct Call {
    pub(super) path: &'static str,
    pub(super) need: Need,
    /// Asked for by POST, with a body; else by GET or HEAD.
    pub(super) by_post: bool,
    handler: Handler,
}

/// How it is answered.
enum Handler {
    Now(fn(&Asked) -> Outcome),
    Later(fn(Asked) -> BoxFuture<'static, Outcome>),
}

impl Call {
    /// For orchestrators, which send no token.
    const fn probe(path: &'static str, answer: fn(&Asked) -> Outcome) -> Self {
        Self::new(path, Need::Probe, Handler::Now(answer))
    }

    /// Reads the state, at once.
    const fn read(path: &'static str, answer: fn(&Asked) -> Outcome) -> Self {
        Self::new(path, Need::Read, Handler::Now(answer))
    }

    /// Reads the state, and has something to wait for.
    const fn read_later(
        path: &'static str,
        answer: fn(Asked) -> BoxFuture<'static, Outcome>,
    ) -> Self {
        Self::new(path, Need::Read, Handler::Later(answer))
    }

    /// Changes the state.
    const fn change(path: &'static str, answer: fn(Asked) -> BoxFuture<'static, Outcome>) -> Self {
        Self::new(path, Need::Change, Handler::Later(answer)).by_post()
    }

    const fn new(path: &'static str, need: Need, handler: Handler) -> Self {
        Self {
            path,
            need,
            by_post: false,
            handler,
        }
    }

    /// Asked for by POST, because its arguments are too many for a query.
    const fn by_post(mut self) -> Self {
        self.by_post = true;
        self
    }

    /// The methods allowed, as `Allow` lists them.
    pub(super) fn allow(&self) -> &'static str {
        if self.by_post { "POST" } else { "GET, HEAD" }
    }

    /// Whether this is one of them.
    pub(super) fn allows(&self, method: &Method) -> bool {
        if self.by_post {
            method == Method::POST
        } else {
            method == Method::GET || method == Method::HEAD
        }
    }

    /// Answers.
    pub(super) async fn answer(&self, asked: Asked) -> Outcome {
        match self.handler {
            Handler::Now(answer) => answer(&asked),
            Handler::Later(answer) => answer(asked).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_path_stands_once_and_what_changes_things_is_posted() {
        let paths: BTreeSet<&str> = CALLS.iter().map(|call| call.path).collect();
        assert_eq!(paths.len(), CALLS.len(), "{paths:?}");
        for call in CALLS {
            assert!(call.by_post || call.need != Need::Change, "{}", call.path);
        }
    }
}
