//! A request that has ended, as far as it is counted: the few words that become labels.

use std::time::Duration;

use http::Method;

/// A method as a label: the common ones by name, all else in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodClass {
    /// GET.
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Any other: a client may invent methods, and must not invent series.
    Other,
}

impl MethodClass {
    pub(super) const COUNT: usize = 8;

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
            Self::Other => "other",
        }
    }
}

impl From<&Method> for MethodClass {
    fn from(method: &Method) -> Self {
        match *method {
            Method::GET => Self::Get,
            Method::HEAD => Self::Head,
            Method::POST => Self::Post,
            Method::PUT => Self::Put,
            Method::PATCH => Self::Patch,
            Method::DELETE => Self::Delete,
            Method::OPTIONS => Self::Options,
            _ => Self::Other,
        }
    }
}

/// Whose answer it was, which decides how long it may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The store's, without anybody being asked.
    Cache,
    /// An upstream's, or it was waited for one.
    Upstream,
    /// Our own: a redirect, a file, a refusal.
    Proxy,
}

impl Source {
    pub(super) const ALL: [Self; 3] = [Self::Cache, Self::Upstream, Self::Proxy];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Upstream => "upstream",
            Self::Proxy => "proxy",
        }
    }
}

/// What kept a request from failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rescue {
    /// It was held until somebody answered.
    Hold,
    /// It was tried again.
    Retry,
}

impl Rescue {
    pub(super) const ALL: [Self; 2] = [Self::Hold, Self::Retry];

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Retry => "retry",
        }
    }
}

/// A request that has ended.
#[derive(Debug, Clone, Copy)]
pub struct Ended {
    /// Its method.
    pub method: MethodClass,
    /// The status sent; 0 is no answer.
    pub status: u16,
    /// Whose answer it was.
    pub source: Source,
    /// How long it took.
    pub duration: Duration,
    /// Octets of the answer's body.
    pub bytes: u64,
}
