//! HTTP field syntax: parses and writes, decides nothing.
