//! The policy beside another implementation, `http-cache-semantics`: thousands of messages, and every disagreement is one
//! that is listed here, with who is right. One that is not listed fails; so does a line of the list that explains nothing.

#[path = "oracle_known.rs"]
mod known;

use super::reuse::{Reuse, decide};
use super::storable::evaluate;
use super::testing::{headers, moment, start};
use super::{Asked, Received, Terms, WhenStale};
use crate::cache::settings::{ClientDirectives, Rules};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_cache_semantics::{BeforeRequest, CacheOptions, CachePolicy};
use known::{DIALECT, Dialect, KNOWN, Known};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

/// Messages compared. The rarest disagreement comes up about once in six hundred.
const CASES: u32 = 10_000;

/// One request, its response, and a second request some time later.
#[derive(Debug, Clone)]
struct Case {
    status: u16,
    control: Vec<&'static str>,
    fields: Vec<(&'static str, &'static str)>,
    credentials: Option<(&'static str, &'static str)>,
    first: Option<&'static str>,
    second: Option<&'static str>,
    after: u64,
}

impl Case {
    fn says(&self, directive: &str) -> bool {
        self.control.contains(&directive)
    }

    /// Whether any directive comes twice.
    fn repeats(&self) -> bool {
        let name = |said: &'static str| said.split('=').next().unwrap_or(said).trim();
        let mut names: Vec<_> = self.control.iter().map(|said| name(said)).collect();
        names.sort_unstable();
        names.windows(2).any(|pair| pair.first() == pair.last())
    }

    fn has(&self, name: &str, value: &str) -> bool {
        self.fields.contains(&(name, value))
    }

    fn names(&self, name: &str) -> bool {
        self.fields.iter().any(|(found, _)| *found == name)
    }

    fn second_says(&self, directive: &str) -> bool {
        self.second
            .is_some_and(|value| value.starts_with(directive))
    }

    /// Says one directive otherwise, or not at all. False where it is not there.
    fn replace(&mut self, from: &str, to: Option<&'static str>) -> bool {
        let before = self.control.clone();
        self.control = before
            .iter()
            .filter_map(|&said| if said == from { to } else { Some(said) })
            .collect();
        self.control != before
    }

    /// The same of a field.
    fn replace_field(
        &mut self,
        from: (&str, &str),
        to: Option<(&'static str, &'static str)>,
    ) -> bool {
        let before = self.fields.clone();
        self.fields = before
            .iter()
            .filter_map(|&field| if field == from { to } else { Some(field) })
            .collect();
        self.fields != before
    }

    fn request(&self, control: Option<&'static str>) -> HeaderMap {
        let control = control.map(|value| ("cache-control", value));
        headers(
            &self
                .credentials
                .into_iter()
                .chain(control)
                .collect::<Vec<_>>(),
        )
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK)
    }

    fn response(&self) -> HeaderMap {
        let mut found = headers(&self.fields);
        if !self.control.is_empty() {
            found.extend(headers(&[("cache-control", &self.control.join(", "))]));
        }
        found
    }
}

const OLD_EXPIRES: (&str, &str) = ("expires", "Sunday, 06-Nov-94 08:51:37 GMT");
const OLD_MODIFIED: (&str, &str) = ("last-modified", "Sun Nov  6 07:49:37 1994");
const LONG_AGO: (&str, &str) = ("last-modified", "Sat, 06 Nov 1993 08:49:37 GMT");
const EARLIER: (&str, &str) = ("date", "Sun, 06 Nov 1994 08:49:07 GMT");

