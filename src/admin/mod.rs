//! The control plane over HTTP: health, readiness, metrics, upstream states, reload.
//!
//! `service` accepts and limits, `access` decides who may, `endpoints` answers, and what is behind an answer comes from
//! the server through the [`Control`] trait. Everything here runs on the control runtime: no request of the data plane
//! waits for it.

mod access;
mod control;
mod endpoints;
mod service;
pub mod settings;
mod socket;

pub use access::Access;
pub use control::{Control, Readiness, ReloadReport, RouteReadiness};
pub use service::serve;
pub use socket::Socket;
