//! What a TLS listener holds: rustls' configuration and the certificates behind it, which are renewed in place.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};

use crate::clock;
use crate::tls::TlsError;
use crate::tls::certificate::{Certificate, Files};
use crate::tls::choose::{ByName, Chooser};
use crate::tls::clients::Clients;
use crate::tls::settings::{CertificateSettings, TlsSettings};

/// Sessions kept for clients that resume without tickets, which hardly one does: some 2 KiB each.
const SESSIONS_KEPT: usize = 256;
/// A certificate that ends sooner than this is said in the log when it is loaded.
const ENDS_SOON: Duration = Duration::from_secs(7 * 24 * 3_600);

/// The TLS side of one listener. Shared by its accept loops.
#[derive(Debug)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    chooser: Arc<Chooser>,
    provider: Arc<CryptoProvider>,
    settings: TlsSettings,
    http2: bool,
    /// Where clients are asked for certificates.
    clients: Option<Arc<Clients>>,
    /// Guards the certificates in use and makes renewals one at a time. Held while files are read; hand-shakes never
    /// take it.
    pub(super) pairs: Mutex<Vec<Pair>>,
}

/// One certificate's files and what they last gave.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) certificate: Arc<Certificate>,
    /// Of the files last tried, whether they were good or not; `None` when they could not be read.
    tried: Option<u64>,
}

/// A certificate in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateInfo {
    /// Its first name; the file where it has none.
    pub name: String,
    /// All its names.
    pub names: Vec<String>,
    /// When it ends.
    pub not_after: SystemTime,
}

/// What a renewal did.
#[derive(Debug, Default)]
pub struct Renewal {
    /// Pairs that had changed and are in use now.
    pub renewed: usize,
    /// Why others that had changed were not taken; what they replace stays in use.
    pub kept: Vec<TlsError>,
}

