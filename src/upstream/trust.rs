//! Whom an upstream's TLS trusts and who it says we are: read from files once, when the settings are applied.
//!
//! The same material serves health checks and requests: those of HTTP/1.1 through [`Encryption`], the others through Pingora.

use crate::file;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

use super::UpstreamError;
use super::settings::{UpstreamHttp, UpstreamSettings};

/// What the files of an upstream's `tls` hold, checked.
#[derive(Debug)]
pub struct Trust {
    /// The authorities to trust instead of the system's.
    pub authorities: Option<Vec<CertificateDer<'static>>>,
    /// Our certificate with its chain, and its key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// Whether any certificate of the server's will do.
    pub insecure: bool,
    /// Differs when anything above does: connections made under another trust are not reused.
    pub fingerprint: u64,
}

impl Trust {
    /// Reads and checks the files.
    ///
    /// # Errors
    /// [`UpstreamError`] with the upstream's name and the file.
    pub fn load(settings: &UpstreamSettings) -> Result<Self, UpstreamError> {
        let tls = &settings.tls;
        let upstream = &settings.name;
        let authorities = match &tls.ca {
            Some(file) => Some(certificates(upstream, file)?),
            None => None,
        };
        let identity = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                Some((certificates(upstream, cert)?, private_key(upstream, key)?))
            }
            _ => None,
        };
        let mut hasher = DefaultHasher::new();
        (upstream, tls.insecure).hash(&mut hasher);
        authorities.hash(&mut hasher);
        if let Some((chain, key)) = &identity {
            (chain, key.secret_der()).hash(&mut hasher);
        }
        let trust = Self {
            authorities,
            identity,
            insecure: tls.insecure,
            fingerprint: hasher.finish(),
        };
        trust.check(settings)?;
        Ok(trust)
    }

    /// Builds what requests and checks will build, so that a bad file is an error now and not a failed request later.
    fn check(&self, settings: &UpstreamSettings) -> Result<(), UpstreamError> {
        let authorities = self.authorities.iter().flatten();
        if let (Err(why), Some(file)) = (roots(authorities.cloned()), &settings.tls.ca) {
            return Err(UpstreamError::BadAuthority {
                upstream: settings.name.clone(),
                file: file.clone(),
                why: why.to_string(),
            });
        }
        match (&self.identity, &settings.tls.cert, &settings.tls.key) {
            (Some(_), Some(cert), Some(key)) => {
                let config = self.client_config(RootCertStore::empty());
                config.map(drop).map_err(|why| UpstreamError::BadIdentity {
                    upstream: settings.name.clone(),
                    cert: cert.clone(),
                    key: key.clone(),
                    why: why.to_string(),
                })
            }
            _ => Ok(()),
        }
    }

    /// How requests and health checks encrypt.
    ///
    /// # Errors
    /// [`UpstreamError::NoAuthorities`] when the system's authorities cannot be read.
    pub fn encryption(&self, settings: &UpstreamSettings) -> Result<Encryption, UpstreamError> {
        let no_authorities = |why: String| UpstreamError::NoAuthorities {
            upstream: settings.name.clone(),
            why,
        };
        let roots = match &self.authorities {
            Some(own) => roots(own.iter().cloned()).map_err(|e| no_authorities(e.to_string()))?,
            None if self.insecure => RootCertStore::empty(),
            None => {
                let mut roots = RootCertStore::empty();
                let system = super::pingora::system_authorities().map_err(no_authorities)?;
                // One that rustls cannot read is one that it could not use for requests either.
                roots.add_parsable_certificates(system);
                roots
            }
        };
        let config = self.client_config(roots);
        let config = config.map_err(|e| no_authorities(e.to_string()))?;
        let offering = |protocols: &[&[u8]]| {
            let mut config = config.clone();
            config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
            TlsConnector::from(Arc::new(config))
        };
        let (requests, checks): (&[&[u8]], &[&[u8]]) = match settings.http {
            UpstreamHttp::Http1 => (&[HTTP1], &[HTTP1]),
            UpstreamHttp::Http2 => (&[HTTP2], &[HTTP2]),
            UpstreamHttp::Auto => (&[HTTP2, HTTP1], &[HTTP1]),
        };
        Ok(Encryption {
            requests: offering(requests),
            checks: offering(checks),
        })
    }

    fn client_config(&self, roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?;
        let builder = if self.insecure {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
        } else {
            builder.with_root_certificates(roots)
        };
        match &self.identity {
            Some((chain, key)) => builder.with_client_auth_cert(chain.clone(), key.clone_key()),
            None => Ok(builder.with_no_client_auth()),
        }
    }
}

/// What ALPN calls HTTP/1.1.
const HTTP1: &[u8] = b"http/1.1";
/// What ALPN calls HTTP/2.
pub const HTTP2: &[u8] = b"h2";

/// An upstream's trust, ready to shake hands with. Made once: what servers give to resume a session by is kept here.
pub struct Encryption {
    /// For requests; offers each version of HTTP that the settings allow.
    pub requests: TlsConnector,
    /// For health checks; offers the one version that they speak.
    pub checks: TlsConnector,
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").finish_non_exhaustive()
    }
}

