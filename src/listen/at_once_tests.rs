//! Holds both lanes to one reading of what a client sends, however it is cut into pieces: the same requests, the same answers,
//! and no octet of one request in another.

use super::super::crowd::Place;
use super::*;
use crate::fields::section::HeaderSection;
use crate::fields::view::{FieldLines, FieldView};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::listen::gate::canonical::Canonical;
use crate::listen::http1;
use crate::listen::scripted::Scripted;
use crate::listen::settings::LimitSettings;
use crate::telemetry::Registry;
use crate::telemetry::access_log::AccessLog;
use crate::telemetry::metrics::HttpMetrics;
use crate::telemetry::settings::{AccessLogTarget, LogSettings};
use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::sync::Arc;

/// What the fake handler was asked.
#[derive(Debug, Default)]
struct Record {
    /// Each request in its order, whichever lane it came by.
    requests: Vec<String>,
    /// How many of them were answered at once.
    at_once: usize,
}

/// Answers with what it was asked. At once for what lies below `/hit`, unless that is turned off.
#[derive(Debug, Clone)]
struct Echo {
    record: Arc<Mutex<Record>>,
    express: bool,
}

/// A request as one line: the answer's body, and so a part of what is compared.
fn told(method: &Method, target: &str, host: &str, fields: &HeaderMap, body: &[u8]) -> String {
    let mut lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}={:?}", value.as_bytes()))
        .collect();
    // The lines of one name keep their order.
    lines.sort_by(|one, other| one.split('=').next().cmp(&other.split('=').next()));
    let body = body.escape_ascii();
    format!("{method} {target} {host} [{}] {body}", lines.join(","))
}

impl Handler for Echo {
    fn at_once_http2(
        &self,
        _asked: crate::listen::gate::http2::Asked<'_>,
        _circumstances: &Circumstances<'_>,
    ) -> Option<crate::listen::reply::Reply> {
        None
    }

    async fn handle(&self, mut session: Box<Exchange>) {
        let mut body = Vec::new();
        let whole = loop {
            match session.read_request_body().await {
                Ok(Some(data)) => body.extend_from_slice(&data),
                Ok(None) => break true,
                Err(_) => break false,
            }
        };
        let header = session.req_header();
        let target = String::from_utf8_lossy(header.raw_path()).into_owned();
        let host = header.headers.get("host").map_or("", |host| {
            std::str::from_utf8(host.as_bytes()).unwrap_or_default()
        });
        let told = told(&header.method, &target, host, &header.headers, &body);
        let (status, text) = if whole {
            self.record.lock().requests.push(told.clone());
            (200, told)
        } else {
            (400, "cut".to_owned())
        };
        let mut fields = HeaderSection::default();
        fields.insert_number(&CONTENT_LENGTH, text.len() as u64);
        let status = StatusCode::from_u16(status).expect("a status");
        let head = Part::Head(ResponseHead::new(status, fields));
        let parts = [head, Part::Data(text.into()), Part::End];
        if session.write(parts).await.is_ok() {
            let _ = session.finish().await;
        }
    }

    fn at_once(
        &self,
        asked: Canonical<'_, '_>,
        circumstances: &Circumstances<'_>,
        burst: &mut Burst,
    ) -> Option<Given> {
        assert!(!asked.target.starts_with("/panic"), "as it was asked to");
        if !self.express || !asked.target.starts_with("/hit") {
            return None;
        }
        let fields = FieldView::Lines(FieldLines::new(asked.lines)).to_header_map();
        let told = told(asked.method, asked.target, asked.host, &fields, b"");
        let close = if circumstances.close {
            "Connection: close\r\n"
        } else {
            ""
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{close}\r\n",
            told.len()
        );
        burst.copy(head.as_bytes());
        if asked.method == Method::GET {
            burst.push(Bytes::copy_from_slice(told.as_bytes()));
        }
        let mut record = self.record.lock();
        record.requests.push(told);
        record.at_once += 1;
        Some(Given { entry: None })
    }
}

/// What became of a connection.
#[derive(Debug, PartialEq)]
struct Became {
    requests: Vec<String>,
    /// What the client got, without dates.
    got: String,
}

