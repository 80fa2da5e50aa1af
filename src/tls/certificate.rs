//! One certificate and its key: read, checked against each other, its names and end of validity known.

use crate::file;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::TlsError;
use crate::tls::settings::CertificateSettings;

/// The two files as they were read.
pub(super) struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// A pair that is ready to serve.
#[derive(Debug)]
pub(super) struct Certificate {
    pub(super) key: Arc<CertifiedKey>,
    /// Lower case, wildcards as `*.example.org`, without duplicates; addresses are left out, SNI never carries them.
    pub(super) names: Vec<String>,
    pub(super) not_before: SystemTime,
    pub(super) not_after: SystemTime,
}

impl Files {
    pub(super) fn read(settings: &CertificateSettings) -> Result<Self, TlsError> {
        let read = |path: &Path| {
            file::read(path).map_err(|source| TlsError::Read {
                path: path.to_owned(),
                source,
            })
        };
        Ok(Self {
            cert: read(&settings.cert)?,
            key: read(&settings.key)?,
        })
    }

    /// Tells whether files have changed without keeping the key's text. Not cryptographic: who can write the files needs
    /// no collision.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.cert.hash(&mut hasher);
        self.key.hash(&mut hasher);
        hasher.finish()
    }

    /// Checks the pair. `settings` names the files in errors.
    pub(super) fn certificate(
        &self,
        settings: &CertificateSettings,
        provider: &CryptoProvider,
    ) -> Result<Certificate, TlsError> {
        let chain = read_chain(&settings.cert, &self.cert)?;
        let key = read_key(&settings.key, &self.key)?;
        let key = provider
            .key_provider
            .load_private_key(key)
            .map_err(|error| TlsError::Key {
                path: settings.key.clone(),
                reason: error.to_string(),
            })?;
        let malformed = |reason: String| TlsError::Certificate {
            path: settings.cert.clone(),
            reason,
        };
        let first = chain
            .first()
            .ok_or_else(|| malformed("the file is empty".to_owned()))?;
        let (_, leaf) =
            X509Certificate::from_der(first).map_err(|error| malformed(error.to_string()))?;
        // Not rustls' `keys_match`, which compares the same bytes but refuses X.509 version 1, as `openssl x509 -req`
        // without extensions still makes it.
        if let Some(public) = key.public_key()
            && leaf.public_key().raw != public.as_ref()
        {
            let position = chain.iter().position(|der| is_of_key(der, public.as_ref()));
            let (cert, key) = (settings.cert.clone(), settings.key.clone());
            return Err(match position {
                Some(index) => TlsError::Order {
                    cert,
                    key,
                    position: index + 1,
                },
                None => TlsError::Mismatch { cert, key },
            });
        }
        let names = names(&leaf);
        let (not_before, not_after) = (
            moment(leaf.validity().not_before.timestamp()),
            moment(leaf.validity().not_after.timestamp()),
        );
        Ok(Certificate {
            key: Arc::new(CertifiedKey::new(chain, key)),
            names,
            not_before,
            not_after,
        })
    }
}

fn read_chain(path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_slice_iter(text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| malformed_pem(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate {
            path: path.to_owned(),
            found: found(text),
        });
    }
    Ok(chain)
}

fn read_key(path: &Path, text: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    match PrivateKeyDer::from_pem_slice(text) {
        Ok(key) => Ok(key),
        Err(pem::Error::NoItemsFound)
            if labels(text).any(|label| label == "ENCRYPTED PRIVATE KEY") =>
        {
            Err(TlsError::EncryptedKey {
                path: path.to_owned(),
            })
        }
        Err(pem::Error::NoItemsFound) => Err(TlsError::NoKey {
            path: path.to_owned(),
            found: found(text),
        }),
        Err(error) => Err(malformed_pem(path, &error)),
    }
}

fn malformed_pem(path: &Path, error: &pem::Error) -> TlsError {
    let reason = match error {
        pem::Error::MissingSectionEnd { .. } => "a block has no END line".to_owned(),
        pem::Error::IllegalSectionStart { line } => {
            format!(
                "found the line `{}`",
                String::from_utf8_lossy(line).trim_end()
            )
        }
        other => other.to_string(),
    };
    TlsError::Pem {
        path: path.to_owned(),
        reason,
    }
}

/// What an operator put in the file instead, in words.
fn found(text: &[u8]) -> String {
    let labels: Vec<String> = labels(text).take(4).collect();
    if !labels.is_empty() {
        labels.join(", ")
    } else if text.is_empty() {
        "an empty file".to_owned()
    } else if text.first() == Some(&0x30) {
        "binary data that may be DER; convert it to PEM".to_owned()
    } else {
        "no PEM block".to_owned()
    }
}

/// The labels of the PEM blocks in a file, cut short where a line is no label of anybody's.
fn labels(text: &[u8]) -> impl Iterator<Item = String> {
    text.split(|&octet| octet == b'\n').filter_map(|line| {
        let label = line
            .trim_ascii()
            .strip_prefix(b"-----BEGIN ")?
            .strip_suffix(b"-----")?;
        let label = label.get(..40).unwrap_or(label);
        Some(String::from_utf8_lossy(label).into_owned())
    })
}

fn is_of_key(der: &CertificateDer<'_>, public: &[u8]) -> bool {
    X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| certificate.public_key().raw == public)
}

/// The DNS names of the subject alternative name; the common name only where there is no such extension, as RFC 9525
/// §2 has it for old certificates.
fn names(leaf: &X509Certificate<'_>) -> Vec<String> {
    let mut names: Vec<String> = match leaf.subject_alternative_name() {
        Ok(Some(extension)) => extension
            .value
            .general_names
            .iter()
            .filter_map(|name| match name {
                GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
                _ => None,
            })
            .collect(),
        _ => leaf
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok())
            .map(str::to_ascii_lowercase)
            .collect(),
    };
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    names
}

/// A moment of a certificate. One before 1970 has passed in any case, so 1970 is near enough.
fn moment(unix_seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(unix_seconds).unwrap_or(0))
}
