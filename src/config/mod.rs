//! From `proxy.toml` to settings, or to all of its errors at once, each with line, column and remedy.

pub mod settings;
