//! Which routes can never be reached, and the order in which they are tried.

use crate::routing::settings::{MatchSettings, RouteSettings};

/// Pairs of a route that is never reached and the one that takes its requests, by index.
pub(super) fn shadowed(routes: &[RouteSettings]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    for (index, route) in routes.iter().enumerate() {
        let before = routes.iter().take(index);
        if let Some(by) = before
            .into_iter()
            .position(|earlier| same(&earlier.matches, &route.matches))
        {
            pairs.push((index, by));
        }
    }
    pairs
}

/// Whether two routes are for the same requests, in whatever order their conditions are written.
fn same(a: &MatchSettings, b: &MatchSettings) -> bool {
    fn alike<T: PartialEq>(a: &[T], b: &[T]) -> bool {
        a.len() == b.len() && a.iter().all(|one| b.contains(one))
    }
    a.host == b.host
        && a.path == b.path
        && alike(&a.methods, &b.methods)
        && alike(&a.headers, &b.headers)
        && alike(&a.query, &b.query)
}
