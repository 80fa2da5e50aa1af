//! How long a response is fresh (RFC 9111 §4.2.1, §4.2.2).
