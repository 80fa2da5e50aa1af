//! What is no longer to be used after a write (RFC 9111 §4.4).
