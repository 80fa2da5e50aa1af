//! What each fuzz target feeds, and what must hold whatever it is fed. No fuzzer is in here: `fuzz_targets/` gives these functions to
//! libFuzzer, and `tests/corpus.rs` of the main crate runs the committed corpora through them with every `make test`.

pub mod differential;
mod fields;
mod files;
mod heads;
mod lane;
mod paths;
pub mod reference;
mod serving;
mod stored;

use forebay::cache::policy::{Asked, Moment, Received};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

pub use fields::{connection, cookies, directives, forwarded};
pub use files::{config, import};
pub use heads::{chunked_body, http2_head, proxy_protocol, request_head};
pub use lane::express;
pub use paths::{names, paths};
pub use serving::{dates, etags, parts, ranges};
pub use stored::{cache_control, key, tags, vary};

/// A target.
pub type Target = fn(&[u8]);

/// All of them, by the names of their programs and corpora.
pub const TARGETS: &[(&str, Target)] = &[
    ("cache_control", cache_control),
    ("chunked_body", chunked_body),
    ("config", config),
    ("connection", connection),
    ("cookies", cookies),
    ("dates", dates),
    ("differential", |data| {
        differential::connection(data);
    }),
    ("directives", directives),
    ("etags", etags),
    ("express", express),
    ("forwarded", forwarded),
    ("http2_head", http2_head),
    ("import", import),
    ("key", key),
    ("names", names),
    ("parts", parts),
    ("paths", paths),
    ("proxy_protocol", proxy_protocol),
    ("ranges", ranges),
    ("request_head", request_head),
    ("tags", tags),
    ("vary", vary),
];

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<&[u8]>) {
    if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
        headers.append(name, value);
    }
}

fn asked(headers: &HeaderMap) -> Asked<'_> {
    Asked {
        method: &Method::GET,
        path: "/x",
        headers: headers.into(),
    }
}

fn received(status: u16, headers: &HeaderMap) -> Received<'_> {
    let now = Moment::now();
    Received {
        status: StatusCode::from_u16(status).expect("a status"),
        headers,
        requested: now,
        received: now,
    }
}