impl Became {
    /// What was asked and answered in front of what was refused, if anything was.
    fn accepted(&self) -> (&[String], &str) {
        let refused = ["HTTP/1.1 4", "HTTP/1.1 5"].map(|refusal| self.got.find(refusal));
        let end = refused.into_iter().flatten().min();
        (&self.requests, &self.got[..end.unwrap_or(self.got.len())])
    }
}

/// A data thread's part of a server.
struct Bench {
    shared: Arc<Shared>,
    client: Arc<Client>,
}

impl Bench {
    fn new() -> Self {
        let off = LogSettings {
            access: AccessLogTarget::Off,
            ..LogSettings::default()
        };
        let address = ([127, 0, 0, 1], 80).into();
        Self {
            shared: Arc::new(Shared {
                limits: ArcSwap::from_pointee(LimitSettings::default()),
                lifecycle: crate::listen::lifecycle::Lifecycle::new(),
                access_log: AccessLog::start(&off).expect("a log that is off"),
                metrics: Arc::new(HttpMetrics::new(&Registry::new())),
                faults_told: crate::listen::fault::Told::default(),
                untrusted_told: crate::listen::fault::Told::default(),
                crowds_told: crate::listen::fault::Told::default(),
            }),
            client: Arc::new(Client {
                addr: address,
                local: address,
                tls: false,
                certificate: None,
            }),
        }
    }

    fn idle(&self) -> Idle {
        let place = Place::nobodys(self.shared.lifecycle.clone());
        Idle::new(clock::now(), place)
    }

    /// Serves a connection on which these pieces come, and says how many answers were given at once.
    async fn serve(&self, pieces: Vec<Bytes>, room: usize, express: bool) -> (Became, usize) {
        let scripted = Scripted::new(pieces, room);
        let got = scripted.got();
        let record = Arc::<Mutex<Record>>::default();
        let echo = Echo {
            record: record.clone(),
            express,
        };
        http1::serve(
            crate::listen::stream::ClientStream::Scripted(scripted),
            BytesMut::new(),
            self.idle(),
            self.client.clone(),
            self.shared.clone(),
            echo,
        )
        .await;
        let got = String::from_utf8_lossy(&got.lock()).into_owned();
        let record = std::mem::take(&mut *record.lock());
        let became = Became {
            requests: record.requests,
            got: without_dates(&got),
        };
        (became, record.at_once)
    }

    /// Demands the same, however the stream is cut in two, octet by octet, with and without the lane, and whatever little the
    /// client takes at a time. Gives what became of it, and how many answers were given at once where it came whole.
    async fn same_at_every_split(&self, stream: &[u8]) -> (Became, usize) {
        let whole = Bytes::copy_from_slice(stream);
        let (expected, at_once) = self.serve(vec![whole.clone()], usize::MAX, true).await;
        let (full, none) = self.serve(vec![whole.clone()], usize::MAX, false).await;
        assert_eq!((&full, none), (&expected, 0), "{}", stream.escape_ascii());
        for at in 1..stream.len() {
            let pieces = vec![whole.slice(..at), whole.slice(at..)];
            let (became, _) = self.serve(pieces, usize::MAX, true).await;
            assert_eq!(became, expected, "{} at {at}", stream.escape_ascii());
        }
        for (step, room) in [(1, usize::MAX), (7, 5), (stream.len().max(1), 3)] {
            let pieces = stream.chunks(step).map(Bytes::copy_from_slice).collect();
            let (became, _) = self.serve(pieces, room, true).await;
            assert_eq!(became, expected, "{} by {step}", stream.escape_ascii());
        }
        (expected, at_once)
    }
}

/// The answers without `Date`, which may be of another second.
fn without_dates(answers: &str) -> String {
    let lines = answers.split_inclusive("\r\n");
    lines.filter(|line| !line.starts_with("Date: ")).collect()
}

fn hit(name: &str) -> String {
    format!("GET /hit/{name} HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n")
}

fn pass(name: &str) -> String {
    format!("GET /pass/{name} HTTP/1.1\r\nHost: a\r\n\r\n")
}

const POST: &str =
    "POST /hit/p HTTP/1.1\r\nHost: a\r\nContent-Length: 27\r\n\r\nGET /hit/x HTTP/1.1\r\nHost: ";
