//! What the program says of itself: its log, the access log, the metrics.

pub mod settings;
