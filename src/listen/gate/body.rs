//! Follows the framing of a request body, so that not one byte behind it is taken for a part of it, or the reverse.

use super::{Framing, Refusal, refusals};
use crate::fields::token;
use bytes::{Buf, Bytes, BytesMut};

/// Chunk extensions of a whole body; they carry nothing anyone uses, and are dropped.
const EXTENSION_BYTES_MAX: usize = 4 * 1024;
/// The trailer section of a body, which is dropped (RFC 9110 §6.5.1 allows it).
const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Hexadecimal digits of a chunk size; sixteen hold every 64-bit number.
const SIZE_DIGITS_MAX: u8 = 16;

/// Where a reader stands in a request body.
#[derive(Debug)]
pub enum BodyReader {
    /// The body is over, or there was none.
    Done,
    /// This many octets are to come.
    Length(u64),
    /// Within a chunked body.
    Chunked(Chunks),
    /// The connection was upgraded: every octet belongs to the other protocol, until it ends.
    Tunnel,
}

/// The state of a chunked body (RFC 9112 §7.1), by the element that comes next.
#[derive(Debug)]
pub struct Chunks {
    state: ChunkState,
    extension_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ChunkState {
    Size {
        digits: u8,
        size: u64,
    },
    Extension {
        size: u64,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    /// A fault was found ahead of time.
    Broken,
}

/// What a step of decoding gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Decoded {
    /// Octets of the body; never empty.
    Data(Bytes),
    /// Nothing until more is read.
    NeedMore,
    /// The body is over; what is left in the buffer belongs to the next request.
    End,
}

impl BodyReader {
    /// A reader for a body framed as `framing` says.
    pub fn new(framing: Framing) -> Self {
        match framing {
            Framing::None => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Streamed => Self::Chunked(Chunks {
                state: ChunkState::Size { digits: 0, size: 0 },
                extension_bytes: 0,
                trailer_bytes: 0,
            }),
        }
    }

    /// Whether the body is over.
    pub fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// Takes what it can from the front of `buf`, without a copy.
    ///
    /// # Errors
    /// The [`Refusal`] of a malformed chunk; the body can then neither be completed nor skipped.
    pub fn decode(&mut self, buf: &mut BytesMut) -> Result<Decoded, Refusal> {
        match self {
            Self::Done => Ok(Decoded::End),
            Self::Tunnel | Self::Length(_) if buf.is_empty() => Ok(Decoded::NeedMore),
            Self::Tunnel => Ok(Decoded::Data(buf.split().freeze())),
            Self::Length(left) => {
                let data = take(buf, left);
                if *left == 0 {
                    *self = Self::Done;
                }
                Ok(Decoded::Data(data))
            }
            Self::Chunked(chunks) => match chunks.read_framing(buf)? {
                Next::Data if !buf.is_empty() => Ok(Decoded::Data(chunks.take_data(buf))),
                Next::Data | Next::More => Ok(Decoded::NeedMore),
                Next::End => {
                    *self = Self::Done;
                    Ok(Decoded::End)
                }
            },
        }
    }

    /// Reads the framing behind the data just taken, as far as it is there, so that the end is known together with
    /// the last data. A fault is told by the next [`Self::decode`].
    pub fn settle(&mut self, buf: &mut BytesMut) {
        if let Self::Chunked(chunks) = self {
            match chunks.read_framing(buf) {
                Ok(Next::End) => *self = Self::Done,
                Ok(Next::Data | Next::More) => {}
                Err(_) => chunks.state = ChunkState::Broken,
            }
        }
    }
}

/// Splits at most `left` octets off `buf` and counts them down.
fn take(buf: &mut BytesMut, left: &mut u64) -> Bytes {
    let n = usize::try_from(*left).unwrap_or(usize::MAX).min(buf.len());
    *left -= n as u64;
    buf.split_to(n).freeze()
}

/// What comes behind the framing that was read.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Data,
    More,
    End,
}

impl Chunks {
    /// Takes data of the chunk that framing has led to.
    fn take_data(&mut self, buf: &mut BytesMut) -> Bytes {
        let ChunkState::Data { left } = &mut self.state else {
            return Bytes::new();
        };
        let data = take(buf, left);
        if *left == 0 {
            self.state = ChunkState::DataCr;
        }
        data
    }

