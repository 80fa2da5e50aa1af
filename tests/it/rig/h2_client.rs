//! An HTTP/2 client that gives the same answers as the HTTP/1 one.

use bytes::Bytes;
use h2::client::SendRequest;
use http::Method;

use super::h2_origin::{text, typed};
use super::wire::Head;
use super::{Client, Request, Response, within};

/// One HTTP/2 connection.
#[derive(Clone)]
pub struct H2Client {
    send: SendRequest<Bytes>,
    scheme: &'static str,
    authority: String,
}

/// A request whose body is still being sent.
pub struct H2Call {
    pub response: h2::client::ResponseFuture,
    pub body: h2::SendStream<Bytes>,
}

impl Client {
    /// Speaks HTTP/2: over TLS if this client does, else by prior knowledge.
    pub async fn h2(&self) -> H2Client {
        let stream = self.stream().await;
        let scheme = if matches!(stream, super::Stream::Tls(_)) {
            "https"
        } else {
            "http"
        };
        let (send, connection) = within("the HTTP/2 hand-shake", h2::client::handshake(stream))
            .await
            .expect("HTTP/2");
        tokio::spawn(connection);
        H2Client {
            send,
            scheme,
            authority: self.host_name().to_owned(),
        }
    }
}

impl H2Client {
    /// Sends a GET and reads its answer.
    pub async fn get(&self, target: &str) -> Response {
        self.send(super::get(target)).await
    }

    /// Sends a request and reads its answer.
    pub async fn send(&self, request: Request) -> Response {
        let what = format!("the answer to {} {}", request.method, request.target);
        let body = Bytes::from(request.body.clone());
        let trailers = request.trailers.clone();
        let end_at_head = body.is_empty() && trailers.is_empty();
        within(&what, async {
            let mut call = match self.call(&request, end_at_head).await {
                Ok(call) => call,
                Err(error) => {
                    return Response {
                        cut: Some(error.to_string()),
                        ..Response::default()
                    };
                }
            };
            if !end_at_head {
                // The edge may have answered and reset already: then the answer says why.
                let _ = call.body.send_data(body, trailers.is_empty());
                if !trailers.is_empty() {
                    let _ = call.body.send_trailers(typed(&trailers));
                }
            }
            call.answer().await
        })
        .await
    }

    /// Sends a request's head, and leaves its body to the test.
    pub async fn call(&self, request: &Request, end: bool) -> Result<H2Call, h2::Error> {
        let mut send = self.send.clone().ready().await?;
        let host = request
            .fields
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case("host"))
            .map(|(_, v)| v.as_str());
        let uri = format!(
            "{}://{}{}",
            self.scheme,
            host.unwrap_or(&self.authority),
            request.target
        );
        let method: Method = request.method.parse().expect("a method");
        let mut typed_request = http::Request::builder()
            .method(method)
            .uri(uri)
            .body(())
            .expect("a valid request");
        let fields: Vec<_> = request
            .fields
            .iter()
            .filter(|(n, _)| !n.eq_ignore_ascii_case("host"))
            .cloned()
            .collect();
        *typed_request.headers_mut() = typed(&fields);
        let (response, body) = send.send_request(typed_request, end)?;
        Ok(H2Call { response, body })
    }
}

impl H2Call {
    /// Reads the answer to its end.
    pub async fn answer(mut self) -> Response {
        let mut response = Response::default();
        let interim = std::future::poll_fn(|cx| self.response.poll_informational(cx)).await;
        let mut next = interim;
        while let Some(Ok(head)) = next {
            response
                .interim
                .push((head.status().as_u16(), text(head.headers())));
            next = std::future::poll_fn(|cx| self.response.poll_informational(cx)).await;
        }
        let received = match self.response.await {
            Ok(received) => received,
            Err(error) => {
                return Response {
                    cut: Some(error.to_string()),
                    ..response
                };
            }
        };
        let (parts, mut body) = received.into_parts();
        response.status = parts.status.as_u16();
        response.head = Head {
            raw: Vec::new(),
            start: format!("HTTP/2 {}", response.status),
            fields: text(&parts.headers),
        };
        while let Some(data) = body.data().await {
            match data {
                Ok(data) => {
                    body.flow_control()
                        .release_capacity(data.len())
                        .expect("what was received can be released");
                    response.body.chunks.push(data.len());
                    response.body.content.extend_from_slice(&data);
                }
                Err(error) => {
                    response.cut = Some(error.to_string());
                    return response;
                }
            }
        }
        match body.trailers().await {
            Ok(trailers) => response.body.trailers = text(&trailers.unwrap_or_default()),
            Err(error) => response.cut = Some(error.to_string()),
        }
        response
    }
}

/// An answer whose body is read piece by piece.
pub struct H2Body {
    body: h2::RecvStream,
    ahead: Vec<u8>,
}

impl H2Call {
    /// The body of an answer that does not end; its status must be 200.
    pub async fn follow(self) -> H2Body {
        let received = self.response.await.expect("a head");
        assert_eq!(received.status(), 200, "{received:?}");
        H2Body {
            body: received.into_body(),
            ahead: Vec::new(),
        }
    }
}

impl H2Body {
    /// Reads up to and with these octets.
    pub async fn until(&mut self, octets: &str) -> String {
        loop {
            if let Some(at) = super::wire::find(&self.ahead, octets.as_bytes()) {
                let taken: Vec<u8> = self.ahead.drain(..at + octets.len()).collect();
                return String::from_utf8_lossy(&taken).into_owned();
            }
            let piece = self.body.data().await.expect("it goes on").expect("data");
            let room = self.body.flow_control().release_capacity(piece.len());
            room.expect("as much as came");
            self.ahead.extend_from_slice(&piece);
        }
    }
}
