//! A request of our own as an exchange uses it: there is no connection and no body, and the answer goes to a [`Recipient`].

use super::head::ResponseHead;
use super::response_head::declared_length;
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use std::fmt::Debug;
use std::io;
use std::task::{Context, Poll};

/// Whoever gets the answer to a request of our own. Dropped before [`end`](Self::end), the answer broke off.
pub trait Recipient: Debug + Send + Sync {
    /// A server is asked now, perhaps not for the first time: what was waited for before is not its doing.
    fn asked(&mut self);
    /// An interim response came.
    fn interim(&mut self, status: StatusCode, fields: HeaderMap);
    /// The final head came.
    fn head(&mut self, status: StatusCode, fields: HeaderMap);
    /// A piece of the body came, never an empty one.
    fn data(&mut self, data: Bytes);
    /// The answer is whole, by its framing.
    fn end(&mut self);
    /// Ready when more may come.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()>;
    /// Whether little is to come at once.
    fn takes_little(&self) -> bool {
        false
    }
    /// Ready when nothing more is wanted.
    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// The recipient, with the state of the answer.
#[derive(Debug)]
pub struct Inner {
    recipient: Box<dyn Recipient>,
    state: State,
    head: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unsent,
    /// The body is coming; the octets that its head promised and that are still missing, where it did.
    Body(Option<u64>),
    Complete,
}

impl Inner {
    /// Where the answer to a request of this method goes.
    pub fn new(recipient: Box<dyn Recipient>, method: &Method) -> Self {
        Self {
            recipient,
            state: State::Unsent,
            head: method == Method::HEAD,
        }
    }

    /// Whether little is to come at once.
    pub fn takes_little(&self) -> bool {
        self.recipient.takes_little()
    }

    /// A try begins.
    pub fn asked(&mut self) {
        self.recipient.asked();
    }

    /// Whether the answer is whole.
    pub fn response_is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// Passes a head on.
    pub fn write_head(&mut self, response: &ResponseHead) {
        if response.status.is_informational() {
            // RFC 9110 §15.2.1: 100 is the connection's own business.
            if response.status != StatusCode::CONTINUE {
                let fields = response.fields.to_header_map();
                self.recipient.interim(response.status, fields);
            }
            return;
        }
        let bodiless = self.head
            || matches!(
                response.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let length = declared_length(response);
        self.state = State::Body(if bodiless { Some(0) } else { length });
        let fields = response.fields.to_header_map();
        self.recipient.head(response.status, fields);
    }

    /// Passes a piece of the body on and says how many octets of it count.
    pub fn write_data(&mut self, mut data: Bytes) -> usize {
        let State::Body(left) = &mut self.state else {
            return 0;
        };
        if let Some(left) = left {
            let most = usize::try_from(*left).unwrap_or(usize::MAX);
            data.truncate(most);
            *left -= data.len() as u64;
        }
        let length = data.len();
        if length > 0 {
            self.recipient.data(data);
        }
        length
    }

    /// Ends the answer; one that is short of its length stays incomplete.
    pub fn write_end(&mut self) {
        if let State::Body(None | Some(0)) = self.state {
            self.state = State::Complete;
            self.recipient.end();
        }
    }

    /// Waits until more may come. Fails when nothing more is wanted.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Poll::Ready(gone) = self.poll_gone(cx) {
            return Poll::Ready(Err(gone));
        }
        match self.state {
            State::Body(_) => self.recipient.poll_ready(cx).map(Ok),
            State::Unsent | State::Complete => Poll::Ready(Ok(())),
        }
    }

    /// Resolves when nothing more is wanted of an answer that is not whole.
    pub fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if self.response_is_complete() {
            return Poll::Pending;
        }
        self.recipient
            .poll_gone(cx)
            .map(|()| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::section::HeaderSection;
    use http::header::CONTENT_LENGTH;
    use parking_lot::Mutex;
    use std::sync::Arc;

    #[derive(Debug, Default)]
    struct Heard {
        text: Arc<Mutex<String>>,
        gone: bool,
    }

    impl Heard {
        fn note(&self, text: &str) {
            self.text.lock().push_str(text);
        }
    }

    impl Recipient for Heard {
        fn asked(&mut self) {
            self.text.lock().push('?');
        }

        fn interim(&mut self, status: StatusCode, _: HeaderMap) {
            self.note(&format!("({})", status.as_u16()));
        }

        fn head(&mut self, status: StatusCode, _: HeaderMap) {
            self.note(&format!("[{}]", status.as_u16()));
        }

        fn data(&mut self, data: Bytes) {
            self.text.lock().push_str(&String::from_utf8_lossy(&data));
        }

        fn end(&mut self) {
            self.text.lock().push('.');
        }

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Ready(())
        }

        fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
            if self.gone {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    }

    fn head_of(status: u16) -> ResponseHead {
        let status = StatusCode::from_u16(status).expect("a status");
        ResponseHead::new(status, HeaderSection::default())
    }

    fn heard(method: &Method, status: u16, length: Option<u64>, pieces: &[&'static str]) -> String {
        let text = Arc::<Mutex<String>>::default();
        let recipient = Heard {
            text: text.clone(),
            gone: false,
        };
        let mut inner = Inner::new(Box::new(recipient), method);
        inner.asked();
        inner.write_head(&head_of(100));
        inner.write_head(&head_of(103));
        let mut head = head_of(status);
        if let Some(length) = length {
            head.fields.insert_number(&CONTENT_LENGTH, length);
        }
        inner.write_head(&head);
        for piece in pieces {
            inner.write_data(Bytes::from_static(piece.as_bytes()));
        }
        inner.write_end();
        inner.write_end();
        text.lock().clone()
    }

    #[test]
    fn an_answer_is_whole_when_its_framing_says_so() {
        let get = Method::GET;
        for (method, status, length, pieces, expected) in [
            (&get, 200, Some(4), &["ab", "cd"][..], "?(103)[200]abcd."),
            (&get, 200, Some(4), &["ab", "cdef"], "?(103)[200]abcd."),
            (&get, 200, Some(4), &["abc"], "?(103)[200]abc"),
            (&get, 200, None, &["ab", "", "c"], "?(103)[200]abc."),
            (&get, 200, Some(0), &[], "?(103)[200]."),
            (&get, 304, Some(9), &[], "?(103)[304]."),
            (&Method::HEAD, 200, Some(9), &[], "?(103)[200]."),
        ] {
            let found = heard(method, status, length, pieces);
            assert_eq!(found, expected, "{method} {status} {length:?} {pieces:?}");
        }
    }

    #[test]
    fn who_wants_nothing_more_breaks_the_answer_off_but_not_a_whole_one() {
        let recipient = Heard {
            gone: true,
            ..Heard::default()
        };
        let mut inner = Inner::new(Box::new(recipient), &Method::GET);
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        assert!(matches!(inner.poll_flush(cx), Poll::Ready(Err(_))));
        inner.write_head(&head_of(304));
        inner.write_end();
        assert!(matches!(inner.poll_flush(cx), Poll::Ready(Ok(()))));
        assert!(inner.poll_gone(cx).is_pending());
    }
}
