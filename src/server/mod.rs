//! Assembles the rooms from settings; reloads, drains and stops.

pub mod handover;
pub mod signals;
pub mod start;
pub mod watch;

pub use start::{Listening, RunError, Start};
