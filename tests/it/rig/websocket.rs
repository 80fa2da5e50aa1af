//! WebSocket frames by hand (RFC 6455 §5.2): unfragmented, up to 65,535 bytes.

use tokio::io::AsyncWriteExt;

use super::stream::Stream;
use super::wire::Reader;
use super::{Connection, Request, request, within};

/// One frame: its opcode and its payload.
pub type Frame = (u8, Vec<u8>);

const TEXT: u8 = 1;
const CLOSE: u8 = 8;

/// What stands in the length's place when two bytes of it follow.
const LENGTH_IN_TWO_BYTES: u8 = 0x7e;

/// The client's side of a WebSocket.
pub struct WebSocket {
    reader: Reader<Stream>,
}

impl WebSocket {
    /// Opens a WebSocket over `connection`.
    pub async fn open(mut connection: Connection, target: &str) -> Self {
        let response = connection.send(&Self::handshake(target)).await;
        let response = response.expect(101).header("upgrade", "websocket");
        assert_eq!(
            response.value("sec-websocket-accept"),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
        Self {
            reader: Reader::new(connection.into_stream()),
        }
    }

    /// The request that opens one, with RFC 6455's sample key.
    pub fn handshake(target: &str) -> Request {
        request("GET", target)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    }

    /// Sends text.
    pub async fn send(&mut self, text: &str) {
        let frame = frame(TEXT, text.as_bytes(), Some([0x37, 0xfa, 0x21, 0x3d]));
        self.reader
            .io()
            .write_all(&frame)
            .await
            .expect("the WebSocket is open");
    }

    /// Receives text.
    pub async fn receive(&mut self) -> String {
        let (opcode, payload) = within("a frame", next(&mut self.reader))
            .await
            .expect("the WebSocket is open");
        assert_eq!(opcode, TEXT);
        String::from_utf8(payload).expect("text frames are UTF-8")
    }

    /// Sends text and receives its echo.
    pub async fn echo(&mut self, text: &str) {
        self.send(text).await;
        assert_eq!(self.receive().await, text);
    }

    /// The next frame, whatever it is; `None` at the end of the connection.
    pub async fn next(&mut self) -> Option<Frame> {
        within("a frame or the end", next(&mut self.reader)).await
    }

    /// Closes in good order.
    pub async fn close(mut self) {
        let frame = frame(CLOSE, &1000_u16.to_be_bytes(), Some([1, 2, 3, 4]));
        self.reader
            .io()
            .write_all(&frame)
            .await
            .expect("the WebSocket is open");
        let (opcode, _) = within("the close frame", next(&mut self.reader))
            .await
            .expect("a close is answered");
        assert_eq!(opcode, CLOSE);
    }
}

/// Answers every frame with the same frame, until a close frame has been answered or the peer is gone.
pub async fn echo(reader: &mut Reader<Stream>) {
    while let Some((opcode, payload)) = next(reader).await {
        let bytes = frame(opcode, &payload, None);
        if reader.io().write_all(&bytes).await.is_err() || opcode == CLOSE {
            let _ = reader.io().shutdown().await;
            return;
        }
    }
}

async fn next(reader: &mut Reader<Stream>) -> Option<Frame> {
    loop {
        if let Some((frame, length)) = parse(&reader.ahead) {
            reader.ahead.drain(..length);
            return Some(frame);
        }
        if !reader.fill().await.unwrap_or(false) {
            return None;
        }
    }
}

/// A frame in front of `bytes`, and its length there.
fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let [first, second, rest @ ..] = bytes else {
        return None;
    };
    let (length, rest) = match second & 0x7f {
        126 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        127 => panic!("a frame of more than 65,535 bytes"),
        length => (usize::from(length), rest),
    };
    let (mask, rest) = if second & 0x80 == 0 {
        ([0; 4], rest)
    } else {
        let (mask, rest) = rest.split_first_chunk::<4>()?;
        (*mask, rest)
    };
    let payload = rest.get(..length)?;
    let payload = payload
        .iter()
        .zip(mask.iter().cycle())
        .map(|(b, m)| b ^ m)
        .collect();
    Some(((first & 0x0f, payload), bytes.len() - rest.len() + length))
}

fn frame(opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut bytes = vec![0x80 | opcode];
    if let Ok(short @ ..LENGTH_IN_TWO_BYTES) = u8::try_from(payload.len()) {
        bytes.push(masked | short);
    } else {
        bytes.push(masked | LENGTH_IN_TWO_BYTES);
        let length = u16::try_from(payload.len()).expect("short frames");
        bytes.extend(length.to_be_bytes());
    }
    bytes.extend(
        mask.unwrap_or_default()
            .iter()
            .take(if mask.is_some() { 4 } else { 0 }),
    );
    let key = mask.unwrap_or_default();
    bytes.extend(payload.iter().zip(key.iter().cycle()).map(|(b, m)| b ^ m));
    bytes
}
