//! What the control plane asks of the server, and the shapes of its answers.

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// The server as the control plane sees it. All answers but a reload's are given at once, without waiting.
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

    /// All metrics in Prometheus' text format (`application/openmetrics-text`).
    fn metrics(&self) -> String;
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
