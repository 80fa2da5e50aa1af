//! What the control plane asks of the server, and the shapes of its answers.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use super::stats::Stats;
use crate::cache::inspect::{Filter, Listing, Order, Summary};
use crate::cache::purge::{Purge, PurgeEvent, Purged};

/// The server as the control plane sees it. None of its methods but
/// `reload` and `stats` waits for anything.
#[async_trait]
pub trait Control: Send + Sync + 'static {
    /// Reads the configuration again and puts it into force. A second call while one runs waits its turn. Runs to its
    /// end even when the caller goes away.
    ///
    /// # Errors
    /// The text of all configuration errors, as the log has it; then nothing has changed.
    async fn reload(&self) -> Result<ReloadReport, String>;

    /// Whether each route has somebody to answer it.
    fn readiness(&self) -> Readiness;

    /// The state of every upstream and its servers.
    fn upstreams(&self) -> serde_json::Value;

    /// Everything that the views draw. Waits where what is stored has to be walked over.
    async fn stats(&self) -> Stats;

    /// All metrics in Prometheus' text format (`application/openmetrics-text`).
    fn metrics(&self) -> String;

    /// Purges. Once this returns, nothing of what is meant is served any more as it was. Takes its time, as listing and
    /// counting do.
    fn purge(&self, purge: &Purge) -> Purged;

    /// The purges from now on.
    fn purges(&self) -> broadcast::Receiver<Arc<PurgeEvent>>;

    /// The first of the stored responses that fit.
    fn cached(&self, filter: &Filter, order: Order, limit: usize) -> Listing;

    /// How much is stored.
    fn cache_stats(&self) -> Summary;

    /// What would become of a request, and why; with a real one where the question says so, which takes its time.
    ///
    /// # Errors
    /// What is wrong with the question, and how it is asked.
    async fn explain(&self, question: serde_json::Value) -> Result<Explained, String>;
}

/// What would become of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Explained {
    /// For programs: an object, whose members `docs/explaining.md` lists.
    pub value: serde_json::Value,
    /// For people.
    pub text: String,
}

/// What a reload did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// One line for each thing that is different now, such as "route `api`: changed".
    pub changes: Vec<String>,
    /// What differs in the file but is not in force before a restart, with the reason.
    #[serde(default)]
    pub needs_restart: Vec<String>,
}

/// Whether requests can be served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readiness {
    /// True from the moment a drain begins; then no route counts as ready.
    pub draining: bool,
    /// Every route, in the order of the settings.
    pub routes: Vec<RouteReadiness>,
}

/// Whether one route's requests can be served.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteReadiness {
    /// The route's name.
    pub route: String,
    /// Whether a server is available, or none is needed.
    pub ready: bool,
    /// Why not: "upstream `api`: no healthy server".
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
