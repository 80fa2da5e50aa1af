//! The `PURGE` method on the listeners that everybody uses: who may, what is meant, and what came of it.
//!
//! It is spoken as those speak it who purge other caches today:
//!
//! | whose | request |
//! |---|---|
//! | Varnish, Fastly, nginx's modules | `PURGE /path`; here with either scheme and all variants |
//! | nginx's modules | `PURGE /dir/*` |
//! | Varnish's xkey, `FOSHttpCache`, Ibexa | `PURGE /` or `PURGEKEYS /` with `xkey`, `xkey-purge` or `xkey-softpurge` |
//! | Symfony's proxy | `PURGETAGS /` with `X-Cache-Tags` |
//! | Fastly, Souin | `Surrogate-Key`, `Fastly-Soft-Purge: 1`, the token in `Fastly-Key` |
//! | Cloudflare, Akamai | `Cache-Tag` |
//!
//! `BAN` is refused: its regular expressions over all that is stored have no counterpart here. A route that names one of
//! these methods in its `method` gets it forwarded like any other: the cache behind us is the one that is meant. Else none of
//! them is ever forwarded, whether `[purge]` is there or not: caches behind believe us because of our address, and would do
//! what a stranger says.

use super::accept;
use super::deliver;
use super::settings::PurgeSettings;
use super::walk::{Entered, Verdict, Walk};
use crate::cache::purge::{Mode, Place, Purge, Scope};
use crate::fields::section::HeaderSection;
use crate::fields::{credentials, host, uri};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::settings::Scheme;
use http::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use pingora::Result;
use serde_json::{Value, json};
use std::net::IpAddr;
use subtle::ConstantTimeEq;

/// `PURGE` itself, and what some clients write for it where tags are meant.
const PURGE: [&str; 3] = ["PURGE", "PURGEKEYS", "PURGETAGS"];
/// Varnish's other one.
const BAN: &str = "BAN";

/// Fields that name tags.
static TAGS: [(HeaderName, Between); 6] = [
    (HeaderName::from_static("xkey"), Between::Either),
    (HeaderName::from_static("xkey-purge"), Between::Either),
    (XKEY_SOFT, Between::Either),
    (HeaderName::from_static("surrogate-key"), Between::Spaces),
    (HeaderName::from_static("cache-tag"), Between::Commas),
    (HeaderName::from_static("x-cache-tags"), Between::Commas),
];

/// What stands between the tags of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Between {
    Spaces,
    Commas,
    /// Varnish takes both; an application whose tags have commas in them means the whole as well.
    Either,
}

impl Between {
    /// The tags of a line.
    fn split(self, line: &str) -> Vec<String> {
        let (spaces, commas) = (line.split([' ', '\t']), line.split(','));
        let tags: Vec<&str> = match self {
            Self::Spaces => spaces.collect(),
            Self::Commas => commas.map(str::trim).collect(),
            Self::Either => spaces
                .map(|word| word.trim_matches(','))
                .flat_map(|word| {
                    let parts = word.split(',').filter(move |part| *part != word);
                    std::iter::once(word).chain(parts)
                })
                .collect(),
        };
        let named = tags.into_iter().filter(|tag| !tag.is_empty());
        named.map(str::to_owned).collect()
    }
}

const XKEY_SOFT: HeaderName = HeaderName::from_static("xkey-softpurge");
const FASTLY_SOFT: HeaderName = HeaderName::from_static("fastly-soft-purge");
const FASTLY_KEY: HeaderName = HeaderName::from_static("fastly-key");

/// What is answered: a status, the word in the log, and what is said.
#[derive(Debug, PartialEq)]
struct Told {
    status: StatusCode,
    reason: &'static str,
    value: Value,
}

impl Told {
    fn refused(status: StatusCode, reason: &'static str, text: impl Into<String>) -> Self {
        let value = json!({ "error": text.into() });
        Self {
            status,
            reason,
            value,
        }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self::refused(StatusCode::BAD_REQUEST, "purge-bad", text)
    }
}

