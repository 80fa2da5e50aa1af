//! Whole upstreams, with a fake network and paused time.
