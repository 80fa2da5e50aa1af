//! An explanation for people: the answer in the first line, then the evidence, each kind of it under its word.

use super::{Explanation, Refused, Route};
use crate::cache::explain::{Because, Chosen, Does, Explained, Key, Lookup, Stored};
use crate::cache::outcome::Reason;
use crate::proxy::probe::Fetched;
use crate::units::{ByteSize, format_duration};
use std::fmt::Write as _;
use std::time::Duration;

/// The width of the words at the left.
const WORDS: usize = 11;

/// The answer in one line.
pub(super) fn verdict(explanation: &Explanation) -> String {
    if let Some(fetched) = &explanation.fetched {
        return of_fetched(fetched);
    }
    if let Some(Refused {
        status, sentence, ..
    }) = &explanation.refused
    {
        return format!("answered {status} by the proxy itself: {sentence}");
    }
    match (&explanation.cache, &explanation.route) {
        (Some(cache), _) => of_cache(cache, explanation),
        (None, Some(Route { does, name, .. })) => match *does {
            "redirect" => format!("redirected by route `{name}`: nobody is asked"),
            "events" => format!("a stream of what changes, by route `{name}`: nobody is asked"),
            "files" => format!("a file of route `{name}`: nobody is asked"),
            _ => format!("a fixed answer of route `{name}`: nobody is asked"),
        },
        (None, None) => "answered by the proxy itself".to_owned(),
    }
}

fn of_cache(cache: &Explained, explanation: &Explanation) -> String {
    let lookup = &cache.lookup;
    let why = match (&lookup.reason, &cache.hit_for_miss) {
        // That it is remembered explains nothing; what is remembered does.
        (Some(because), Some(remembered)) if because.word == Reason::HitForMiss.word() => {
            let left = span(remembered.left_seconds);
            let sentence = lower(remembered.reason.sentence);
            format!("{sentence}, as of the last one (remembered for another {left})")
        }
        _ => why(lookup),
    };
    let line = match lookup.does {
        Does::Serve | Does::ServePart => return served(lookup),
        Does::Share => format!("would wait for a fetch that is under way, because {why}"),
        Does::Fetch => format!("would be fetched, because {why}"),
        Does::Validate => format!("would be validated at the origin, because {why}"),
        Does::Forward => format!("would be forwarded by itself, because {why}"),
        Does::GatewayTimeout => return format!("504, because {why}"),
    };
    let away = |share: &super::Share| !share.available;
    if explanation.upstreams.is_empty() || !explanation.upstreams.iter().all(away) {
        return line;
    }
    format!("{line}; but nobody answers there now")
}

fn served(lookup: &Lookup) -> String {
    let what = match lookup.does {
        Does::ServePart => "HIT, of the part that is stored",
        _ => "HIT",
    };
    let ttl = lookup.ttl.unwrap_or_default();
    let since = span(ttl.unsigned_abs());
    let behind = if lookup.refresh {
        ", and fetched anew behind the answer"
    } else {
        ""
    };
    match &lookup.reason {
        // What went stale in this very second says so, too.
        Some(Because { sentence, .. }) => {
            let sentence = lower(sentence);
            format!("STALE for {since} and served, because {sentence}{behind}")
        }
        None => format!("{what}, fresh for another {since}{behind}"),
    }
}

/// The reason in a clause, without its full stop.
fn why(lookup: &Lookup) -> String {
    if let Some(because) = &lookup.reason {
        return lower(because.sentence);
    }
    match lookup.fwd.unwrap_or_default() {
        "uri-miss" => "nothing is stored for it",
        "vary-miss" => "what is stored is for other values of the fields that Vary names",
        "stale" => "what is stored is stale",
        "partial" => "only another part of it is stored",
        "request" => "the request asks for it",
        "method" => "its method wants it",
        _ => "the cache cannot answer it",
    }
    .to_owned()
}

fn of_fetched(fetched: &Fetched) -> String {
    let Fetched {
        status,
        stored,
        reason,
        error,
        ..
    } = fetched;
    let why = reason.map(|it| lower(it.sentence));
    match (error, fetched.upstream_status, stored) {
        (Some(error), _, _) => {
            let sentence = crate::proxy::words::sentence(error);
            format!("fetched: {status}, {}", lower(sentence))
        }
        (None, None, _) => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            format!("{status} from the cache, nobody was asked{why}")
        }
        (None, Some(came), true) => {
            let sent = if came == *status {
                came.to_string()
            } else {
                format!("{status} (the origin said {came})")
            };
            format!("fetched: {sent}, and stored")
        }
        (None, Some(_), false) => {
            let why = why.unwrap_or_else(|| "nobody says why".to_owned());
            format!("fetched: {status}, and not stored, because {why}")
        }
    }
}

