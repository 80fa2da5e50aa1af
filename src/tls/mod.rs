//! Certificates of the listeners: loaded, chosen by name, renewed when their files change.
//!
//! An [`Acceptor`] owns what a TLS listener needs: rustls' configuration, and the certificates behind it, which are
//! replaced in place. A hand-shake sees the certificates of before or of after a renewal, never a mixture; connections
//! that exist are not touched.

pub mod settings;

mod acceptor;
mod certificate;
mod choose;
mod clients;
mod watch;

use std::io;
use std::path::PathBuf;

pub use acceptor::{Acceptor, CertificateInfo, Renewal};
pub use clients::ClientCertificate;
pub use watch::{Watch, watch};

/// Why a certificate cannot be used. All but `Provider` are the operator's to mend; each names the file.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A listener without certificates.
    #[error(
        "a TLS listener needs at least one certificate; add `tls = {{ cert = \"…\", key = \"…\" }}`"
    )]
    Empty,
    /// A file cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate's file holds none.
    #[error("no certificate in `{}`: expected a PEM block CERTIFICATE, found {found}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The key's file holds none that can be used.
    #[error(
        "no private key in `{}`: expected a PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY, found {found}",
        path.display()
    )]
    NoKey {
        /// The file.
        path: PathBuf,
        /// What is there instead.
        found: String,
    },
    /// The key is protected by a passphrase.
    #[error(
        "the private key in `{}` is encrypted; take the passphrase away with `openssl pkey -in KEY -out NEWKEY`",
        path.display()
    )]
    EncryptedKey {
        /// The file.
        path: PathBuf,
    },
    /// A PEM block that is broken.
    #[error("`{}` is not well-formed PEM: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The first certificate is not one.
    #[error("the certificate in `{}` cannot be read: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A kind of key that is not supported.
    #[error("the private key in `{}` cannot be used: {reason}; RSA, ECDSA (P-256, P-384) and Ed25519 can", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The pair does not belong together.
    #[error("the key in `{}` does not match the certificate in `{}`", key.display(), cert.display())]
    Mismatch {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
    /// The key belongs to another certificate of the chain.
    #[error(
        "the key in `{}` matches certificate {position} in `{}`, not the first; the server's own certificate must come \
         first, its issuers after it",
        key.display(),
        cert.display()
    )]
    Order {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Which certificate it is, counted from one.
        position: usize,
    },
    /// A file of authorities that clients' certificates are judged by.
    #[error(
        "the authorities of `client_certificates` in `{}` cannot be used: {reason}; expected their certificates as PEM",
        path.display()
    )]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The cryptography library refused to start.
    #[error("cannot set TLS up: {0}")]
    Provider(rustls::Error),
}

#[cfg(test)]
mod tests;
