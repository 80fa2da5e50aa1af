//! A small HTTP client for the admin listener of a running proxy. A container image need have nothing but this program.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Scheme;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use crate::admin::settings::{AdminListen, AdminSettings};

use super::error::CliError;

/// An answer's body, at most: ten thousand entries with their tags.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// Why a running proxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    /// The configuration has none.
    #[error("the admin listener is off (`[admin] listen`), so a running proxy cannot be asked")]
    Off,
    /// Nobody listens there.
    #[error("cannot reach the proxy at {at}: {source}; is it running?")]
    Unreachable {
        /// Whom we asked.
        at: Place,
        /// What the system said.
        source: io::Error,
    },
    /// Somebody listens, but does not speak HTTP.
    #[error("no proper answer from {at}: {reason}")]
    Garbled {
        /// Whom we asked.
        at: Place,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The answer took too long.
    #[error("no answer from {at} within {} s", .within.as_secs())]
    Late {
        /// Whom we asked.
        at: Place,
        /// How long we waited.
        within: Duration,
    },
}

/// Where an admin listener is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A host, or an address, and a port, as they stand in a URL.
    Tcp(String),
    /// A unix socket.
    Unix(PathBuf),
}

impl Place {
    /// The admin listener that `[admin]` describes, as this machine reaches it.
    pub(super) fn of(settings: &AdminSettings) -> Result<Self, ClientError> {
        match &settings.listen {
            Some(AdminListen::Tcp(addr)) => Ok(Self::Tcp(reachable(*addr).to_string())),
            Some(AdminListen::Unix(path)) => Ok(Self::Unix(path.clone())),
            None => Err(ClientError::Off),
        }
    }

    /// Reads `unix:/run/forebay.sock` or `http://host:port/path`, and returns the path with its query if there is one.
    pub(super) fn parse(url: &str) -> Result<(Self, Option<String>), String> {
        let expected =
            || format!("expected `http://host:port` or `unix:/path/of.sock`, found `{url}`");
        if let Some(path) = url.strip_prefix("unix:") {
            return Ok((Self::Unix(path.into()), None));
        }
        let uri: Uri = url.parse().map_err(|_| expected())?;
        let (Some(authority), true) = (uri.authority(), uri.scheme() == Some(&Scheme::HTTP)) else {
            return Err(expected());
        };
        let place = match authority.port_u16() {
            Some(_) => authority.to_string(),
            None => format!("{authority}:80"),
        };
        let path = uri.path_and_query().map(ToString::to_string);
        Ok((Self::Tcp(place), path.filter(|path| path != "/")))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// What stands in `{"error": "…"}`, or the body as it is.
    pub(super) fn error_text(&self) -> String {
        let value: Option<serde_json::Value> = serde_json::from_slice(&self.body).ok();
        match value.as_ref().and_then(|value| value["error"].as_str()) {
            Some(text) => text.to_owned(),
            None => String::from_utf8_lossy(&self.body).into_owned(),
        }
    }

    /// The body, which is JSON of a shape that both of us know.
    pub(super) fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let text = format!(
                "the answer is none of this program's version: {error}; is another version running?"
            );
            CliError::Refused(text)
        })
    }
}

/// Makes one call without a body and waits for its whole answer.
pub(super) fn call(
    method: Method,
    at: &Place,
    path: &str,
    token: Option<&str>,
    within: Duration,
) -> Result<Answer, ClientError> {
    send(method, at, path, token, Bytes::new(), within)
}

/// Makes one call and waits for its whole answer.
pub(super) fn send(
    method: Method,
    at: &Place,
    path: &str,
    token: Option<&str>,
    body: Bytes,
    within: Duration,
) -> Result<Answer, ClientError> {
    let unreachable = |source| ClientError::Unreachable {
        at: at.clone(),
        source,
    };
    let garbled = |reason: String| ClientError::Garbled {
        at: at.clone(),
        reason,
    };
    let mut request = Request::builder().method(method).uri(path);
    request = match at {
        Place::Tcp(authority) => request.header(HOST, authority),
        Place::Unix(_) => request.header(HOST, "localhost"),
    };
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Full::new(body))
        .map_err(|error| garbled(error.to_string()))?;
    let conversation = async {
        match at {
            Place::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(unreachable)?;
                exchange(stream, request).await.map_err(garbled)
            }
            Place::Unix(path) => {
                let stream = UnixStream::connect(path).await.map_err(unreachable)?;
                exchange(stream, request).await.map_err(garbled)
            }
        }
    };
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(unreachable)?
        .block_on(async { timeout(within, conversation).await })
        .map_err(|_| ClientError::Late {
            at: at.clone(),
            within,
        })?
}

