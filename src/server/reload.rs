//! A reload: complete new settings are put into force as a whole, or nothing changes.

use super::assemble::fit_into_files;
use super::changes;
use super::listeners::{self, Bound, Closing, Listeners};
use super::start::RunError;
use super::threads::Threads;
use crate::access::Guards;
use crate::admin::ReloadReport;
use crate::admin::settings::AdminListen;
use crate::config::settings::Settings;
use crate::listen::Shared;
use crate::listen::accept::{Speech, Stop};
use crate::listen::settings::ListenSettings;
use crate::proxy::Site;
use crate::telemetry::logging::Logging;
use crate::telemetry::metrics::HttpMetrics;
use crate::tls::{self, Acceptor};
use crate::upstream::{Environment, Upstreams};
use arc_swap::ArcSwap;
use std::convert::Infallible;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// What the control side holds of the running server.
#[derive(Debug)]
pub struct State {
    /// The settings in force.
    pub settings: Settings,
    /// The listeners in force.
    pub listeners: Listeners,
    /// Those that reloads have ended, until they are closed.
    pub closing: Vec<Closing>,
    /// Where new listeners are accepted on.
    pub threads: Threads,
    /// Given to each accept loop; closed when the process ends.
    pub accepting: mpsc::Sender<Infallible>,
    /// What upstreams are built in.
    pub environment: Environment,
    /// The program's own log.
    pub logging: Logging,
    /// Renews certificates while it lives.
    pub certificates: Option<tls::Watch>,
    /// Where the admin listener is, and its socket.
    pub admin: Option<(AdminListen, OwnedFd)>,
}

/// Files that changed under settings that did not, in words.
fn reread(guards: &Guards, upstreams: &Upstreams) -> impl Iterator<Item = String> {
    let passwords = guards.reread.iter();
    let passwords = passwords.map(|file| format!("password file `{}`: changed", file.display()));
    let certificates = upstreams.reread.iter();
    let certificates =
        certificates.map(|it| format!("upstream `{}`: certificates changed", it.name()));
    passwords.chain(certificates)
}

/// Listeners close within half a second.
const CLOSING: Duration = Duration::from_secs(2);

impl State {
    /// Resolves when no address that `settings` want is still that of a listener which an earlier reload has ended, or when that
    /// takes too long: then it is said to be in use.
    pub async fn addresses_are_free(&mut self, settings: &Settings) {
        self.closing.retain(|closing| !closing.is_closed());
        let wanted = |closing: &&Closing| settings.listen.iter().any(|it| it.addr == closing.addr);
        let all = async {
            for closing in self.closing.iter().filter(wanted) {
                closing.closed().await;
            }
        };
        let _ = timeout(CLOSING, all).await;
    }

    /// Puts `settings` into force.
    ///
    /// # Errors
    /// [`RunError`] for what the settings name and is not there; nothing has changed then.
    pub fn apply(
        &mut self,
        mut settings: Settings,
        site: &ArcSwap<Site>,
        shared: &Shared,
    ) -> Result<ReloadReport, RunError> {
        fit_into_files(&mut settings.limits);
        let routes = self.settings.routes.len();
        if settings.routes.is_empty() && routes > 0 {
            return Err(RunError::Config(format!(
                "there is no [[route]], and the configuration in force has {routes}: expected a whole file. If nothing but 404 \
                 is meant, restart the program with it"
            )));
        }
        // Everything that may fail comes first.
        let previous = site.load_full();
        let upstreams = Upstreams::build(
            &settings.upstreams,
            Some(&previous.upstreams),
            &self.environment,
        )
        .map_err(|error| RunError::Config(error.to_string()))?;
        let guards = Guards::build(&settings.access, Some(previous.guards()))
            .map_err(|error| RunError::Config(error.to_string()))?;
        let planned = self.plan_listeners(&settings.listen, &shared.metrics)?;
        if settings.log != self.settings.log {
            shared
                .access_log
                .reconfigure(&settings.log)
                .map_err(|error| RunError::Config(error.to_string()))?;
        }
        self.logging
            .set_level(&settings.log.level)
            .map_err(|error| RunError::Config(error.to_string()))?;
        let mut report = changes::report(&self.settings, &settings);
        report.changes.extend(reread(&guards, &upstreams));

        let mut next = Site::new(
            settings.routes.clone(),
            settings.rules.clone(),
            upstreams,
            settings.proxy.clone(),
            previous.cache.clone(),
            &shared.metrics,
        )
        .limited_by(previous.limits.replaced_by(&settings.rate_limits))
        .guarded(guards);
        next.events = previous.events.clone();
        site.store(Arc::new(next));
        if settings.cache != self.settings.cache {
            previous.cache.resize(settings.cache.clone());
        }
        shared.limits.store(Arc::new(settings.limits.clone()));
        self.replace_listeners(planned)?;
        self.settings = settings;
        self.watch_certificates(&shared.metrics);
        Ok(report)
    }

