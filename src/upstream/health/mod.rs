//! Whether addresses are well: what requests find out by the way, what checks ask, and who looks whether one is back.

pub(super) mod active;
pub(super) mod passive;
pub(super) mod prober;
