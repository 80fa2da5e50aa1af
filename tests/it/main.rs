//! Scenarios against the real program: an origin, an edge, a client, read top to bottom.

#![expect(clippy::unwrap_used, reason = "a rig or a scenario that is wrong fails where it stands")]
#![allow(dead_code)]
mod rig;
mod smoke;
