//! `Cache-Control` and its relatives as directives (RFC 9111 §5.2, RFC 9213).
