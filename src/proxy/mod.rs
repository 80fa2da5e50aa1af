//! One request's walk.
//!
//! `front` is the table of contents: it leads from stop to stop, each of which answers one question. `phases` goes on where Pingora
//! has to forward.
//!
//! | stop | question |
//! |---|---|
//! | [`accept`] | may it enter, whom is it from, which route is it for? |
//! | [`admit`] | may this client use the route: by its address, by what it shows? |
//! | [`purge`] | is something to be purged, and may who asks? |
//! | [`rate`] | does the client ask too often? |
//! | [`answer`] | can it be answered without asking anybody? |
//! | [`events`] | is it a viewer who wants to be told what changes? |
//! | [`cached`] | can the cache answer, alone or by a fetch that is shared? |
//! | [`fetch`] | the request of our own that such a fetch is |
//! | [`forward`] | who is asked, on which connection, in which words? |
//! | [`direct`] | the way to an HTTP/1.1 server, without Pingora's connectors |
//! | [`failure`] | a try failed: once more, or what is the client told? |
//! | [`encode`] | does the client get it coded? |
//! | [`deliver`] | what changes in the answer on its way to the client? |
//! | [`record`] | what goes into the access log? |
//! | [`explain`] | what would become of a request, and why? |
//! | [`probe`] | what becomes of one that an operator asks for? |

pub mod accept;
pub mod admit;
pub mod answer;
pub mod cached;
pub mod deliver;
pub mod direct;
pub mod encode;
pub mod entry;
pub mod error_page;
pub mod events;
pub mod explain;
pub mod failure;
pub mod fetch;
pub mod files;
pub mod forward;
mod front;
mod inquiry;
mod phases;
pub mod probe;
pub mod purge;
pub mod rate;
pub mod record;
mod relay;
mod session;
pub mod settings;
pub mod site;
mod template;
mod walk;
pub mod words;

pub use front::Proxy;
pub use site::Site;
