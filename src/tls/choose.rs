//! Which certificate a client gets: by its SNI, exact name before wildcard, the first certificate for everybody else.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::SignatureScheme;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::tls::certificate::Certificate;

/// All certificates of a listener by name. Complete when made, then unchanged: a renewal makes another.
#[derive(Debug)]
pub(super) struct ByName {
    exact: HashMap<String, Vec<Arc<CertifiedKey>>>,
    /// `*.example.org` by `example.org`.
    wildcard: HashMap<String, Vec<Arc<CertifiedKey>>>,
    first: Option<Arc<CertifiedKey>>,
}

impl ByName {
    /// In the order of the settings: it decides between certificates of the same name.
    pub(super) fn new<'a>(certificates: impl IntoIterator<Item = &'a Arc<Certificate>>) -> Self {
        let mut by_name = Self {
            exact: HashMap::new(),
            wildcard: HashMap::new(),
            first: None,
        };
        for certificate in certificates {
            for name in &certificate.names {
                let (map, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut by_name.wildcard, parent),
                    None => (&mut by_name.exact, name.as_str()),
                };
                map.entry(name.to_owned())
                    .or_default()
                    .push(Arc::clone(&certificate.key));
            }
            by_name
                .first
                .get_or_insert_with(|| Arc::clone(&certificate.key));
        }
        by_name
    }

    /// The certificate for a name, and of several for it (RSA beside ECDSA) the first that the client can verify.
    fn find(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let candidates = name.and_then(|name| {
            let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
            self.exact.get(&name).or_else(|| {
                // RFC 9525 §6.3: a wildcard stands for exactly one label.
                let (label, parent) = name.split_once('.')?;
                (!label.is_empty()).then(|| self.wildcard.get(parent))?
            })
        });
        let Some(candidates) = candidates else {
            return self.first.clone();
        };
        candidates
            .iter()
            .find(|key| key.key.choose_scheme(schemes).is_some())
            .or_else(|| candidates.first())
            .cloned()
    }
}

/// What rustls asks on each hand-shake.
#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) current: ArcSwap<ByName>,
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current
            .load()
            .find(hello.server_name(), hello.signature_schemes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
    use std::time::SystemTime;

    fn certificate(
        names: &[&str],
        algorithm: &'static rcgen::SignatureAlgorithm,
    ) -> Arc<Certificate> {
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let owned: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::CertificateParams::new(owned.clone())
            .and_then(|params| params.self_signed(&key))
            .expect("a certificate");
        let der = rustls_pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let signing =
            rustls::crypto::ring::sign::any_supported_type(&der).expect("a supported key");
        Arc::new(Certificate {
            key: Arc::new(CertifiedKey::new(vec![made.der().clone()], signing)),
            names: owned,
            not_before: SystemTime::UNIX_EPOCH,
            not_after: SystemTime::UNIX_EPOCH,
        })
    }

    #[test]
    fn by_name() {
        let all = [
            certificate(&["first.org"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["example.org", "*.example.org"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["api.example.org"], &PKCS_ECDSA_P256_SHA256),
            certificate(&["example.org"], &PKCS_ECDSA_P256_SHA256),
        ];
        let by_name = ByName::new(&all);
        for (name, expected) in [
            (None, 0),
            (Some("first.org"), 0),
            (Some("example.org"), 1),
            (Some("EXAMPLE.org"), 1),
            (Some("example.org."), 1),
            (Some("www.example.org"), 1),
            (Some("api.example.org"), 2),
            (Some("a.b.example.org"), 0),
            (Some(".example.org"), 0),
            (Some("other.net"), 0),
            (Some("org"), 0),
            (Some(""), 0),
        ] {
            let found = by_name.find(name, &[SignatureScheme::ECDSA_NISTP256_SHA256]);
            assert!(
                found.is_some_and(|key| Arc::ptr_eq(&key, &all[expected].key)),
                "{name:?}"
            );
        }
        assert!(ByName::new([]).find(Some("a"), &[]).is_none());
    }

    #[test]
    fn of_two_for_a_name_the_one_the_client_can_verify() {
        let all = [
            certificate(&["a.org"], &PKCS_ED25519),
            certificate(&["a.org"], &PKCS_ECDSA_P256_SHA256),
        ];
        let by_name = ByName::new(&all);
        for (scheme, expected) in [
            (SignatureScheme::ED25519, 0),
            (SignatureScheme::ECDSA_NISTP256_SHA256, 1),
            (SignatureScheme::RSA_PSS_SHA256, 0),
        ] {
            let found = by_name.find(Some("a.org"), &[scheme]);
            assert!(
                found.is_some_and(|key| Arc::ptr_eq(&key, &all[expected].key)),
                "{scheme:?}"
            );
        }
    }
}
