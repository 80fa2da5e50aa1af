//! What would become of a request in the cache, and why: told, and nothing done about it.
//!
//! The verdict is [`decide`](super::decide)'s, which [`Cache::ask`] acts on; what stands beside it is evidence. Nothing is fetched,
//! joined, begun, counted as used or forgotten by asking.
//!
//! Values of `Cookie` and `Authorization` in what is stored are other people's: they are told by their lengths.

mod rules;
mod stored;

pub use rules::Rule;
pub use stored::{Nominated, Stored};

use super::bypass;
use super::decide::{Decision, Serving, Sharing, Sight, Why};
use super::fill::{Classes, Glimpse};
use super::hit::outcome_of;
use super::key::{CacheKey, Extra};
use super::lookup::{Ask, Cache};
use super::outcome::{ForwardReason, Outcome, Reason};
use super::policy::Moment;
use super::policy::stale::Trouble;
use super::response::StoredResponse;
use super::serve::{self, StoredView};
use http::{HeaderMap, HeaderName, StatusCode, header};
use serde::Serialize;
use std::sync::Arc;

/// What would become of a request.
#[derive(Debug, Clone, Serialize)]
pub struct Explained {
    /// Which requests ask for the same thing.
    pub key: Key,
    /// What would be done.
    pub lookup: Lookup,
    /// What was asked on the way, in its order.
    pub rules: Vec<Rule>,
    /// All that is stored for the key, the newest first.
    pub stored: Vec<Stored>,
    /// What is remembered of its responses: that they cannot be shared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_for_miss: Option<Remembered>,
    /// What is remembered of its origin: that a validation failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub back_off: Option<BackedOff>,
    /// What a client would get, where it is known without asking anybody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answered>,
}

/// The parts of a key, as they count.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    /// "http" or "https".
    pub scheme: String,
    /// In lower case, without the scheme's own port.
    pub authority: String,
    /// In its one spelling.
    pub path: String,
    /// What the route's rules leave of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// The fields that the route chose, with their values.
    pub headers: Vec<Chosen>,
    /// The cookies that it chose.
    pub cookies: Vec<Chosen>,
}

/// A field or cookie that is part of the key.
#[derive(Debug, Clone, Serialize)]
pub struct Chosen {
    /// Its name.
    pub name: String,
    /// Its values in this request; none where it is absent.
    pub values: Vec<String>,
}

/// What would be done.
#[derive(Debug, Clone, Serialize)]
pub struct Lookup {
    /// In a word.
    pub does: Does,
    /// As the access log and the metric would call it before anything came: hit, stale, miss, collapsed or bypass.
    pub result: &'static str,
    /// RFC 9211 `hit`.
    pub hit: bool,
    /// RFC 9211 `fwd`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fwd: Option<&'static str>,
    /// RFC 9211 `ttl`, in seconds; negative is stale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl: Option<i64>,
    /// RFC 9211 `collapsed`.
    pub collapsed: bool,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Because>,
    /// Whether it would be fetched anew behind the answer.
    pub refresh: bool,
    #[serde(skip)]
    /// The same as one value.
    pub outcome: Outcome,
}

/// What would be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Does {
    /// What is stored is served.
    Serve,
    /// What is stored in part is served.
    ServePart,
    /// A fetch that is under way is shared.
    Share,
    /// It is fetched, and what comes may be shared and stored.
    Fetch,
    /// What is stored is validated.
    Validate,
    /// It is forwarded by itself.
    Forward,
    /// 504: it is wanted from the cache only.
    GatewayTimeout,
}

/// A reason in its three forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Because {
    /// As it stands in `Cache-Status; detail=`, the log and the metric.
    pub word: &'static str,
    /// What it means.
    pub sentence: &'static str,
    /// Where it stands with what to do about it.
    pub page: &'static str,
}

impl From<Reason> for Because {
    fn from(reason: Reason) -> Self {
        Self {
            word: reason.word(),
            sentence: reason.sentence(),
            page: reason.page(),
        }
    }
}

/// That responses cannot be shared.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Remembered {
    /// Why the last one could not.
    pub reason: Because,
    /// How long this is remembered yet.
    pub left_seconds: u64,
}

