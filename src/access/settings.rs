//! What an operator may decide about who may use a route, and what browsers are told about its pages.

use http::HeaderName;
use ipnet::IpNet;
use std::path::PathBuf;
use std::time::Duration;

/// The part of a `[[route]]` that says who may use it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// Clients that may, by their address; others are answered 403. Empty is everybody, the default.
    pub allow: Vec<IpNet>,
    /// Clients that may not, whatever `allow` says. Default: none.
    pub deny: Vec<IpNet>,
    /// What clients must show. Default: nothing.
    pub auth: Option<AuthSettings>,
    /// Fields that tell browsers to be careful. Default: none.
    pub security_headers: SecurityHeaders,
}

/// `auth`: what clients must show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthSettings {
    /// A name and a password of a file.
    Basic(BasicSettings),
    /// Whatever a service of the operator's wants.
    Forward(ForwardSettings),
    /// A certificate.
    Certificate(CertificateSettings),
}

/// `auth = { basic = … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicSettings {
    /// The password file, as `htpasswd` writes it.
    pub file: PathBuf,
    /// What browsers show when they ask. Default "Restricted".
    pub realm: String,
    /// Whether the upstream gets `Authorization`. Default false: then pages are stored as those of any route.
    pub pass: bool,
}

/// `auth = { forward = … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForwardSettings {
    /// The upstream that is asked, by its name.
    pub upstream: String,
    /// The path and query that it is asked for.
    pub target: String,
    /// The `Host` that it is asked by; `None` is the client's.
    pub host: Option<String>,
    /// Fields of its answer that the upstream gets; a client's own of these names are taken away. They are part of the cache
    /// key. Default: none.
    pub copy: Vec<HeaderName>,
    /// Fields of the request that it is told besides the `X-Forwarded-` ones; `None` is all.
    pub send: Option<Vec<HeaderName>>,
    /// How long a yes is good for who would ask the same. Default: not at all.
    pub cache: Option<Duration>,
    /// What "the same" is.
    pub cache_by: CacheBy,
    /// How long it may take to answer. Default 10 s.
    pub timeout: Duration,
}

impl ForwardSettings {
    /// How long an answer may take, unless the operator says otherwise.
    pub const TIMEOUT: Duration = Duration::from_secs(10);
}

/// Which requests one answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheBy {
    /// Those of one client with the same fields of `send`, for the same URL by the same method. The default.
    #[default]
    Url,
    /// Those of one client with the same fields of `send`, for the same host, whatever is asked for.
    Session,
}

/// `auth = { certificate = … }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// Which ones will do.
    pub demand: Demand,
    /// What the upstream is told of it (RFC 9440). Default: nothing.
    pub pass: PassCertificate,
}

/// Which certificates will do, of those that the listener trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Any, or none.
    Optional,
    /// Any.
    Any,
    /// One that has one of these names, or this fingerprint as `sha256:` and 64 hexadecimal digits.
    OneOf(Vec<String>),
}

/// What an upstream is told of a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PassCertificate {
    /// Nothing.
    #[default]
    No,
    /// `Client-Cert`.
    Leaf,
    /// `Client-Cert` and `Client-Cert-Chain`.
    Chain,
}

/// `security_headers`: a set of fields that are added to answers that do not have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityHeaders {
    /// None. The default.
    #[default]
    Off,
    /// What hardly any application minds.
    Basic,
    /// What an application must be made for.
    Strict,
}

impl SecurityHeaders {
    /// As it is written.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Off => None,
            Self::Basic => Some("basic"),
            Self::Strict => Some("strict"),
        }
    }
}

impl AccessSettings {
    /// Request fields that a check of this route sets, so that answers may depend on them: part of the cache key.
    pub fn identity(&self) -> Vec<HeaderName> {
        match &self.auth {
            Some(AuthSettings::Forward(forward)) => forward.copy.clone(),
            Some(AuthSettings::Certificate(certificate)) => match certificate.pass {
                PassCertificate::No => Vec::new(),
                PassCertificate::Leaf => vec![CLIENT_CERT],
                PassCertificate::Chain => vec![CLIENT_CERT, CLIENT_CERT_CHAIN],
            },
            Some(AuthSettings::Basic(_)) | None => Vec::new(),
        }
    }

    /// What stands between a client and the route, in a few words; `None` where nothing does.
    pub fn summary(&self) -> Option<String> {
        let listed = |networks: &[IpNet]| {
            let shown: Vec<String> = networks.iter().take(3).map(ToString::to_string).collect();
            let more = networks.len().saturating_sub(shown.len());
            let more = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            shown.join(", ") + &more
        };
        let mut parts = Vec::new();
        if !self.deny.is_empty() {
            parts.push(format!("deny {}", listed(&self.deny)));
        }
        if !self.allow.is_empty() {
            parts.push(format!("allow {}", listed(&self.allow)));
        }
        parts.extend(self.auth.as_ref().map(|auth| match auth {
            AuthSettings::Basic(basic) => format!("password of {}", basic.file.display()),
            AuthSettings::Forward(forward) => {
                let path = forward.target.split('?').next().unwrap_or_default();
                format!("{}{path} is asked", forward.upstream)
            }
            AuthSettings::Certificate(certificate) => match &certificate.demand {
                Demand::Optional => "certificate, if there is one".to_owned(),
                Demand::Any => "certificate".to_owned(),
                Demand::OneOf(names) => format!("certificate of {}", names.join(", ")),
            },
        }));
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// `Client-Cert` (RFC 9440 §2.2).
pub const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// `Client-Cert-Chain` (RFC 9440 §2.3).
pub const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");
