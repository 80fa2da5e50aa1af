//! The control plane over HTTP: health, readiness, metrics, upstream states, reload.
//!
//! `service` accepts and limits, `access` decides who may, `endpoints` finds the call that is meant and gives it what it
//! [`asked`], `calls` answers, and what is behind an answer comes from the server through the [`Control`] trait. Everything
//! here runs on the control runtime: no request of the data plane waits for it.

mod access;
mod answer;
mod asked;
mod calls;
mod control;
mod endpoints;
mod page;
mod seats;
mod service;
pub mod settings;
mod socket;
mod stall;
pub mod stats;

pub use access::Access;
pub use control::{Control, Explained, Readiness, ReloadReport, RouteReadiness};
pub use service::serve;
pub use socket::Socket;
