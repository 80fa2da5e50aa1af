//! Content codings (RFC 9110 §8.4): which one a client gets, and making it.
//!
//! | part | question |
//! |---|---|
//! | [`negotiate`] | which coding does the client want of those on offer? |
//! | [`compressible`] | may this response be coded, and is it worth it? |
//! | [`fields`] | what changes in its header section? |
//! | [`encoder`] | the octets themselves, all at once or as they come |
//!
//! Nothing here knows a socket, a store or a clock; [`Plan`] is the first three in one call.

pub mod compressible;
pub mod encoder;
pub mod fields;
pub mod negotiate;

use crate::fields::view::FieldView;
use compressible::Obstacle;
use http::{HeaderMap, StatusCode};

/// A content coding that can be made here. Without one, content is as it is: "identity".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `zstd` (RFC 8878).
    Zstd,
    /// `br` (RFC 7932).
    Brotli,
    /// `gzip` (RFC 1952).
    Gzip,
}

impl Coding {
    /// In the order preferred where content is coded while it passes: the most saved for the least work first.
    pub const BY_SPEED: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];
    /// In the order preferred where content was coded ahead: the smallest first.
    pub const BY_SIZE: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As in `Content-Encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// What becomes of one response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// It goes as it came, and would for every client.
    Untouched(Obstacle),
    /// It goes as it came to this client; another one would get it coded, so it says `Vary`.
    Identity,
    /// It is to be coded.
    Code(Coding),
}

impl Plan {
    /// For the answer to a request with these fields. `length` is the content's, where it is known; `offered` the codings
    /// that can be had, ours first.
    pub fn new<'h>(
        request: &HeaderMap,
        status: StatusCode,
        response: impl Into<FieldView<'h>>,
        length: Option<u64>,
        offered: &[Coding],
    ) -> Self {
        if let Err(obstacle) = compressible::judge(status, response, length) {
            return Self::Untouched(obstacle);
        }
        // RFC 9111 §5.2.1.6: the client may ask for the same. It is about this answer only.
        if compressible::forbids_transformation(request) {
            return Self::Identity;
        }
        negotiate::choose(request, offered).map_or(Self::Identity, Self::Code)
    }
}
