//! May this client use the route: by its address, and by what it shows?
//!
//! Asked before anything is served, stored pages included. The decisions are [`access`](crate::access)'s; here are the requests
//! that they need, and the words that a client is refused in. What a client says of itself in a field that a check sets is taken
//! away first, whoever the client is.

use super::accept::target;
use super::deliver::{self, Fields};
use super::front::Proxy;
use super::walk::{Verdict, Walk};
use super::{inquiry, relay};
use crate::access::basic::{Basic, Checked};
use crate::access::certificate::{Short, Shown};
use crate::access::forward::{Answer, Forward, Subject};
use crate::access::settings::CertificateSettings;
use crate::access::{Auth, Guard};
use crate::cache::control::{CDN_CACHE_CONTROL, SURROGATE_CONTROL};
use crate::fields::section::HeaderSection;
use crate::fields::uri;
use crate::listen::exchange::Exchange;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::settings::Scheme;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_LENGTH, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use pingora::Result;
use pingora::http::RequestHeader;
use std::sync::Arc;
use std::time::Duration;

/// The client's address is not one that may.
pub const ADDRESS_DENIED: Verdict = Verdict::new(StatusCode::FORBIDDEN, "address-denied");
/// It has shown no name and password.
const NO_CREDENTIALS: Verdict = Verdict::new(StatusCode::UNAUTHORIZED, "no-credentials");
/// What it has shown is wrong.
const WRONG_CREDENTIALS: Verdict = Verdict::new(StatusCode::UNAUTHORIZED, "wrong-credentials");
/// Too many passwords are being checked.
const AUTH_BUSY: Verdict = Verdict {
    retry_after: Some(Duration::from_secs(1)),
    ..Verdict::new(StatusCode::SERVICE_UNAVAILABLE, "auth-busy")
};
/// The service that is asked is not well.
const AUTH_UNAVAILABLE: Verdict = Verdict::new(StatusCode::SERVICE_UNAVAILABLE, "auth-unavailable");
/// The client has shown no certificate.
const NO_CERTIFICATE: Verdict = Verdict::new(StatusCode::FORBIDDEN, "no-certificate");
/// It has shown one for others.
const WRONG_CERTIFICATE: Verdict = Verdict::new(StatusCode::FORBIDDEN, "wrong-certificate");
/// What the log says where the service has refused, whatever its status.
const AUTH_REFUSED: &str = "auth-refused";

fn guard_of(walk: &Walk) -> Option<&Arc<Guard>> {
    let entered = walk.entered.as_ref()?;
    entered.site.place(walk.route.as_deref()).guard.as_ref()
}

/// Decides by the client's address.
///
/// # Errors
/// The [`Verdict`] that the client is to be answered.
pub fn by_address(walk: &Walk) -> std::result::Result<(), Verdict> {
    foreseen_by_address(walk).inspect_err(|denied| count(walk, denied.reason))
}

/// What that would come to.
///
/// # Errors
/// The [`Verdict`] that the client would be answered.
pub(super) fn foreseen_by_address(walk: &Walk) -> std::result::Result<(), Verdict> {
    match (guard_of(walk), &walk.entered) {
        (Some(guard), Some(entered)) if !guard.admits(entered.client) => Err(ADDRESS_DENIED),
        _ => Ok(()),
    }
}

fn count(walk: &Walk, reason: &'static str) {
    if let Some(entered) = &walk.entered {
        let place = entered.site.place(walk.route.as_deref());
        place.metrics.refused(reason);
    }
}

/// Decides by what the client shows. True where it was answered, which is where it may not go on.
pub async fn by_credentials(
    proxy: &Proxy,
    session: &mut Exchange,
    walk: &mut Walk,
) -> Result<bool> {
    let Some(guard) = guard_of(walk).filter(|guard| guard.auth.is_some()).cloned() else {
        return Ok(false);
    };
    // In a box, so that only who goes this way makes room for it.
    Box::pin(check(proxy, session, walk, &guard)).await
}

