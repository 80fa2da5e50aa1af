//! One request's walk, as Pingora's phases.

pub mod error_page;
pub mod files;
mod negotiate;
pub mod settings;
pub mod template;
