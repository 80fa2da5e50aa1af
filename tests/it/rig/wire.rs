//! Strict HTTP/1.1 reading, for both ends: anything that is not canonical is an error that says what it was.
//!
//! Strictness here is a test of its own: whatever a scenario is about, the edge's bytes must be canonical on both sides.

use std::fmt;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why reading stopped.
#[derive(Debug)]
pub enum WireError {
    /// The peer ended the stream in the middle of a message.
    Cut(String),
    /// The peer reset the connection.
    Reset(io::Error),
    /// The bytes are not canonical HTTP/1.1.
    Malformed(String),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut(at) => write!(f, "cut in {at}"),
            Self::Reset(error) => write!(f, "reset: {error}"),
            Self::Malformed(what) => write!(f, "malformed: {what}"),
        }
    }
}

/// A message head: its first line and its fields, in order and as spelled.
#[derive(Clone, Default)]
pub struct Head {
    /// The bytes, the empty line included.
    pub raw: Vec<u8>,
    /// Request line or status line.
    pub start: String,
    /// Names as spelled, values trimmed.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// All values of `name`, any case.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_str())
            .collect()
    }

    /// The value of `name`; panics when it is there twice.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() <= 1,
            "{name} is there {} times: {all:?}",
            all.len()
        );
        all.first().copied()
    }

    /// The nth word of the first line.
    pub fn word(&self, n: usize) -> &str {
        self.start.split(' ').nth(n).unwrap_or_default()
    }

    fn parse(raw: Vec<u8>) -> Result<Self, WireError> {
        let malformed = |what: &str| {
            WireError::Malformed(format!("{what} in {:?}", String::from_utf8_lossy(&raw)))
        };
        // Latin-1, so that every byte has a character and nothing is lost in a comparison.
        let text: String = raw.iter().map(|&b| char::from(b)).collect();
        let text = text
            .strip_suffix("\r\n\r\n")
            .ok_or_else(|| malformed("no empty line"))?;
        let mut lines = text.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        if text.replace("\r\n", "").contains(['\r', '\n', '\0']) {
            return Err(malformed("bare CR, bare LF or NUL"));
        }
        let mut fields = Vec::new();
        for line in lines {
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| malformed("a line without a colon"))?;
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.is_empty() || !name.chars().all(token) {
                return Err(malformed(&format!("field name {name:?}")));
            }
            fields.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        Ok(Self { raw, start, fields })
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self
            .fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}"));
        f.debug_list().entry(&self.start).entries(lines).finish()
    }
}

/// How a body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked.
    Chunked,
    /// Until the connection ends (responses only).
    Close,
}

impl Framing {
    /// What the fields say; `None` when they say nothing.
    ///
    /// # Errors
    /// When they say two things, or one thing twice.
    pub fn of(head: &Head) -> Result<Option<Self>, WireError> {
        let length = head.all("content-length");
        let coding = head.all("transfer-encoding");
        match (length.as_slice(), coding.as_slice()) {
            ([], []) => Ok(None),
            ([length], []) if length.bytes().all(|b| b.is_ascii_digit()) => length
                .parse()
                .map(|n| Some(Self::Length(n)))
                .map_err(|_| WireError::Malformed(format!("content-length {length:?}"))),
            ([], [coding]) if *coding == "chunked" => Ok(Some(Self::Chunked)),
            (length, coding) => Err(WireError::Malformed(format!(
                "content-length {length:?} with transfer-encoding {coding:?}"
            ))),
        }
    }
}

/// A body as it was read.
#[derive(Clone, Default)]
pub struct Body {
    /// Its content, framing removed.
    pub content: Vec<u8>,
    /// Trailer fields of a chunked body.
    pub trailers: Vec<(String, String)>,
    /// The sizes of its chunks, when chunked.
    pub chunks: Vec<usize>,
}

impl Body {
    /// A body with this content.
    pub fn of(content: &[u8]) -> Self {
        Self {
            content: content.to_vec(),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 300;
        let shown = String::from_utf8_lossy(&self.content[..self.content.len().min(SHOWN)]);
        write!(
            f,
            "{} bytes, {shown:?}, trailers {:?}",
            self.content.len(),
            self.trailers
        )
    }
}

/// Everything that came in on one connection, shared with the test.
pub type Transcript = Arc<Mutex<Vec<u8>>>;

/// Reads messages from a stream and keeps a transcript of every byte.
#[derive(Debug)]
pub struct Reader<R> {
    io: R,
    /// Read and not yet consumed.
    pub ahead: Vec<u8>,
    transcript: Transcript,
}

impl<R: AsyncRead + Unpin> Reader<R> {
    /// A reader over `io`.
    pub fn new(io: R) -> Self {
        Self {
            io,
            ahead: Vec::new(),
            transcript: Transcript::default(),
        }
    }

