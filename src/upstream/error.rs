//! Why upstreams cannot be built.

use std::path::PathBuf;

/// The longest path of a unix socket, its end mark included (`sun_path` in unix(7)).
pub(super) const UNIX_PATH_MAX: usize = 108;

/// Why upstreams cannot be built. All of it is the operator's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// A file of `tls` cannot be read, or holds something else.
    #[error("upstream `{upstream}`: `{}`: {why}; expected {expected}", file.display())]
    Unreadable {
        /// The upstream.
        upstream: String,
        /// The file.
        file: PathBuf,
        /// What it should be.
        expected: &'static str,
        /// What was found.
        why: String,
    },
    /// `tls.ca` holds something that is no authority.
    #[error("upstream `{upstream}`: `{}` cannot serve as an authority: {why}", file.display())]
    BadAuthority {
        /// The upstream.
        upstream: String,
        /// The file.
        file: PathBuf,
        /// Why.
        why: String,
    },
    /// `tls.cert` and `tls.key` do not go together.
    #[error("upstream `{upstream}`: `{}` and `{}` cannot be used together: {why}", cert.display(), key.display())]
    BadIdentity {
        /// The upstream.
        upstream: String,
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        why: String,
    },
    /// The system's authorities cannot be read.
    #[error(
        "upstream `{upstream}`: cannot read the system's certificate authorities: {why}; install `ca-certificates`, or set `tls.ca`"
    )]
    NoAuthorities {
        /// The upstream.
        upstream: String,
        /// Why.
        why: String,
    },
    /// The path of a unix socket cannot be connected to.
    #[error("upstream `{upstream}`: `{}` cannot be the path of a unix socket: expected UTF-8, shorter than {UNIX_PATH_MAX} bytes", path.display())]
    BadSocketPath {
        /// The upstream.
        upstream: String,
        /// The path.
        path: PathBuf,
    },
    /// The name for SNI is none.
    #[error(
        "upstream `{upstream}`: `{name}` cannot be verified in a certificate: expected a DNS name or an IP address; set `tls.sni`"
    )]
    BadName {
        /// The upstream.
        upstream: String,
        /// The name.
        name: String,
    },
}
