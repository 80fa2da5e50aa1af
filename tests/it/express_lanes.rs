//! Both lanes side by side: whatever a route says, whatever is stored and whatever is asked, the answers are equal.
//!
//! An empty line in front of a request has no meaning, and keeps it out of the lane's grammar. So each request is sent three
//! times on one connection: to the proxy, to the lane, to the proxy. Where the two answers of the proxy are equal, the lane's
//! must be as they are: status, fields and octets.

use crate::express::{asks, given};
use crate::express_cases::{ROUTES, fields, replies};
use crate::express_holds::{comparable, lines_are, slowly};
use crate::rig::{Connection, Edge, Origin, Request, Response, edge, get, origin, request};
use serde_json::Value;
use std::fmt::Write as _;

/// The same choices for the same seed.
struct Choice(fastrand::Rng);

impl Choice {
    fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.0.usize(..all.len())]
    }

    /// True once in so many times.
    fn one_in(&mut self, times: u32) -> bool {
        self.0.u32(..times) == 0
    }

    fn request(&mut self, route: usize, kind: &str) -> Request {
        let method = if self.one_in(4) { "HEAD" } else { "GET" };
        let query = *self.of(&["", "", "", "?q=1", "?q=2", "?utm_source=x&q=1", "?"]);
        let path = if self.one_in(8) {
            format!("/r{route}/./x/../{kind}")
        } else {
            format!("/r{route}/{kind}")
        };
        let mut asked = request(method, &format!("{path}{query}"));
        if self.one_in(10) {
            let host = *self.of(&["site.test:80", "SITE.TEST", "a.b.test", "[::1]"]);
            asked = asked.host(host);
        }
        for (name, values) in fields() {
            // What narrows the answer is more often asked for than the rest.
            let times = match name {
                "If-None-Match" | "Range" | "Accept-Encoding" => 3,
                "If-Modified-Since" | "If-Range" | "Cookie" | "X-Device" => 6,
                "If-Match" | "If-Unmodified-Since" | "Via" | "Pragma" => 40,
                _ => 12,
            };
            while self.one_in(times) {
                let value = self.of(&values).clone();
                asked = asked.header(name, &value);
                if !self.one_in(6) {
                    break;
                }
            }
        }
        asked
    }
}

fn toml(server: &str) -> String {
    let mut toml = format!("{server}\n");
    for (n, says) in ROUTES.iter().enumerate() {
        let says = says.replace("{n}", &n.to_string());
        let _ = write!(
            toml,
            "[[route]]\nname = \"r{n}\"\npath = \"/r{n}/\"\nto = \"{{o1}}\"\n{says}\n"
        );
    }
    toml
}

async fn everything(server: &str) -> (Origin, Edge) {
    let mut o = origin("o1");
    for (kind, reply) in replies() {
        o = o.on(&format!("/{kind}"), reply.clone());
        o = o.on(&format!("/v1/{kind}"), reply.clone());
        for n in 0..ROUTES.len() {
            o = o.on(&format!("/r{n}/{kind}"), reply.clone());
        }
    }
    let o = o.start().await;
    let e = edge(&toml(server)).origin(&o);
    let e = e.file(
        "users",
        "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n",
    );
    let e = e.file("page.html", "the operator's page").start().await;
    (o, e)
}

/// What must be equal of two answers.
fn equal(got: &Response) -> (u16, Vec<(String, String)>, Vec<u8>) {
    let mut fields: Vec<_> = got
        .head
        .fields
        .iter()
        .map(|(name, value)| {
            let name = name.to_ascii_lowercase();
            let own = match name.as_str() {
                // Made anew for each: a second may have passed.
                "x-request-id" if value.len() == 32 => "an id".to_owned(),
                "age" => "a number".to_owned(),
                "date"
                    if httpdate::parse_http_date(value).is_ok_and(|date| {
                        forebay::clock::wall()
                            .duration_since(date)
                            .is_ok_and(|since| since.as_secs() < 5)
                    }) =>
                {
                    "now".to_owned()
                }
                "cache-status" => value
                    .split("; ")
                    .map(|word| {
                        word.split('=')
                            .next()
                            .filter(|name| *name == "ttl")
                            .unwrap_or(word)
                    })
                    .collect::<Vec<_>>()
                    .join("; "),
                _ => value.clone(),
            };
            (name, own)
        })
        .collect();
    fields.sort();
    // An error page of ours names the request.
    let mut body = got.body.content.clone();
    if let Some(id) = got.head.get("x-request-id").filter(|id| id.len() == 32) {
        body = String::from_utf8_lossy(&body)
            .replace(id, "an id")
            .into_bytes();
    }
    (got.status, fields, body)
}

/// What is sent on one connection, and its lines in the log.
struct Sender<'a> {
    e: &'a Edge,
    k: Connection,
    /// Requests sent by now: as many lines there are, or will be.
    sent: usize,
}

impl Sender<'_> {
    async fn ask_the_proxy(&mut self, asked: &Request) -> Response {
        self.sent += 1;
        self.k.write(slowly(asked, "site.test")).await;
        self.k.response(&asked.method).await
    }

    async fn ask_the_lane(&mut self, asked: &Request) -> Response {
        self.sent += 1;
        self.k.send(asked).await
    }

    /// All lines, in the order of the requests.
    async fn lines(&self) -> Vec<Value> {
        lines_are(self.e, self.sent).await;
        self.e.log()
    }
}