async fn check(
    proxy: &Proxy,
    session: &mut Exchange,
    walk: &mut Walk,
    guard: &Guard,
) -> Result<bool> {
    remove_claims(session.req_header_mut(), guard);
    match &guard.auth {
        None => Ok(false),
        Some(Auth::Basic(basic)) => by_password(session, walk, basic).await,
        Some(Auth::Forward(forward)) => by_asking(proxy, session, walk, forward).await,
        Some(Auth::Certificate(certificate)) => by_certificate(session, walk, certificate).await,
    }
}

/// Takes away what only the check may say.
fn remove_claims(header: &mut RequestHeader, guard: &Guard) {
    for name in guard.claims() {
        header.remove_header(name);
    }
}

/// Takes from a request that was let in what the upstream is not told, so that the cache does not see it either.
fn hide(header: &mut RequestHeader, guard: &Guard) {
    if let Some(Auth::Basic(basic)) = &guard.auth
        && !basic.pass
    {
        header.remove_header(&AUTHORIZATION);
    }
}

async fn by_password(session: &mut Exchange, walk: &mut Walk, basic: &Basic) -> Result<bool> {
    let Some(client) = walk.entered.as_ref().map(|entered| entered.client) else {
        return Ok(false);
    };
    let shown = session.req_header().headers.get_all(AUTHORIZATION);
    let shown: Vec<HeaderValue> = shown.iter().cloned().collect();
    let body_done = session.is_body_done();
    let checked = tokio::select! {
        biased;
        checked = basic.check(client, shown.iter().map(HeaderValue::as_bytes)) => checked,
        // Who leaves gives up its place in line.
        gone = relay::client_leaves(session), if body_done => return Err(gone),
    };
    let verdict = match checked {
        Checked::Right => {
            if !basic.pass {
                session.req_header_mut().remove_header(&AUTHORIZATION);
            }
            return Ok(false);
        }
        Checked::Missing => NO_CREDENTIALS,
        Checked::Wrong => WRONG_CREDENTIALS,
        Checked::Busy => AUTH_BUSY,
    };
    let mut fields = HeaderMap::new();
    if verdict.status == StatusCode::UNAUTHORIZED {
        fields.insert(WWW_AUTHENTICATE, basic.challenge().clone());
    }
    refuse(session, walk, verdict, fields).await
}

async fn refuse(
    session: &mut Exchange,
    walk: &mut Walk,
    verdict: Verdict,
    fields: HeaderMap,
) -> Result<bool> {
    count(walk, verdict.reason);
    deliver::own_answer_with(session, walk, verdict, fields).await?;
    Ok(true)
}

async fn by_certificate(
    session: &mut Exchange,
    walk: &mut Walk,
    wanted: &CertificateSettings,
) -> Result<bool> {
    let Some(entered) = &walk.entered else {
        return Ok(false);
    };
    let client = entered.ticket.client.clone();
    let shown = client.certificate.as_deref().map(|shown| Shown {
        names: &shown.names,
        fingerprint: &shown.fingerprint,
        chain: &shown.chain,
    });
    let verdict = match wanted.judge(shown) {
        Ok(()) => {
            let told = shown.map(|shown| wanted.told(shown)).unwrap_or_default();
            for (name, value) in &told {
                session.req_header_mut().put(name, value)?;
            }
            return Ok(false);
        }
        Err(Short::Missing) => NO_CERTIFICATE,
        Err(Short::Wrong) => WRONG_CERTIFICATE,
    };
    refuse(session, walk, verdict, HeaderMap::new()).await
}

