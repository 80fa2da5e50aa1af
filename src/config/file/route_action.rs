//! What becomes of a route's requests: exactly one of `to`, `redirect`, `respond` and `files`.

use http::{HeaderValue, StatusCode};

use super::addresses::{self, SchemeHttp};
use super::reader::{Key, Section, key};
use super::scalars;
use super::value::At;
use crate::config::source::Place;
use crate::config::tree::Kind;
use crate::routing::settings::{Action, WeightedUpstream};
use crate::upstream::settings::ServerSettings;

pub(super) static TARGET_KEYS: &[Key] = &[key("to"), key("weight")];

pub(super) static REDIRECT_KEYS: &[Key] = &[key("to"), key("status")];

pub(super) static RESPOND_KEYS: &[Key] = &[key("status"), key("body"), key("content_type")];

pub(super) static FILES_KEYS: &[Key] = &[key("root"), key("index"), key("fallback")];

const ACTIONS: [&str; 4] = ["to", "redirect", "respond", "files"];

/// An upstream as a route names it.
#[derive(Debug)]
pub(crate) struct Target {
    /// The name or URL as written.
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What the URL says, if it is one.
    pub(crate) server: Option<(ServerSettings, SchemeHttp)>,
}

/// The action, and the upstreams it names.
pub(super) fn read(section: &Section<'_>) -> Option<(Action, Vec<Target>)> {
    let present: Vec<At<'_>> = ACTIONS
        .into_iter()
        .filter_map(|action| section.at(action))
        .collect();
    let keys: Vec<String> = present.iter().map(|at| format!("\"{}\"", at.key)).collect();
    match present.as_slice() {
        [] => {
            section.error(
                section.place,
                "this [[route]] does nothing; it needs one of \"to\", \"redirect\", \"respond\" and \"files\"",
            );
        }
        [_] => {}
        [_, .., last] => {
            last.bad_key::<()>(format_args!(
                "a [[route]] does one thing, but this one has {}",
                keys.join(" and ")
            ));
        }
    }
    // All are read, so that the errors inside each are told too; the first one wins.
    let forward = section.get("to", forward);
    let redirect = section.get("redirect", redirect);
    let respond = section.get("respond", respond);
    let files = section.get("files", files);
    let local = redirect.or(respond).or(files);
    forward.or(local.map(|action| (action, Vec::new())))
}

fn forward(at: At<'_>) -> Option<(Action, Vec<Target>)> {
    let (targets, weighted): (Vec<_>, Vec<_>) = at.one_or_more(target)?.into_iter().unzip();
    if !weighted.is_empty() && weighted.iter().all(|w: &WeightedUpstream| w.weight == 0) {
        return at.fail("every weight is 0; at least one must be above");
    }
    Some((Action::Forward(weighted), targets))
}

fn target(at: At<'_>) -> Option<(Target, WeightedUpstream)> {
    let (target, weight) = match at.kind() {
        Kind::Table(_) => {
            let section = at.section(TARGET_KEYS)?;
            let weight = section.or("weight", 1, |at| at.whole(0..=1_000));
            (section.required("to", upstream)?, weight)
        }
        _ => (upstream(at)?, 1),
    };
    let upstream = target.name.clone();
    Some((target, WeightedUpstream { upstream, weight }))
}

fn upstream(at: At<'_>) -> Option<Target> {
    let name = at.text()?;
    let server = if addresses::looks_like_url(name) {
        Some(at.parse(addresses::server_url)?)
    } else {
        None
    };
    Some(Target {
        name: name.to_owned(),
        place: at.place(),
        server,
    })
}

fn redirect(at: At<'_>) -> Option<Action> {
    const DEFAULT: StatusCode = StatusCode::PERMANENT_REDIRECT;
    let (to, status) = match at.kind() {
        Kind::Table(_) => {
            let section = at.section(REDIRECT_KEYS)?;
            let status = section.or("status", DEFAULT, |at| match at.whole(300..=399)? {
                301 => Some(StatusCode::MOVED_PERMANENTLY),
                302 => Some(StatusCode::FOUND),
                303 => Some(StatusCode::SEE_OTHER),
                307 => Some(StatusCode::TEMPORARY_REDIRECT),
                308 => Some(StatusCode::PERMANENT_REDIRECT),
                other => at.fail(format_args!(
                    "expected 301, 302, 303, 307 or 308, found `{other}`"
                )),
            });
            let to = section.required("to", |at| at.parse(scalars::location))?;
            (to, status)
        }
        _ => (at.parse(scalars::location)?, DEFAULT),
    };
    Some(Action::Redirect { to, status })
}

fn respond(at: At<'_>) -> Option<Action> {
    const PLAIN_TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
    if let Kind::Table(_) = at.kind() {
        let section = at.section(RESPOND_KEYS)?;
        return Some(Action::Respond {
            status: section.or("status", StatusCode::OK, |at| {
                StatusCode::from_u16(at.whole(200..=599)?).ok()
            }),
            body: section.get("body", At::text).unwrap_or_default().to_owned(),
            content_type: section.or("content_type", PLAIN_TEXT, |at| {
                at.parse(scalars::header_value)
            }),
        });
    }
    Some(Action::Respond {
        status: StatusCode::OK,
        body: at.text()?.to_owned(),
        content_type: PLAIN_TEXT,
    })
}

fn files(at: At<'_>) -> Option<Action> {
    const INDEX: &str = "index.html";
    if let Kind::Table(_) = at.kind() {
        let section = at.section(FILES_KEYS)?;
        let index = section.get("index", |at| match at.text()? {
            name if is_below(name) && !name.contains('/') => Some(name.to_owned()),
            _ => at.fail("expected a file name, such as \"index.html\""),
        });
        let fallback = section.get("fallback", |at| match at.text()? {
            path if is_below(path) => Some(path.to_owned()),
            _ => at.fail("expected a path below `root`, such as \"index.html\""),
        });
        return Some(Action::Files {
            root: section.required("root", At::path)?,
            index: index.unwrap_or_else(|| INDEX.to_owned()),
            fallback,
        });
    }
    Some(Action::Files {
        root: at.path()?,
        index: INDEX.to_owned(),
        fallback: None,
    })
}

/// Whether a path stays below the directory it is relative to.
fn is_below(path: &str) -> bool {
    !path.contains('\0') && path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
