//! A hit as HTTP/2: the request is looked at as the h2 crate read it, and the answer is made for it to write.

use super::hit::{self, Hit, Request};
use super::record;
use crate::cache::policy::Moment;
use crate::cache::serve::StoredView;
use crate::clock;
use crate::fields::view::FieldView;
use crate::fields::{date, hop_by_hop, host, uri};
use crate::listen::at_once::Circumstances;
use crate::listen::gate::http2::Asked;
use crate::listen::reply::Reply;
use crate::proxy::Site;
use crate::proxy::entry::{self, Peer};
use bytes::Bytes;
use http::header::{AGE, DATE, VIA};
use http::{HeaderMap, HeaderName, HeaderValue, Response, Version};
use std::ops::Range;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Above this, the full lane reads a body piece by piece as the client takes it. What is given at once is held as a whole.
const BODY_MAX: u64 = 1024 * 1024;

/// The answer, where there is one to be given at once.
pub fn reply(site: &Site, asked: Asked<'_>, circumstances: &Circumstances<'_>) -> Option<Reply> {
    let peer = Peer::new(site, circumstances.client);
    let stripped;
    let fields = if peer.trusted || !asked.fields.keys().any(|it| entry::is_claim(it.as_str())) {
        asked.fields
    } else {
        stripped = without_claims(asked.fields);
        &stripped
    };
    let request = Request {
        method: asked.method,
        authority: asked.authority,
        host: host::parse(asked.authority)?.host,
        target: uri::split_path_query(asked.target),
        fields: FieldView::Map(fields),
        peer,
    };
    let hit = hit::find(site, &request, circumstances.arrived, Some(BODY_MAX))?;
    let (first, rest) = body(&hit, hit.body_range());
    let given = record::given(&request, &hit, circumstances, hit.length());
    Some(Reply {
        head: head(site, &hit),
        first,
        rest,
        entry: given.entry.map(|mut entry| {
            entry.proto = "HTTP/2.0";
            entry
        }),
    })
}

fn without_claims(fields: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields {
        if !entry::is_claim(name.as_str()) {
            kept.append(name.clone(), value.clone());
        }
    }
    kept
}

fn head(site: &Site, hit: &Hit<'_>) -> Response<()> {
    let stored = &hit.serve.response;
    let mut response = Response::new(());
    *response.status_mut() = hit.status();
    let mut fields = HeaderMap::with_capacity(16);
    put_fields(&mut fields, hit);
    fields.insert(AGE, hit.serve.age.as_secs().into());
    if site.settings.via {
        fields.append(VIA, site.via(Version::HTTP_11).clone());
    }
    if !stored.is_identified()
        && let Ok(mut id) = HeaderValue::from_bytes(hit.id.as_bytes())
    {
        // Never again the same: in HPACK's table it would drive out what is.
        id.set_sensitive(true);
        fields.insert(entry::X_REQUEST_ID, id);
    }
    if !stored.is_dated()
        && let Ok(now) = HeaderValue::from_str(&date::format(clock::wall()))
    {
        fields.insert(DATE, now);
    }
    fields.append(CACHE_STATUS, hit.serve.outcome.write(&site.cache_name));
    *response.headers_mut() = fields;
    response
}

/// The stored fields as far as the plan and the route leave them, and what both set.
fn put_fields(fields: &mut HeaderMap, hit: &Hit<'_>) {
    let stored = &hit.serve.response;
    let told = &hit.route.response_headers;
    let planned = hit.plan.edits(&StoredView::stored(stored, Moment::now()));
    for (name, value) in stored.fields().iter() {
        if planned.keeps(name)
            && let (Ok(name), Ok(value)) =
                (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
            && !hop_by_hop::is_hop_by_hop(&name)
        {
            fields.append(name, value);
        }
    }
    for (name, value) in planned.set() {
        fields.append(name.clone(), value.clone());
    }
    for (name, value) in hit.added() {
        fields.insert(name, HeaderValue::from_static(value));
    }
    for name in &told.remove {
        fields.remove(name);
    }
    for (name, value) in &told.set {
        if !hop_by_hop::is_hop_by_hop(name) {
            fields.insert(name.clone(), value.clone());
        }
    }
}

fn body(hit: &Hit<'_>, range: Range<u64>) -> (Bytes, Vec<Bytes>) {
    let response = &hit.serve.response;
    if let Some(body) = response.inline_body() {
        let at = |octet: u64| usize::try_from(octet).unwrap_or(usize::MAX);
        let octets = body.get(at(range.start)..at(range.end)).unwrap_or_default();
        return (Bytes::copy_from_slice(octets), Vec::new());
    }
    let body = response.body();
    let mut pieces = body.slice(range);
    (pieces.next().unwrap_or_default(), pieces.collect())
}