/// Answers a request that wants something purged, whoever it is from. False for all others.
pub async fn answer(session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    let header = session.req_header();
    if !is_purge(&header.method) {
        return Ok(false);
    }
    // Where no route is for it, there may still be something to purge.
    let _ = accept::find_route(header, walk);
    let Some(entered) = &walk.entered else {
        return Ok(false);
    };
    let named = |methods: &Vec<Method>| methods.contains(&header.method);
    if walk
        .route
        .as_ref()
        .is_some_and(|it| named(&it.matches.methods))
    {
        return Ok(false);
    }
    let told = match wanted(
        &header.method,
        accept::target(header),
        &header.headers,
        entered,
    ) {
        Ok(purges) => act(entered, purges).await,
        Err(refused) => refused,
    };
    tell(session, walk, &told).await?;
    Ok(true)
}

fn is_purge(method: &Method) -> bool {
    // The methods that nearly all requests have are no text that would have to be compared.
    let method = method.as_str();
    PURGE.contains(&method) || method == BAN
}

/// What is to be purged, or why it is not.
fn wanted(
    method: &Method,
    target: &str,
    fields: &HeaderMap,
    entered: &Entered,
) -> Result<Vec<Purge>, Told> {
    permit(&entered.site.settings.purge, entered.client, fields)?;
    if method == BAN {
        let text =
            "BAN is not understood here; purge by tag, or by `PURGE` with a path that ends in `/*`";
        return Err(Told::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "purge-ban",
            text,
        ));
    }
    let soft = fields
        .get(FASTLY_SOFT)
        .is_some_and(|value| value == "1" || value.as_bytes().eq_ignore_ascii_case(b"true"));
    let tagged = tags(fields, soft)?;
    if !tagged.is_empty() {
        return Ok(tagged);
    }
    if method != PURGE[0] {
        let text = format!(
            "{method} names no tags; expected `xkey-purge`, `xkey-softpurge` or another field with tags"
        );
        return Err(Told::bad(text));
    }
    let scheme = entered.peer.scheme(fields.into());
    let scope = addressed(&entered.ticket.host, scheme, &entered.path, target)?;
    let mode = if soft { Mode::Soft } else { Mode::Hard };
    Ok(vec![Purge { scope, mode }])
}

/// Whether a client may purge.
fn permit(settings: &PurgeSettings, client: IpAddr, fields: &HeaderMap) -> Result<(), Told> {
    if !settings.is_on() {
        let text = "purging by method is off here; `[purge]` in proxy.toml says who may, and `forebay purge` needs no method";
        return Err(Told::refused(
            StatusCode::METHOD_NOT_ALLOWED,
            "purge-off",
            text,
        ));
    }
    let is_allowed = settings.allow.iter().any(|net| net.contains(&client));
    let shown = settings.token.as_ref();
    if is_allowed || shown.is_some_and(|token| shows(fields, token.as_bytes())) {
        return Ok(());
    }
    let text = match settings.token {
        None => format!("`{client}` may not purge: it is not in the `allow` of [purge]"),
        Some(_) => format!(
            "`{client}` may not purge: it is not in the `allow` of [purge], and shows not its `token` as `Authorization: Bearer …` or `Fastly-Key`"
        ),
    };
    Err(Told::refused(
        StatusCode::FORBIDDEN,
        "purge-forbidden",
        text,
    ))
}

/// Whether a request shows the token.
fn shows(fields: &HeaderMap, token: &[u8]) -> bool {
    let bearer = fields.get(AUTHORIZATION);
    let bearer = bearer.and_then(|value| credentials::bearer(value.as_bytes()));
    let key = fields.get(FASTLY_KEY).map(HeaderValue::as_bytes);
    [bearer, key]
        .into_iter()
        .flatten()
        .any(|given| given.ct_eq(token).into())
}

