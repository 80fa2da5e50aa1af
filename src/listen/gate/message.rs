//! What a request's fields say about the message itself, as opposed to the resource: its host, framing and expectations.

use super::{Framing, Refusal, refusals};
use crate::fields::{content_length, token};
use http::Version;

/// How often a field that may stand once was seen.
#[derive(Debug, Clone, Copy, Default)]
pub enum Seen<T> {
    #[default]
    /// Not at all.
    Never,
    /// Once, with this value.
    Once(T),
    /// More than once, which is wrong whatever the values.
    Again,
}

impl<T> Seen<T> {
    fn see(&mut self, value: T) {
        *self = match self {
            Self::Never => Self::Once(value),
            Self::Once(_) | Self::Again => Self::Again,
        };
    }
}

/// What the fields say about this message, as opposed to the resource.
#[derive(Debug, Default)]
pub struct MessageFields<'a> {
    /// `Host`.
    pub host: Seen<&'a [u8]>,
    coding: Seen<&'a [u8]>,
    upgrade: Seen<&'a [u8]>,
    /// `Content-Length`, 0 included.
    pub content_length: Option<u64>,
    /// `Expect: 100-continue`.
    pub expects_continue: bool,
}

impl<'a> MessageFields<'a> {
    /// Reads one field line.
    ///
    /// # Errors
    /// The [`Refusal`] of the rule it breaks.
    pub fn read(&mut self, name: &str, value: &'a [u8], version: Version) -> Result<(), Refusal> {
        if !token::is_field_value(value) {
            return Err(refusals::CONTROL);
        }
        // The first letter sorts out nearly every field before a comparison.
        match name.as_bytes().first().map(u8::to_ascii_lowercase) {
            Some(b'h') if name.eq_ignore_ascii_case("host") => self.host.see(value),
            Some(b'u') if name.eq_ignore_ascii_case("upgrade") => self.upgrade.see(value),
            Some(b'e') if name.eq_ignore_ascii_case("expect") => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(refusals::EXPECTATION);
                }
                self.expects_continue = true;
            }
            Some(b't') if name.eq_ignore_ascii_case("transfer-encoding") => {
                if version == Version::HTTP_10 {
                    return Err(refusals::TRANSFER_CODING);
                }
                self.coding.see(value);
            }
            Some(b'c') if name.eq_ignore_ascii_case("content-length") => {
                let length = content_length::parse([value])
                    .map_err(|_| refusals::CONTENT_LENGTH)?
                    .value();
                if self.content_length.is_some() && self.content_length != length {
                    return Err(refusals::CONTENT_LENGTH);
                }
                self.content_length = length;
            }
            Some(b'c' | b't') if is_look_alike(name) => return Err(refusals::LOOK_ALIKE),
            _ => {}
        }
        Ok(())
    }

    /// Whether `Upgrade` names the one protocol that is passed on.
    pub fn asks_for_websocket(&self) -> bool {
        matches!(self.upgrade, Seen::Once(value) if value.eq_ignore_ascii_case(b"websocket"))
    }

    /// RFC 9112 §6.3, without its lenient branches.
    ///
    /// # Errors
    /// The [`Refusal`] of the rule that the framing fields break together.
    pub fn framing(&self) -> Result<Framing, Refusal> {
        match (self.coding, self.content_length) {
            (Seen::Never, None | Some(0)) => Ok(Framing::None),
            (Seen::Never, Some(length)) => Ok(Framing::Length(length)),
            (_, Some(_)) => Err(refusals::LENGTH_AND_CODING),
            (Seen::Once(coding), None) if coding.eq_ignore_ascii_case(b"chunked") => {
                Ok(Framing::Streamed)
            }
            (Seen::Once(coding), None) if is_unknown_coding(coding) => {
                Err(refusals::UNKNOWN_CODING)
            }
            (Seen::Once(_) | Seen::Again, None) => Err(refusals::TRANSFER_CODING),
        }
    }
}

/// Whether every coding of a list is a plain token and none says `chunked` or `identity`: well meant, but not ours.
fn is_unknown_coding(value: &[u8]) -> bool {
    let mut codings = value
        .split(|&b| b == b',')
        .map(<[u8]>::trim_ascii)
        .peekable();
    let mut unknown = false;
    while let Some(coding) = codings.next() {
        if !token::is_token(coding) || coding.eq_ignore_ascii_case(b"identity") {
            return false;
        }
        if coding.eq_ignore_ascii_case(b"chunked") {
            return unknown && codings.peek().is_none();
        }
        unknown = true;
    }
    false
}

/// Whether a name becomes that of a framing field where `_` is read as `-`.
fn is_look_alike(name: &str) -> bool {
    name.contains('_')
        && ["content-length", "transfer-encoding"]
            .iter()
            .any(|framing| {
                name.len() == framing.len() && name.replace('_', "-").eq_ignore_ascii_case(framing)
            })
}
