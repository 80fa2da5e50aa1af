//! The routes of one host by path: from a path to its candidates, most specific first, in the time of reading it.
//!
//! A tree of segments. A prefix or exact path belongs to the node of its last segment; a glob to the node of the last
//! whole segment before its first `*`, for whatever it matches lies below that. So the candidates for a path are those
//! of the deepest node it reaches and of that node's ancestors, and going up meets them in the order of the room's
//! rule 2: at a node first its globs (their literal is longer than the node's path), then its prefixes.

use super::matcher::PathRule;
use hashbrown::HashMap;

/// Routes by path. Routes are numbers; they are inserted in the order in which they are to be tried.
#[derive(Debug)]
pub(super) struct PathTree {
    /// The first is the root.
    nodes: Vec<Node>,
}

#[derive(Debug, Default)]
struct Node {
    parent: Option<usize>,
    children: HashMap<Box<str>, usize>,
    exact: Vec<usize>,
    globs: Vec<usize>,
    prefixes: Vec<usize>,
}

impl Default for PathTree {
    fn default() -> Self {
        Self {
            nodes: vec![Node::default()],
        }
    }
}

impl PathTree {
    pub(super) fn insert(&mut self, rule: &PathRule, route: usize) {
        match rule {
            PathRule::Exact(path) => self.node(path).exact.push(route),
            PathRule::Prefix(path) => self.node(path).prefixes.push(route),
            PathRule::Glob { glob, .. } => {
                let literal = glob.literal();
                let whole = &literal[..literal.rfind('/').unwrap_or(0)];
                self.node(whole).globs.push(route);
            }
        }
    }

    /// The first candidate for `path` that `accept` takes. Prefixes and exact paths among the candidates match `path`;
    /// globs may not.
    pub(super) fn find(&self, path: &str, mut accept: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut deepest = 0;
        let mut rest = path.strip_prefix('/');
        while let Some(below) = rest {
            let children = &self.nodes[deepest].children;
            if children.is_empty() {
                break;
            }
            let end = below.bytes().position(|octet| octet == b'/');
            let (segment, after) = match end {
                Some(at) => (&below[..at], Some(&below[at + 1..])),
                None => (below, None),
            };
            let Some(&child) = children.get(segment) else {
                break;
            };
            (deepest, rest) = (child, after);
        }
        let whole = rest.is_none() && path.starts_with('/');
        let mut try_all = |routes: &[usize]| routes.iter().copied().find(|&route| accept(route));
        if whole && let Some(found) = try_all(&self.nodes[deepest].exact) {
            return Some(found);
        }
        let mut next = Some(deepest);
        while let Some(at) = next {
            let node = &self.nodes[at];
            if let Some(found) = try_all(&node.globs).or_else(|| try_all(&node.prefixes)) {
                return Some(found);
            }
            next = node.parent;
        }
        None
    }

    fn node(&mut self, path: &str) -> &mut Node {
        let mut at = 0;
        for segment in segments(path) {
            at = if let Some(&child) = self.nodes[at].children.get(segment) {
                child
            } else {
                let child = self.nodes.len();
                self.nodes.push(Node {
                    parent: Some(at),
                    ..Node::default()
                });
                self.nodes[at].children.insert(segment.into(), child);
                child
            };
        }
        &mut self.nodes[at]
    }
}

/// The segments of a path that begins with a slash; `/` has one, which is empty. Anything else has none.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    path.strip_prefix('/')
        .into_iter()
        .flat_map(|rest| rest.split('/'))
}
