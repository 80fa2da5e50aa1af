//! The rig: origins, an edge and clients as sentences, exact about what is on the wire.
//!
//! - [`origin`]: a scripted server that records every byte that reached it, and panics when one of them is not canonical HTTP.
//! - [`edge`]: the real program with a temporary `proxy.toml`, its logs, metrics and signals.
//! - [`client`]: a client that reads answers strictly and can also write any bytes at all.
//! - [`crowd`]: many of them at once, and when each saw what.
//! - [`cache`]: freshness and validators of an answer, and what became of it in the cache.
//!
//! Nothing here sleeps. What a test waits for is an event, and [`within`] bounds the wait and names it.

mod app;
mod cache;
mod client;
mod crowd;
mod edge;
mod gate;
mod h1_origin;
mod h2_client;
mod h2_origin;
mod h2_wire;
mod lines;
mod origin;
mod process;
mod reply;
mod request;
mod response;
mod stream;
mod tls;
mod websocket;
mod wire;

pub use app::{App, gunicorn, pulse, python, repository};
pub use cache::{ago, ahead};
pub use client::{Client, Connection, client};
pub use crowd::{Crowd, Seen};
pub use edge::{Edge, edge, temporary_directory};
pub use gate::{Gate, gate, within};
pub use h2_wire::{H2Wire, encode as encode_frame, flag, kind};
pub use lines::Lines;
pub use origin::{Origin, origin};
pub use process::{forebay, free_port, peak_kib, resident_kib, run_forebay};
pub use reply::{Reply, Step, ok, raw, reset, status, upgrade};
pub use request::{Request, get, head, post, put, request};
pub use response::Response;
pub use stream::Stream;
pub use tls::Authority;
pub use websocket::WebSocket;
