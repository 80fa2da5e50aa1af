//! Scenarios against the real program: an origin, an edge, a client, read top to bottom.