const CHUNKED: &str = "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n2;x=y\r\nhi\r\n0\r\nT: x\r\n\r\n";
const GET_WITH_BODY: &str =
    "GET /hit/b HTTP/1.1\r\nHost: a\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";

#[tokio::test(start_paused = true)]
async fn canonical_and_odd_requests_are_the_same_at_every_split() {
    let bench = Bench::new();
    let streams = [
        // How many requests there are in it, and how many of them are answered at once where it comes whole.
        (hit("1"), 1, 1),
        (hit("1") + &hit("2") + &hit("3"), 3, 3),
        (hit("1") + &pass("2") + &hit("3"), 3, 2),
        (pass("1") + &hit("2") + &pass("3"), 3, 1),
        (hit("1") + POST + &hit("3"), 3, 2),
        (POST.to_owned() + POST + &hit("3"), 3, 1),
        (hit("1") + CHUNKED + &hit("3"), 3, 2),
        (hit("1") + GET_WITH_BODY + &hit("3"), 3, 2),
        (
            "HEAD /hit/h HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &hit("2"),
            2,
            2,
        ),
        (
            "HEAD /pass HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &hit("2"),
            2,
            1,
        ),
        // Empty lines are not of the narrow grammar.
        (hit("1") + "\r\n" + &hit("2"), 2, 1),
        ("\r\n\r\n".to_owned() + &hit("2") + &hit("3"), 2, 1),
        // Neither are these, though the gate knows what they mean.
        (
            "GET http://b/hit/a HTTP/1.1\r\nHost: a\r\n\r\n".to_owned() + &hit("2"),
            2,
            1,
        ),
        (
            "GET /hit HTTP/1.1\r\nHost: a\r\nConnection: x, keep-alive\r\nX: 1\r\n\r\n".to_owned()
                + &hit("2"),
            2,
            1,
        ),
        (
            "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTE: trailers\r\nX_Y: 1\r\n\r\n"
                .to_owned()
                + &hit("2"),
            2,
            1,
        ),
        (
            "GET /hit HTTP/1.1\r\nhost:a\r\nA:\t b \r\na: c\r\nConnection: Keep-Alive\r\n\r\n"
                .to_owned()
                + &hit("2"),
            2,
            2,
        ),
        (
            "GET /hit HTTP/1.0\r\nConnection: keep-alive\r\n\r\n".to_owned() + &hit("2"),
            2,
            1,
        ),
        // Behind the last answer nothing is read any more.
        (
            "GET /hit/1 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned() + &hit("2"),
            1,
            1,
        ),
        (
            "GET /pass HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned() + &hit("2"),
            1,
            0,
        ),
        ("GET /hit/1 HTTP/1.0\r\n\r\n".to_owned() + &hit("2"), 1, 0),
        // What is not whole is nothing.
        (hit("1") + "GET /hit/2 HTTP/1.1\r\nHost: a\r\n", 1, 1),
        (
            hit("1") + "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nGET /hit",
            1,
            1,
        ),
    ];
    for (stream, requests, at_once) in streams {
        let (became, given) = bench.same_at_every_split(stream.as_bytes()).await;
        assert_eq!(
            (became.requests.len(), given),
            (requests, at_once),
            "{stream:?}: {became:#?}"
        );
    }
}

/// Field lines and whole heads of table 3.1, each refused.
const REFUSED: [&str; 34] = [
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent_Length: 5\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nConnection: host\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nConnection: content-length\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: u@a\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost:\r\n\r\n",
    "GET /hit HTTP/1.1\r\n\r\n",
    "GET /hit HTTP/1.1\r\n Host: a\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nA: b\x01\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n",
    "GET /hit HTTP/1.1\r\nHost: a\r\nA b\r\n\r\n",
    "GET /hit HTTP/1.1\nHost: a\n\n",
    "GET /hit HTTP/1.1\r\nHost: a\n\r\n",
    "GET /hit#x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /hit x HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  /hit HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /hit\r\n\r\n",
    "GET /hit HTTP/1.2\r\nHost: a\r\n\r\n",
    "CONNECT /hit HTTP/1.1\r\nHost: a\r\n\r\n",
];

