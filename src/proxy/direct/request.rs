//! The request as an HTTP/1.1 server gets it: its head, and its body in the framing that the head announces.

use crate::fields::section::HeaderSection;
use crate::listen::exchange::Exchange;
use crate::listen::outbox::Outbox;
use crate::proxy::forward;
use crate::proxy::walk::Walk;
use bytes::{BufMut, Bytes};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use pingora::Result;

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
    pub fn begin(session: &mut Exchange, walk: &mut Walk, out: &mut Outbox) -> Result<Self> {
        let mut fields = HeaderSection::from(&session.req_header().headers);
        forward::write_fields(session, &mut fields, walk)?;
        // The gate has taken all hop-by-hop fields away: what would stand here is an operator's, and not for this.
        fields.remove(&TRANSFER_ENCODING);
        let chunked = !session.is_body_empty() && !fields.contains(&CONTENT_LENGTH);
        let request = session.req_header();
        let rewritten = forward::rewritten(request, walk);
        let target = rewritten
            .as_deref()
            .map_or(request.raw_path(), str::as_bytes);
        out.write_with(|out| {
            out.reserve(target.len() + fields.length() + 64);
            out.put_slice(request.method.as_str().as_bytes());
            out.put_u8(b' ');
            out.put_slice(target);
            out.put_slice(b" HTTP/1.1\r\n");
            for (_, line) in fields.written() {
                out.put_slice(line);
            }
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
