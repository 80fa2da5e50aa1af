//! Accepts connections, gates every request head, and hands exactly one request at a time to the proxy.

pub mod settings;

pub mod proxy_protocol;
