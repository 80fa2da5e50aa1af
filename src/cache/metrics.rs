//! What the cache counts.
