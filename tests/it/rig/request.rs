//! A request as a client means to send it.

use http::Method;

/// A request being written down.
#[derive(Debug, Clone)]
pub struct Request {
    /// The method as sent.
    pub method: String,
    /// The target as sent.
    pub target: String,
    /// `HTTP/1.1` unless said otherwise.
    pub version: &'static str,
    /// Fields in order; `Host` is added in front unless one is here.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The sizes it is chunked into; `None` sends its length.
    pub chunks: Option<Vec<usize>>,
    /// Trailer fields of a chunked body or of an HTTP/2 request.
    pub trailers: Vec<(String, String)>,
}

/// A request of any method.
pub fn request(method: &str, target: &str) -> Request {
    Request {
        method: method.to_owned(),
        target: target.to_owned(),
        version: "HTTP/1.1",
        fields: Vec::new(),
        body: Vec::new(),
        chunks: None,
        trailers: Vec::new(),
    }
}

/// A GET.
pub fn get(target: &str) -> Request {
    request("GET", target)
}

/// A HEAD.
pub fn head(target: &str) -> Request {
    request("HEAD", target)
}

/// A POST with a body.
pub fn post(target: &str, body: impl AsRef<[u8]>) -> Request {
    request("POST", target).body(body)
}

/// A PUT with a body.
pub fn put(target: &str, body: impl AsRef<[u8]>) -> Request {
    request("PUT", target).body(body)
}

impl Request {
    /// Adds a field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The host.
    pub fn host(self, host: &str) -> Self {
        self.header("Host", host)
    }

    /// The body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// The body, in these chunks.
    pub fn chunked<const N: usize>(mut self, pieces: [&str; N]) -> Self {
        self.body = pieces.concat().into_bytes();
        self.chunks = Some(pieces.iter().map(|p| p.len()).collect());
        self
    }

    /// A trailer field.
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// HTTP/1.0.
    pub fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    /// The head as HTTP/1 bytes.
    pub fn head_bytes(&self, default_host: &str) -> Vec<u8> {
        let mut head = format!("{} {} {}\r\n", self.method, self.target, self.version);
        let has = |name: &str| {
            self.fields
                .iter()
                .any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !has("host") {
            head += &format!("Host: {default_host}\r\n");
        }
        for (name, value) in &self.fields {
            head += &format!("{name}: {value}\r\n");
        }
        let framed = has("content-length") || has("transfer-encoding");
        if self.chunks.is_some() {
            head += "Transfer-Encoding: chunked\r\n";
        } else if !framed
            && (!self.body.is_empty()
                || [Method::POST, Method::PUT]
                    .iter()
                    .any(|m| m.as_str() == self.method))
        {
            head += &format!("Content-Length: {}\r\n", self.body.len());
        }
        head += "\r\n";
        head.chars()
            .map(|c| u8::try_from(c).expect("heads are Latin-1"))
            .collect()
    }

    /// The body as HTTP/1 bytes.
    pub fn body_bytes(&self) -> Vec<u8> {
        let Some(sizes) = &self.chunks else {
            return self.body.clone();
        };
        let mut bytes = Vec::new();
        let mut rest = self.body.as_slice();
        for &size in sizes {
            let (chunk, after) = rest.split_at(size);
            bytes.extend_from_slice(format!("{size:x}\r\n").as_bytes());
            bytes.extend_from_slice(chunk);
            bytes.extend_from_slice(b"\r\n");
            rest = after;
        }
        bytes.extend_from_slice(b"0\r\n");
        for (name, value) in &self.trailers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes
    }
}
