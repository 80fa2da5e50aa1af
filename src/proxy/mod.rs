//! One request's walk, as Pingora's phases.
//!
//! [`phases`] is the table of contents: each phase calls the stop that answers its question.
//!
//! | stop | question |
//! |---|---|
//! | [`accept`] | may it enter, whom is it from, which route is it for? |
//! | [`answer`] | can it be answered without asking anybody? |
//! | [`cached`] | can the cache answer, alone or by a fetch that is shared? |
//! | [`fetch`] | the request of our own that such a fetch is |
//! | [`forward`] | who is asked, on which connection, in which words? |
//! | [`failure`] | a try failed: once more, or what is the client told? |
//! | [`encode`] | does the client get it coded? |
//! | [`deliver`] | what changes in the answer on its way to the client? |
//! | [`record`] | what goes into the access log? |

pub mod accept;
pub mod answer;
pub mod cached;
pub mod deliver;
pub mod encode;
pub mod error_page;
pub mod failure;
pub mod fetch;
pub mod files;
pub mod forward;
pub mod phases;
pub mod record;
mod relay;
pub mod settings;
pub mod site;
mod template;
mod walk;

pub use phases::{FrontDoor, Proxy};
pub use site::Site;