/// A sentence as a clause.
fn lower(sentence: &str) -> String {
    let sentence = sentence.trim_end_matches('.');
    // A first word that is a name (`GET`, `If-Match`) stays.
    let word = sentence.split(' ').next().unwrap_or_default();
    let mut letters = sentence.chars();
    let is_name = word.contains('-') || !word.chars().skip(1).all(char::is_lowercase);
    match letters.next() {
        Some(first) if !is_name => first.to_lowercase().chain(letters).collect(),
        _ => sentence.to_owned(),
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0 => "less than a second".to_owned(),
        seconds if seconds < 120 => format!("{seconds} s"),
        seconds if seconds < 7_200 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds if seconds < 172_800 => {
            format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60)
        }
        seconds => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// Lines under words.
#[derive(Default)]
struct Page(String);

impl Page {
    /// A line under a word; under the same word once more where it is empty.
    fn line(&mut self, word: &str, text: impl AsRef<str>) {
        let _ = writeln!(self.0, "  {word:<WORDS$}{}", text.as_ref());
    }
}

/// The whole of it.
pub(super) fn whole(explanation: &Explanation) -> String {
    let mut page = Page(format!("{}\n\n", explanation.verdict));
    let asked = &explanation.request;
    let query = asked.query.as_deref().map(|it| format!("?{it}"));
    let url = format!(
        "{} {}://{}{}{}",
        asked.method,
        asked.scheme,
        asked.authority,
        asked.path,
        query.unwrap_or_default()
    );
    page.line("request", format!("{url}, by {}", asked.client));
    if let Some(refused) = &explanation.refused {
        let Refused { word, page: at, .. } = refused;
        page.line("refused", format!("{word}, see {at}"));
    }
    route(&mut page, explanation);
    if let Some(cache) = &explanation.cache {
        if let Some(status) = &explanation.cache_status {
            page.line("says", format!("Cache-Status: {status}"));
        }
        of_the_cache(&mut page, cache);
        let lane = if explanation.express {
            "express: answered before the proxy sees it"
        } else {
            "proxy"
        };
        page.line("lane", lane);
    }
    if let Some(fetched) = &explanation.fetched {
        of_the_fetch(&mut page, fetched);
    }
    page.0
}

fn route(page: &mut Page, explanation: &Explanation) {
    match &explanation.route {
        Some(route) => page.line("route", &route.name),
        None => page.line("route", "none"),
    }
    let access = |route: &Route| route.access.clone();
    if let Some(access) = explanation.route.as_ref().and_then(access) {
        page.line("access", access);
    }
    for missed in &explanation.not_matched {
        page.line("", format!("not `{}`: {}", missed.route, missed.why));
    }
    for limit in &explanation.rate_limits {
        let left = match limit.left {
            Some(left) => format!("{left} left"),
            None => "excepted".to_owned(),
        };
        let line = format!(
            "{}: {}, burst {}, by {}: {left}{}",
            limit.name,
            limit.rate,
            limit.burst,
            limit.key,
            if limit.dry_run { ", dry run" } else { "" }
        );
        page.line("limit", line);
    }
    for share in &explanation.upstreams {
        let state = match (&share.reason, share.available) {
            (_, true) => "up".to_owned(),
            (Some(reason), false) => format!("down: {reason}"),
            (None, false) => "down".to_owned(),
        };
        let target = explanation.route.as_ref().map_or("", |it| &it.target);
        let line = format!("{} ({state}), asked for {target}", share.name);
        page.line("upstream", line);
    }
}

fn of_the_cache(page: &mut Page, cache: &Explained) {
    if let Some(Because { word, page: at, .. }) = &cache.lookup.reason {
        page.line("reason", format!("{word}, see {at}"));
    }
    key(page, &cache.key);
    let width = cache.rules.iter().map(|rule| rule.asked.chars().count());
    let width = width.max().unwrap_or_default();
    for (at, rule) in cache.rules.iter().enumerate() {
        let word = if at == 0 { "asked" } else { "" };
        let decides = if rule.decides { "  <- decides" } else { "" };
        page.line(
            word,
            format!("{:<width$}  {}{decides}", rule.asked, rule.found),
        );
    }
    if let Some(remembered) = &cache.hit_for_miss {
        let left = span(remembered.left_seconds);
        let line = format!(
            "not shared, because {}; for another {left}, see {}",
            lower(remembered.reason.sentence),
            remembered.reason.page
        );
        page.line("remembered", line);
    }
    if let Some(back_off) = &cache.back_off {
        let left = span(back_off.left_seconds);
        let line = format!(
            "the origin {}; not asked again for {left}",
            back_off.trouble
        );
        page.line("back-off", line);
    }
    for stored in &cache.stored {
        of_stored(page, stored);
    }
    if let Some(answer) = &cache.answer {
        page.line("answer", answer.status.to_string());
        for (name, value) in &answer.fields {
            page.line("", format!("{name}: {value}"));
        }
        if let Some(coded) = &answer.coded {
            page.line("", format!("coded here: {coded}"));
        }
    }
}

fn key(page: &mut Page, key: &Key) {
    let query = key.query.as_deref().map(|query| format!("?{query}"));
    let line = format!(
        "{}://{}{}{}",
        key.scheme,
        key.authority,
        key.path,
        query.unwrap_or_default()
    );
    page.line("key", line);
    let chosen = |kind: &str, chosen: &Chosen| match chosen.values.as_slice() {
        [] => format!("{kind} {}: absent", chosen.name),
        values => format!("{kind} {}: {}", chosen.name, values.join(", ")),
    };
    for field in &key.headers {
        page.line("", chosen("header", field));
    }
    for cookie in &key.cookies {
        page.line("", chosen("cookie", cookie));
    }
}

fn of_stored(page: &mut Page, stored: &Stored) {
    let terms = &stored.terms;
    let state = if terms.ttl >= 0 && !terms.purged {
        format!("fresh for another {}", span(terms.ttl.unsigned_abs()))
    } else {
        let by = if terms.purged {
            ", by a soft purge"
        } else {
            ""
        };
        format!("stale for {}{by}", span(terms.ttl.unsigned_abs()))
    };
    let size = ByteSize::new(stored.bytes);
    let part = if stored.complete { "" } else { " of a part" };
    let fits = if stored.fits {
        ""
    } else {
        ", not for this request"
    };
    let line = format!(
        "{}, {size}{part}, by route `{}`, {} old, {state}{fits}",
        stored.status,
        stored.route,
        span(terms.age)
    );
    page.line("stored", line);
    let lifetime = span(terms.lifetime);
    page.line(
        "",
        format!("lifetime {lifetime}, from {}", terms.lifetime_from),
    );
    page.line("", format!("expires {}", terms.expires));
    let window = |seconds: u64| match seconds {
        0 => "never".to_owned(),
        seconds => format_duration(Duration::from_secs(seconds)),
    };
    let line = format!(
        "when stale: {}; served while it is fetched {}, on errors {}, unreachable {}",
        terms.when_stale,
        window(terms.stale_while_revalidate),
        window(terms.stale_if_error),
        window(terms.stale_if_unreachable)
    );
    page.line("", line);
    for field in &stored.vary {
        let value = |value: &Option<String>| match value {
            Some(value) => format!("`{value}`"),
            None => "absent".to_owned(),
        };
        let line = format!(
            "varies by {}: stored {}, asked {}{}",
            field.field,
            value(&field.stored),
            value(&field.asked),
            if field.same { "" } else { "  <- differs" }
        );
        page.line("", line);
    }
    if let Some(etag) = &stored.etag {
        page.line("", format!("etag {etag}"));
    }
    for (word, list) in [("tags", &stored.tags), ("coded", &stored.coded)] {
        if !list.is_empty() {
            page.line("", format!("{word} {}", list.join(" ")));
        }
    }
}

fn of_the_fetch(page: &mut Page, fetched: &Fetched) {
    let whole = if fetched.complete { "" } else { ", not whole" };
    let line = format!(
        "{}, {} in {} ms{whole}",
        fetched.status,
        ByteSize::new(fetched.bytes),
        fetched.took_ms
    );
    page.line("fetched", line);
    if let Some(upstream) = &fetched.upstream {
        let server = fetched.upstream_addr.as_deref().unwrap_or("no server");
        let status = fetched.upstream_status.map_or_else(
            || "no answer".to_owned(),
            |status| format!("answered {status}"),
        );
        let line = format!("{upstream} at {server} {status}, tries: {}", fetched.tries);
        page.line("", line);
    }
    if let Some(Because { word, page: at, .. }) = &fetched.reason {
        page.line("", format!("{word}, see {at}"));
    }
    if let Some(error) = &fetched.error {
        page.line("", format!("{error}, see docs/reasons.md#{error}"));
    }
    for (name, value) in &fetched.fields {
        page.line("", format!("{name}: {value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_at_a_glance() {
        for (seconds, expected) in [
            (0, "less than a second"),
            (119, "119 s"),
            (120, "2 min 0 s"),
            (7_199, "119 min 59 s"),
            (7_200, "2 h 0 min"),
            (172_800, "2 d 0 h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn sentences_become_clauses() {
        for (sentence, expected) in [
            ("It is stale.", "it is stale"),
            (
                "If-Match and If-Unmodified-Since are the origin's to evaluate.",
                "If-Match and If-Unmodified-Since are the origin's to evaluate",
            ),
            ("GET only.", "GET only"),
            ("A bypass rule matches.", "a bypass rule matches"),
        ] {
            assert_eq!(lower(sentence), expected);
        }
    }
}