impl Acceptor {
    /// Loads all certificates. TLS 1.2 and 1.3 on ring; ALPN offers `h2` first where `http2` is set.
    ///
    /// # Errors
    /// [`TlsError`] of the first pair that cannot be used.
    pub fn load(settings: &TlsSettings, http2: bool) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let pairs = settings
            .certificates
            .iter()
            .map(|files| {
                let read = Files::read(files)?;
                let certificate = read.certificate(files, &provider)?;
                warn_of_dates(files, &certificate);
                Ok(Pair {
                    certificate: Arc::new(certificate),
                    tried: Some(read.fingerprint()),
                })
            })
            .collect::<Result<Vec<_>, TlsError>>()?;
        if pairs.is_empty() {
            return Err(TlsError::Empty);
        }
        let chooser = Arc::new(Chooser {
            current: ArcSwap::from_pointee(by_name(&pairs)),
        });
        let clients = settings.clients.as_ref();
        let clients = clients.map(|clients| Clients::load(clients, &provider));
        let clients = clients.transpose()?;
        let config = server_config(&provider, &chooser, clients.clone(), http2)?;
        Ok(Self {
            config: Arc::new(config),
            chooser,
            provider,
            settings: settings.clone(),
            http2,
            clients,
            pairs: Mutex::new(pairs),
        })
    }

    /// rustls' configuration. It stays the same over renewals, so that session tickets stay good.
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// Whether this was loaded for the same settings: then a reload of `proxy.toml` can go on with it, and keeps the
    /// sessions.
    pub fn is_for(&self, settings: &TlsSettings, http2: bool) -> bool {
        self.settings == *settings && self.http2 == http2
    }

    /// Reads all files again and takes those into use that have changed. A pair that cannot be used leaves the old one
    /// in place; file and reason are logged, once for each state of the files. Reads files: not for a data thread.
    pub fn reload(&self) -> Renewal {
        let mut renewal = Renewal::default();
        let mut pairs = self.pairs.lock();
        for (files, pair) in self.settings.certificates.iter().zip(pairs.iter_mut()) {
            match self.reload_pair(files, pair) {
                Ok(true) => {
                    renewal.renewed += 1;
                    tracing::info!(
                        certificate = %files.cert.display(),
                        not_after = %crate::telemetry::rfc3339(pair.certificate.not_after),
                        "certificate renewed"
                    );
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("{error}; the certificate loaded before stays in use");
                    renewal.kept.push(error);
                }
            }
        }
        if let Some(clients) = &self.clients {
            let file = clients.settings().ca.display();
            match clients.reload() {
                Ok(true) => {
                    renewal.renewed += 1;
                    tracing::info!("the authorities of clients in `{file}` were read again");
                }
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!("{error}; the authorities loaded before stay in use");
                    renewal.kept.push(error);
                }
            }
        }
        if renewal.renewed > 0 {
            self.chooser.current.store(Arc::new(by_name(&pairs)));
        }
        renewal
    }

    /// True where the pair is new. An error is returned once for each state of the files.
    fn reload_pair(&self, files: &CertificateSettings, pair: &mut Pair) -> Result<bool, TlsError> {
        let read = match Files::read(files) {
            Ok(read) => read,
            Err(error) => {
                return match pair.tried.take() {
                    Some(_) => Err(error),
                    None => Ok(false),
                };
            }
        };
        let fingerprint = read.fingerprint();
        if pair.tried.replace(fingerprint) == Some(fingerprint) {
            return Ok(false);
        }
        let certificate = read.certificate(files, &self.provider)?;
        if certificate.key.cert == pair.certificate.key.cert {
            // As before: the files were unreadable or bad in between.
            return Ok(false);
        }
        warn_of_dates(files, &certificate);
        pair.certificate = Arc::new(certificate);
        Ok(true)
    }

    /// All files that were read, for who watches them.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.settings
            .certificates
            .iter()
            .flat_map(|files| [files.cert.as_path(), files.key.as_path()])
            .chain(
                self.settings
                    .clients
                    .iter()
                    .map(|clients| clients.ca.as_path()),
            )
    }

    /// The certificates in use, in the order of the settings.
    pub fn certificates(&self) -> Vec<CertificateInfo> {
        let pairs = self.pairs.lock();
        let info = |(files, pair): (&CertificateSettings, &Pair)| CertificateInfo {
            name: match pair.certificate.names.first() {
                Some(name) => name.clone(),
                None => files.cert.display().to_string(),
            },
            names: pair.certificate.names.clone(),
            not_after: pair.certificate.not_after,
        };
        self.settings
            .certificates
            .iter()
            .zip(pairs.iter())
            .map(info)
            .collect()
    }
}

fn by_name(pairs: &[Pair]) -> ByName {
    ByName::new(pairs.iter().map(|pair| &pair.certificate))
}

fn server_config(
    provider: &Arc<CryptoProvider>,
    chooser: &Arc<Chooser>,
    clients: Option<Arc<Clients>>,
    http2: bool,
) -> Result<ServerConfig, TlsError> {
    let resumes = clients.is_none();
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Provider)?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(clients),
        None => builder.with_no_client_auth(),
    };
    let chooser: Arc<Chooser> = Arc::clone(chooser);
    let mut config = builder.with_cert_resolver(chooser);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    if !resumes {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        return Ok(config);
    }
    // Tickets put the session on the client's side; early data stays off, because it can be replayed.
    config.ticketer = ring::Ticketer::new().map_err(TlsError::Provider)?;
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS_KEPT);
    Ok(config)
}

fn warn_of_dates(files: &CertificateSettings, certificate: &Certificate) {
    let now = clock::wall();
    let path: PathBuf = files.cert.clone();
    let (from, until) = (
        crate::telemetry::rfc3339(certificate.not_before),
        crate::telemetry::rfc3339(certificate.not_after),
    );
    if certificate.not_after < now {
        tracing::warn!(
            "the certificate in `{}` has expired at {until}; clients will refuse it",
            path.display()
        );
    } else if certificate.not_before > now {
        tracing::warn!(
            "the certificate in `{}` is not valid before {from}; clients will refuse it",
            path.display()
        );
    } else if certificate.not_after < now + ENDS_SOON {
        tracing::warn!(
            "the certificate in `{}` expires soon, at {until}",
            path.display()
        );
    }
}