/// That a validation failed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct BackedOff {
    /// "failed" or "unreachable".
    pub trouble: &'static str,
    /// Until it is tried again, while a stale response may be served.
    pub left_seconds: u64,
}

/// An answer from store.
#[derive(Debug, Clone, Serialize)]
pub struct Answered {
    /// The status.
    pub status: u16,
    /// The fields that matter, with their values.
    pub fields: Vec<(String, String)>,
    /// The content coding in which it is sent, where it is not as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub coded: Option<String>,
}

/// Those of a stored response that say how it is used.
static TELLING: [HeaderName; 10] = [
    header::AGE,
    header::CACHE_CONTROL,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::ETAG,
    header::EXPIRES,
    header::LAST_MODIFIED,
    header::VARY,
];

impl Cache {
    /// What [`ask`](Self::ask) would say to a request now, and why. Changes nothing.
    pub fn explain(&self, ask: &Ask<'_>, now: Moment) -> Explained {
        let engine = &self.engine;
        let key = CacheKey::new(ask.target, ask.headers, &ask.rules.key);
        let seen = engine.store.glance(&key);
        let sight = Sight {
            engine,
            ask,
            key: &key,
            now,
            seen: seen.as_ref(),
            instead: None,
        };
        let passes = bypass::passes(ask);
        let (verdict, chosen) = match passes {
            Some((forward, reason)) => (Verdict::forward(forward, Some(reason)), None),
            None => Verdict::of(&sight),
        };
        let classes = Classes::of(ask.headers);
        let remembered = engine.uncacheable.left(&key, ask.route, classes, now.at);
        let back_off = engine.back_off.left(&key, ask.route, now.at);
        let lookup = verdict.lookup();
        let stored = stored::all(&sight);
        let hit_for_miss = remembered.map(|(reason, left)| Remembered {
            reason: reason.into(),
            left_seconds: left.as_secs(),
        });
        let back_off = back_off.map(|(trouble, left)| BackedOff {
            trouble: match trouble {
                Trouble::Failed => "failed",
                Trouble::Unreachable => "unreachable",
            },
            left_seconds: left.as_secs(),
        });
        let rules = rules::of(&sight, passes.is_some(), &lookup, &stored, hit_for_miss);
        Explained {
            key: parts(&key),
            rules,
            stored,
            hit_for_miss,
            back_off,
            answer: chosen.map(|stored| answered(stored, ask, now)),
            lookup,
        }
    }
}

/// The form that a request would get now.
pub(super) fn glance_form(stored: &Arc<StoredResponse>, ask: &Ask<'_>) -> Arc<StoredResponse> {
    let codes = ask.rules.compress && stored.may_be_coded();
    let form = codes.then(|| stored.derived().glance(ask.headers));
    form.flatten().unwrap_or_else(|| Arc::clone(stored))
}

/// What a stored response would be sent as.
fn answered(stored: &Arc<StoredResponse>, ask: &Ask<'_>, now: Moment) -> Answered {
    let form = glance_form(stored, ask);
    let view = StoredView::stored(&form, now);
    let plan = serve::plan(ask.method, ask.headers, &view);
    let (status, fields) = plan.head(&view);
    let coded = (!Arc::ptr_eq(&form, stored))
        .then(|| text_of(&fields, &header::CONTENT_ENCODING))
        .flatten();
    let age = form.terms().age_field(now.at).seconds();
    // The page of an error is made when it is sent.
    let is_page = status == StatusCode::RANGE_NOT_SATISFIABLE;
    let telling = TELLING.iter().filter(|name| {
        let of_page = [
            header::CACHE_CONTROL,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
        ];
        !(is_page && of_page.contains(name))
    });
    let fields = telling.filter_map(|name| {
        let value = if *name == header::AGE {
            Some(age.to_string())
        } else {
            text_of(&fields, name)
        };
        Some((name.as_str().to_owned(), value?))
    });
    Answered {
        status: status.as_u16(),
        fields: fields.collect(),
        coded,
    }
}

/// What would be done, and what would be said of it.
struct Verdict {
    does: Does,
    outcome: Outcome,
    refresh: bool,
}

impl Verdict {
    fn forward(forward: ForwardReason, reason: Option<Reason>) -> Self {
        Self::new(Does::Forward, Outcome::forwarded(forward, reason))
    }

