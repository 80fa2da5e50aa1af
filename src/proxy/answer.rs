//! Answers that need nobody else: redirects, fixed responses, files.

use super::accept::target;
use super::files::{self, Directory, FileRequest};
use super::walk::{Verdict, Walk};
use super::{deliver, template};
use crate::fields::section::HeaderSection;
use crate::fields::{host, uri};
use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use crate::routing::rewrite;
use crate::routing::settings::{Action, RouteSettings};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode};
use pingora::Result;
use std::path::PathBuf;
use std::sync::Arc;

/// Answers where the route says what without an upstream. True when it did.
pub async fn without_asking(session: &mut Exchange, walk: &mut Walk) -> Result<bool> {
    let Some(route) = walk.route.clone() else {
        return Ok(false);
    };
    match &route.action {
        Action::Forward(_) => return Ok(false),
        Action::Redirect { to, status } => redirect(session, walk, &route, to, *status).await?,
        Action::Respond {
            status,
            body,
            content_type,
        } => {
            respond(
                session,
                walk,
                *status,
                content_type.clone(),
                Bytes::copy_from_slice(body.as_bytes()),
            )
            .await?;
        }
        Action::Files {
            root,
            index,
            fallback,
        } => {
            let place = Place {
                root: root.clone(),
                index: index.clone(),
                fallback: fallback.clone(),
            };
            // In a box, so that only who wants a file makes room for it.
            Box::pin(serve_file(session, walk, &route, place)).await?;
        }
    }
    Ok(true)
}

async fn redirect(
    session: &mut Exchange,
    walk: &mut Walk,
    route: &RouteSettings,
    to: &str,
    status: StatusCode,
) -> Result<()> {
    let mut fields = HeaderSection::with_capacity(4);
    if let Some(entered) = &walk.entered {
        let values = template::Placeholders {
            scheme: entered.peer.scheme((&session.req_header().headers).into()),
            host: host::parse(&entered.ticket.host).map_or("", |authority| authority.host),
            path: &rewrite::path(&route.rewrite, &entered.path),
            query: uri::split_path_query(target(session.req_header())).query,
        };
        // HTTP/1.0 has no need of one. Browsers read `https:///a` as the host `a`.
        if values.host.is_empty() && to.contains("{host}") {
            let text = HeaderValue::from_static("text/plain; charset=utf-8");
            let body = "400 no-host: this redirects to the host that was asked for, and the request names none\n";
            let status = StatusCode::BAD_REQUEST;
            return respond(session, walk, status, text, body.into()).await;
        }
        fields.insert(&LOCATION, &template::location(to, &values));
    }
    fields.insert_number(&CONTENT_LENGTH, 0);
    deliver::send(
        session,
        walk,
        ResponseHead::new(status, fields),
        Bytes::new(),
    )
    .await
}

async fn respond(
    session: &mut Exchange,
    walk: &mut Walk,
    status: StatusCode,
    content_type: HeaderValue,
    body: Bytes,
) -> Result<()> {
    let mut fields = HeaderSection::with_capacity(4);
    if !body.is_empty() {
        fields.insert(&CONTENT_TYPE, &content_type);
    }
    fields.insert_number(&CONTENT_LENGTH, body.len() as u64);
    deliver::send(session, walk, ResponseHead::new(status, fields), body).await
}

/// A directory route's settings, owned so that a blocking thread can have them.
struct Place {
    root: PathBuf,
    index: String,
    fallback: Option<String>,
}

async fn serve_file(
    session: &mut Exchange,
    walk: &mut Walk,
    route: &Arc<RouteSettings>,
    place: Place,
) -> Result<()> {
    let Some(entered) = &walk.entered else {
        return Ok(());
    };
    let asked = entered.path.clone();
    let path = rewrite::path(&route.rewrite, &asked).into_owned();
    let query = uri::split_path_query(target(session.req_header()))
        .query
        .map(str::to_owned);
    let (method, headers) = (
        session.req_header().method.clone(),
        session.req_header().headers.clone(),
    );
    // The file system may block; a data thread may not.
    let found = tokio::task::spawn_blocking(move || {
        let directory = Directory {
            root: &place.root,
            index: &place.index,
            fallback: place.fallback.as_deref(),
        };
        let request = FileRequest {
            method: &method,
            path: &path,
            asked: &asked,
            query: query.as_deref(),
            headers: &headers,
        };
        files::answer(directory, &request)
    })
    .await;
    let Ok(found) = found else {
        let verdict = Verdict::new(StatusCode::INTERNAL_SERVER_ERROR, "files");
        return deliver::own_answer(session, walk, verdict).await;
    };
    if found.status.is_client_error() || found.status.is_server_error() {
        return deliver::own_answer_with(
            session,
            walk,
            Verdict::new(found.status, "file"),
            found.headers,
        )
        .await;
    }
    let mut response = ResponseHead::new(found.status, HeaderSection::from(&found.headers));
    deliver::write_response(session.req_header(), &mut response, walk)?;
    session.write([Part::Head(response)]).await?;
    let mut reader = found.body.into_reader();
    loop {
        let (back, chunk) = tokio::task::spawn_blocking(move || {
            let chunk = reader.next_chunk();
            (reader, chunk)
        })
        .await
        .map_err(|cause| {
            pingora::Error::because(pingora::InternalError, "reading a file", cause)
        })?;
        reader = back;
        match chunk {
            Ok(Some(bytes)) => session.write([Part::Data(bytes)]).await?,
            Ok(None) => return session.write([Part::End]).await,
            // The head is out: what is short of its length is cut, visibly.
            Err(cause) => {
                return Err(pingora::Error::because(
                    pingora::FileReadError,
                    "reading a file",
                    cause,
                ));
            }
        }
    }
}
