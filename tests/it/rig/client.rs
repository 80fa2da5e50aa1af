//! A client: whole requests as sentences, or any bytes at all on a connection of one's own.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;

use super::wire::{Body, Framing, Reader, WireError};
use super::{Request, Response, Stream, WebSocket, request, within};

/// Where a client connects to, and as whom.
#[derive(Clone)]
pub struct Client {
    addr: String,
    host: String,
    tls: Option<(Arc<rustls::ClientConfig>, String)>,
    prologue: Vec<u8>,
    receive_buffer: Option<u32>,
}

/// A client of `addr`, with a new connection for each request and `Host: site.test`.
pub fn client(addr: &str) -> Client {
    Client {
        addr: addr.to_owned(),
        host: "site.test".to_owned(),
        tls: None,
        prologue: Vec::new(),
        receive_buffer: None,
    }
}

impl Client {
    /// Speaks TLS, asking for `name` by SNI.
    pub fn tls(mut self, config: rustls::ClientConfig, name: &str) -> Self {
        self.tls = Some((Arc::new(config), name.to_owned()));
        name.clone_into(&mut self.host);
        self
    }

    /// The `Host` of requests that name none.
    pub fn host(mut self, host: &str) -> Self {
        host.clone_into(&mut self.host);
        self
    }

    /// The `Host` of requests that name none.
    pub fn host_name(&self) -> &str {
        &self.host
    }

    /// Bytes in front of everything, such as a PROXY protocol header.
    pub fn prologue(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.prologue = bytes.as_ref().to_vec();
        self
    }

    /// The kernel keeps little for it that it does not read, however much it would keep for others.
    pub fn receive_buffer(mut self, octets: u32) -> Self {
        self.receive_buffer = Some(octets);
        self
    }

    /// A GET, to be sent on a connection of its own.
    pub fn get(&self, target: &str) -> Sending {
        self.request(request("GET", target))
    }

    /// A HEAD, to be sent on a connection of its own.
    pub fn head(&self, target: &str) -> Sending {
        self.request(request("HEAD", target))
    }

    /// A POST, to be sent on a connection of its own.
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Sending {
        self.request(request("POST", target).body(body))
    }

    /// Any request, to be sent on a connection of its own.
    pub fn request(&self, request: Request) -> Sending {
        Sending {
            client: self.clone(),
            request,
        }
    }

    /// Sends these bytes on a connection of its own and reads one answer (as to a GET).
    pub async fn raw(&self, bytes: impl AsRef<[u8]>) -> Response {
        let mut connection = self.connect().await;
        connection.write(bytes).await;
        connection.response("GET").await
    }

    /// The bare stream, TLS and prologue done.
    pub async fn stream(&self) -> Stream {
        self.try_stream()
            .await
            .unwrap_or_else(|e| panic!("cannot connect to {}: {e}", self.addr))
    }

    /// The bare stream, or why there is none.
    pub async fn try_stream(&self) -> std::io::Result<Stream> {
        let mut stream = within("a connection", self.connected()).await?;
        if !self.prologue.is_empty() {
            stream.write_all(&self.prologue).await?;
        }
        let Some((config, name)) = &self.tls else {
            return Ok(stream);
        };
        let Stream::Tcp(tcp) = stream else {
            panic!("TLS is spoken over TCP");
        };
        let name = ServerName::try_from(name.clone()).expect("a DNS name");
        let tls = within(
            "the TLS hand-shake",
            TlsConnector::from(config.clone()).connect(name, tcp),
        )
        .await?;
        Ok(Stream::Tls(Box::new(tls.into())))
    }

    async fn connected(&self) -> std::io::Result<Stream> {
        let Some(octets) = self.receive_buffer else {
            return Stream::connect(&self.addr).await;
        };
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(octets)?;
        let addr = self.addr.parse().expect("an IPv4 address and a port");
        Ok(Stream::Tcp(socket.connect(addr).await?))
    }

    /// A connection that stays.
    pub async fn connect(&self) -> Connection {
        Connection::new(self.stream().await, &self.host)
    }

    /// A WebSocket to `target`, hand-shake done.
    pub async fn websocket(&self, target: &str) -> WebSocket {
        WebSocket::open(self.connect().await, target).await
    }
}

/// A request on its way to a connection of its own.
pub struct Sending {
    client: Client,
    request: Request,
}

impl Sending {
    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }

    /// The host.
    pub fn host(mut self, host: &str) -> Self {
        self.request = self.request.host(host);
        self
    }

    /// Sends it and reads the answer.
    pub async fn send(self) -> Response {
        let mut connection = self.client.connect().await;
        Box::pin(connection.send(&self.request)).await
    }

    /// Sends it in a task of its own, so that the test can go on meanwhile.
    pub fn spawn(self) -> tokio::task::JoinHandle<Response> {
        tokio::spawn(self.send())
    }
}

/// A connection to the edge.
pub struct Connection {
    reader: Reader<ReadHalf<Stream>>,
    writer: WriteHalf<Stream>,
    host: String,
}

impl Connection {
    /// A connection over `stream`.
    pub fn new(stream: Stream, host: &str) -> Self {
        let (read, writer) = tokio::io::split(stream);
        Self {
            reader: Reader::new(read),
            writer,
            host: host.to_owned(),
        }
    }