fn cases() -> impl Strategy<Value = Case> {
    let status = prop_oneof![
        8 => Just(200u16),
        4 => prop::sample::select(vec![203u16, 204, 206, 300, 301, 302, 303, 307, 308, 404, 405, 410, 414, 500, 501, 503, 599]),
    ];
    let directive = prop_oneof![
        30 => prop::sample::select(vec!["max-age=60", "max-age=0", "max-age=30", "max-age=\"60\"", "s-maxage=60", "s-maxage=0"]),
        12 => prop::sample::select(vec!["public", "private", "no-store", "no-cache", "must-revalidate", "foo=bar"]),
        8 => prop::sample::select(vec!["max-age=x", "max-age=-1", "max-age=1.5", "max-age=60s", "max-age=+60", "max-age", "max-age =60", "max-age=99999999999"]),
        8 => prop::sample::select(vec!["No-Store", "MAX-AGE=60", "private=\"x-a\"", "no-cache=\"x-a, x-b\"", "must-understand, no-store", "proxy-revalidate", "immutable"]),
        4 => prop::sample::select(vec!["stale-while-revalidate=30", "stale-if-error=30"]),
    ];
    let field = prop_oneof![
        10 => prop::sample::select(vec![
            ("etag", "\"a\""),
            ("last-modified", "Sun, 06 Nov 1994 08:39:37 GMT"),
            ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
            ("expires", "0"),
            ("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("age", "5"),
            ("age", "100"),
            ("age", "x"),
            ("age", "-5"),
        ]),
        4 => prop::sample::select(vec![
            OLD_EXPIRES, OLD_MODIFIED, LONG_AGO, EARLIER, ("age", "5, 6"), ("set-cookie", "a=1"), ("pragma", "no-cache"),
            ("cdn-cache-control", "max-age=45"), ("cdn-cache-control", "max-age=45,"),
        ]),
    ];
    let credentials =
        prop::sample::select(vec![("authorization", "Basic eDp5"), ("cookie", "a=1")]);
    let second = prop::sample::select(vec![
        "max-age=0",
        "max-age=40",
        "min-fresh=10",
        "no-cache",
        "max-stale",
        "max-stale=20",
        "max-stale=x",
        "no-store",
        "foo",
    ]);
    (
        status,
        prop::collection::vec(directive, 0..4),
        prop::collection::vec(field, 0..5),
        prop::option::weighted(0.2, credentials),
        prop::option::weighted(0.05, Just("no-store")),
        prop::option::weighted(0.4, second),
        prop_oneof![Just(0u64), Just(60), Just(80), 0u64..120],
    )
        .prop_map(
            |(status, control, fields, credentials, first, second, after)| {
                // One line of each name: the other implementation takes the first of several too, except where it does not.
                let mut once: Vec<(&str, &str)> = Vec::new();
                for field in fields {
                    if once.iter().all(|(name, _)| *name != field.0) {
                        once.push(field);
                    }
                }
                Case {
                    status,
                    control,
                    fields: once,
                    credentials,
                    first,
                    second,
                    after,
                }
            },
        )
}

/// What both are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// Is it worth storing: allowed, and fresh on arrival or with a validator?
    Storing,
    /// For how many seconds is it of use without asking, on arrival?
    Lifetime,
    /// May it answer the second request without asking?
    Reuse,
}

/// What each answered: seconds, or one for yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Answers {
    question: Question,
    ours: u64,
    theirs: u64,
}

/// What one implementation says: whether to store, for how long it is of use on arrival, and whether it may answer the
/// second request. The latter two mean something only where it is stored.
type Verdict = [u64; 3];

const QUESTIONS: [Question; 3] = [Question::Storing, Question::Lifetime, Question::Reuse];

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        method: &Method::GET,
        path: "/x",
        headers: headers.into(),
    }
}

fn ours(case: &Case) -> Verdict {
    let (first, second) = (case.request(case.first), case.request(case.second));
    let response = case.response();
    let rules = Rules {
        clients: ClientDirectives::Honour,
        ..Rules::default()
    };
    let received = Received {
        status: case.status(),
        headers: &response,
        requested: moment(0),
        received: moment(0),
    };
    let Ok(terms) = evaluate(asked(&first), received, &rules) else {
        return [0; 3];
    };
    let decision = decide(asked(&second), &terms, &rules, moment(case.after).at);
    let served = matches!(decision, Reuse::Serve(_) | Reuse::ServeAndRefresh);
    [1, use_on_arrival(&terms), u64::from(served)]
}