/// So many cases of this seed. Says how many were compared, and how many answers the lane gave.
async fn compare(e: &Edge, seed: u64, cases: usize) -> (usize, f64) {
    let mut choice = Choice(fastrand::Rng::with_seed(seed));
    let kinds: Vec<_> = replies().into_iter().map(|(kind, _)| kind).collect();
    let k = e.client().connect().await;
    let mut sender = Sender { e, k, sent: 0 };
    let before = given(e).await;
    let mut compared = Vec::new();
    for case in 0..cases {
        // Each route has its turn; which kind it meets, and what is asked, is chance.
        let (route, kind) = (case % ROUTES.len(), *choice.of(&kinds));
        let asked = choice.request(route, kind);
        let mut plain = asked.clone();
        "GET".clone_into(&mut plain.method);
        plain
            .fields
            .retain(|(name, _)| !NARROWS.iter().any(|it| name.starts_with(it)));
        // What is stored is there by now; a coded form of it is there a little later.
        sender.ask_the_proxy(&plain).await;
        for _ in 0..3 {
            let one = sender.ask_the_proxy(&asked).await;
            let at_once = sender.ask_the_lane(&asked).await;
            let other = sender.ask_the_proxy(&asked).await;
            let told = format!("seed {seed} case {case} on `{}`: {asked:#?}", ROUTES[route]);
            assert_eq!(
                (&one.cut, &at_once.cut, &other.cut),
                (&None, &None, &None),
                "{told}"
            );
            if equal(&one) != equal(&other) {
                continue;
            }
            // What is coded as it passes is flushed where the origin's pieces ended: three times alike is chance.
            if said(&at_once).contains("fwd=") && at_once.head.get("content-encoding").is_some() {
                break;
            }
            assert_eq!(equal(&at_once), equal(&one), "{told} {at_once:#?} {one:#?}");
            let ages = [&one, &at_once, &other]
                .map(|got| got.head.get("age").and_then(|age| age.parse::<u64>().ok()));
            // What is stale may be fetched anew behind either answer, and is younger then.
            let is_stale = said(&one).contains("; ttl=-");
            assert!(is_stale || ages.is_sorted(), "{told} {ages:?}");
            compared.push((sender.sent - 3, told));
            break;
        }
    }
    let lines = sender.lines().await;
    for (first, told) in &compared {
        let [one, at_once, other] = [0, 1, 2].map(|n| comparable(lines[first + n].clone()));
        // What made the two answers of the proxy is not always the same either: a fetch, and what it brought.
        if one == other {
            assert_eq!(at_once, one, "{told}");
        }
    }
    (compared.len(), given(e).await - before)
}

/// Fields by which a request narrows what it wants.
const NARROWS: [&str; 4] = ["If-", "Range", "Cache-Control", "Pragma"];

async fn side_by_side(server: &str, seed: u64) {
    let (_o, e) = everything(server).await;
    let cases = 4 * ROUTES.len();
    let (compared, at_once) = compare(&e, seed, cases).await;
    // Proof that two lanes were compared, and not one with itself.
    let share = f64::from(u32::try_from(cases).unwrap()) / 5.0;
    assert!(
        compared > cases * 3 / 4 && at_once > share,
        "{compared} compared, {at_once} at once of {cases}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn for_strangers() {
    side_by_side("", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_via_behind_a_trusted_proxy() {
    side_by_side("[server]\nvia = false\ntrusted_proxies = [\"loopback\"]", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_another_name_forwarded() {
    side_by_side(
        "[server]\nname = \"other\"\nforwarded = true\ntrusted_proxies = [\"private\"]",
        3,
    )
    .await;
}

/// What our cache says, if it says something.
fn said(got: &Response) -> String {
    let lines = got.head.all("cache-status");
    lines.last().map_or_else(String::new, ToString::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_is_answered_at_once_or_not() {
    let (_o, e) = everything("").await;
    let mut k = e.client().connect().await;
    for (kind, _) in replies() {
        let asked = get(&format!("/r0/{kind}"));
        let first = k.send(&asked).await;
        let got = k.send(&asked).await;
        assert_eq!(equal(&got).2, equal(&first).2, "{kind}");
        let stored = said(&got).contains("; hit; ttl=") && !said(&got).contains("; ttl=-");
        // No content is for the proxy to write.
        let at_once = stored && got.status != 204;
        asks(&e, &mut k, &asked, at_once).await;
    }
    // What a route may say, and the lane does not do.
    for (n, says) in ROUTES.iter().enumerate() {
        let asked = get(&format!("/r{n}/small"));
        let got = k.send(&asked).await;
        let hit = got.status == 200 && said(&k.send(&asked).await).contains("; hit");
        let ours = ["Age", "Via", "X-Request-Id", "Proxy-Authenticate"];
        let told =
            says.starts_with("response_headers") && ours.iter().any(|name| says.contains(name));
        asks(&e, &mut k, &asked, hit && !told).await;
    }
}
