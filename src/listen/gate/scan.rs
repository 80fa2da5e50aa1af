//! Finds where a request head ends in what was read so far, and refuses what can no longer become one.

use super::{Refusal, refusals};

/// Empty lines that are skipped before a request line (RFC 9112 §2.2 asks for at least one).
const LEADING_EMPTY_LINES_MAX: usize = 4;

/// Looks through a growing buffer once, however its bytes are spread over reads.
///
/// Invariant: every LF below `seen` follows a CR, and the last line below `seen` starts at `line_start`.
#[derive(Debug, Default)]
pub struct HeadScanner {
    seen: usize,
    line_start: usize,
    lines: usize,
    leading_empty: usize,
}

/// What the bytes so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Scan {
    /// The head may still become whole.
    NeedMore,
    /// The head is whole.
    Complete {
        /// Where the request line starts, behind empty lines that are dropped.
        start: usize,
        /// Where the head ends, its empty line included.
        end: usize,
    },
}

impl HeadScanner {
    /// Whether not even one byte of a request has been seen (empty lines apart).
    pub fn is_idle(&self) -> bool {
        self.seen == self.leading_empty * 2
    }

    /// Scans the bytes that are new in `buf` since the last call; `limit` bounds the head in bytes.
    ///
    /// # Errors
    /// A [`Refusal`] as soon as the bytes cannot become an acceptable head.
    pub fn scan(&mut self, buf: &[u8], limit: usize) -> Result<Scan, Refusal> {
        let start = self.leading_empty * 2;
        // A first byte that cannot begin a method (TLS, a PROXY v2 header, garbage) is answered at once rather than
        // when the deadline passes.
        if self.lines == 0
            && let Some(&first) = buf.get(start)
            && !crate::fields::token::is_tchar(first)
            && first != b'\r'
            && first != b'\n'
        {
            return Err(refusals::METHOD);
        }
        let fresh = buf.get(self.seen..).unwrap_or_default();
        for offset in memchr::memchr_iter(b'\n', fresh) {
            let lf = self.seen + offset;
            if lf == 0 || buf[lf - 1] != b'\r' {
                return Err(refusals::BARE_LF);
            }
            let empty = lf - 1 == self.line_start;
            self.line_start = lf + 1;
            if empty && self.lines == 0 {
                self.leading_empty += 1;
                if self.leading_empty > LEADING_EMPTY_LINES_MAX {
                    return Err(refusals::REQUEST_LINE);
                }
            } else if empty {
                let start = self.leading_empty * 2;
                let end = lf + 1;
                self.seen = end;
                return if end - start > limit {
                    Err(self.too_large())
                } else {
                    Ok(Scan::Complete { start, end })
                };
            } else if self.lines == 0 && lf + 1 - self.leading_empty * 2 > limit {
                // Too long by itself, whether or not the rest of the head came with it.
                return Err(refusals::TARGET_TOO_LONG);
            } else {
                self.lines += 1;
            }
        }
        self.seen = buf.len();
        if buf.len() - self.leading_empty * 2 > limit {
            return Err(self.too_large());
        }
        Ok(Scan::NeedMore)
    }

    fn too_large(&self) -> Refusal {
        if self.lines == 0 {
            refusals::TARGET_TOO_LONG
        } else {
            refusals::HEAD_TOO_LARGE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan_whole(bytes: &[u8]) -> Result<Scan, Refusal> {
        HeadScanner::default().scan(bytes, 64)
    }

    #[test]
    fn heads() {
        assert_eq!(
            scan_whole(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET"),
            Ok(Scan::Complete { start: 0, end: 27 })
        );
        assert_eq!(
            scan_whole(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n"),
            Ok(Scan::Complete { start: 4, end: 22 })
        );
        assert_eq!(
            scan_whole(b"GET / HTTP/1.1\r\nHost: a\r\n"),
            Ok(Scan::NeedMore)
        );
        assert_eq!(
            scan_whole(b"GET / HTTP/1.1\nHost: a\n\n"),
            Err(refusals::BARE_LF)
        );
        assert_eq!(scan_whole(b"\nGET"), Err(refusals::BARE_LF));
        assert_eq!(scan_whole(b"\x16\x03\x01"), Err(refusals::METHOD));
        assert_eq!(
            scan_whole(b"\r\n\x16\x03\x01"),
            Ok(Scan::NeedMore),
            "told with the next scan"
        );
        assert_eq!(
            scan_whole(b"\r\n\r\n\r\n\r\n\r\n"),
            Err(refusals::REQUEST_LINE)
        );
        let whole = [[b'a'; 65].as_slice(), b"\r\nHost: a\r\n\r\n"].concat();
        assert_eq!(scan_whole(&whole), Err(refusals::TARGET_TOO_LONG));
        assert_eq!(scan_whole(&[b'a'; 65]), Err(refusals::TARGET_TOO_LONG));
        assert_eq!(
            scan_whole(&[b"GET / HTTP/1.1\r\n".as_slice(), &[b'a'; 65]].concat()),
            Err(refusals::HEAD_TOO_LARGE)
        );
    }

    #[test]
    fn every_split_point_gives_the_same_answer() {
        for whole in [
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_slice(),
            b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        ] {
            let expected = scan_whole(whole);
            for split in 0..whole.len() {
                let mut scanner = HeadScanner::default();
                let first = scanner.scan(&whole[..split], 64);
                let answer = if first == Ok(Scan::NeedMore) {
                    scanner.scan(whole, 64)
                } else {
                    first
                };
                assert_eq!(answer, expected, "split at {split}");
            }
        }
    }
}
