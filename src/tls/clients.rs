//! Clients' certificates: which are trusted, renewed in place, and what is known of one that was shown.
//!
//! Sessions are not resumed on a listener that asks for certificates: a ticket would let in who was trusted once, for hours
//! after an authority was taken out of the file.

use crate::file;
use std::fmt::Write as _;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use ring::digest;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::tls::TlsError;
use crate::tls::settings::ClientsSettings;

/// A client's certificate. The listener trusts its issuer, and the client has its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The names in it: DNS names, mail addresses and URIs of its alternative names, then its common name.
    pub names: Vec<String>,
    /// SHA-256 of it, in lower-case hexadecimal digits.
    pub fingerprint: String,
    /// It and what the client sent with it, in DER.
    pub chain: Vec<Vec<u8>>,
}

impl ClientCertificate {
    /// Of what a hand-shake has verified; none where the client has shown nothing.
    pub fn of(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let leaf = chain.first()?;
        let digest = digest::digest(&digest::SHA256, leaf);
        let mut fingerprint = String::with_capacity(64);
        for octet in digest.as_ref() {
            let _ = write!(fingerprint, "{octet:02x}");
        }
        Some(Self {
            names: names(leaf),
            fingerprint,
            chain: chain.iter().map(|der| der.as_ref().to_vec()).collect(),
        })
    }
}

fn names(leaf: &[u8]) -> Vec<String> {
    let Ok((_, leaf)) = X509Certificate::from_der(leaf) else {
        return Vec::new();
    };
    let alternatives = leaf.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|it| &it.value.general_names);
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => {
            Some((*name).to_owned())
        }
        _ => None,
    };
    let mut names: Vec<String> = alternatives.filter_map(text).collect();
    let common = leaf.subject().iter_common_name();
    names.extend(common.filter_map(|name| Some(name.as_str().ok()?.to_owned())));
    names
}

/// Judges clients by the file as it was last good.
#[derive(Debug)]
pub(super) struct Clients {
    settings: ClientsSettings,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<Verifier>,
    /// The octets last tried, whether they were good or not; `None` when they could not be read.
    tried: Mutex<Option<Vec<u8>>>,
}

/// rustls' own, which is made for one set of authorities.
#[derive(Debug)]
struct Verifier {
    inner: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    /// Reads the file.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn load(
        settings: &ClientsSettings,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<Self>, TlsError> {
        let text = read(settings)?;
        let verifier = verifier(settings, &text, provider)?;
        Ok(Arc::new(Self {
            settings: settings.clone(),
            provider: provider.clone(),
            current: ArcSwap::from_pointee(verifier),
            tried: Mutex::new(Some(text)),
        }))
    }

    /// Reads it again. True where it is new. An error is returned once for each state of the file, and leaves in force what was.
    ///
    /// # Errors
    /// [`TlsError`].
    pub(super) fn reload(&self) -> Result<bool, TlsError> {
        let mut tried = self.tried.lock();
        let text = match read(&self.settings) {
            Ok(text) => text,
            Err(error) => {
                return match tried.take() {
                    Some(_) => Err(error),
                    None => Ok(false),
                };
            }
        };
        if tried.as_ref() == Some(&text) {
            return Ok(false);
        }
        let verifier = verifier(&self.settings, &text, &self.provider);
        *tried = Some(text);
        self.current.store(Arc::new(verifier?));
        Ok(true)
    }

    /// The file.
    pub(super) fn settings(&self) -> &ClientsSettings {
        &self.settings
    }
}

fn read(settings: &ClientsSettings) -> Result<Vec<u8>, TlsError> {
    file::read(&settings.ca).map_err(|source| TlsError::Read {
        path: settings.ca.clone(),
        source,
    })
}

fn verifier(
    settings: &ClientsSettings,
    text: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Verifier, TlsError> {
    let unusable = |reason: String| TlsError::Authorities {
        path: settings.ca.clone(),
        reason,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(text) {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        roots
            .add(certificate)
            .map_err(|error| unusable(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(unusable(
            "there is no PEM block CERTIFICATE in it".to_owned(),
        ));
    }
    let builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone());
    let builder = if settings.optional {
        builder.allow_unauthenticated()
    } else {
        builder
    };
    let inner = builder
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(Verifier { inner })
}

impl ClientCertVerifier for Clients {
    fn offer_client_auth(&self) -> bool {
        true
    }

    fn client_auth_mandatory(&self) -> bool {
        !self.settings.optional
    }

    /// None: the list would have to outlive a renewal, and clients with several certificates are told by names as well as by
    /// trying.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let current = self.current.load();
        current
            .inner
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current
            .load()
            .inner
            .verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.current
            .load()
            .inner
            .verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.current.load().inner.supported_verify_schemes()
    }
}
