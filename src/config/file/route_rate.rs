//! `[rate_limit.NAME]`, and `rate_limit` of a route: names of these, or tables like them.

use super::reader::{Key, Section, Spotted, Title, key};
use super::scalars::{self, Fault};
use super::server;
use super::value::At;
use crate::config::tree::Kind;
use crate::rate::settings::{Per, Rate, RateKey, RateLimitSettings};

pub(super) static KEYS: &[Key] = &[
    key("rate"),
    key("burst"),
    key("key"),
    key("except"),
    key("keys"),
    key("dry_run"),
];

/// More requests than one server answers.
const REQUESTS_MAX: u32 = 1_000_000;
/// Keys that one limit may remember: a quarter of a gibibyte.
const KEYS_MAX: usize = 1 << 24;

/// What a route is limited by.
#[derive(Debug, Clone)]
pub(crate) enum RateRef {
    /// A limit of this name.
    Named(Spotted<String>),
    /// One of its own, still without a name.
    Inline(RateLimitSettings),
}

/// All named limits, in the order of the file.
pub(super) fn read_all(at: At<'_>) -> Option<Vec<Spotted<RateLimitSettings>>> {
    if let Kind::List(_) = at.kind() {
        return at.fail("a limit has a name: write [rate_limit.NAME] instead of [[rate_limit]]");
    }
    let named = |at: At<'_>| {
        if let Err(fault) = scalars::label(at.key) {
            return at.bad_key(fault);
        }
        let section = at.titled(Title::RateLimit(at.key), KEYS)?;
        Some(Spotted {
            value: read(&section, at.key),
            place: at.key_place,
        })
    };
    Some(at.entries().into_iter().filter_map(named).collect())
}

/// A route's limits: `"api"`, `["api", "login"]`, or `{ rate = "10/s" }`.
pub(super) fn of_route(at: At<'_>) -> Option<Vec<RateRef>> {
    let one = |at: At<'_>| match at.kind() {
        Kind::Table(_) => {
            let section = at.section(KEYS)?;
            Some(RateRef::Inline(read(&section, "")))
        }
        Kind::Text { .. } => {
            let value = at.text()?.to_owned();
            if rate(&value).is_ok() {
                return at.fail(format_args!(
                    "expected the name of a limit; write {{ rate = \"{value}\" }}"
                ));
            }
            let place = at.place();
            Some(RateRef::Named(Spotted { value, place }))
        }
        _ => at.expected("the name of a limit, or a table such as { rate = \"10/s\" }"),
    };
    match at.kind() {
        Kind::List(_) => at.list_or_empty(one),
        _ => one(at).map(|limit| vec![limit]),
    }
}

fn read(section: &Section<'_>, name: &str) -> RateLimitSettings {
    let rate = section.required("rate", |at| at.parse(rate));
    // Without a rate there is an error, and these settings are never used.
    let some = Rate {
        requests: 1,
        per: Per::Second,
    };
    let default = RateLimitSettings::new(name, rate.unwrap_or(some));
    RateLimitSettings {
        burst: section.or("burst", default.burst, |at| at.whole(1..=REQUESTS_MAX)),
        key: section.or("key", default.key, |at| at.parse(rate_key)),
        except: section
            .get("except", |at| {
                server::networks(at, "every client is excepted, so nobody is limited")
            })
            .unwrap_or_default(),
        keys: section.or("keys", default.keys, |at| at.whole(64..=KEYS_MAX)),
        dry_run: section.or("dry_run", default.dry_run, At::boolean),
        name: default.name,
        rate: default.rate,
    }
}

/// "100/s", "30/m", "5/h".
fn rate(text: &str) -> Result<Rate, Fault> {
    const WHAT: &str =
        "requests in a second, minute or hour, such as \"100/s\", \"30/m\" or \"5/h\"";
    let parsed = text.split_once('/').and_then(|(requests, per)| {
        let per = Per::ALL
            .into_iter()
            .find(|it| per == it.letter().to_string())?;
        let requests = requests.trim().parse().ok()?;
        let is_digits = text.bytes().next()?.is_ascii_digit();
        (is_digits && (1..=REQUESTS_MAX).contains(&requests)).then_some(Rate { requests, per })
    });
    match parsed {
        Some(rate) => Ok(rate),
        None => scalars::expected(WHAT, text),
    }
}

/// "client", "route", "all", "header:X-Api-Key", "cookie:sid".
fn rate_key(text: &str) -> Result<RateKey, Fault> {
    const WORDS: [&str; 5] = ["client", "route", "all", "header:NAME", "cookie:NAME"];
    match text {
        "client" => return Ok(RateKey::Client),
        "route" => return Ok(RateKey::Route),
        "all" => return Ok(RateKey::All),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("header:") {
        return Ok(RateKey::Header(scalars::header_name(name)?));
    }
    if let Some(name) = text.strip_prefix("cookie:") {
        return Ok(RateKey::Cookie(scalars::token(name)?));
    }
    scalars::none_of(&WORDS, text)
}
