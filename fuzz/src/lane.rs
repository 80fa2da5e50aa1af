//! What the narrow grammar recognises the gate lets through in the same meaning; and however a connection's octets come, with
//! the lane in front or without, the requests on it are the same.

use bytes::{Buf, BytesMut};
use forebay::fields::view::{FieldLines, FieldView};
use forebay::listen::gate::body::{BodyReader, Decoded};
use forebay::listen::gate::canonical::{self, LINES_MAX};
use forebay::listen::gate::scan::{HeadScanner, Scan};
use forebay::listen::gate::{Framing, head};
use forebay::listen::settings::LimitSettings;
use std::mem::MaybeUninit;

/// Octets of a connection.
pub fn express(data: &[u8]) {
    let limits = LimitSettings::default();
    narrower(data, &limits);
    let (expected, ended) = connection(data, data.len().max(1), false, &limits);
    for (step, express) in [(data.len().max(1), true), (1, true), (7, true), (1, false)] {
        let (requests, slowly) = connection(data, step, express, &limits);
        // What comes slowly may be refused by its first octets, before it is whole; at once, it is still waited for.
        assert_eq!(requests, expected, "by {step}, express: {express}");
        assert!(
            slowly == ended || ended == End::Waits,
            "{slowly:?} {ended:?}"
        );
    }
}

/// The recognised head, and the same octets read by the gate.
fn narrower(data: &[u8], limits: &LimitSettings) {
    let mut lines = [MaybeUninit::uninit(); LINES_MAX];
    let Some(narrow) = canonical::read(data, &mut lines, limits) else {
        return;
    };
    let scanned = HeadScanner::default().scan(data, limits.head.as_usize());
    let end = narrow.length;
    assert_eq!(scanned, Ok(Scan::Complete { start: 0, end }));
    let wide = head::read(&data[..end], limits).expect("the gate lets through what is recognised");
    assert_eq!(wide.method(), narrow.method);
    assert_eq!(wide.header.raw_path(), narrow.target.as_bytes());
    assert_eq!(wide.host, narrow.authority);
    assert_eq!(wide.persistent, narrow.persistent);
    assert_eq!(wide.framing, Framing::None);
    assert!(!wide.upgrade && !wide.expects_continue);
    let fields = FieldView::Lines(FieldLines::new(narrow.lines)).to_header_map();
    assert_eq!(fields, wide.header.headers);
}

/// Why no more requests were read.
#[derive(Debug, PartialEq)]
enum End {
    Waits,
    Refused,
    Closes,
}

/// A connection's loop without the connection: the requests that were read of these octets, coming so many at a time.
fn connection(
    data: &[u8],
    step: usize,
    express: bool,
    limits: &LimitSettings,
) -> (Vec<String>, End) {
    let mut requests = Vec::new();
    let mut inbox = BytesMut::new();
    let mut pieces = data.chunks(step);
    loop {
        if inbox.is_empty() {
            let Some(piece) = pieces.next() else {
                return (requests, End::Waits);
            };
            inbox.extend_from_slice(piece);
        }
        let mut lines = [MaybeUninit::uninit(); LINES_MAX];
        let recognised = canonical::read(&inbox, &mut lines, limits).filter(|_| express);
        if let Some(asked) = recognised {
            let (target, host) = (asked.target, asked.authority);
            requests.push(format!("{} {target} {host}", asked.method));
            let (length, persistent) = (asked.length, asked.persistent);
            inbox.advance(length);
            if !persistent {
                return (requests, End::Closes);
            }
            continue;
        }
        let mut scanner = HeadScanner::default();
        let (start, end) = loop {
            match scanner.scan(&inbox, limits.head.as_usize()) {
                Ok(Scan::Complete { start, end }) => break (start, end),
                Ok(Scan::NeedMore) => {}
                Err(_) => return (requests, End::Refused),
            }
            let Some(piece) = pieces.next() else {
                return (requests, End::Waits);
            };
            inbox.extend_from_slice(piece);
        };
        let whole = inbox.split_to(end);
        let Ok(request) = head::read(&whole[start..], limits) else {
            return (requests, End::Refused);
        };
        let target = String::from_utf8_lossy(request.header.raw_path());
        let mut told = format!("{} {target} {}", request.method(), request.host);
        let mut body = BodyReader::new(request.framing);
        let mut octets = 0;
        while !body.is_done() {
            match body.decode(&mut inbox) {
                Ok(Decoded::Data(data)) => octets += data.len(),
                Ok(Decoded::End) => break,
                Err(_) => return (requests, End::Refused),
                Ok(Decoded::NeedMore) => {
                    let Some(piece) = pieces.next() else {
                        return (requests, End::Waits);
                    };
                    inbox.extend_from_slice(piece);
                }
            }
        }
        if octets > 0 {
            told.push_str(&format!(" {octets}"));
        }
        requests.push(told);
        if !request.persistent {
            return (requests, End::Closes);
        }
    }
}
