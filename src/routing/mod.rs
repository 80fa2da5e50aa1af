//! Which route a request belongs to.

pub mod settings;
