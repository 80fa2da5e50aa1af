//! What the stops that both ways of forwarding share need of a request under way: an exchange of ours, or one in Pingora's hands.

use crate::listen::exchange::Exchange;
use crate::listen::exchange::calls::Part;
use crate::listen::exchange::head::ResponseHead;
use bytes::Bytes;
use http::StatusCode;
use pingora::Result;
use pingora::http::RequestHeader;
use pingora::protocols::http::ServerSession;
use std::future::Future;

/// A request under way.
pub trait Session: Send {
    /// The request's head.
    fn req_header(&self) -> &RequestHeader;
    /// Whether the client asks for another protocol.
    fn is_upgrade_req(&self) -> bool;
    /// Whether the request's body is over.
    fn is_body_done(&mut self) -> bool;
    /// Whether more of the request's body came than is kept to be sent again.
    fn retry_buffer_truncated(&self) -> bool;
    /// A try begins.
    fn begin_try(&mut self);
    /// The status of the final answer or of a switch of protocols, once its head was given.
    fn answered(&self) -> Option<StatusCode>;
    /// The next piece of the request's body while an answer is awaited.
    fn read_body_or_idle(
        &mut self,
        no_body_expected: bool,
    ) -> impl Future<Output = Result<Option<Bytes>>> + Send;
    /// Sends a whole answer.
    fn send(&mut self, head: ResponseHead, body: Bytes) -> impl Future<Output = Result<()>> + Send;
}

impl Session for Exchange {
    fn req_header(&self) -> &RequestHeader {
        Self::req_header(self)
    }

    fn is_upgrade_req(&self) -> bool {
        Self::is_upgrade_req(self)
    }

    fn is_body_done(&mut self) -> bool {
        Self::is_body_done(self)
    }

    fn retry_buffer_truncated(&self) -> bool {
        Self::retry_buffer_truncated(self)
    }

    fn begin_try(&mut self) {
        Self::begin_try(self);
    }

    fn answered(&self) -> Option<StatusCode> {
        Self::answered(self)
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        Self::read_body_or_idle(self, no_body_expected).await
    }

    async fn send(&mut self, head: ResponseHead, body: Bytes) -> Result<()> {
        self.write([Part::Head(head), Part::Data(body), Part::End])
            .await
    }
}

impl Session for ServerSession {
    fn req_header(&self) -> &RequestHeader {
        Self::req_header(self)
    }

    fn is_upgrade_req(&self) -> bool {
        Self::is_upgrade_req(self)
    }

    fn is_body_done(&mut self) -> bool {
        Self::is_body_done(self)
    }

    fn retry_buffer_truncated(&self) -> bool {
        Self::retry_buffer_truncated(self)
    }

    fn begin_try(&mut self) {
        self.enable_retry_buffering();
    }

    fn answered(&self) -> Option<StatusCode> {
        Some(self.response_written()?.status)
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        Self::read_body_or_idle(self, no_body_expected).await
    }

    async fn send(&mut self, head: ResponseHead, body: Bytes) -> Result<()> {
        self.write_response_header(Box::new(head.to_pingora()?))
            .await?;
        self.write_response_body(body, true).await
    }
}
