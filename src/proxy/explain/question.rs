//! A question about a request, and the octets that a client would send to ask it.

use crate::fields::uri;
use crate::listen::gate::{Refusal, Request, head};
use crate::listen::settings::LimitSettings;
use crate::listen::stream::Client;
use serde::Deserialize;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// A question, as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// `http://host/path?query`, or a path: then `Host` is among the fields, or it is "localhost".
    pub url: String,
    /// Default GET.
    #[serde(default = "get")]
    pub method: String,
    /// Names and values, in their order; a name may come more than once.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Who asks: the other end of the connection. Default 127.0.0.1.
    #[serde(default)]
    pub client: Option<IpAddr>,
    /// Whether a real request is made, too.
    #[serde(default)]
    pub fetch: bool,
}

fn get() -> String {
    "GET".to_owned()
}

/// Why a question cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The URL is none.
    #[error("expected `http://host/path`, `https://host/path` or `/path`, found `{0}`")]
    Url(String),
    /// No octets say this to a server.
    #[error("{0} contains a line end, or another octet that a request line or field cannot have")]
    Octets(String),
    /// It asks for no content.
    #[error("`{0}` is about what is stored; see `forebay purge --dry-run`")]
    Purges(String),
    /// A fetch would change something.
    #[error("a fetch is made with GET or HEAD, `{0}` may change something; ask without it")]
    Unsafe(String),
}

/// A question that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    octets: Vec<u8>,
    method: String,
    host: String,
    target: String,
    tls: bool,
    client: IpAddr,
}

impl Asked {
    /// Writes the question down as a client would.
    ///
    /// # Errors
    /// Where no client could ask it.
    pub fn new(question: &Question) -> Result<Self, Fault> {
        let Question {
            url,
            method,
            headers,
            client,
            fetch,
        } = question;
        if *fetch && !["GET", "HEAD"].contains(&method.as_str()) {
            return Err(Fault::Unsafe(method.clone()));
        }
        if ["PURGE", "PURGEKEYS", "PURGETAGS", "BAN"].contains(&method.as_str()) {
            return Err(Fault::Purges(method.clone()));
        }
        let malformed = || Fault::Url(url.clone());
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        // A fragment is the browser's, and never sent.
        let sent = url.split('#').next().unwrap_or_default();
        let (tls, authority, target) = if sent.starts_with('/') || sent == "*" {
            (false, None, sent.to_owned())
        } else {
            let absolute = uri::split_absolute(sent.as_bytes()).ok_or_else(malformed)?;
            let authority = text(absolute.authority);
            if authority.is_empty() {
                return Err(malformed());
            }
            (absolute.https, Some(authority), text(&absolute.target))
        };
        let is_host = |(name, _): &&(String, String)| name.eq_ignore_ascii_case("host");
        let mut hosts = headers.iter().filter(is_host);
        let given = hosts.next().map(|(_, host)| host.clone());
        let host = given
            .or(authority)
            .unwrap_or_else(|| "localhost".to_owned());
        let mut octets = String::new();
        let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c <= ' ');
        for (what, word) in [("the method", method), ("the URL", &target)] {
            if !is_word(word) {
                return Err(Fault::Octets(what.to_owned()));
            }
        }
        let _ = write!(octets, "{method} {target} HTTP/1.1\r\n");
        // More than one is for the gate to judge.
        let others = headers.iter().filter(|it| !is_host(it)).chain(hosts);
        let all = std::iter::once(("Host", host.as_str()))
            .chain(others.map(|(name, value)| (name.as_str(), value.as_str())));
        for (name, value) in all {
            if !is_word(name) || name.contains(':') || value.contains(['\r', '\n', '\0']) {
                return Err(Fault::Octets(format!(
                    "the field `{}`",
                    name.escape_debug()
                )));
            }
            let _ = write!(octets, "{name}: {}\r\n", value.trim());
        }
        octets.push_str("\r\n");
        Ok(Self {
            octets: octets.into_bytes(),
            method: method.clone(),
            host,
            target,
            tls,
            client: client.unwrap_or(Ipv4Addr::LOCALHOST.into()),
        })
    }

    /// As a client would send it.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What the gate makes of it.
    ///
    /// # Errors
    /// Its refusal.
    pub fn through_the_gate(&self, limits: &LimitSettings) -> Result<Request, Refusal> {
        head::read(&self.octets, limits)
    }

    /// The connection that it would come by.
    pub fn client(&self) -> Arc<Client> {
        let local: IpAddr = match self.client {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        Arc::new(Client {
            addr: SocketAddr::new(self.client, 0),
            local: SocketAddr::new(local, if self.tls { 443 } else { 80 }),
            tls: self.tls,
            certificate: None,
        })
    }

    pub(super) fn method(&self) -> &str {
        &self.method
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn target(&self) -> &str {
        &self.target
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn question(json: &str) -> Result<Asked, Fault> {
        Asked::new(&serde_json::from_str(json).expect("a question"))
    }

    #[test]
    fn a_question_is_what_a_client_would_send() {
        for (json, expected, tls) in [
            (
                r#"{"url":"http://a.test/x?y#z"}"#,
                "GET /x?y HTTP/1.1\r\nHost: a.test\r\n\r\n",
                false,
            ),
            (
                r#"{"url":"https://a.test:8443","method":"HEAD"}"#,
                "HEAD / HTTP/1.1\r\nHost: a.test:8443\r\n\r\n",
                true,
            ),
            (
                r#"{"url":"/x","headers":[["Accept"," a "],["host","b"],["Accept","c"]]}"#,
                "GET /x HTTP/1.1\r\nHost: b\r\nAccept: a\r\nAccept: c\r\n\r\n",
                false,
            ),
            (
                r#"{"url":"/x","headers":[["Host","a"],["host","b"]]}"#,
                "GET /x HTTP/1.1\r\nHost: a\r\nhost: b\r\n\r\n",
                false,
            ),
            (
                r#"{"url":"/x"}"#,
                "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
                false,
            ),
        ] {
            let asked = question(json).expect(json);
            assert_eq!(String::from_utf8_lossy(asked.octets()), expected);
            assert_eq!(asked.client().tls, tls, "{json}");
        }
    }

    #[test]
    fn what_no_client_can_ask() {
        for (json, expected) in [
            (r#"{"url":"ftp://a/"}"#, "expected `http://host/path`"),
            (r#"{"url":"a.test/x"}"#, "expected `http://host/path`"),
            (r#"{"url":""}"#, "expected `http://host/path`"),
            (r#"{"url":"http:///x"}"#, "expected `http://host/path`"),
            (r#"{"url":"/a b"}"#, "the URL contains"),
            (r#"{"url":"/","method":"G\r\n"}"#, "the method contains"),
            (
                r#"{"url":"/","headers":[["A","b\r\nC: d"]]}"#,
                "the field `A` contains",
            ),
            (
                r#"{"url":"/","headers":[["A: b\r\nC","d"]]}"#,
                "the field `A: b\\r\\nC` contains",
            ),
            (
                r#"{"url":"/","method":"POST","fetch":true}"#,
                "a fetch is made with GET or HEAD",
            ),
        ] {
            let fault = question(json).expect_err(json).to_string();
            assert!(fault.starts_with(expected), "{json}: {fault}");
        }
    }
}
