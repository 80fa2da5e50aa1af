//! What an origin answers: a status, fields and a body, or a script of them with waits, cuts and resets in between.

use bytes::Bytes;

use super::Gate;
use super::wire::Framing;

/// One act of an origin after it has read a request's head.
#[derive(Debug, Clone)]
pub enum Step {
    /// Waits at a gate, noticing meanwhile when the edge goes away.
    Wait(Gate),
    /// A 1xx answer.
    Interim(u16, Vec<(String, String)>),
    /// The head of the final answer.
    Head,
    /// A piece of the body, framed as the head says.
    Data(Bytes),
    /// The body of the request, as the body.
    Echo,
    /// Bytes as they are, unframed.
    Raw(Bytes),
    /// The end of the body: last chunk and trailers.
    End,
    /// A FIN in the middle of whatever was going on.
    Cut,
    /// The same below TLS, which is not told.
    Sever,
    /// A RST in the middle of whatever was going on.
    Reset,
    /// After a 101: answers WebSocket frames with the same frames until a close frame.
    EchoFrames,
}

/// An answer being written down.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Fields without those of the framing.
    pub fields: Vec<(String, String)>,
    /// Trailer fields; they need a chunked body, or HTTP/2.
    pub trailers: Vec<(String, String)>,
    /// How the body is delimited; chunked unless said otherwise.
    pub framing: Framing,
    /// Whether the request's body is read before anything is answered.
    pub reads_body: bool,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// A 200.
pub fn ok() -> Reply {
    status(200)
}

/// An answer of this status, without a body so far.
pub fn status(status: u16) -> Reply {
    let framing = match status {
        101..200 | 204 | 304 => Framing::None,
        _ => Framing::Length(0),
    };
    Reply {
        status,
        fields: Vec::new(),
        trailers: Vec::new(),
        framing,
        reads_body: true,
        steps: Vec::new(),
    }
}

/// These bytes, whatever they are, then a FIN.
pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
    let mut reply = ok();
    reply.steps = vec![Step::Raw(Bytes::copy_from_slice(bytes.as_ref())), Step::Cut];
    reply
}

/// A RST once the request is there, without a byte of an answer.
pub fn reset() -> Reply {
    let mut reply = ok();
    reply.steps = vec![Step::Reset];
    reply
}

/// A 101 to `protocol`, after which WebSocket frames are echoed. Knows the accept value of RFC 6455's sample key only.
pub fn upgrade(protocol: &str) -> Reply {
    let mut reply = status(101)
        .header("upgrade", protocol)
        .header("connection", "Upgrade")
        .header("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    reply.steps = vec![Step::Head, Step::EchoFrames];
    reply
}

impl Reply {
    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// This body, with its length.
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len();
        self.length(length).data(body)
    }

    /// A body of `length` bytes follows, or is promised.
    pub fn length(mut self, length: usize) -> Self {
        self.framing = Framing::Length(length as u64);
        self
    }

    /// These pieces, each a chunk.
    pub fn chunks<const N: usize>(mut self, pieces: [&str; N]) -> Self {
        self.framing = Framing::Chunked;
        for piece in pieces {
            self = self.data(piece);
        }
        self
    }

    /// The body ends with the connection.
    pub fn until_close(mut self) -> Self {
        self.framing = Framing::Close;
        self
    }

    /// There is no body, and nothing says so but the end of the head (HTTP/2 has a flag for that).
    pub fn ends_with_head(mut self) -> Self {
        self.framing = Framing::None;
        self
    }

    /// A piece of the body.
    pub fn data(mut self, piece: impl AsRef<[u8]>) -> Self {
        self = self.head_now();
        self.steps
            .push(Step::Data(Bytes::copy_from_slice(piece.as_ref())));
        self
    }

    /// The request's body, as the body.
    pub fn echo(mut self) -> Self {
        self.framing = Framing::Chunked;
        self = self.head_now();
        self.steps.push(Step::Echo);
        self
    }

    /// The head is sent here, and the body after what follows.
    pub fn head_now(mut self) -> Self {
        if !self.steps.iter().any(|step| matches!(step, Step::Head)) {
            self.steps.push(Step::Head);
        }
        self
    }

    /// Waits at `gate` here.
    pub fn hold(mut self, gate: &Gate) -> Self {
        self.steps.push(Step::Wait(gate.clone()));
        self
    }

    /// Waits at `gate` before anything else, however broken what follows is.
    pub fn hold_first(mut self, gate: &Gate) -> Self {
        self.steps.insert(0, Step::Wait(gate.clone()));
        self
    }

    /// A 1xx answer here.
    pub fn interim(mut self, status: u16, fields: &[(&str, &str)]) -> Self {
        let fields = fields
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        self.steps.push(Step::Interim(status, fields));
        self
    }

    /// A trailer field.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bytes as they are, here.
    pub fn then_raw(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.steps
            .push(Step::Raw(Bytes::copy_from_slice(bytes.as_ref())));
        self
    }

    /// A FIN here, whatever was promised.
    pub fn cut(mut self) -> Self {
        self = self.head_now();
        self.steps.push(Step::Cut);
        self
    }

    /// A FIN here below TLS, without the `close_notify` that tells it from an attacker's.
    pub fn sever(mut self) -> Self {
        self = self.head_now();
        self.steps.push(Step::Sever);
        self
    }

    /// A RST here, whatever was promised.
    pub fn reset(mut self) -> Self {
        self = self.head_now();
        self.steps.push(Step::Reset);
        self
    }

    /// Answers without having read the request's body.
    pub fn early(mut self) -> Self {
        self.reads_body = false;
        self
    }

    /// A stream of server-sent events: chunked, with its content type.
    pub fn sse(mut self) -> Self {
        self.framing = Framing::Chunked;
        self.header("content-type", "text/event-stream").head_now()
    }

    /// The steps, with the head and the end where the script left them out.
    pub fn script(&self) -> Vec<Step> {
        let unframed = |step: &Step| {
            matches!(
                step,
                Step::Raw(_) | Step::Cut | Step::Sever | Step::Reset | Step::EchoFrames
            )
        };
        let mut steps = self.steps.clone();
        if !steps
            .iter()
            .any(|step| matches!(step, Step::Head) || unframed(step))
        {
            steps.push(Step::Head);
        }
        if !steps.last().is_some_and(unframed) {
            steps.push(Step::End);
        }
        steps
    }

    /// The head as HTTP/1.1 bytes.
    pub fn head_bytes(&self) -> Vec<u8> {
        let reason = http::StatusCode::from_u16(self.status)
            .ok()
            .and_then(|s| s.canonical_reason())
            .unwrap_or("Unnamed");
        let mut head = format!("HTTP/1.1 {} {reason}\r\n", self.status);
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        match self.framing {
            Framing::None | Framing::Close => {}
            Framing::Length(n) => head += &format!("Content-Length: {n}\r\n"),
            Framing::Chunked => head += "Transfer-Encoding: chunked\r\n",
        }
        head += "\r\n";
        head.chars()
            .map(|c| u8::try_from(c).expect("heads are Latin-1"))
            .collect()
    }
}