fn theirs(case: &Case) -> Verdict {
    // Whole seconds: they compare their clock's fractions with a `Date` that has none.
    let arrival = start() - Duration::from_millis(500);
    let request = |control| {
        let mut request = Request::new(());
        *request.headers_mut() = case.request(control);
        request
    };
    let mut response = Response::new(());
    *response.status_mut() = case.status();
    *response.headers_mut() = case.response();
    let policy = CachePolicy::new_options(
        &request(case.first),
        &response,
        arrival,
        CacheOptions::default(),
    );
    let lifetime = policy.time_to_live(arrival).as_secs();
    // They call everything storable that no rule forbids, of use or not.
    let has_validator = case.names("etag") || case.names("last-modified");
    let stored = policy.is_storable() && (lifetime > 0 || has_validator);
    let later = arrival + Duration::from_secs(case.after);
    let served = matches!(
        policy.before_request(&request(case.second), later),
        BeforeRequest::Fresh(_)
    );
    [u64::from(stored), lifetime, u64::from(served)]
}

/// The message in words that they understand, with all lines of the list of dialects but one.
fn translated(case: &Case, but: Option<usize>) -> Case {
    let mut case = case.clone();
    for (line, Dialect(_, translate)) in DIALECT.iter().enumerate() {
        if but != Some(line) {
            translate(&mut case);
        }
    }
    case
}

fn use_on_arrival(terms: &Terms) -> u64 {
    match terms.when_stale {
        WhenStale::AlwaysValidate => 0,
        WhenStale::MustRevalidate | WhenStale::WindowsOnly | WhenStale::Windows => terms
            .lifetime
            .duration()
            .saturating_sub(terms.initial_age)
            .as_secs(),
    }
}

/// The first line of the list that explains a disagreement.
fn explain(case: &Case, answers: Answers) -> Option<&'static Known> {
    KNOWN
        .iter()
        .find(|Known(_, _, _, explains)| explains(case, answers))
}

#[test]
fn every_disagreement_with_http_cache_semantics_is_known() {
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    // Answers in agreement, and how often each line of the list was needed.
    let agreed = RefCell::new([0u32; 3]);
    let used: RefCell<BTreeMap<&str, u32>> = RefCell::default();
    let all = RefCell::new(0u32);
    let needed: RefCell<[bool; DIALECT.len()]> = RefCell::default();
    let judge = |case: Case| {
        let plain = translated(&case, None);
        let (we, they) = (ours(&case), theirs(&plain));
        for (line, needed) in needed.borrow_mut().iter_mut().enumerate() {
            *needed = *needed || theirs(&translated(&case, Some(line))) != they;
        }
        for (at, question) in QUESTIONS.into_iter().enumerate() {
            if at > 0 && (we[0] == 0 || they[0] == 0) {
                continue;
            }
            let answers = Answers {
                question,
                ours: we[at],
                theirs: they[at],
            };
            *all.borrow_mut() += 1;
            if answers.ours == answers.theirs {
                agreed.borrow_mut()[at] += 1;
                continue;
            }
            let known = explain(&plain, answers);
            prop_assert!(known.is_some(), "unlisted disagreement: {:?}", answers);
            if let Some(Known(name, ..)) = known {
                *used.borrow_mut().entry(name).or_default() += 1;
            }
        }
        Ok(())
    };
    // First always the same cases, for what is explained must be met by some; then others each time, for what is not.
    let chance = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let runners = [
        TestRunner::new_with_rng(config.clone(), chance),
        TestRunner::new(config),
    ];
    for mut runner in runners {
        if let Err(error) = runner.run(&cases(), judge) {
            panic!("{error}");
        }
    }
    let (agreed, used, all) = (agreed.into_inner(), used.into_inner(), all.into_inner());
    assert!(all >= CASES, "{all} answers");
    let share = agreed.iter().sum::<u32>() * 100 / all;
    assert!(
        share >= 85,
        "only {share} % of {all} answers agreed; needed: {used:?}"
    );
    assert!(
        agreed.iter().all(|&count| count >= CASES / 10),
        "too few of a kind: {agreed:?}"
    );
    for Known(name, why, right, _) in KNOWN {
        assert!(
            used.contains_key(name),
            "`{name}` ({why}; right: {right:?}) explains nothing: strike it"
        );
    }
    for (Dialect(why, _), needed) in DIALECT.iter().zip(needed.into_inner()) {
        assert!(needed, "`{why}` explains nothing: strike it");
    }
}
