//! The case that HTTP/1 usually gives field names, for those whose own was not kept.

use bytes::BufMut;

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

/// Writes a lower-case name in its usual case.
pub fn write_usual(out: &mut impl BufMut, name: &str) {
    let unusual = UNUSUAL
        .iter()
        .find(|usual| usual.eq_ignore_ascii_case(name));
    if let Some(usual) = unusual {
        out.put_slice(usual.as_bytes());
        return;
    }
    let mut begins = true;
    for octet in name.bytes() {
        out.put_u8(if begins {
            octet.to_ascii_uppercase()
        } else {
            octet
        });
        // `x-request-ID` and its like cannot be known: `Id` is what most write.
        begins = octet == b'-';
    }
}
