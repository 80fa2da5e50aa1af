//! The case that HTTP/1 usually gives field names, for those whose own was not kept.

use super::view::Marks;

/// The names whose usual form is not each word's first letter large.
const UNUSUAL: &[&str] = &[
    "ETag",
    "WWW-Authenticate",
    "TE",
    "DNT",
    "NEL",
    "SourceMap",
    "Content-MD5",
    "Content-DPR",
    "DPR",
    "ECT",
    "RTT",
    "P3P",
    "CDN-Cache-Control",
    "CDN-Loop",
    "Expect-CT",
    "HTTP2-Settings",
    "Sec-CH-UA",
    "Sec-CH-UA-Mobile",
    "Sec-CH-UA-Platform",
    "Sec-GPC",
    "Accept-CH",
    "Critical-CH",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Version",
    "X-DNS-Prefetch-Control",
    "X-UA-Compatible",
    "X-XSS-Protection",
    "X-WebKit-CSP",
];

const UNUSUAL_MARKS: Marks = Marks::of(UNUSUAL);

/// Writes a lower-case name in its usual case.
pub fn write_usual(out: &mut Vec<u8>, name: &str) {
    let unusual = || {
        let mut alike = UNUSUAL.iter().filter(|usual| usual.len() == name.len());
        alike.find(|usual| usual.eq_ignore_ascii_case(name))
    };
    let marked = UNUSUAL_MARKS.may_have(name);
    if let Some(usual) = marked.then(unusual).flatten() {
        out.extend_from_slice(usual.as_bytes());
        return;
    }
    let begin = out.len();
    out.extend_from_slice(name.as_bytes());
    let mut begins = true;
    for octet in out.get_mut(begin..).unwrap_or_default() {
        if begins {
            octet.make_ascii_uppercase();
        }
        // `x-request-ID` and its like cannot be known: `Id` is what most write.
        begins = *octet == b'-';
    }
}
