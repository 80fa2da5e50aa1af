//! The control plane over HTTP: health, readiness, metrics, upstream states, reload.

pub mod settings;
