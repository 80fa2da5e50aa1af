//! The running server, as the control plane and the signals see it.

use super::board::{self, Board};
use super::handover::{self, Sockets};
use super::reload::State;
use super::start::ReadAgain;
use crate::admin::stats::Stats;
use crate::admin::{Control, Explained, Readiness, ReloadReport, RouteReadiness};
use crate::cache::inspect::{Filter, Listing, Order, Summary};
use crate::cache::purge::{Purge, PurgeEvent, Purged};
use crate::listen::Shared;
use crate::listen::accept::Stop;
use crate::proxy::Site;
use crate::proxy::probe::Probe;
use crate::routing::settings::{Action, RouteSettings};
use crate::telemetry::registry::Registry;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::sync::{Mutex, broadcast, mpsc};

/// Everything that runs.
#[derive(Debug)]
pub struct Served {
    /// What data threads read of each request.
    pub site: Arc<ArcSwap<Site>>,
    /// What they read of each connection.
    pub shared: Arc<Shared>,
    registry: Registry,
    read_again: ReadAgainFn,
    /// What the views are made of.
    pub(super) board: Board,
    /// Where requests are made that an operator asks for.
    pub(super) probes: mpsc::Sender<Probe>,
    /// What a reload changes. Held throughout a reload, so that two never mix.
    pub state: Mutex<State>,
}

/// A function has no `Debug` of its own.
struct ReadAgainFn(ReadAgain);

impl std::fmt::Debug for ReadAgainFn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ReadAgain")
    }
}

impl Served {
    /// Puts it together.
    pub fn new(
        site: Arc<ArcSwap<Site>>,
        shared: Arc<Shared>,
        registry: Registry,
        read_again: ReadAgain,
        state: State,
    ) -> Self {
        Self {
            site,
            shared,
            registry,
            read_again: ReadAgainFn(read_again),
            board: Board::new(state.threads.count()),
            probes: state.threads.probes().clone(),
            state: Mutex::new(state),
        }
    }

    /// Reads the configuration again and puts it into force.
    ///
    /// # Errors
    /// The text of everything that is wrong; nothing has changed then.
    pub async fn reload_now(&self) -> Result<ReloadReport, String> {
        let mut state = self.state.lock().await;
        let read_again = self.read_again.0.clone();
        let result = match tokio::task::spawn_blocking(move || read_again()).await {
            Ok(Ok(settings)) => {
                state.addresses_are_free(&settings).await;
                let applied = state.apply(settings, &self.site, &self.shared);
                applied.map_err(|error| error.to_string())
            }
            Ok(Err(errors)) => Err(errors),
            Err(_) => Err("reading the configuration failed".to_owned()),
        };
        self.shared.metrics.reloaded(result.is_ok());
        self.board.reloaded(&result);
        match &result {
            Ok(report) if report.changes.is_empty() => {
                tracing::info!("reloaded; nothing has changed");
            }
            Ok(report) => tracing::info!("reloaded: {}", report.changes.join("; ")),
            Err(errors) => tracing::error!("the configuration stays as it was:\n{errors}"),
        }
        if let Ok(report) = &result {
            for change in &report.needs_restart {
                tracing::warn!("needs a restart: {change}");
            }
        }
        result
    }

    /// Reloads for a signal or a changed file; the outcome is in the log.
    pub async fn reload_and_log(&self) {
        let _ = self.reload_now().await;
    }

    /// Starts a successor and gives it the listening sockets. True when it serves and this process is to end.
    pub async fn hand_over(&self) -> bool {
        let mut state = self.state.lock().await;
        let sockets = state
            .listeners
            .duplicate()
            .and_then(|mut sockets: Sockets| {
                if let Some((address, socket)) = &state.admin {
                    sockets.push((address.into(), vec![socket.try_clone()?]));
                }
                Ok(sockets)
            });
        let offered = match sockets {
            Ok(sockets) => handover::offer(&sockets)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match offered {
            Ok(pid) => {
                tracing::info!("process {pid} has taken over; draining");
                state.listeners.stop(Stop::Leave);
                true
            }
            Err(error) => {
                tracing::error!("the hand-over failed, this process goes on serving: {error}");
                false
            }
        }
    }
}

#[async_trait]
impl Control for Served {
    async fn reload(&self) -> Result<ReloadReport, String> {
        self.reload_now().await
    }

    fn readiness(&self) -> Readiness {
        let site = self.site.load();
        let routes = site
            .routes
            .in_order()
            .map(|route| route_readiness(&site, route));
        Readiness {
            draining: self.shared.lifecycle.is_draining(),
            routes: routes.collect(),
        }
    }

    fn upstreams(&self) -> serde_json::Value {
        let views: Vec<_> = self
            .site
            .load()
            .upstreams
            .iter()
            .map(|upstream| upstream.view())
            .collect();
        // Views are plain structures; they always have a JSON form.
        serde_json::to_value(views).unwrap_or_default()
    }

    async fn stats(&self) -> Stats {
        board::stats(self).await
    }

    fn metrics(&self) -> String {
        self.registry.encode()
    }

    async fn explain(&self, question: serde_json::Value) -> Result<Explained, String> {
        let explanation = self.explain_now(question).await?;
        Ok(Explained {
            text: explanation.to_text(),
            // It is a plain structure; it always has a JSON form.
            value: serde_json::to_value(explanation).unwrap_or_default(),
        })
    }

    fn purge(&self, purge: &Purge) -> Purged {
        self.site.load().cache.purge(purge)
    }

    fn purges(&self) -> broadcast::Receiver<Arc<PurgeEvent>> {
        self.site.load().cache.purges()
    }

    fn cached(&self, filter: &Filter, order: Order, limit: usize) -> Listing {
        self.site.load_full().cache.list(filter, order, limit)
    }

    fn cache_stats(&self) -> Summary {
        self.site.load_full().cache.summary()
    }
}

/// A route is ready when one of its upstreams has somebody, or when it needs none.
fn route_readiness(site: &Site, route: &RouteSettings) -> RouteReadiness {
    let Action::Forward(shares) = &route.action else {
        return RouteReadiness {
            route: route.name.clone(),
            ready: true,
            reason: None,
        };
    };
    let mut reason = None;
    for share in shares {
        match site
            .upstreams
            .get(&share.upstream)
            .map(|upstream| upstream.view())
        {
            Some(view) if view.available => {
                return RouteReadiness {
                    route: route.name.clone(),
                    ready: true,
                    reason: None,
                };
            }
            Some(view) => {
                reason = view
                    .reason
                    .map(|why| format!("upstream `{}`: {why}", share.upstream));
            }
            None => {}
        }
    }
    RouteReadiness {
        route: route.name.clone(),
        ready: false,
        reason,
    }
}
