//! The head of a response on its way through the proxy: from a server's lines, or from what answers in its place, to a client's.

use crate::fields::section::HeaderSection;
use http::{StatusCode, Version};
use pingora::http::{HeaderNameVariant, ResponseHeader};

/// A status line and a header section.
#[derive(Debug, Clone)]
pub struct ResponseHead {
    /// The status.
    pub status: StatusCode,
    /// The version that it was sent in.
    pub version: Version,
    /// The phrase behind the status, where it is not the usual one.
    pub reason: Option<Box<str>>,
    /// The fields.
    pub fields: HeaderSection,
}

impl ResponseHead {
    /// One that is made here.
    pub fn new(status: StatusCode, fields: HeaderSection) -> Self {
        Self {
            status,
            version: Version::HTTP_11,
            reason: None,
            fields,
        }
    }

    /// The phrase behind the status.
    pub fn reason(&self) -> &str {
        let usual = || self.status.canonical_reason().unwrap_or_default();
        self.reason.as_deref().unwrap_or_else(usual)
    }

    /// The phrase, where it is not the usual one of the status.
    pub fn unusual(reason: Option<&str>, status: StatusCode) -> Option<Box<str>> {
        reason
            .filter(|reason| Some(*reason) != status.canonical_reason())
            .map(Into::into)
    }

    /// As Pingora hands it about, names in their case.
    ///
    /// # Errors
    /// Never for what was read or made here; Pingora's header type says so in its signature.
    pub fn to_pingora(&self) -> pingora::Result<ResponseHeader> {
        let lines = self.fields.iter();
        let mut header =
            ResponseHeader::build(self.status, Some(lines.size_hint().1.unwrap_or(0)))?;
        header.set_version(self.version);
        if let Some(reason) = &self.reason {
            header.set_reason_phrase(Some(reason))?;
        }
        for (name, value) in lines {
            header.append_header(bytes::Bytes::copy_from_slice(name), value)?;
        }
        Ok(header)
    }
}

impl From<&ResponseHeader> for ResponseHead {
    fn from(header: &ResponseHeader) -> Self {
        let mut fields = HeaderSection::with_capacity(header.headers.len() + 8);
        if header.has_case() {
            let walked = header.map(|name, value| {
                let name = match &name {
                    HeaderNameVariant::Case(name) => name.as_slice(),
                    HeaderNameVariant::Titled(name) => name.as_bytes(),
                };
                fields.append_written(name, value);
                Ok(())
            });
            debug_assert!(walked.is_ok(), "the closure never fails");
        } else {
            fields = HeaderSection::from(&header.headers);
        }
        Self {
            status: header.status,
            version: header.version,
            reason: Self::unusual(header.get_reason_phrase(), header.status),
            fields,
        }
    }
}
