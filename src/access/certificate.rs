//! Whether a client's certificate is one that a route lets in, and how an upstream is told of it.

use super::settings::{
    CLIENT_CERT, CLIENT_CERT_CHAIN, CertificateSettings, Demand, PassCertificate,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue};

/// What a fingerprint begins with.
const SHA256: &str = "sha256:";

/// A client's certificate, as far as a decision needs it. The listener trusts its issuer.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The names in it: DNS names, mail addresses and URIs of its alternative names, its common name.
    pub names: &'a [String],
    /// SHA-256 of it, in lower-case hexadecimal digits.
    pub fingerprint: &'a str,
    /// It and its issuers in DER, as the client sent them.
    pub chain: &'a [Vec<u8>],
}

/// Why a client is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Short {
    /// It has shown none.
    Missing,
    /// It has shown one for others.
    Wrong,
}

impl CertificateSettings {
    /// Whether it changes nothing, whatever is shown.
    pub fn is_idle(&self) -> bool {
        self.demand == Demand::Optional && self.pass == PassCertificate::No
    }

    /// Whether what was shown will do.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(&self, shown: Option<Shown<'_>>) -> Result<(), Short> {
        match (&self.demand, shown) {
            (Demand::Optional, _) | (Demand::Any, Some(_)) => Ok(()),
            (Demand::Any | Demand::OneOf(_), None) => Err(Short::Missing),
            (Demand::OneOf(wanted), Some(shown)) => {
                let fits = wanted
                    .iter()
                    .any(|wanted| match wanted.strip_prefix(SHA256) {
                        Some(digits) => digits.eq_ignore_ascii_case(shown.fingerprint),
                        None => shown
                            .names
                            .iter()
                            .any(|name| name.eq_ignore_ascii_case(wanted)),
                    });
                fits.then_some(()).ok_or(Short::Wrong)
            }
        }
    }

    /// What the upstream is told of what was shown (RFC 9440 §2).
    pub fn told(&self, shown: Shown<'_>) -> Vec<(HeaderName, HeaderValue)> {
        let Some((leaf, issuers)) = shown.chain.split_first() else {
            return Vec::new();
        };
        let mut told = Vec::new();
        // RFC 9440 §2.1: a byte sequence of RFC 8941.
        let item = |der: &Vec<u8>| format!(":{}:", STANDARD.encode(der));
        let mut tell = |name, value: &str| {
            if let Ok(value) = HeaderValue::from_str(value) {
                told.push((name, value));
            }
        };
        if self.pass != PassCertificate::No {
            tell(CLIENT_CERT, &item(leaf));
        }
        // "The Client-Cert-Chain header field MUST NOT be used unless Client-Cert is also used"
        if self.pass == PassCertificate::Chain && !issuers.is_empty() {
            let items: Vec<String> = issuers.iter().map(item).collect();
            tell(CLIENT_CERT_CHAIN, &items.join(", "));
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_ones_will_do() {
        let names = ["ann@example.org".to_owned(), "spiffe://a/b".to_owned()];
        let shown = Shown {
            names: &names,
            fingerprint: "00ff",
            chain: &[],
        };
        let one_of = |wanted: &str| Demand::OneOf(vec!["nobody".to_owned(), wanted.to_owned()]);
        for (demand, shown, expected) in [
            (Demand::Optional, None, Ok(())),
            (Demand::Any, None, Err(Short::Missing)),
            (Demand::Any, Some(shown), Ok(())),
            (one_of("x"), None, Err(Short::Missing)),
            (one_of("x"), Some(shown), Err(Short::Wrong)),
            (one_of("Ann@example.org"), Some(shown), Ok(())),
            (one_of("spiffe://a/b"), Some(shown), Ok(())),
            (one_of("sha256:00FF"), Some(shown), Ok(())),
            (one_of("sha256:00fe"), Some(shown), Err(Short::Wrong)),
            (one_of("00ff"), Some(shown), Err(Short::Wrong)),
        ] {
            let settings = CertificateSettings {
                demand: demand.clone(),
                pass: PassCertificate::No,
            };
            assert_eq!(settings.judge(shown), expected, "{demand:?}");
        }
    }

    #[test]
    fn what_the_upstream_is_told() {
        let chain = [vec![1, 2, 3], vec![4], vec![5]];
        let shown = Shown {
            names: &[],
            fingerprint: "",
            chain: &chain,
        };
        for (pass, expected) in [
            (PassCertificate::No, ""),
            (PassCertificate::Leaf, "client-cert=:AQID: "),
            (
                PassCertificate::Chain,
                "client-cert=:AQID: client-cert-chain=:BA==:, :BQ==: ",
            ),
        ] {
            let settings = CertificateSettings {
                demand: Demand::Any,
                pass,
            };
            let told = settings.told(shown);
            let mut text = String::new();
            for (name, value) in &told {
                text.extend([name.as_str(), "=", value.to_str().expect("ASCII"), " "]);
            }
            assert_eq!(text, expected, "{pass:?}");
        }
    }
}
