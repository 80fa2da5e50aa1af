//! Forebay: an edge reverse proxy in front of web services. This file lists the rooms in reading order.
//!
//! Read upwards, the list is the order of dependency: a room may import only rooms below it, as the table in
//! `ARCHITECTURE.md` says and `tests/tidy.rs` enforces.

pub mod cli;
pub mod import;
pub mod server;

pub mod config;

pub mod admin;

pub mod express;
pub mod listen;
pub mod proxy;

pub mod access;
pub mod cache;
pub mod upstream;

pub mod rate;

pub mod coding;
pub mod routing;

pub mod tls;

pub mod telemetry;

pub mod fields;

pub mod arena;

pub mod clock;
pub mod file;
pub mod units;