    fn new(does: Does, outcome: Outcome) -> Self {
        Self {
            does,
            outcome,
            refresh: false,
        }
    }

    /// With the stored response that answers, where one does.
    fn of<'a>(sight: &Sight<'a>) -> (Self, Option<&'a Arc<StoredResponse>>) {
        match sight.decide() {
            Decision::Serve(Serving {
                stored,
                terms,
                reason,
                refresh,
            }) => {
                let age = terms.current_age(sight.now.at);
                let verdict = Self {
                    does: Does::Serve,
                    outcome: outcome_of(&terms, age, reason),
                    refresh: refresh && Self::would_refresh(sight),
                };
                (verdict, Some(stored))
            }
            Decision::ServePart(_, _, outcome) => (Self::new(Does::ServePart, outcome), None),
            Decision::OnlyIfCached(outcome) => (Self::new(Does::GatewayTimeout, outcome), None),
            Decision::Forward((forward, reason)) => (Self::forward(forward, reason), None),
            Decision::Share(sharing) => (Self::sharing(sight, &sharing), None),
        }
    }

    /// As the search that acts on it does.
    fn sharing(sight: &Sight<'_>, sharing: &Sharing<'_>) -> Self {
        let Sharing {
            stored, why, leads, ..
        } = *sharing;
        let (fwd, reason): Why = why;
        let newest = sight.newest();
        let usable = |terms: &_| sight.usable(terms);
        let fills = &sight.engine.fills;
        match fills.glance(sight.joiner(), newest.as_ref(), usable) {
            Glimpse::UnderWay => {
                let outcome = Outcome {
                    collapsed: true,
                    ..Outcome::forwarded(fwd, reason)
                };
                Self::new(Does::Share, outcome)
            }
            Glimpse::Unusable((fwd, reason)) => Self::forward(fwd, Some(reason)),
            Glimpse::Full | Glimpse::Nothing if !leads => {
                Self::forward(fwd, Some(Reason::RangeUncached))
            }
            Glimpse::Full => Self::forward(fwd, Some(Reason::Crowded)),
            Glimpse::Nothing => {
                let validates = stored.is_some_and(|stored| {
                    let fields = stored.fields();
                    let has = |name| fields.get(name).is_some();
                    has(&header::ETAG) || has(&header::LAST_MODIFIED)
                });
                let does = if validates {
                    Does::Validate
                } else {
                    Does::Fetch
                };
                Self::new(does, Outcome::forwarded(fwd, reason))
            }
        }
    }

    /// Whether a stale response that is served would be fetched anew by this request.
    fn would_refresh(sight: &Sight<'_>) -> bool {
        let Sight {
            engine,
            key,
            ask,
            now,
            ..
        } = *sight;
        let held = engine.back_off.left(key, ask.route, now.at).is_some();
        let newest = sight.newest();
        let found = engine
            .fills
            .glance(sight.joiner(), newest.as_ref(), |_| Ok::<(), ()>(()));
        !held && sight.uncacheable().is_none() && matches!(found, Glimpse::Nothing)
    }

    fn lookup(&self) -> Lookup {
        let outcome = self.outcome;
        Lookup {
            does: self.does,
            result: outcome.result(),
            hit: outcome.hit,
            fwd: outcome.forward.map(ForwardReason::word),
            ttl: outcome.ttl,
            collapsed: outcome.collapsed,
            reason: outcome.reason.map(Because::from),
            refresh: self.refresh,
            outcome,
        }
    }
}

fn parts(key: &CacheKey) -> Key {
    let target = key.target();
    let (cookies, headers): (Vec<_>, Vec<_>) =
        key.extras().into_iter().partition(|extra| extra.cookie);
    let chosen = |extra: Extra| Chosen {
        name: extra.name,
        values: extra.values.iter().map(|value| shown(value)).collect(),
    };
    Key {
        scheme: target.scheme.to_owned(),
        authority: target.authority.to_owned(),
        path: target.path.to_owned(),
        query: target.query.map(str::to_owned),
        headers: headers.into_iter().map(chosen).collect(),
        cookies: cookies.into_iter().map(chosen).collect(),
    }
}

fn text_of(fields: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = fields
        .get_all(name)
        .iter()
        .map(|line| shown(line.as_bytes()))
        .collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

/// A value as it may be shown on a terminal.
fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.chars()
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect()
}