    /// Every byte read so far.
    pub fn transcript(&self) -> Transcript {
        self.transcript.clone()
    }

    /// The stream itself. What is in `ahead` has been taken from it already.
    pub fn into_inner(self) -> R {
        self.io
    }

    /// The stream itself.
    pub fn io(&mut self) -> &mut R {
        &mut self.io
    }

    /// Reads more; `false` at the end of the stream.
    pub async fn fill(&mut self) -> Result<bool, WireError> {
        let before = self.ahead.len();
        self.ahead.reserve(16 * 1024);
        let n = self
            .io
            .read_buf(&mut self.ahead)
            .await
            .map_err(WireError::Reset)?;
        self.transcript
            .lock()
            .extend_from_slice(&self.ahead[before..]);
        Ok(n > 0)
    }

    /// The next head; `None` when the stream ends before its first byte.
    pub async fn head(&mut self) -> Result<Option<Head>, WireError> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                let raw = self.ahead.drain(..end + 4).collect();
                return Head::parse(raw).map(Some);
            }
            if !self.fill().await? {
                if self.ahead.is_empty() {
                    return Ok(None);
                }
                return Err(WireError::Cut(format!(
                    "the head, after {:?}",
                    String::from_utf8_lossy(&self.ahead)
                )));
            }
        }
    }

    /// Reads a body of this framing into `body`, which keeps what came when the stream is cut, and shows it after
    /// every piece.
    pub async fn body(
        &mut self,
        framing: Framing,
        body: &mut Body,
        mut show: impl FnMut(&Body),
    ) -> Result<(), WireError> {
        match framing {
            Framing::None => Ok(()),
            Framing::Length(n) => {
                let mut left = usize::try_from(n).expect("a test body fits memory");
                while left > 0 {
                    left -= self
                        .take(left, &mut body.content, "a body of known length")
                        .await?;
                    show(body);
                }
                Ok(())
            }
            Framing::Close => loop {
                body.content.append(&mut self.ahead);
                show(body);
                if !self.fill().await? {
                    return Ok(());
                }
            },
            Framing::Chunked => self.chunked(body, show).await,
        }
    }

    async fn chunked(
        &mut self,
        body: &mut Body,
        mut show: impl FnMut(&Body),
    ) -> Result<(), WireError> {
        loop {
            let line = self.line("a chunk's size").await?;
            if line.is_empty() || !line.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(WireError::Malformed(format!("chunk size line {line:?}")));
            }
            let size = usize::from_str_radix(&line, 16).map_err(|_| WireError::Malformed(line))?;
            if size == 0 {
                break;
            }
            body.chunks.push(size);
            let mut left = size;
            while left > 0 {
                left -= self.take(left, &mut body.content, "a chunk").await?;
                show(body);
            }
            let end = self.line("a chunk's end").await?;
            if !end.is_empty() {
                return Err(WireError::Malformed(format!(
                    "{end:?} after a chunk's data"
                )));
            }
        }
        loop {
            let line = self.line("the trailers").await?;
            let Some((name, value)) = line.split_once(':') else {
                return if line.is_empty() {
                    Ok(())
                } else {
                    Err(WireError::Malformed(line))
                };
            };
            body.trailers
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// Moves up to `most` bytes to `to`.
    async fn take(
        &mut self,
        most: usize,
        to: &mut Vec<u8>,
        during: &str,
    ) -> Result<usize, WireError> {
        if self.ahead.is_empty() && !self.fill().await? {
            return Err(WireError::Cut(during.to_owned()));
        }
        let n = most.min(self.ahead.len());
        to.extend(self.ahead.drain(..n));
        Ok(n)
    }

    /// The next line, without its CRLF.
    async fn line(&mut self, during: &str) -> Result<String, WireError> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(line[..end].iter().map(|&b| char::from(b)).collect());
            }
            if !self.fill().await? {
                return Err(WireError::Cut(during.to_owned()));
            }
        }
    }
}

/// Where `needle` begins in `hay`.
pub fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(hay, needle)
}