    fn count_trailer(&mut self) -> Result<(), Refusal> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(refusals::HEAD_TOO_LARGE);
        }
        Ok(())
    }

    /// Consumes everything up to the next data or the end.
    fn read_framing(&mut self, buf: &mut BytesMut) -> Result<Next, Refusal> {
        use ChunkState as S;
        loop {
            if let S::Data { .. } = self.state {
                return Ok(Next::Data);
            }
            let Some(&octet) = buf.first() else {
                return Ok(Next::More);
            };
            buf.advance(1);
            self.state = match (self.state, octet) {
                // An empty size line is not a size of zero: it falls through to the last arm.
                (S::Size { digits, size }, octet) if octet.is_ascii_hexdigit() => {
                    if digits == SIZE_DIGITS_MAX {
                        return Err(refusals::CHUNK);
                    }
                    let digit = char::from(octet).to_digit(16).map_or(0, u64::from);
                    // Bounded by the number of digits; above 2^63 nobody can mean it.
                    let size = size << 4 | digit;
                    if size > i64::MAX as u64 {
                        return Err(refusals::CHUNK);
                    }
                    S::Size {
                        digits: digits + 1,
                        size,
                    }
                }
                (S::Size { digits: 1.., size }, b';' | b' ' | b'\t')
                | (S::Extension { size }, b' '..=b'~' | b'\t') => {
                    self.extension_bytes += 1;
                    if self.extension_bytes > EXTENSION_BYTES_MAX {
                        return Err(refusals::CHUNK);
                    }
                    S::Extension { size }
                }
                (S::Size { digits: 1.., size } | S::Extension { size }, b'\r') => {
                    S::SizeLf { size }
                }
                (S::SizeLf { size: 0 } | S::TrailerLf, b'\n') => S::TrailerStart,
                (S::SizeLf { size }, b'\n') => S::Data { left: size },
                (S::DataCr, b'\r') => S::DataLf,
                (S::DataLf, b'\n') => S::Size { digits: 0, size: 0 },
                (S::TrailerStart, b'\r') => S::EndLf,
                (S::TrailerValue, b'\r') => S::TrailerLf,
                (S::EndLf, b'\n') => return Ok(Next::End),
                (S::TrailerStart | S::TrailerName, octet) if token::is_tchar(octet) => {
                    self.count_trailer()?;
                    S::TrailerName
                }
                (S::TrailerName, b':') => S::TrailerValue,
                (S::TrailerValue, octet) if token::is_field_value_octet(octet) => {
                    self.count_trailer()?;
                    S::TrailerValue
                }
                _ => return Err(refusals::CHUNK),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode_all(
        reader: &mut BodyReader,
        buf: &mut BytesMut,
        out: &mut Vec<u8>,
    ) -> Result<Decoded, Refusal> {
        loop {
            match reader.decode(buf)? {
                Decoded::Data(data) => out.extend_from_slice(&data),
                other => return Ok(other),
            }
        }
    }

    fn chunked(bytes: &[u8]) -> (Result<Decoded, Refusal>, Vec<u8>, Vec<u8>) {
        let (mut reader, mut buf, mut out) = (
            BodyReader::new(Framing::Streamed),
            BytesMut::from(bytes),
            Vec::new(),
        );
        let end = decode_all(&mut reader, &mut buf, &mut out);
        (end, out, buf.to_vec())
    }

    #[test]
    fn chunked_bodies_end_where_they_end() {
        for (wire, body, rest) in [
            ("0\r\n\r\nGET", "", "GET"),
            ("3\r\nabc\r\n0\r\n\r\n", "abc", ""),
            ("3;a=b\r\nabc\r\n00\r\nT: v\r\n\r\nX", "abc", "X"),
            ("A\r\n0123456789\r\n0 \r\n\r\n", "0123456789", ""),
        ] {
            let (end, out, left) = chunked(wire.as_bytes());
            assert_eq!(
                (end, out.as_slice(), left.as_slice()),
                (Ok(Decoded::End), body.as_bytes(), rest.as_bytes()),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        for wire in [
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            "g\r\n",
            "1\n",
            "1\r\nab",
            "1\r\na\n",
            "1\r\na\rb",
            "00000000000000001\r\n",
            "8000000000000000\r\n",
            ";a\r\n",
            "1;\x00\r\n",
            "0\r\nT\n",
            "0\r\nno colon\r\n",
            "0\r\n folded\r\n",
            "0\r\n\r\r",
            " 1\r\n",
        ] {
            assert_eq!(chunked(wire.as_bytes()).0, Err(refusals::CHUNK), "{wire:?}");
        }
        assert_eq!(
            chunked(format!("1;{}", "x".repeat(5000)).as_bytes()).0,
            Err(refusals::CHUNK)
        );
    }

    #[test]
    fn a_length_takes_what_it_declares() {
        let (mut reader, mut buf, mut out) = (
            BodyReader::new(Framing::Length(3)),
            BytesMut::from("abcdef"),
            Vec::new(),
        );
        assert_eq!(
            decode_all(&mut reader, &mut buf, &mut out),
            Ok(Decoded::End)
        );
        assert_eq!(
            (out.as_slice(), &buf[..]),
            (b"abc".as_slice(), b"def".as_slice())
        );
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_body(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            cuts in proptest::collection::vec(0usize..300, 0..8),
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\nNEXT");
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut % wire.len()).collect();
            cuts.sort_unstable();
            let (mut reader, mut buf, mut out) = (BodyReader::new(Framing::Streamed), BytesMut::new(), Vec::new());
            let mut from = 0;
            for cut in cuts.into_iter().chain([wire.len()]) {
                buf.extend_from_slice(&wire[from..cut]);
                from = cut;
                decode_all(&mut reader, &mut buf, &mut out).expect("well formed");
            }
            prop_assert!(reader.is_done());
            prop_assert_eq!(out, chunks.concat());
            prop_assert_eq!(&buf[..], b"NEXT");
        }

        #[test]
        fn decoding_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = chunked(&bytes);
        }
    }
}