#[tokio::test(start_paused = true)]
async fn hostile_requests_are_refused_at_every_split_and_nothing_behind_them_is_read() {
    let bench = Bench::new();
    for row in REFUSED {
        let stream = hit("before") + row + &hit("smuggled");
        let (became, at_once) = bench.same_at_every_split(stream.as_bytes()).await;
        assert_eq!(
            (became.requests.len(), at_once),
            (1, 1),
            "{row:?}: {became:#?}"
        );
        let answers = became.got.matches("\r\nContent-Length: ").count();
        assert_eq!(answers, 2, "{became:#?}");
        assert!(became.got.contains("Connection: close\r\n"), "{became:#?}");
    }
}

/// Whole requests, and what is none.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let whole = prop::sample::select(vec![
        hit("1"),
        hit("22"),
        pass("3"),
        POST.to_owned(),
        CHUNKED.to_owned(),
        GET_WITH_BODY.to_owned(),
        "\r\n".to_owned(),
        "HEAD /hit HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET /hit HTTP/1.1\r\nHost: a\r\nCookie: a=b\r\nConnection: keep-alive\r\n\r\n".to_owned(),
    ]);
    let odd = prop::sample::select(REFUSED.to_vec());
    prop_oneof![
        12 => whole.prop_map(String::into_bytes),
        1 => odd.prop_map(|row| row.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Any mixture, in any pieces, to a client that takes any little at a time.
    #[test]
    fn mixtures_in_any_pieces(
        stream in prop::collection::vec(piece(), 1..9),
        cuts in prop::collection::vec(1usize..400, 0..12),
        room in prop_oneof![Just(usize::MAX), 1usize..600],
    ) {
        let stream = Bytes::from(stream.concat());
        let mut rest = stream.clone();
        let mut pieces: Vec<Bytes> = cuts
            .into_iter()
            .map(|cut| rest.split_to(cut.min(rest.len())))
            .filter(|piece| !piece.is_empty())
            .collect();
        pieces.extend(Some(rest).filter(|rest| !rest.is_empty()));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let bench = Bench::new();
            let (expected, _) = bench.serve(vec![stream.clone()], usize::MAX, false).await;
            let (whole, _) = bench.serve(vec![stream], usize::MAX, true).await;
            let (became, _) = bench.serve(pieces, room, true).await;
            assert_eq!(whole, expected);
            // By which rule it is refused may depend on how much of it is there.
            assert_eq!(became.accepted(), expected.accepted());
        });
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_burst_is_answered_in_order() {
    let bench = Bench::new();
    let stream: String = (0..1500).map(|n| hit(&n.to_string())).collect();
    for room in [usize::MAX, 1000] {
        let pieces = vec![Bytes::from(stream.clone())];
        let (became, at_once) = bench.serve(pieces, room, true).await;
        assert_eq!((became.requests.len(), at_once > 1400), (1500, true));
        for (n, request) in became.requests.iter().enumerate() {
            assert!(request.starts_with(&format!("GET /hit/{n} ")), "{request}");
        }
        assert_eq!(became.got.matches("HTTP/1.1 200 OK").count(), 1500);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_panic_leaves_is_nobody_elses() {
    let bench = Arc::new(Bench::new());
    let behind = bench.clone();
    let stream = hit("secret") + "GET /panic HTTP/1.1\r\nHost: a\r\n\r\n";
    let failed = tokio::spawn(async move {
        behind
            .serve(vec![Bytes::from(stream)], usize::MAX, true)
            .await
    });
    assert!(failed.await.is_err_and(|error| error.is_panic()));
    let (became, _) = bench
        .serve(vec![Bytes::from(hit("mine"))], usize::MAX, true)
        .await;
    assert!(!became.got.contains("secret"), "{became:#?}");
    assert_eq!(became.got.matches("HTTP/1.1 200 OK").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_the_connection_behind_the_next_answer() {
    let bench = Bench::new();
    bench.shared.lifecycle.begin_drain();
    let stream = Bytes::from(hit("1") + &hit("2"));
    let (became, at_once) = bench.serve(vec![stream.clone()], usize::MAX, true).await;
    assert_eq!((became.requests.len(), at_once), (1, 1));
    assert!(became.got.contains("\r\nConnection: close\r\n"));
    let (full, _) = bench.serve(vec![stream], usize::MAX, false).await;
    assert_eq!(full, became);
}
