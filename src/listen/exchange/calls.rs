//! An exchange as the stops of the proxy use it: the request and its body in, the answer out.

use super::head::ResponseHead;
use super::ticket::Ticket;
use super::{CLIENT_GONE, Exchange, Wire};
use crate::listen::gate::Framing;
use bytes::Bytes;
use http::StatusCode;
use pingora::http::RequestHeader;
use pingora::{Error, Result};
use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

/// A part of an answer.
#[derive(Debug)]
pub enum Part {
    /// An interim or a final head.
    Head(ResponseHead),
    /// A final head that no body follows.
    HeadOnly(ResponseHead),
    /// A piece of the body.
    Data(Bytes),
    /// The answer is whole.
    End,
}

impl Exchange {
    /// What is shared with the connection.
    pub fn ticket(&self) -> &Arc<Ticket> {
        &self.ticket
    }

    /// The request's head.
    pub fn req_header(&self) -> &RequestHeader {
        &self.header
    }

    /// The request's head, to be changed.
    pub fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.header
    }

    /// Whether the client asks for another protocol.
    pub fn is_upgrade_req(&self) -> bool {
        self.upgrade
    }

    /// Whether the request has no body.
    pub fn is_body_empty(&mut self) -> bool {
        // A chunked body may turn out to hold nothing, once it was received ahead of the try.
        self.framing == Framing::None || self.ticket.bytes_in() == 0 && self.is_body_done()
    }

    /// The next piece of the request's body; None when it is over.
    pub async fn read_request_body(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| self.poll_body(cx)).await
    }

    /// The same while an answer is awaited. Where no body is, or it is over, fails when the client leaves or time is up.
    pub async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        poll_fn(|cx| {
            // The answer keeps moving while the upstream or the body is waited for.
            if let Poll::Ready(Err(cause)) = self.poll_flush(cx) {
                return Poll::Ready(Err(gone(cause)));
            }
            if no_body_expected || self.is_body_done() {
                return self.poll_waiting(cx).map(Err);
            }
            self.poll_body(cx)
        })
        .await
    }

    /// Whether more of the request's body came than is kept to be sent again.
    pub fn retry_buffer_truncated(&self) -> bool {
        self.replay.is_truncated()
    }

    /// What a new try has to send first of the request's body.
    pub fn get_retry_buffer(&self) -> Option<Bytes> {
        self.replay.bytes()
    }

    /// The status of the final answer or of a switch of protocols, once its head was given.
    pub fn answered(&self) -> Option<StatusCode> {
        self.answered
    }

    /// Queues parts of the answer, then writes: several small ones leave in one packet.
    ///
    /// # Errors
    /// The client is gone, or its time is up.
    pub async fn write(&mut self, parts: impl IntoIterator<Item = Part>) -> Result<()> {
        for part in parts {
            match part {
                Part::Head(head) => self.write_head(&head, false)?,
                Part::HeadOnly(head) => {
                    self.write_head(&head, true)?;
                    self.write_end(None);
                }
                Part::Data(data) => self.write_data(data),
                Part::End => self.write_end(None),
            }
        }
        self.press_on().await
    }

    /// What could be written at once is; the connection writes what is left.
    ///
    /// # Errors
    /// The client is gone.
    pub async fn finish(&mut self) -> Result<()> {
        // What is shared is whole when the upstream's framing said so, not when nobody complained.
        if matches!(self.wire(), Wire::Inner(_)) {
            return Ok(());
        }
        self.write_end(None);
        // The connection writes what is left: the upstream's place is free from here on.
        match poll_fn(|cx| Poll::Ready(self.poll_flush(cx))).await {
            Poll::Ready(Err(cause)) => Err(gone(cause)),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }
}

/// The answer cannot be written.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "Pingora's errors are handed about in boxes"
)]
pub(super) fn gone(cause: io::Error) -> Box<Error> {
    Error::because(CLIENT_GONE, "writing the response", cause).into_down()
}
