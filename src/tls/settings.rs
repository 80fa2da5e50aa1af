//! What an operator may decide about a listener's certificates.

use std::path::PathBuf;

/// The certificates of one TLS listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSettings {
    /// At least one. The certificate is chosen by SNI; the first serves clients whose name none covers.
    pub certificates: Vec<CertificateSettings>,
    /// Whether clients are asked for certificates. Default: they are not.
    pub clients: Option<ClientsSettings>,
}

/// Which certificates of clients are trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientsSettings {
    /// Certificates of the authorities that may have issued them, as a PEM file that is read again when it changes.
    pub ca: PathBuf,
    /// Whether a client may come without one. Default false: then there is no connection.
    pub optional: bool,
}

/// One certificate and its key, as PEM files that are read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The certificate, followed by its chain.
    pub cert: PathBuf,
    /// The private key: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}