/// TLS with one server: by which trust, and which name it has to prove. Connections that differ in it are not used for
/// each other's requests; a trust that was read anew is another.
#[derive(Debug, Clone)]
pub struct Secured {
    /// The trust.
    pub encryption: Arc<Encryption>,
    /// The name in SNI and verification.
    pub name: ServerName<'static>,
}

impl PartialEq for Secured {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.encryption, &other.encryption) && self.name == other.name
    }
}

fn roots(
    certificates: impl Iterator<Item = CertificateDer<'static>>,
) -> Result<RootCertStore, rustls::Error> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate)?;
    }
    Ok(roots)
}

fn certificates(
    upstream: &str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, UpstreamError> {
    let unreadable = |why: pem::Error| UpstreamError::Unreadable {
        upstream: upstream.to_owned(),
        file: path.to_owned(),
        expected: "a PEM file with certificates",
        why: why.to_string(),
    };
    let text = file::read(path).map_err(|why| unreadable(pem::Error::Io(why)))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(unreadable)?;
    if found.is_empty() {
        return Err(unreadable(pem::Error::NoItemsFound));
    }
    // Pingora keeps them parsed, and would panic over one that its parser does not take.
    for certificate in &found {
        x509_parser::parse_x509_certificate(certificate).map_err(|why| {
            UpstreamError::Unreadable {
                upstream: upstream.to_owned(),
                file: path.to_owned(),
                expected: "a PEM file with X.509 certificates",
                why: why.to_string(),
            }
        })?;
    }
    Ok(found)
}

fn private_key(upstream: &str, path: &Path) -> Result<PrivateKeyDer<'static>, UpstreamError> {
    let text = file::read(path).map_err(pem::Error::Io);
    let key = text.and_then(|text| PrivateKeyDer::from_pem_slice(&text));
    key.map_err(|why| UpstreamError::Unreadable {
        upstream: upstream.to_owned(),
        file: path.to_owned(),
        expected: "a PEM file with a private key",
        why: why.to_string(),
    })
}

/// Accepts any certificate, for `insecure = true`. The signatures of the hand-shake are still checked: rustls wants
/// them to be, and a server that cannot make them is broken rather than untrusted.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::upstream::settings::{Endpoint, ServerSettings, UpstreamTls};

    fn load(tls: UpstreamTls) -> Result<Trust, UpstreamError> {
        let endpoint = Endpoint::Tcp {
            host: "app".to_owned(),
            port: 443,
        };
        let mut settings = UpstreamSettings::new("api", vec![ServerSettings::new(endpoint)]);
        settings.tls = tls;
        Trust::load(&settings)
    }

    struct Files(tempfile::TempDir);

    impl Files {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a directory"))
        }

        fn write(&self, name: &str, text: &str) -> PathBuf {
            let path = self.0.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        }
    }

    #[test]
    fn good_files_are_read_and_told_apart() {
        let files = Files::new();
        let pair = rcgen::generate_simple_self_signed(["app".to_owned()]).expect("a pair");
        let cert = files.write("cert.pem", &pair.cert.pem());
        let key = files.write("key.pem", &pair.signing_key.serialize_pem());
        let tls = UpstreamTls {
            ca: Some(cert.clone()),
            cert: Some(cert),
            key: Some(key),
            ..UpstreamTls::default()
        };
        let trust = load(tls.clone()).expect("good");
        assert_eq!(trust.authorities.as_ref().map(Vec::len), Some(1));
        assert!(trust.identity.is_some());
        assert_eq!(
            load(tls.clone()).expect("good").fingerprint,
            trust.fingerprint
        );
        let without = UpstreamTls { ca: None, ..tls };
        assert_ne!(load(without).expect("good").fingerprint, trust.fingerprint);
    }

    #[test]
    fn bad_files_are_errors_with_upstream_and_file() {
        let files = Files::new();
        let pem = |tag: &str| format!("-----BEGIN {tag}-----\nAAAA\n-----END {tag}-----\n");
        let one = rcgen::generate_simple_self_signed(["a".to_owned()]).expect("a pair");
        let other = rcgen::generate_simple_self_signed(["b".to_owned()]).expect("a pair");
        let cert = files.write("cert.pem", &one.cert.pem());
        let key_of_other = files.write("other.pem", &other.signing_key.serialize_pem());
        let (no_file, none) = (PathBuf::from("/nowhere/ca.pem"), None);
        #[rustfmt::skip]
        let table = [
            ("missing", Some(no_file), none.clone(), "/nowhere/ca.pem"),
            ("empty", Some(files.write("empty.pem", "")), none.clone(), "empty.pem"),
            ("a key", Some(files.write("key.pem", &pem("PRIVATE KEY"))), none.clone(), "key.pem"),
            ("garbage", Some(files.write("junk.pem", &pem("CERTIFICATE"))), none.clone(), "junk.pem"),
            ("not a pair", None, Some((cert.clone(), key_of_other)), "other.pem"),
            ("no key", None, Some((cert.clone(), cert)), "cert.pem"),
        ];
        for (name, ca, identity, file) in table {
            let (cert, key) = identity.unzip();
            let tls = UpstreamTls {
                ca,
                cert,
                key,
                ..UpstreamTls::default()
            };
            let message = load(tls).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(message.starts_with("upstream `api`: "), "{name}: {message}");
            assert!(message.contains(file), "{name}: {message}");
        }
    }
}