async fn by_asking(
    proxy: &Proxy,
    session: &mut Exchange,
    walk: &mut Walk,
    forward: &Arc<Forward>,
) -> Result<bool> {
    let Some(entered) = &walk.entered else {
        return Ok(false);
    };
    let header = session.req_header();
    // What the routes were asked for, and the upstream will be: were the service told `/public/../admin`, it would judge by the
    // beginning what is `/admin`.
    let target = match uri::split_path_query(target(header)).query {
        Some(query) => format!("{}?{query}", entered.path),
        None => entered.path.clone(),
    };
    let subject = Subject {
        method: &header.method,
        scheme: entered.peer.scheme((&header.headers).into()).as_str(),
        host: &entered.ticket.host,
        target: &target,
        fields: &header.headers,
        client: entered.client,
    };
    let question = forward.question(&subject);
    let body_done = session.is_body_done();
    let answer = tokio::select! {
        biased;
        answer = inquiry::ask(proxy, entered, forward, question) => answer,
        gone = relay::client_leaves(session), if body_done => return Err(gone),
    };
    match answer {
        Answer::Granted(granted) => {
            let header = session.req_header_mut();
            for name in &forward.settings.copy {
                header.remove_header(name);
            }
            for (name, value) in &granted.fields {
                header.add(name, value)?;
            }
            walk.granted = (!granted.cookies.is_empty()).then_some(granted);
            Ok(false)
        }
        Answer::Refused(status, fields, body) => {
            count(walk, AUTH_REFUSED);
            pass_on(session, walk, status, &fields, body).await?;
            Ok(true)
        }
        Answer::Unavailable => refuse(session, walk, AUTH_UNAVAILABLE, HeaderMap::new()).await,
    }
}

/// Gives the client the service's answer.
async fn pass_on(
    session: &mut Exchange,
    walk: &mut Walk,
    status: StatusCode,
    fields: &HeaderMap,
    body: Bytes,
) -> Result<()> {
    walk.verdict = Some(Verdict::new(status, AUTH_REFUSED));
    let mut response = ResponseHead::new(status, HeaderSection::from(fields));
    response
        .fields
        .insert_number(&CONTENT_LENGTH, body.len() as u64);
    deliver::send(session, walk, response, body).await
}

/// What the route adds to every answer that does not have it, and the cookies that a check gave for the client.
pub fn add_fields(request: &RequestHeader, response: &mut ResponseHead, walk: &Walk) {
    let (Some(guard), Some(entered)) = (guard_of(walk), &walk.entered) else {
        return;
    };
    let scheme = entered.peer.scheme((&request.headers).into());
    let added = guard
        .headers
        .fields(response.status, scheme == Scheme::Https);
    let add = |response: &mut ResponseHead, name: &HeaderName, value: &str| {
        if !response.fields.contains(name) {
            response.fields.append_text(name, value);
        }
    };
    added.for_each(|(name, value)| add(response, name, value));
    if let Some(granted) = &walk.granted {
        for cookie in &granted.cookies {
            response.fields.append(&SET_COOKIE, cookie);
        }
        // What holds one client's session is for no cache in front of us, whatever the page is.
        response.fields.append_text(&CACHE_CONTROL, "private");
        for overriding in [&CDN_CACHE_CONTROL, &SURROGATE_CONTROL] {
            response.fields.remove(overriding);
        }
    }
}

/// What stands between a client and the route, in a few words, and that it is not asked.
pub(super) fn summary(walk: &Walk) -> Option<String> {
    let guard = guard_of(walk)?;
    let summary = guard.summary.clone()?;
    Some(match &guard.auth {
        Some(_) => {
            format!("{summary} (not asked here: what the request shows is taken to be right)")
        }
        None => summary,
    })
}

/// What would become of a request at these stops, as far as that is known without asking anybody. One that shows something is
/// taken to show the right thing.
///
/// # Errors
/// The [`Verdict`] that the client would be answered.
pub(super) fn foreseen(
    header: &mut RequestHeader,
    walk: &Walk,
) -> std::result::Result<(), Verdict> {
    let Some(guard) = guard_of(walk).cloned() else {
        return Ok(());
    };
    remove_claims(header, &guard);
    if let Some(Auth::Basic(_)) = &guard.auth
        && !header.headers.contains_key(AUTHORIZATION)
    {
        return Err(NO_CREDENTIALS);
    }
    hide(header, &guard);
    Ok(())
}
