//! The same scripted origin over HTTP/2.

use std::sync::Arc;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};

use super::origin::{Received, Shared};
use super::reply::Step;
use super::stream::Stream;
use super::wire::{Framing, Head, Transcript};

/// One HTTP/2 connection; its streams are answered side by side.
pub async fn serve(shared: Arc<Shared>, stream: Stream) {
    let connection = shared.connected(Transcript::default());
    let Ok(mut h2) = h2::server::handshake(stream).await else {
        return;
    };
    let mut streams = tokio::task::JoinSet::new();
    let mut nth = 0;
    while let Some(Ok((request, respond))) = h2.accept().await {
        let shared = shared.clone();
        streams.spawn(async move { answer(&shared, connection, nth, request, respond).await });
        nth += 1;
    }
    shared.hung_up(connection);
}

async fn answer(
    shared: &Shared,
    connection: usize,
    nth: usize,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Option<()> {
    let (parts, mut incoming) = request.into_parts();
    let target = parts
        .uri
        .path_and_query()
        .map_or("*", |p| p.as_str())
        .to_owned();
    let mut fields = vec![(
        ":authority".to_owned(),
        parts
            .uri
            .authority()
            .map(ToString::to_string)
            .unwrap_or_default(),
    )];
    fields.push((
        ":scheme".to_owned(),
        parts.uri.scheme_str().unwrap_or_default().to_owned(),
    ));
    fields.extend(text(&parts.headers));
    let head = Head {
        raw: Vec::new(),
        start: format!("{} {target} HTTP/2", parts.method),
        fields,
    };
    let reply = shared.reply(&target, nth > 0);
    let bodyless = parts.method == http::Method::HEAD || matches!(reply.framing, Framing::None);
    let id = shared.arrived(Received {
        connection,
        nth,
        head,
        ..Received::default()
    });

    if reply.reads_body {
        read_body(shared, id, &mut incoming).await?;
    }
    let mut body: Option<SendStream<Bytes>> = None;
    for step in reply.script() {
        match step {
            Step::Wait(gate) => gate.pass().await,
            Step::Interim(status, fields) => {
                let mut interim = Response::builder()
                    .status(status)
                    .body(())
                    .expect("a valid interim response");
                interim.headers_mut().extend(typed(&fields));
                respond.send_informational(interim).ok()?;
            }
            Step::Head => {
                let mut response = Response::builder()
                    .status(reply.status)
                    .body(())
                    .expect("a valid response");
                response.headers_mut().extend(typed(&reply.fields));
                body = Some(respond.send_response(response, bodyless).ok()?);
            }
            Step::Data(_) | Step::Echo | Step::End if bodyless => {}
            Step::Data(data) => body.as_mut()?.send_data(data, false).ok()?,
            Step::Echo => {
                let content = shared.received(id).body.content;
                body.as_mut()?.send_data(content.into(), false).ok()?;
            }
            Step::End if reply.trailers.is_empty() => {
                body.as_mut()?.send_data(Bytes::new(), true).ok()?;
            }
            Step::End => body.as_mut()?.send_trailers(typed(&reply.trailers)).ok()?,
            Step::Cut | Step::Reset => respond.send_reset(h2::Reason::INTERNAL_ERROR),
            Step::Raw(_) | Step::Sever | Step::EchoFrames => panic!("{step:?} is not for HTTP/2"),
        }
    }
    Some(())
}

async fn read_body(shared: &Shared, id: usize, incoming: &mut RecvStream) -> Option<()> {
    while let Some(data) = incoming.data().await {
        match data {
            Ok(data) => {
                incoming
                    .flow_control()
                    .release_capacity(data.len())
                    .expect("what was received can be released");
                shared.update(id, |r| {
                    r.body.content.extend_from_slice(&data);
                    r.body.chunks.push(data.len());
                });
            }
            Err(error) => {
                shared.update(id, |r| r.failure = Some(error.to_string()));
                return None;
            }
        }
    }
    let trailers = incoming.trailers().await.ok().flatten().unwrap_or_default();
    shared.update(id, |r| {
        r.body.trailers = text(&trailers);
        r.complete = true;
    });
    Some(())
}

/// Fields as text.
pub fn text(headers: &HeaderMap) -> Vec<(String, String)> {
    let latin1 = |value: &HeaderValue| value.as_bytes().iter().map(|&b| char::from(b)).collect();
    headers
        .iter()
        .map(|(n, v)| (n.as_str().to_owned(), latin1(v)))
        .collect()
}

/// Fields as the `http` crate has them.
pub fn typed(fields: &[(String, String)]) -> HeaderMap {
    let pair = |(n, v): &(String, String)| {
        let name: HeaderName = n.parse().expect("a field name");
        let value: HeaderValue = v.parse().expect("a field value");
        (name, value)
    };
    let mut headers = HeaderMap::new();
    for (name, value) in fields.iter().map(pair) {
        headers.append(name, value);
    }
    headers
}
