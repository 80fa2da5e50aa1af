//! HTTP/2 frames by hand (RFC 9113 §4.1), for what no well-behaved client sends.

use tokio::io::AsyncWriteExt;

use super::stream::Stream;
use super::wire::Reader;
use super::{Client, within};

/// Frame types.
pub mod kind {
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// Frame flags.
pub mod flag {
    pub const NONE: u8 = 0;
    pub const ACK: u8 = 1;
    pub const END_STREAM: u8 = 1;
    pub const END_HEADERS: u8 = 4;
}

/// A frame as received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawFrame {
    pub kind: u8,
    pub flags: u8,
    pub stream: u32,
    pub payload: Vec<u8>,
}

/// One connection, its preface and first settings sent.
pub struct H2Wire {
    reader: Reader<Stream>,
}

impl Client {
    /// Speaks HTTP/2 frame by frame.
    pub async fn h2_wire(&self) -> H2Wire {
        let mut wire = H2Wire {
            reader: Reader::new(self.stream().await),
        };
        wire.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await
            .expect("the edge reads");
        wire.frame(kind::SETTINGS, flag::NONE, 0, &[])
            .await
            .expect("the edge reads");
        wire
    }
}

impl H2Wire {
    /// Writes these bytes, unless the edge has hung up.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("the edge to read", async {
            self.reader.io().write_all(bytes).await?;
            self.reader.io().flush().await
        })
        .await
    }

    /// Writes a frame, unless the edge has hung up.
    pub async fn frame(
        &mut self,
        kind: u8,
        flags: u8,
        stream: u32,
        payload: &[u8],
    ) -> std::io::Result<()> {
        self.write(&encode(kind, flags, stream, payload)).await
    }

    /// Writes a HEADERS frame with these fields, the head complete.
    pub async fn headers(
        &mut self,
        stream: u32,
        end: bool,
        fields: &[(&str, &str)],
    ) -> std::io::Result<()> {
        let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { 0 };
        self.frame(kind::HEADERS, flags, stream, &block(fields))
            .await
    }

    /// The next frame; `None` once the edge has closed.
    pub async fn next(&mut self) -> Option<RawFrame> {
        within("a frame or the end", async {
            loop {
                let ahead = &mut self.reader.ahead;
                if let Some((head, rest)) = ahead.split_first_chunk::<9>() {
                    let [a, b, c, kind, flags, s1, s2, s3, s4] = *head;
                    let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
                    if let Some(payload) = rest.get(..length) {
                        let stream = u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]);
                        let frame = RawFrame {
                            kind,
                            flags,
                            stream,
                            payload: payload.to_vec(),
                        };
                        ahead.drain(..9 + length);
                        return Some(frame);
                    }
                }
                if !self.reader.fill().await.unwrap_or(false) {
                    return None;
                }
            }
        })
        .await
    }

    /// The next frame for which `is` holds; `None` once the edge has closed.
    pub async fn next_where(&mut self, mut is: impl FnMut(&RawFrame) -> bool) -> Option<RawFrame> {
        loop {
            let frame = self.next().await?;
            if is(&frame) {
                return Some(frame);
            }
        }
    }

    /// The error code of the GOAWAY that ends this connection; `None` when it ends without one.
    pub async fn goaway(&mut self) -> Option<u32> {
        let frame = self.next_where(|f| f.kind == kind::GOAWAY).await?;
        frame
            .payload
            .get(4..8)
            .and_then(|code| code.try_into().ok())
            .map(u32::from_be_bytes)
    }

    /// The error code with which `stream` is reset, or with which the connection ends.
    pub async fn refusal(&mut self, stream: u32) -> Option<u32> {
        let is = |f: &RawFrame| {
            f.kind == kind::GOAWAY || (f.kind == kind::RST_STREAM && f.stream == stream)
        };
        let frame = self.next_where(is).await?;
        let at = if frame.kind == kind::GOAWAY { 4 } else { 0 };
        frame
            .payload
            .get(at..at + 4)
            .and_then(|code| code.try_into().ok())
            .map(u32::from_be_bytes)
    }
}

/// A frame's bytes.
pub fn encode(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("short payloads")
        .to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A header block of literals without indexing and without Huffman (RFC 7541 §6.2.2): any name, any bytes.
pub fn block(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let bytes: Vec<u8> = text
                .chars()
                .map(|c| u8::try_from(c).expect("Latin-1"))
                .collect();
            integer(&mut block, bytes.len());
            block.extend(bytes);
        }
    }
    block
}

/// An integer with a 7-bit prefix (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, mut value: usize) {
    if value < 127 {
        block.push(u8::try_from(value).expect("below 127"));
        return;
    }
    block.push(127);
    value -= 127;
    while value >= 128 {
        block.push(u8::try_from(value % 128).expect("below 128") | 0x80);
        value /= 128;
    }
    block.push(u8::try_from(value).expect("below 128"));
}
