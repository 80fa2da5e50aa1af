//! Origins: where they are, whether they are well, which one is next, and how long a request waits for one.

pub mod settings;
