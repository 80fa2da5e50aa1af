//! The exchange as Pingora's `Session`: each call of the trait, in the words of this room.

use super::Exchange;
use super::head::ResponseHead;
use async_trait::async_trait;
use bytes::Bytes;
use futures::Stream;
use http::{HeaderMap, StatusCode};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Digest;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::custom::CustomMessageWrite;
use pingora::protocols::http::custom::server::Session;
use pingora::protocols::l4::socket::SocketAddr;
use pingora::{Error, ErrorType, Result};
use std::time::Duration;

type MessageReader = Box<dyn Stream<Item = Result<Bytes>> + Unpin + Send + Sync + 'static>;

impl Exchange {
    /// A head that Pingora passes on. It asks for what was written.
    fn pass_head(&mut self, response: Box<ResponseHeader>, end: bool) -> Result<()> {
        let head = ResponseHead::from(&*response);
        self.write_head(&head, end)?;
        if self.answered() == Some(response.status) {
            self.response = Some(response);
        }
        Ok(())
    }
}

#[async_trait]
impl Session for Exchange {
    fn req_header(&self) -> &RequestHeader {
        &self.header
    }

    fn req_header_mut(&mut self) -> &mut RequestHeader {
        &mut self.header
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        self.read_request_body().await
    }

    /// What is left of the body is the connection's affair: it knows whether skipping it is worth the while.
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }

    async fn write_response_header(
        &mut self,
        response: Box<ResponseHeader>,
        end: bool,
    ) -> Result<()> {
        self.pass_head(response, end)?;
        self.press_on().await
    }

    async fn write_response_header_ref(
        &mut self,
        response: &ResponseHeader,
        end: bool,
    ) -> Result<()> {
        self.write_response_header(Box::new(response.clone()), end)
            .await
    }

    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.write_data(data);
        if end {
            self.write_end(None);
        }
        self.press_on().await
    }

    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.write_end(Some(trailers));
        self.press_on().await
    }

    /// Queues what came from the upstream, then writes: several small parts leave in one packet.
    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut ended = false;
        for task in tasks {
            match task {
                HttpTask::Header(response, end) => {
                    ended = end;
                    self.pass_head(response, end)?;
                }
                HttpTask::Body(data, end) | HttpTask::UpgradedBody(data, end) => {
                    ended = end;
                    if let Some(data) = data {
                        self.write_data(data);
                    }
                }
                HttpTask::Trailer(trailers) => {
                    ended = true;
                    if let Some(trailers) = trailers {
                        self.write_end(Some(*trailers));
                    }
                }
                HttpTask::Done => ended = true,
                HttpTask::Failed(error) => {
                    // What is queued was good; the cut behind it must be visible all the same.
                    let _ = self.press_on().await;
                    return Err(error);
                }
            }
        }
        if ended {
            self.write_end(None);
        }
        self.press_on().await?;
        Ok(ended)
    }

    // Deadlines are the ticket's terms; Pingora's own are never set on this side.
    fn set_read_timeout(&mut self, _: Option<Duration>) {}

    fn get_read_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_write_timeout(&mut self, _: Option<Duration>) {}

    fn get_write_timeout(&self) -> Option<Duration> {
        None
    }

    fn set_total_drain_timeout(&mut self, _: Option<Duration>) {}

    fn get_total_drain_timeout(&self) -> Option<Duration> {
        None
    }

    fn request_summary(&self) -> String {
        format!(
            "{} {} for {}",
            self.header.method,
            self.header.uri.path(),
            self.ticket.client.addr.ip()
        )
    }

    fn response_written(&self) -> Option<&ResponseHeader> {
        self.response.as_deref()
    }

    /// The connection cuts what is incomplete when it comes back; there is nothing to do ahead of that.
    async fn shutdown(&mut self, _code: u32, _ctx: &str) {}

    fn is_body_done(&mut self) -> bool {
        Self::is_body_done(self)
    }

    async fn finish(&mut self) -> Result<()> {
        Self::finish(self).await
    }

    fn is_body_empty(&mut self) -> bool {
        Self::is_body_empty(self)
    }

    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        Self::read_body_or_idle(self, no_body_expected).await
    }

    fn body_bytes_sent(&self) -> usize {
        usize::try_from(self.ticket.bytes_out()).unwrap_or(usize::MAX)
    }

    fn body_bytes_read(&self) -> usize {
        usize::try_from(self.ticket.bytes_in()).unwrap_or(usize::MAX)
    }

    fn digest(&self) -> Option<&Digest> {
        None
    }

    fn digest_mut(&mut self) -> Option<&mut Digest> {
        None
    }

    fn client_addr(&self) -> Option<&SocketAddr> {
        Some(&self.client_addr)
    }

    fn server_addr(&self) -> Option<&SocketAddr> {
        Some(&self.local_addr)
    }

    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        Bytes::new()
    }

    fn enable_retry_buffering(&mut self) {
        self.begin_try();
    }

    fn retry_buffer_truncated(&self) -> bool {
        Self::retry_buffer_truncated(self)
    }

    fn get_retry_buffer(&self) -> Option<Bytes> {
        Self::get_retry_buffer(self)
    }

    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }

    fn take_custom_message_reader(&mut self) -> Option<MessageReader> {
        None
    }

    fn restore_custom_message_reader(&mut self, _: MessageReader) -> Result<()> {
        Err(Error::new_in(ErrorType::InternalError))
    }

    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }

    fn restore_custom_message_writer(&mut self, _: Box<dyn CustomMessageWrite>) -> Result<()> {
        Err(Error::new_in(ErrorType::InternalError))
    }

    fn is_upgrade_req(&self) -> bool {
        self.upgrade
    }

    fn was_upgraded(&self) -> bool {
        self.upgrade && self.answered() == Some(StatusCode::SWITCHING_PROTOCOLS)
    }
}
