//! One request's walk, as Pingora's phases.

pub mod settings;
