//! What an operator may decide about a listener's certificates.

use std::path::PathBuf;

/// The certificates of one TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// At least one. The certificate is chosen by SNI; the first serves clients whose name none covers.
    pub certificates: Vec<CertificateSettings>,
}

/// One certificate and its key, as PEM files that are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The certificate, followed by its chain.
    pub cert: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}
