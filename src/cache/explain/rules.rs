//! What was asked about a request on its way, in the order in which it is asked, and which of it decided.

use super::{Does, Lookup, Remembered, Stored};
use crate::cache::bypass;
use crate::cache::control::RequestDirectives;
use crate::cache::decide::Sight;
use crate::cache::outcome::Reason;
use crate::cache::settings::{BypassRule, ClientDirectives};
use crate::units::format_duration;
use serde::Serialize;
use std::time::Duration;

/// One thing that was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// What was asked, in a word or two.
    pub asked: String,
    /// What came of it.
    pub found: String,
    /// Whether it decided what is done.
    pub decides: bool,
}

/// A list under way, and the reason to be explained.
struct Rules<'a> {
    list: Vec<Rule>,
    reason: Option<Reason>,
    lookup: &'a Lookup,
}

impl Rules<'_> {
    fn add(&mut self, asked: &str, found: impl Into<String>, reasons: &[Reason]) {
        let decides = self.reason.is_some_and(|it| reasons.contains(&it));
        self.push(asked, found, decides);
    }

    fn push(&mut self, asked: &str, found: impl Into<String>, decides: bool) {
        self.list.push(Rule {
            asked: asked.to_owned(),
            found: found.into(),
            decides,
        });
    }
}

/// Those of a request. One that goes past the cache is not asked about what is stored.
pub(super) fn of(
    sight: &Sight<'_>,
    passes: bool,
    lookup: &Lookup,
    stored: &[Stored],
    hit_for_miss: Option<Remembered>,
) -> Vec<Rule> {
    let mut rules = Rules {
        list: Vec::new(),
        reason: lookup.outcome.reason,
        lookup,
    };
    request(&mut rules, sight);
    if passes {
        return rules.list;
    }
    let fitting = stored.iter().find(|stored| stored.fits);
    variants(&mut rules, sight, stored, fitting);
    wishes(&mut rules, sight);
    if let Some(fitting) = fitting {
        terms(&mut rules, fitting);
    }
    if !lookup.hit {
        fetches(&mut rules, sight, hit_for_miss);
    }
    rules.list
}

/// What the route says, and the request by itself.
fn request(rules: &mut Rules<'_>, sight: &Sight<'_>) {
    let ask = sight.ask;
    if rules.reason == Some(Reason::OnWrite) {
        let found = "a rule matches: the request changes something";
        return rules.add("on_write", found, &[Reason::OnWrite]);
    }
    if !ask.rules.enabled {
        return rules.add("cache", "off on this route", &[Reason::RouteOff]);
    }
    rules.add("cache", "on, on this route", &[]);
    let method = &[Reason::MethodNotCached][..];
    rules.add("method", ask.method.as_str(), method);
    if rules.reason == Some(Reason::MethodNotCached) {
        return;
    }
    for (asked, is, reason) in [
        ("upgrade", ask.upgrade, Reason::Upgrade),
        ("body", ask.has_body, Reason::RequestBody),
    ] {
        if is {
            return rules.add(asked, "the request has one", &[reason]);
        }
    }
    match ask.unshared {
        Some(Reason::PathSpelling) => {
            let found =
                "an application may read it as that of another route, whose cache rules are others";
            return rules.add("path", found, &[Reason::PathSpelling]);
        }
        Some(reason) => {
            let found =
                "a trusted proxy names another host, port, scheme, path or method than the key";
            return rules.add("claims", found, &[reason]);
        }
        None => {}
    }
    if rules.reason == Some(Reason::Precondition) {
        let found = "If-Match or If-Unmodified-Since";
        return rules.add("precondition", found, &[Reason::Precondition]);
    }
    for rule in &ask.rules.bypass {
        let holds = bypass::matches(rule, ask);
        let found = if holds { "matches" } else { "does not match" };
        rules.push(&format!("bypass {}", name_of(rule)), found, holds);
        if holds {
            return;
        }
    }
}

fn name_of(rule: &BypassRule) -> String {
    let with = |name: &str, between, value: &Option<String>| match value {
        Some(value) => format!("{name}{between}{value}"),
        None => name.to_owned(),
    };
    match rule {
        BypassRule::Cookie(name) => format!("cookie {name}"),
        BypassRule::Header(name, value) => format!("header {}", with(name.as_str(), ": ", value)),
        BypassRule::Query(name, value) => format!("query {}", with(name, "=", value)),
        BypassRule::Path(path) => format!("path {path}"),
    }
}

/// Which of what is stored fits.
fn variants(rules: &mut Rules<'_>, sight: &Sight<'_>, stored: &[Stored], fits: Option<&Stored>) {
    let of_route = stored
        .iter()
        .filter(|stored| *stored.route == **sight.ask.route)
        .count();
    let found = match (fits, of_route, stored.len()) {
        (Some(_), _, 1) => "one response, which fits".to_owned(),
        (Some(_), _, all) => format!("{all} responses, of which one fits"),
        (None, _, 0) => "nothing".to_owned(),
        (None, 0, all) => format!("{all}, by other routes only"),
        (None, of_route, _) => {
            format!("{of_route} for other values of the fields that Vary names")
        }
    };
    let lookup = rules.lookup;
    let missed = fits.is_none() && lookup.reason.is_none() && !lookup.collapsed;
    rules.push("stored", found, missed);
}