/// The purges of all fields with tags: hard ones first, and none where there is no such field.
fn tags(fields: &HeaderMap, soft: bool) -> Result<Vec<Purge>, Told> {
    let mut named: [(Mode, Vec<String>); 2] = [(Mode::Hard, Vec::new()), (Mode::Soft, Vec::new())];
    let mut seen = None;
    for (name, between) in &TAGS {
        let [(_, hard), (_, softly)] = &mut named;
        let tags = if soft || *name == XKEY_SOFT {
            softly
        } else {
            hard
        };
        for line in fields.get_all(name) {
            seen = Some(name);
            tags.extend(between.split(&String::from_utf8_lossy(line.as_bytes())));
        }
    }
    if let Some(name) = seen.filter(|_| named.iter().all(|(_, tags)| tags.is_empty())) {
        // Else what was meant to be one page would be the front page.
        return Err(Told::bad(format!(
            "`{name}` names no tag; name one, or leave it out"
        )));
    }
    let purges = named.into_iter().filter(|(_, tags)| !tags.is_empty());
    let purges = purges.map(|(mode, tags)| {
        let scope = Scope::tags(tags).map_err(|error| Told::bad(error.to_string()))?;
        Ok(Purge { scope, mode })
    });
    purges.collect()
}

/// What the address of a request means: the URL, or all below it.
fn addressed(authority: &str, scheme: Scheme, path: &str, target: &str) -> Result<Scope, Told> {
    let query = uri::split_path_query(target).query;
    let own_port = if scheme == Scheme::Https { 443 } else { 80 };
    let place = |path: &str| Place {
        authority: Some(
            host::parse(authority).map_or_else(String::new, |it| it.normalise(own_port)),
        ),
        path: path.to_owned(),
        query: query.map(str::to_owned),
    };
    match path.strip_suffix('*') {
        None => Ok(Scope::Url(place(path))),
        Some(prefix) if prefix.ends_with('/') && query.is_none() => {
            Ok(Scope::Prefix(place(prefix)))
        }
        Some(_) => Err(Told::bad(format!(
            "expected `/*` at the end of a path without a query, found `{target}`; what is purged is whole segments, \
             and a `*` that belongs to the address is written %2A"
        ))),
    }
}

/// Purges. Looking up what a tag is on may take long, which a data thread has no time for.
async fn act(entered: &Entered, purges: Vec<Purge>) -> Told {
    let site = entered.site.clone();
    let done = tokio::task::spawn_blocking(move || {
        let done = purges.into_iter().map(|purge| {
            let matched = site.cache.purge(&purge).matched;
            (purge, matched)
        });
        done.collect::<Vec<_>>()
    });
    match done.await {
        Ok(done) => outcome(&done),
        Err(_) => Told::refused(
            StatusCode::INTERNAL_SERVER_ERROR,
            "purge-failed",
            "purging failed",
        ),
    }
}

fn outcome(done: &[(Purge, Option<u64>)]) -> Told {
    let scopes: Vec<String> = done
        .iter()
        .map(|(purge, _)| purge.scope.to_string())
        .collect();
    let matched = done
        .iter()
        .map(|(_, matched)| *matched)
        .sum::<Option<u64>>();
    let soft = done.iter().all(|(purge, _)| purge.mode == Mode::Soft);
    let mut value = json!({ "status": "ok", "purged": scopes, "soft": soft, "matched": matched });
    if matched == Some(0) {
        value["status"] = json!("nothing matched");
        return Told {
            status: StatusCode::NOT_FOUND,
            reason: "purge-nothing",
            value,
        };
    }
    Told {
        status: StatusCode::OK,
        reason: "purge",
        value,
    }
}

async fn tell(session: &mut Exchange, walk: &mut Walk, told: &Told) -> Result<()> {
    let body = format!("{}\n", told.value);
    let mut fields = HeaderSection::with_capacity(8);
    if told.status == StatusCode::METHOD_NOT_ALLOWED {
        fields.insert_text(&ALLOW, accept::METHODS);
    }
    fields.insert_text(&CONTENT_TYPE, "application/json");
    fields.insert_number(&CONTENT_LENGTH, body.len() as u64);
    fields.insert_text(&CACHE_CONTROL, "no-store");
    if !told.status.is_success() {
        walk.verdict = Some(Verdict::new(told.status, told.reason));
    }
    let head = ResponseHead::new(told.status, fields);
    deliver::send(session, walk, head, body.into()).await
}

#[cfg(test)]
#[path = "purge_tests.rs"]
mod tests;
