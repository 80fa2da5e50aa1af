//! What a call was given: its query, its body, and the server that it is about.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::sync::{Semaphore, watch};

use super::access::Admitted;
use super::answer::{self, Answer, Failure};
use super::control::Control;

/// Streams at once. Each keeps a connection for as long as somebody looks at it, and probes need some too.
const STREAMS: usize = 16;

/// What all calls of one listener share.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) control: Arc<dyn Control>,
    streams: Streams,
}

impl Desk {
    /// The desk of a listener that stops when the other end of `stop` is dropped.
    pub(super) fn new(control: Arc<dyn Control>, stop: watch::Receiver<()>) -> Self {
        let streams = Streams {
            places: Arc::new(Semaphore::new(STREAMS)),
            stop,
        };
        Self { control, streams }
    }
}

/// The answers that go on.
#[derive(Clone)]
struct Streams {
    places: Arc<Semaphore>,
    /// Closed when the listener stops.
    stop: watch::Receiver<()>,
}

impl Streams {
    fn begin(
        &self,
        content_type: &'static str,
        pieces: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Answer, Failure> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| {
            let text =
                format!("{STREAMS} callers are being told of events already; end one of them");
            Failure::new(StatusCode::SERVICE_UNAVAILABLE, text)
        })?;
        let mut stop = self.stop.clone();
        let stopped = async move { while stop.changed().await.is_ok() {} };
        let pieces = pieces.take_until(Box::pin(stopped)).map(move |piece| {
            // The place is free again when the stream is dropped.
            let _place = &place;
            piece
        });
        Ok(answer::stream_of(content_type, pieces))
    }
}

/// One call that was let in.
pub(super) struct Asked {
    /// Behind the `?`.
    pub(super) query: Query,
    /// Empty where the method has none.
    pub(super) body: Bytes,
    /// How much it may be told.
    pub(super) admitted: Admitted,
    /// The server.
    pub(super) control: Arc<dyn Control>,
    streams: Streams,
}

impl Asked {
    /// Puts it together.
    pub(super) fn new(query: Query, body: Bytes, admitted: Admitted, desk: &Desk) -> Self {
        Self {
            query,
            body,
            admitted,
            control: Arc::clone(&desk.control),
            streams: desk.streams.clone(),
        }
    }

    /// The body as JSON. The error says where it stopped making sense, and `example` what would make some.
    pub(super) fn json<T: DeserializeOwned>(&self, example: &str) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let found = if self.body.is_empty() {
                "the request has no body".to_owned()
            } else {
                format!("the request body cannot be used: {error}")
            };
            Failure::bad(format!("{found}; expected JSON such as {example}"))
        })
    }

    /// Does `work` on a thread that may take its time, and to its end even when the caller goes away.
    pub(super) async fn apart<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Control) -> T + Send + 'static,
    ) -> Result<T, Failure> {
        let control = Arc::clone(&self.control);
        let done = tokio::task::spawn_blocking(move || work(&*control)).await;
        done.map_err(|panic| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, panic.to_string()))
    }

    /// An answer that goes on until `pieces` end, the caller leaves, or the listener stops. 503 where too many are under
    /// way.
    pub(super) fn stream(
        &self,
        content_type: &'static str,
        pieces: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Result<Answer, Failure> {
        self.streams.begin(content_type, pieces)
    }
}