/// What the request's own `Cache-Control` says, as far as the route lets it count.
fn wishes(rules: &mut Rules<'_>, sight: &Sight<'_>) {
    let policy = match sight.ask.rules.clients {
        ClientDirectives::Revalidate => "revalidate",
        ClientDirectives::Honour => "honour",
        ClientDirectives::Ignore => "ignore",
    };
    let said = directives(&RequestDirectives::of(sight.ask.headers));
    let found = match (said.is_empty(), sight.ask.rules.clients) {
        (true, _) => "asks for nothing".to_owned(),
        (false, ClientDirectives::Ignore) => format!("{}, ignored", said.join(", ")),
        (false, _) => said.join(", "),
    };
    let reasons = [
        Reason::ClientNoCache,
        Reason::ClientMaxAge,
        Reason::ClientMinFresh,
        Reason::MaxStale,
        Reason::OnlyIfCached,
    ];
    rules.add(&format!("clients = \"{policy}\""), found, &reasons);
}

fn directives(said: &RequestDirectives) -> Vec<String> {
    let flags = [
        ("no-cache", said.no_cache),
        ("no-store", said.no_store),
        ("no-transform", said.no_transform),
        ("only-if-cached", said.only_if_cached),
    ];
    let seconds = [
        ("max-age", said.max_age),
        ("min-fresh", said.min_fresh),
        ("max-stale", said.max_stale),
    ];
    let flags = flags.into_iter().filter(|(_, is)| *is);
    let flags = flags.map(|(name, _)| name.to_owned());
    let seconds = seconds
        .into_iter()
        .filter_map(|(name, value)| match value? {
            Duration::MAX => Some(name.to_owned()),
            value => Some(format!("{name}={}", value.as_secs())),
        });
    flags.chain(seconds).collect()
}

/// What the stored response's terms say.
fn terms(rules: &mut Rules<'_>, stored: &Stored) {
    let terms = &stored.terms;
    if terms.lifetime_from.contains("Last-Modified") || terms.lifetime_from.starts_with("nothing") {
        let reasons = [Reason::CookieNotExplicit];
        rules.add("cookie", "what is fresh by guess is not for it", &reasons);
        if rules.reason != Some(Reason::CookieNotExplicit) {
            rules.list.pop();
        }
    }
    let lasts = format!(
        "{} ({})",
        format_duration(Duration::from_secs(terms.lifetime)),
        terms.lifetime_from
    );
    let age = format_duration(Duration::from_secs(terms.age));
    let is_fresh = terms.ttl > 0 || terms.ttl == 0 && rules.lookup.reason.is_none();
    let found = if is_fresh {
        format!("fresh: {age} old of {lasts}")
    } else {
        format!("stale: {age} old of {lasts}")
    };
    let plain = rules.lookup.hit && rules.reason.is_none();
    rules.push(
        "freshness",
        found,
        plain || rules.reason == Some(Reason::Expired),
    );
    if terms.when_stale == "always-validate" {
        let found = "no-cache: validated before each use";
        rules.add("validation", found, &[Reason::AlwaysValidate]);
    }
    if is_fresh {
        return;
    }
    let window = |seconds: u64| match seconds {
        0 => "none".to_owned(),
        seconds => format_duration(Duration::from_secs(seconds)),
    };
    let forbids = terms.when_stale == "must-revalidate";
    let while_revalidate = if forbids {
        "none: must-revalidate".to_owned()
    } else {
        window(terms.stale_while_revalidate)
    };
    let reasons = [Reason::StaleWhileRevalidate];
    rules.add("stale-while-revalidate", while_revalidate, &reasons);
    let reasons = [Reason::StaleIfError];
    rules.add("stale-if-error", window(terms.stale_if_error), &reasons);
    let reasons = [Reason::StaleIfUnreachable];
    let found = window(terms.stale_if_unreachable);
    rules.add("stale-if-unreachable", found, &reasons);
}

/// Whether it is fetched, and with whom.
fn fetches(rules: &mut Rules<'_>, sight: &Sight<'_>, hit_for_miss: Option<Remembered>) {
    if let Some(remembered) = hit_for_miss {
        let left = format_duration(Duration::from_secs(remembered.left_seconds));
        let found = format!("{}: remembered for another {left}", remembered.reason.word);
        rules.add("hit-for-miss", found, &[Reason::HitForMiss]);
        if rules.reason == Some(Reason::HitForMiss) {
            return;
        }
    }
    let found = match rules.lookup.does {
        Does::Share => "a fetch is under way, which is shared",
        Does::Fetch => "nothing is under way: this would begin a fetch for all who ask meanwhile",
        Does::Validate => "nothing is under way: this would begin a validation for all",
        Does::Forward if rules.reason == Some(Reason::RangeUncached) => {
            "a part only is asked for: it goes on by itself"
        }
        Does::Forward if rules.reason == Some(Reason::Crowded) => "too many are under way",
        Does::Forward if *sight.ask.method == http::Method::HEAD => "HEAD goes on by itself",
        Does::Forward => "what is under way is not for this request",
        Does::Serve | Does::ServePart | Does::GatewayTimeout => return,
    };
    let decides = rules.lookup.collapsed
        || matches!(rules.reason, Some(Reason::RangeUncached | Reason::Crowded));
    rules.push("fetches", found, decides);
}
