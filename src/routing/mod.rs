//! Which route a request belongs to.
//!
//! # The order in which routes are tried
//!
//! The file's order decides last, so that a file may be written, and included, in any order:
//!
//! 1. **Host**: an exact host, then the longer wildcard suffix, then any host. A request whose host has routes but none
//!    that matches goes on to the wildcards and to the routes for any host.
//! 2. **Path**: an exact path, then the longest literal beginning. A prefix counts without its trailing slash
//!    (`/img/` is 4 long), a glob counts up to its first `*` (`/img/*.png` is 5 long, and so comes before the prefix
//!    `/img/` that it is a part of). At equal length the prefix goes before the glob: `/img/a/` before `/img/a**`.
//! 3. **More conditions first**: a scheme counts one, a method list one, each header and each query parameter one.
//! 4. **The order of the file.**
//!
//! [`Table::in_order`] is this order, and `forebay routes` prints it.
//!
//! # What matches
//!
//! A prefix goes by whole segments and its trailing slash means nothing: `/api` and `/api/` are the same route, for
//! `/api`, `/api/` and `/api/x`, and neither takes `/apix` (which nginx's `location /api` does).
//!
//! # One path for every purpose
//!
//! A client can spell a path so that two programs read it differently: `/public/../admin`, `/public/%2e%2e/admin`,
//! `/%61dmin`. Matched as sent and resolved by the origin, the first two reach `/admin` under the rules of `/public`;
//! resolved for matching but forwarded as sent, `/admin/../public` reaches an origin that does *not* resolve
//! dot segments (most Python frameworks) under the rules of `/public` too. Neither half is safe, only agreement is. So
//! [`normalise()`] is called once, at the door, and what it returns is matched, rewritten, keyed and forwarded. It applies
//! only what RFC 3986 calls equivalent: dot segments are removed (§6.2.2.3) and percent-encoded unreserved characters
//! decoded (§6.2.2.2). Anything else stays byte for byte as sent, `//` and `%2f` included: to an origin they may mean
//! something. Where a dot segment appears only to origins that decode `%2f`, turn `\` around or cut `;parameters`
//! off, no spelling is right for all of them, and the request is refused with 400.
//!
//! Deliberately absent: regular expressions (their cost and their escapes surprise), merging of slashes (URLs in paths
//! would break), matching without case.

mod glob;
mod matcher;
pub mod rewrite;
pub mod settings;
mod share;
mod table;
mod tree;

pub use crate::fields::path::{AmbiguousPath, normalise};
pub use matcher::{Mismatch, RequestView};
pub use share::choose;
pub use table::{
    Explained, PassedBy, PassedGuard, Shadowed, Table, passed_guards, passed_redirects,
    unreachable_routes,
};
