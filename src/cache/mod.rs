//! The cache engine: what may be kept, what may be reused, and who fetches what is missing.
//!
//! It knows HTTP's fields and no socket: a front end [`ask`](Cache::ask)s with a request's head and is told what to do;
//! what is missing is fetched by whoever holds the [`Lead`], through a [`FillWriter`](fill::FillWriter). Both front ends
//! (the full lane and the express lane) ask the same engine.
//!
//! | part | question |
//! |---|---|
//! | [`key`] | which requests ask for the same thing? |
//! | [`control`] | what do the directives say? |
//! | [`policy`] | may it be stored, for how long is it fresh, may it be reused? Pure. |
//! | [`vary`] | which of several stored responses fits? |
//! | [`derived`] | which coded forms does an entry have, and who makes them? |
//! | [`serve`] | what exactly is sent of a response that is here? |
//! | [`partial`] | what of a response is here, and what is missing? |
//! | [`store`] | what is kept, within which memory? |
//! | [`fill`] | one fetch, many followers |
//! | [`refresh`] | what is fetched anew before it expires? |
//! | [`lookup`] | a request's way through all of these |
//! | [`explain`] | what would become of a request, and why? |
//! | [`invalidate`] | what is no longer to be used after a write? |
//! | [`purge`] | what is no longer to be used because somebody says so? |
//! | [`inspect`] | what is here? For people. |
//!
//! Absent on purpose: sockets, Pingora's types, and the clock inside `policy`.

pub mod settings;

pub mod outcome;

pub mod key;

pub mod control;
pub mod policy;
pub mod vary;

pub mod body;
mod packed;
pub mod response;
pub mod section;
pub mod segments;

pub mod derived;
#[cfg(test)]
mod derived_tests;
pub mod partial;
pub mod serve;

pub mod store;

pub mod fill;

mod bypass;
mod engine;
mod forwarded;
mod request;

mod asked;
mod decide;
pub mod explain;
mod hit;
pub mod invalidate;
pub mod lookup;
pub mod purge;
pub mod refresh;

pub mod inspect;

pub mod metrics;

pub use forwarded::Tee;
pub use lookup::{Answer, Ask, Cache, Lead};