    /// Writes these bytes.
    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_write(bytes).await.expect("the edge reads");
    }

    /// Writes these bytes, unless the edge has hung up.
    pub async fn try_write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        let write = async {
            self.writer.write_all(bytes.as_ref()).await?;
            self.writer.flush().await
        };
        within("the edge to read", write).await
    }

    /// Says that no more bytes will come.
    pub async fn finish(&mut self) {
        self.writer
            .shutdown()
            .await
            .expect("the connection is open");
    }

    /// Sends a whole request and reads its answer, which may come before the request's end.
    pub async fn send(&mut self, request: &Request) -> Response {
        let head = request.head_bytes(&self.host);
        let body = request.body_bytes();
        let Self { reader, writer, .. } = self;
        let write = async {
            // The edge may have answered and closed already: then the answer says why.
            if writer.write_all(&[head, body].concat()).await.is_ok() {
                let _ = writer.flush().await;
            }
        };
        let read = read_response(reader, &request.method, |_| {});
        let what = format!("the answer to {} {}", request.method, request.target);
        within(&what, async {
            let ((), response) = tokio::join!(write, read);
            response
        })
        .await
    }

    /// Sends a GET and reads its answer.
    pub async fn get(&mut self, target: &str) -> Response {
        self.send(&request("GET", target)).await
    }

    /// Sends only the request, without reading.
    pub async fn start(&mut self, request: &Request) {
        let bytes = [request.head_bytes(&self.host), request.body_bytes()].concat();
        self.write(bytes).await;
    }

    /// Reads the next answer, which is one to `method`.
    pub async fn response(&mut self, method: &str) -> Response {
        within("an answer", self.response_seen(method, |_| {})).await
    }

    /// Reads the next answer, showing its body after every piece. However long that takes.
    pub async fn response_seen(&mut self, method: &str, show: impl FnMut(&Body)) -> Response {
        read_response(&mut self.reader, method, show).await
    }

    /// Reads the next head, interim or final.
    pub async fn head(&mut self) -> super::wire::Head {
        let head = within("a head", self.reader.head()).await;
        head.unwrap_or_else(|e| panic!("{e}"))
            .expect("the edge answers before it closes")
    }

    /// Reads until `bytes` have come, and gives everything up to their end.
    pub async fn read_until(&mut self, bytes: &str) -> String {
        within(&format!("{bytes:?}"), async {
            loop {
                if let Some(at) = super::wire::find(&self.reader.ahead, bytes.as_bytes()) {
                    let taken: Vec<u8> = self.reader.ahead.drain(..at + bytes.len()).collect();
                    return String::from_utf8_lossy(&taken).into_owned();
                }
                let more = self.reader.fill().await;
                assert!(
                    more.unwrap_or(false),
                    "closed before {bytes:?}: {:?}",
                    String::from_utf8_lossy(&self.reader.ahead)
                );
            }
        })
        .await
    }

    /// The edge closes here, without another byte.
    pub async fn expect_close(&mut self) {
        let rest = self.rest().await;
        assert!(
            rest.is_empty(),
            "expected the end of the connection, found {:?}",
            String::from_utf8_lossy(&rest)
        );
    }

    /// Everything until the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        within("the end of the connection", async {
            while self.reader.fill().await.unwrap_or(false) {}
        })
        .await;
        std::mem::take(&mut self.reader.ahead)
    }

    /// The stream itself, for what is not HTTP.
    pub fn into_stream(self) -> Stream {
        assert!(self.reader.ahead.is_empty(), "bytes were read ahead");
        self.reader.into_inner().unsplit(self.writer)
    }

    /// Ends the connection with a RST.
    pub fn reset(self) {
        self.reader.into_inner().unsplit(self.writer).reset();
    }
}

/// Reads one answer; what breaks it off is kept with what came.
async fn read_response<R: tokio::io::AsyncRead + Unpin>(
    reader: &mut Reader<R>,
    method: &str,
    show: impl FnMut(&Body),
) -> Response {
    let mut response = Response::default();
    loop {
        let head = match reader.head().await {
            Ok(Some(head)) => head,
            Ok(None) => {
                response.cut = Some("closed without an answer".to_owned());
                return response;
            }
            Err(WireError::Malformed(what)) => panic!("the edge's answer is malformed: {what}"),
            Err(error) => {
                response.cut = Some(error.to_string());
                return response;
            }
        };
        let status: u16 = head
            .word(1)
            .parse()
            .unwrap_or_else(|_| panic!("status line {:?}", head.start));
        assert!(
            head.start.starts_with("HTTP/1."),
            "status line {:?}",
            head.start
        );
        if (100..200).contains(&status) && status != 101 {
            response.interim.push((status, head.fields));
            continue;
        }
        let framed =
            Framing::of(&head).unwrap_or_else(|e| panic!("the edge's answer: {e} in {head:#?}"));
        let framing = match status {
            101 | 204 | 304 => Framing::None,
            _ if method == "HEAD" => Framing::None,
            _ => framed.unwrap_or(Framing::Close),
        };
        response.status = status;
        response.head = head;
        match reader.body(framing, &mut response.body, show).await {
            Ok(()) => {}
            Err(WireError::Malformed(what)) => panic!("the edge's body is malformed: {what}"),
            Err(error) => response.cut = Some(error.to_string()),
        }
        return response;
    }
}
