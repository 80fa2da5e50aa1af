//! The request as a plain HTTP/1.1 server gets it: its head, and its body in the framing that the head announces.

use crate::listen::outbox::Outbox;
use crate::proxy::forward;
use crate::proxy::walk::Walk;
use bytes::{BufMut, Bytes};
use http::Version;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::Result;
use pingora::protocols::http::ServerSession;

/// How the body is delimited, and whether all of it was queued.
#[derive(Debug)]
pub struct Body {
    chunked: bool,
    queued: bool,
}

impl Body {
    /// Queues the head.
    ///
    /// # Errors
    /// Where a field that the operator sets is none.
    pub fn begin(session: &mut ServerSession, walk: &mut Walk, out: &mut Outbox) -> Result<Self> {
        let mut request = session.req_header().clone();
        request.set_version(Version::HTTP_11);
        forward::write_request(session, &mut request, walk)?;
        // The gate has taken all hop-by-hop fields away: what would stand here is an operator's, and not for this.
        request.remove_header(&TRANSFER_ENCODING);
        let chunked = !session.is_body_empty() && !request.headers.contains_key(CONTENT_LENGTH);
        out.write_with(|out| {
            out.put_slice(request.method.as_str().as_bytes());
            out.put_u8(b' ');
            out.put_slice(request.raw_path());
            out.put_slice(b" HTTP/1.1\r\n");
            request.header_to_h1_wire(out);
            if chunked {
                out.put_slice(b"Transfer-Encoding: chunked\r\n");
            }
            out.put_slice(b"\r\n");
        });
        Ok(Self {
            chunked,
            queued: false,
        })
    }

    /// Whether all of it was queued.
    pub fn is_queued(&self) -> bool {
        self.queued
    }

    /// Queues a piece.
    pub fn piece(&self, data: Bytes, out: &mut Outbox) {
        if data.is_empty() {
            // An empty chunk would be the last one.
            return;
        }
        if self.chunked {
            out.copy(format!("{:x}\r\n", data.len()).as_bytes());
            out.push(data);
            out.copy(b"\r\n");
        } else {
            out.push(data);
        }
    }

    /// No more comes.
    pub fn end(&mut self, out: &mut Outbox) {
        if self.chunked && !self.queued {
            out.copy(b"0\r\n\r\n");
        }
        self.queued = true;
    }
}
