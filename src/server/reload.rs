//! A reload: complete new settings are put into force as a whole, or nothing changes.

use super::assemble::fit_into_files;
use super::listeners::{self, Bound, Listeners};
use super::start::RunError;
use super::threads::Threads;
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
use tokio::sync::mpsc;

/// What the control side holds of the running server.
#[derive(Debug)]
pub struct State {
    /// The settings in force.
    pub settings: Settings,
    /// The listeners in force.
    pub listeners: Listeners,
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

impl State {
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
        // Everything that may fail comes first.
        let previous = site.load_full();
        let upstreams = Upstreams::build(
            &settings.upstreams,
            Some(&previous.upstreams),
            &self.environment,
        )
        .map_err(|error| RunError::Config(error.to_string()))?;
        let planned = self.plan_listeners(&settings.listen, &shared.metrics)?;
        self.logging
            .set_level(&settings.log.level)
            .map_err(|error| RunError::Config(error.to_string()))?;
        if settings.log != self.settings.log {
            shared
                .access_log
                .reconfigure(&settings.log)
                .map_err(|error| RunError::Config(error.to_string()))?;
        }
        let report = report(&self.settings, &settings);

        let mut next = Site::new(
            settings.routes.clone(),
            settings.rules.clone(),
            upstreams,
            settings.proxy.clone(),
            previous.cache.clone(),
            &shared.metrics,
        );
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
        for gone in before.into_iter().flatten() {
            gone.stop(Stop::Close);
        }
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

/// What is different, in words, and what is not in force before a restart.
fn report(before: &Settings, after: &Settings) -> ReloadReport {
    let mut changes = Vec::new();
    let mut compare = |what: &str, names: (Vec<&str>, Vec<&str>), same: &dyn Fn(&str) -> bool| {
        for name in &names.1 {
            if !names.0.contains(name) {
                changes.push(format!("{what} `{name}`: added"));
            } else if !same(name) {
                changes.push(format!("{what} `{name}`: changed"));
            }
        }
        for name in names.0.iter().filter(|name| !names.1.contains(name)) {
            changes.push(format!("{what} `{name}`: removed"));
        }
    };
    let routes = |settings: &'_ Settings, name: &str| -> Vec<_> {
        settings
            .routes
            .iter()
            .zip(&settings.rules)
            .filter(|(route, _)| route.name == name)
            .map(|(route, rules)| {
                // Its number in the file changes with its neighbours.
                let mut route = route.clone();
                route.index = 0;
                (route, rules.clone())
            })
            .collect()
    };
    compare(
        "route",
        (
            before
                .routes
                .iter()
                .map(|route| route.name.as_str())
                .collect(),
            after
                .routes
                .iter()
                .map(|route| route.name.as_str())
                .collect(),
        ),
        &|name| routes(before, name) == routes(after, name),
    );
    let upstream = |settings: &'_ Settings, name: &str| {
        settings.upstreams.iter().find(|u| u.name == name).cloned()
    };
    compare(
        "upstream",
        (
            before
                .upstreams
                .iter()
                .map(|upstream| upstream.name.as_str())
                .collect(),
            after
                .upstreams
                .iter()
                .map(|upstream| upstream.name.as_str())
                .collect(),
        ),
        &|name| upstream(before, name) == upstream(after, name),
    );
    let addresses = |settings: &Settings| {
        settings
            .listen
            .iter()
            .map(|l| l.addr.to_string())
            .collect::<Vec<_>>()
    };
    let (listened, listens) = (addresses(before), addresses(after));
    let listen = |settings: &'_ Settings, name: &str| {
        settings
            .listen
            .iter()
            .find(|l| l.addr.to_string() == name)
            .cloned()
    };
    compare(
        "listener",
        (
            listened.iter().map(String::as_str).collect(),
            listens.iter().map(String::as_str).collect(),
        ),
        &|name| listen(before, name) == listen(after, name),
    );
    for (what, same) in [
        ("limits", before.limits == after.limits),
        ("cache", before.cache == after.cache),
        ("log", before.log == after.log),
        (
            "server: what each request is told",
            before.proxy == after.proxy,
        ),
        (
            "server: grace and watch",
            before.server.shutdown_grace == after.server.shutdown_grace
                && before.server.watch == after.server.watch,
        ),
    ] {
        if !same {
            changes.push(format!("{what}: changed"));
        }
    }
    let mut needs_restart = Vec::new();
    if before.server.threads != after.server.threads {
        needs_restart.push("server.threads: threads are started once".to_owned());
    }
    if before.admin != after.admin {
        needs_restart.push("admin: its listener is bound once".to_owned());
    }
    ReloadReport {
        changes,
        needs_restart,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn what_changed_is_told_and_nothing_else() {
        let settings = |text: &str| config::load_str(text, "proxy.toml").expect("a good file");
        let route = |path: &str, cache: &str| {
            format!("[[route]]\npath = '{path}'\nto = 'http://a'\ncache = {cache}\n")
        };
        let before = settings(&[route("/a", "true"), route("/b", "true")].concat());
        let after = settings(
            &[
                "[cache]\nmemory = '64MiB'\n".to_owned(),
                route("/new", "true"),
                route("/a", "true"),
                route("/b", "{ ttl = '5m' }"),
            ]
            .concat(),
        );
        let report = report(&before, &after);
        assert_eq!(
            report.changes,
            [
                "route `/new`: added",
                "route `/b`: changed",
                "cache: changed"
            ]
        );
        assert_eq!(report.needs_restart, [""; 0]);
    }
}
