//! Follows the frames that an HTTP/2 client sends, to know whether a request's head has begun and does not end.
//!
//! The h2 crate tells of a head when it is whole. One that comes in drops would have as long as its connection, and stop all of its
//! streams meanwhile: between HEADERS and `END_HEADERS` nothing else may come (RFC 9113 §6.10). Lengths and kinds of frames are
//! all that is looked at; what is wrong with them is for h2 to say.

use crate::clock::{self, Instant};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Sleep;

/// What h2 reads first, without frames (RFC 9113 §3.4).
const PREFACE: usize = 24;
const HEADER: usize = 9;
const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Where in a connection's frames the next octet stands.
#[derive(Debug)]
pub(super) struct Frames {
    /// Octets of the present frame's payload that are still to come.
    left: usize,
    /// Those of the next frame's header that have come.
    header: [u8; HEADER],
    have: usize,
    /// Whether a head has begun.
    open: bool,
    /// Whether it ends with the present frame.
    ends: bool,
    /// When it was first seen to be open at the end of what had come.
    begun: Option<Instant>,
}

impl Frames {
    /// Those of a connection of which nothing has been read.
    pub(super) fn new() -> Self {
        Self {
            left: PREFACE,
            header: [0; HEADER],
            have: 0,
            open: false,
            ends: false,
            begun: None,
        }
    }

    /// Since when a head is on its way. Asks the clock only where one is.
    pub(super) fn head_begun(&self) -> Option<Instant> {
        self.begun
    }

    /// These octets come next.
    pub(super) fn follow(&mut self, mut octets: &[u8]) {
        loop {
            let Some(rest) = octets.get(self.left..) else {
                self.left -= octets.len();
                break;
            };
            octets = rest;
            self.left = 0;
            if self.ends {
                (self.open, self.ends) = (false, false);
            }
            let wanted = &mut self.header[self.have..];
            let part = wanted.len().min(octets.len());
            let (header, rest) = octets.split_at(part);
            wanted[..part].copy_from_slice(header);
            octets = rest;
            self.have += part;
            if self.have < HEADER {
                break;
            }
            self.have = 0;
            let [a, b, c, kind, flags, ..] = self.header;
            self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind == HEADERS {
                (self.open, self.begun) = (true, None);
            }
            self.ends = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0;
        }
        if self.open {
            self.begun.get_or_insert_with(clock::now);
        } else {
            self.begun = None;
        }
    }
}

/// The time that is left to a head.
#[derive(Debug, Default)]
pub(super) struct Late(Option<(Instant, Pin<Box<Sleep>>)>);

impl Late {
    /// Ready where the head that has `begun` has had its time. Keeps no timer while heads come whole.
    pub(super) fn poll(
        &mut self,
        begun: Option<Instant>,
        most: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(begun) = begun else {
            self.0 = None;
            return Poll::Pending;
        };
        let timer = match &mut self.0 {
            Some((since, timer)) if *since == begun => timer,
            of_another => {
                let timer = Box::pin(tokio::time::sleep_until(begun + most));
                &mut of_another.insert((begun, timer)).1
            }
        };
        timer.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let [.., a, b, c] = payload.len().to_be_bytes();
        [&[a, b, c, kind, flags, 0, 0, 0, 1], payload].concat()
    }

    fn preface() -> Frames {
        let mut frames = Frames::new();
        frames.follow(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        frames
    }

    const SETTINGS: u8 = 4;
    const DATA: u8 = 0;

    #[test]
    fn a_head_is_open_until_its_last_octet() {
        let rows: &[(&str, Vec<Vec<u8>>, bool)] = &[
            ("none", vec![frame(SETTINGS, 0, b"")], false),
            ("whole", vec![frame(HEADERS, END_HEADERS, b"abc")], false),
            (
                "whole, empty",
                vec![frame(HEADERS, END_HEADERS, b"")],
                false,
            ),
            ("open", vec![frame(HEADERS, 0, b"abc")], true),
            ("open, empty", vec![frame(HEADERS, 0, b"")], true),
            (
                "continued",
                vec![frame(HEADERS, 0, b"abc"), frame(CONTINUATION, 0, b"d")],
                true,
            ),
            (
                "ended",
                vec![
                    frame(HEADERS, 0, b"abc"),
                    frame(CONTINUATION, 0, b"d"),
                    frame(CONTINUATION, END_HEADERS, b""),
                ],
                false,
            ),
            (
                "a frame of another kind has a flag of that number",
                vec![frame(HEADERS, 0, b"abc"), frame(DATA, END_HEADERS, b"d")],
                true,
            ),
        ];
        for (what, sent, open) in rows {
            let octets = sent.concat();
            let mut at_once = preface();
            at_once.follow(&octets);
            assert_eq!(at_once.head_begun().is_some(), *open, "{what}");
            let mut each = preface();
            for octet in octets.chunks(1) {
                each.follow(octet);
            }
            assert_eq!(each.head_begun().is_some(), *open, "{what}, octet by octet");
        }
        let mut cut = preface();
        let whole = frame(HEADERS, END_HEADERS, b"abc");
        cut.follow(&whole[..whole.len() - 1]);
        assert!(cut.head_begun().is_some());
        cut.follow(&whole[whole.len() - 1..]);
        assert!(cut.head_begun().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn each_head_has_its_own_time() {
        let mut frames = preface();
        let began = clock::now();
        frames.follow(&frame(HEADERS, 0, b"a"));
        tokio::time::advance(Duration::from_secs(1)).await;
        frames.follow(&frame(CONTINUATION, 0, b"b"));
        assert_eq!(frames.head_begun(), Some(began), "drops buy no time");
        let next = [
            frame(CONTINUATION, END_HEADERS, b"c"),
            frame(HEADERS, 0, b"d"),
        ];
        frames.follow(&next.concat());
        assert_eq!(frames.head_begun(), Some(clock::now()));
    }
}