/// The parameters of a call, in their order. `+` is itself: addresses are written here, not forms.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what is behind a `?`.
    pub(super) fn read(text: &str) -> Self {
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = text.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        Self(pairs.collect())
    }

    /// 400 where a parameter is none of these.
    pub(super) fn expect(&self, known: &[&str]) -> Result<(), Failure> {
        match self.0.iter().find(|(name, _)| !known.contains(&&**name)) {
            Some((name, _)) => Err(Failure::bad(format!(
                "unknown parameter `{name}`; expected: {}; write `&` in a value as %26",
                ticked(known)
            ))),
            None => Ok(()),
        }
    }

    /// All values of a parameter.
    pub(super) fn all<'q>(&'q self, name: &str) -> impl Iterator<Item = &'q str> {
        let named = self.0.iter().filter(move |(given, _)| given == name);
        named.map(|(_, value)| value.as_str())
    }

    /// The value of a parameter that stands once, if it does; 400 where it stands again.
    pub(super) fn one(&self, name: &str) -> Result<Option<&str>, Failure> {
        let mut values = self.all(name);
        let value = values.next();
        match values.next() {
            Some(_) => Err(Failure::bad(format!(
                "the parameter `{name}` stands there twice; write it once"
            ))),
            None => Ok(value),
        }
    }

    /// The same for a parameter that must be there.
    pub(super) fn needed(&self, name: &str, example: &str) -> Result<&str, Failure> {
        self.one(name)?.ok_or_else(|| {
            Failure::bad(format!(
                "the parameter `{name}` is missing; expected it as in `{example}`"
            ))
        })
    }

    /// The same for a word or another thing with a text form; 400 with what was `expected` where it is not one.
    pub(super) fn parsed<T: FromStr>(
        &self,
        name: &str,
        expected: &str,
    ) -> Result<Option<T>, Failure> {
        let Some(value) = self.one(name)? else {
            return Ok(None);
        };
        value.parse().map(Some).map_err(|_| {
            Failure::bad(format!(
                "the parameter `{name}` is `{value}`; expected {expected}"
            ))
        })
    }

    /// The same for a number.
    pub(super) fn number(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, Failure> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        match self.parsed(name, &expected)? {
            Some(number) if !range.contains(&number) => Err(Failure::bad(format!(
                "the parameter `{name}` is `{number}`; expected {expected}"
            ))),
            number => Ok(number),
        }
    }
}

/// `` `a`, `b` ``.
pub(super) fn ticked(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_the_listener() {
        let (stopping, stop) = watch::channel(());
        let places = Arc::new(Semaphore::new(1));
        let streams = Streams { places, stop };
        let endless = || futures::stream::repeat(Bytes::from_static(b"x")).take(2);
        let endless = || endless().chain(futures::stream::pending());
        let begin = || streams.begin("text/event-stream", endless());

        let first = begin().expect("there is a place");
        let refused = begin().expect_err("there is none left");
        assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
        // Who leaves makes room.
        drop(first);
        let second = begin().expect("there is a place again");
        let mut body = second.into_body().into_data_stream();
        assert_eq!(body.next().await, Some(Ok(Bytes::from_static(b"x"))));
        drop(stopping);
        while body.next().await.is_some() {}
    }

    #[test]
    fn a_query_is_read_as_it_is_meant() {
        let query = Query::read("url=http%3A%2F%2Fh%2Fa+b&tag=a&tag=b&limit=20&empty&=&");
        assert_eq!(query.one("url").ok().flatten(), Some("http://h/a+b"));
        assert_eq!(query.all("tag").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(query.number("limit", 1..=100), Ok(Some(20)));
        assert_eq!(query.one("empty"), Ok(Some("")));
        assert_eq!(query.one("nothing"), Ok(None));
    }

    #[test]
    fn what_is_wrong_with_a_query_is_said() {
        let query = Query::read("limit=0&tag=a&tag=b&order=x");
        for (outcome, text) in [
            (
                query.expect(&["limit", "tag"]),
                "unknown parameter `order`; expected: `limit`, `tag`; write `&` in a value as %26",
            ),
            (
                query.one("tag").map(drop),
                "the parameter `tag` stands there twice; write it once",
            ),
            (
                query.number("limit", 1..=9).map(drop),
                "the parameter `limit` is `0`; expected a whole number from 1 to 9",
            ),
            (
                query.number("order", 1..=9).map(drop),
                "the parameter `order` is `x`; expected a whole number from 1 to 9",
            ),
            (
                query.needed("url", "?url=http://h/").map(drop),
                "the parameter `url` is missing; expected it as in `?url=http://h/`",
            ),
        ] {
            assert_eq!(outcome, Err(Failure::bad(text)));
        }
    }
}