async fn exchange<S>(stream: S, request: Request<Full<Bytes>>) -> Result<Answer, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let answer = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .map_err(|error| error.to_string())?
            .into_parts();
        let body = Limited::new(body, BODY_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok(Answer {
            status: head.status,
            body,
        })
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end in the same moment as the answer; what went wrong, the answer knows.
        _ = connection => answer.await,
    }
}

/// An address that can be connected to, for a listener on every address.
fn reachable(addr: SocketAddr) -> SocketAddr {
    let ip = match addr.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, addr.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn urls() {
        let tcp = |authority: &str| Place::Tcp(authority.to_owned());
        for (url, read) in [
            ("http://127.0.0.1:9900", Some((tcp("127.0.0.1:9900"), None))),
            ("http://edge:9900/", Some((tcp("edge:9900"), None))),
            ("http://edge", Some((tcp("edge:80"), None))),
            (
                "http://[::1]:9900/readyz?route=a",
                Some((tcp("[::1]:9900"), Some("/readyz?route=a"))),
            ),
            (
                "unix:/run/a.sock",
                Some((Place::Unix("/run/a.sock".into()), None)),
            ),
            ("https://edge:9900", None),
            ("edge:9900", None),
            ("", None),
        ] {
            let read = read.map(|(place, path)| (place, path.map(str::to_owned)));
            assert_eq!(Place::parse(url).ok(), read, "{url}");
        }
    }

    #[test]
    fn a_listener_on_every_address_is_asked_on_loopback() {
        for (listen, asked) in [
            ("0.0.0.0:9900", "127.0.0.1:9900"),
            ("[::]:9900", "[::1]:9900"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            let addr = reachable(listen.parse().expect("an address"));
            assert_eq!(addr.to_string(), asked);
        }
    }

    /// Reads one request's head and answers it.
    fn answer(mut stream: impl Read + Write, answer: &str) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("the client asks");
            head.extend(byte);
        }
        stream
            .write_all(answer.as_bytes())
            .expect("the client reads");
        String::from_utf8(head).expect("a head in ASCII")
    }

    #[test]
    fn asks_over_tcp_with_host_and_token() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("it is bound").to_string();
        let origin = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the client connects");
            answer(stream, "HTTP/1.1 422 No\r\nContent-Length: 3\r\n\r\nbad")
        });
        let place = Place::Tcp(addr.clone());
        let got = call(Method::POST, &place, "/reload", Some("t"), SOON).expect("an answer");
        assert_eq!((got.status.as_u16(), &got.body[..]), (422, &b"bad"[..]));
        let head = origin.join().expect("no panic").to_ascii_lowercase();
        for line in [
            "post /reload http/1.1",
            &format!("host: {addr}"),
            "authorization: bearer t",
        ] {
            assert!(head.contains(line), "{line}: {head}");
        }
    }

    #[test]
    fn asks_over_a_unix_socket() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("a.sock");
        let listener = UnixListener::bind(&path).expect("a fresh name");
        let origin = thread::spawn(move || {
            let (stream, _) = listener.accept().expect("the client connects");
            // No length: the answer ends with the connection.
            answer(stream, "HTTP/1.1 200 OK\r\n\r\nyes")
        });
        let got = call(Method::GET, &Place::Unix(path), "/healthz", None, SOON).expect("an answer");
        assert_eq!((got.status.as_u16(), &got.body[..]), (200, &b"yes"[..]));
        origin.join().expect("no panic");
    }

    #[test]
    fn nobody_there() {
        let place = Place::Unix("/nowhere/forebay.sock".into());
        let error = call(Method::GET, &place, "/healthz", None, SOON).expect_err("nobody");
        let text = error.to_string();
        assert!(
            text.starts_with("cannot reach the proxy at unix:/nowhere/forebay.sock"),
            "{text}"
        );
    }
}