    /// What each listener of the new settings will be: one that is there, speaking anew, or a new one.
    fn plan_listeners(
        &self,
        settings: &[ListenSettings],
        metrics: &HttpMetrics,
    ) -> Result<Vec<Planned>, RunError> {
        let plan = settings.iter().map(|settings| {
            match self
                .listeners
                .bound
                .iter()
                .position(|bound| bound.settings.addr == settings.addr)
            {
                Some(index) => {
                    let speech = listeners::speech(settings, self.listeners.bound.get(index))?;
                    Ok(Planned::Kept {
                        index,
                        settings: settings.clone(),
                        speech,
                    })
                }
                None => Bound::new(settings, self.threads.count(), Vec::new(), metrics)
                    .map(Planned::New),
            }
        });
        plan.collect()
    }

    fn replace_listeners(&mut self, planned: Vec<Planned>) -> Result<(), RunError> {
        let mut before: Vec<Option<Bound>> = self.listeners.bound.drain(..).map(Some).collect();
        for plan in planned {
            let bound = match plan {
                Planned::New(bound) => {
                    bound.accept(&self.threads, &self.accepting)?;
                    Some(bound)
                }
                Planned::Kept {
                    index,
                    settings,
                    speech,
                } => {
                    let kept = before.get_mut(index).and_then(Option::take);
                    kept.map(|mut bound| {
                        bound.settings = settings;
                        bound.listener.speech.store(Arc::new(speech));
                        bound
                    })
                }
            };
            self.listeners.bound.extend(bound);
        }
        let gone = before.into_iter().flatten();
        self.closing.extend(gone.map(|gone| gone.stop(Stop::Close)));
        Ok(())
    }

    /// Watches the certificates of the listeners now in force, and shows when they end.
    pub fn watch_certificates(&mut self, metrics: &Arc<HttpMetrics>) {
        let acceptors = self.listeners.acceptors();
        show_certificates(metrics, &acceptors);
        let metrics = metrics.clone();
        let watch = || {
            let show = move |acceptors: &[Arc<Acceptor>]| show_certificates(&metrics, acceptors);
            tls::watch(&tokio::runtime::Handle::current(), acceptors.clone(), show)
        };
        self.certificates = (!acceptors.is_empty()).then(watch);
    }

    /// No accept loop begins any more; those that run hold the last of its senders.
    pub fn close_accepting(&mut self) {
        self.accepting = mpsc::channel(1).0;
    }
}

fn show_certificates(metrics: &HttpMetrics, acceptors: &[Arc<Acceptor>]) {
    let certificates = acceptors
        .iter()
        .flat_map(|acceptor| acceptor.certificates());
    metrics.certificates(certificates.map(|certificate| (certificate.name, certificate.not_after)));
}

/// What becomes of one listener.
enum Planned {
    Kept {
        index: usize,
        settings: ListenSettings,
        speech: Speech,
    },
    New(Bound),
}
