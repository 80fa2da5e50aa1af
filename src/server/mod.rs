//! Assembles the rooms from settings; reloads, drains and stops.
//!
//! ```text
//!  data threads, one per core                    control runtime
//!  ┌────────────────────────────────┐            ┌──────────────────────────────────────┐
//!  │ accept loops · connections     │  commands  │ signals · admin · file watch         │
//!  │ Pingora's proxy and its pool   │◀───────────│ name look-ups · health checks        │
//!  └────────────────────────────────┘            │ reload · drain · hand-over           │
//!           reads `Site`, `Shared` ◀─ swapped ─  └──────────────────────────────────────┘
//! ```
//!
//! Architecture invariant: a data thread never waits for the control runtime. What it needs is in shared memory,
//! complete, and replaced as a whole.

pub mod files;
pub mod start;

mod assemble;
mod board;
mod changes;
mod control;
mod drain;
mod explain;
mod listeners;
mod reload;
mod threads;

pub mod handover;
pub mod signals;
pub mod watch;

pub use assemble::run;
pub use start::{Listening, RunError, Start};
