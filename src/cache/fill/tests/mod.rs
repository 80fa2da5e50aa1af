//! The engine without a socket: clients ask and follow, a scripted origin writes, Tokio's paused clock is moved by hand.

mod interleavings;
mod pacing;
mod parts;
mod purge;
mod purge_histories;
mod purge_told;
mod rig;
mod scenarios;
mod sharing;
mod stale;
mod threads;
