//! A certificate authority for one test, and what it signs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// An authority that nobody but this test trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names are valid names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Forebay test authority");
        let key = KeyPair::generate().expect("a key can be made");
        Self {
            issuer: CertifiedIssuer::self_signed(params, key).expect("the authority signs itself"),
        }
    }

    /// Its own certificate.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for `names` and its key, as PEM.
    pub fn certificate(&self, names: &[&str]) -> (String, String) {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names.clone()).expect("DNS names");
        params
            .distinguished_name
            .push(DnType::CommonName, names[0].clone());
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the authority signs");
        (certificate.pem(), key.serialize_pem())
    }

    /// Writes a certificate for `names` to `dir/stem.pem` and its key to `dir/stem.key`.
    pub fn write(&self, dir: &Path, stem: &str, names: &[&str]) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.certificate(names);
        let paths = (
            dir.join(format!("{stem}.pem")),
            dir.join(format!("{stem}.key")),
        );
        std::fs::write(&paths.0, certificate).expect("the test directory is writable");
        std::fs::write(&paths.1, key).expect("the test directory is writable");
        paths
    }

    /// A server for `names`, offering these protocols by ALPN.
    pub fn server(&self, names: &[&str], alpn: &[&str]) -> ServerConfig {
        let (chain, key) = self.pair(names);
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions");
        let mut config = builder
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a matching pair");
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    /// A server for `names` that wants to see a certificate of this authority.
    pub fn server_that_asks(&self, names: &[&str]) -> ServerConfig {
        let (chain, key) = self.pair(names);
        let provider = Arc::new(ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(self.roots()), provider.clone())
                .build()
                .expect("one root is enough");
        ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .expect("a matching pair")
    }

    /// A client that trusts this authority and offers these protocols by ALPN.
    pub fn client(&self, alpn: &[&str]) -> ClientConfig {
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(self.roots())
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        config
    }

    /// The same, with a certificate and its key, as PEM, to show.
    pub fn client_with(&self, certificate: &(String, String)) -> ClientConfig {
        let chain = CertificateDer::from_pem_slice(certificate.0.as_bytes()).expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(certificate.1.as_bytes()).expect("PEM");
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the default versions")
            .with_root_certificates(self.roots())
            .with_client_auth_cert(vec![chain], key)
            .expect("a matching pair")
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots
            .add(self.issuer.der().clone())
            .expect("the authority is a trust anchor");
        roots
    }

    fn pair(&self, names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let (certificate, key) = self.certificate(names);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).expect("PEM");
        (
            vec![certificate],
            PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("PEM"),
        )
    }
}
