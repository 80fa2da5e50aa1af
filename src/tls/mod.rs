//! Certificates of the listeners: loaded, chosen by name, renewed when their files change.

pub mod settings;
