//! What a purge is about, and how people write it: `url:`, `prefix:`, `host:`, `tag:` or `all`.

use crate::cache::key::Target;
use crate::fields::{host, path, uri};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is purged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// One target with all of its variants, on every route.
    Url(Place),
    /// A path and everything below it, by whole segments: `/api` and `/api/` are the same and never mean `/apix`.
    Prefix(Place),
    /// Everything of a host: on each of its ports, unless one is named.
    Host(String),
    /// Everything that has one of these tags.
    Tags(Vec<String>),
    /// Everything.
    Everything,
}

/// A path, on one authority or on all. Of a scheme nothing is kept: what is stored for `http` and for `https` is purged
/// together.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place {
    /// In lower case and without the scheme's own port. `None` is every host.
    pub authority: Option<String>,
    /// The path in its one spelling, beginning with a slash.
    pub path: String,
    /// The query without its question mark.
    pub query: Option<String>,
}

impl Place {
    /// That of a target.
    pub(in crate::cache) fn of(target: &Target<'_>) -> Self {
        Self {
            authority: Some(target.authority.to_owned()),
            path: target.path.to_owned(),
            query: target.query.map(str::to_owned),
        }
    }
}

/// Why a text is no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// No word of ours stands in front.
    #[error(
        "expected `url:…`, `prefix:…`, `host:…`, `tag:…` or `all`, found `{0}`; write for example `tag:items`"
    )]
    Unknown(String),
    /// Neither a path nor an absolute URL.
    #[error(
        "expected a path such as `/items`, or a URL such as `https://example.org/items`, found `{0}`"
    )]
    Place(String),
    /// A path that is answered 400 at the door.
    #[error(
        "the path of `{0}` can be read in two ways and is never stored; write it without encoded dots and slashes"
    )]
    Ambiguous(String),
    /// A prefix has no query.
    #[error("expected a path without a query, found `{0}`; a prefix covers all queries below it")]
    Query(String),
    /// A part of a segment.
    #[error(
        "expected whole segments, found `{0}`; a `*` stands only behind a slash, as in `/items/*`"
    )]
    Wildcard(String),
    /// No host.
    #[error("expected a host such as `example.org` or `example.org:8443`, found `{0}`")]
    Host(String),
    /// No tag.
    #[error("expected a tag of 1 to {TAG_MAX} octets without control characters, found `{0}`")]
    Tag(String),
    /// Not exactly one thing.
    #[error("expected one of `url`, `prefix`, `host`, `tag`, `tags` and `all`, found {0} of them")]
    Count(usize),
    /// Nothing to purge.
    #[error("expected `\"all\": true`, found `false`; leave it out, and name what is to be purged")]
    NotAll,
}

/// The longest name of a tag, in octets.
pub const TAG_MAX: usize = 1024;

impl Scope {
    /// The scope `url:` of a path or URL.
    ///
    /// # Errors
    /// [`ScopeError::Place`] and [`ScopeError::Ambiguous`].
    pub fn url(text: &str) -> Result<Self, ScopeError> {
        place(text).map(Self::Url)
    }

    /// The scope `prefix:` of a path or URL.
    ///
    /// # Errors
    /// [`ScopeError::Place`], [`ScopeError::Ambiguous`], [`ScopeError::Wildcard`] and [`ScopeError::Query`].
    pub fn prefix(text: &str) -> Result<Self, ScopeError> {
        // As others write what is below a path.
        let below = text.strip_suffix('*').filter(|path| path.ends_with('/'));
        if below.is_none() && text.ends_with('*') {
            return Err(ScopeError::Wildcard(shown(text)));
        }
        let place = place(below.unwrap_or(text))?;
        if place.query.is_some() {
            return Err(ScopeError::Query(shown(text)));
        }
        Ok(Self::Prefix(place))
    }

    /// The scope `host:` of a host with or without a port; 80 and 443 are as good as none.
    ///
    /// # Errors
    /// [`ScopeError::Host`].
    pub fn host(text: &str) -> Result<Self, ScopeError> {
        let parsed = host::parse(text).filter(|_| !text.contains('*'));
        let parsed = parsed.ok_or_else(|| ScopeError::Host(shown(text)))?;
        // What is stored has no port where it is the scheme's own; any other that is written counts.
        let named = parsed.normalise(80);
        Ok(Self::Host(
            named.strip_suffix(":443").unwrap_or(&named).to_owned(),
        ))
    }

    /// The scope `tag:` of some tags.
    ///
    /// # Errors
    /// [`ScopeError::Tag`] where there is none, or one of them is none.
    pub fn tags<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Result<Self, ScopeError> {
        let tags: Vec<String> = tags.into_iter().map(Into::into).collect();
        if tags.is_empty() {
            return Err(ScopeError::Tag(String::new()));
        }
        match tags.iter().find(|tag| !is_tag(tag)) {
            Some(tag) => Err(ScopeError::Tag(shown(tag))),
            None => Ok(Self::Tags(tags)),
        }
    }

    /// Whether something stored for this target is meant, by its parts as its key has them. `has_tag` knows its tags.
    pub fn covers(&self, target: &Target<'_>, has_tag: impl Fn(&str) -> bool) -> bool {
        match self {
            Self::Everything => true,
            Self::Host(host) => {
                target.authority == host || without_port(target.authority) == Some(host.as_str())
            }
            Self::Tags(tags) => tags.iter().any(|tag| has_tag(tag)),
            Self::Url(place) => {
                place.is_on(target)
                    && place.path == target.path
                    && place.query.as_deref() == target.query
            }
            Self::Prefix(place) => place.is_on(target) && is_below(target.path, &place.path),
        }
    }
}

impl Place {
    fn is_on(&self, target: &Target<'_>) -> bool {
        let authority = self.authority.as_deref();
        authority.is_none_or(|authority| authority == target.authority)
    }
}

/// The host of an authority that has a port.
pub(in crate::cache) fn without_port(authority: &str) -> Option<&str> {
    let (host, port) = authority.rsplit_once(':')?;
    // Colons within the brackets of an IPv6 address are none of a port.
    port.bytes()
        .all(|octet| octet.is_ascii_digit())
        .then_some(host)
}

fn is_below(path: &str, prefix: &str) -> bool {
    let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
    let rest = path.strip_prefix(prefix);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_tag(tag: &str) -> bool {
    (1..=TAG_MAX).contains(&tag.len()) && !tag.bytes().any(|octet| octet.is_ascii_control())
}

fn place(text: &str) -> Result<Place, ScopeError> {
    let refused = || ScopeError::Place(shown(text));
    let octets = text.as_bytes();
    let (authority, target) = match uri::split_absolute(octets) {
        None => (None, text.to_owned()),
        Some(absolute) => {
            let authority = std::str::from_utf8(absolute.authority).map_err(|_| refused())?;
            let parsed = host::parse(authority).ok_or_else(refused)?;
            let own_port = if absolute.https { 443 } else { 80 };
            let target = String::from_utf8(absolute.target.into_owned()).map_err(|_| refused())?;
            (Some(parsed.normalise(own_port)), target)
        }
    };
    if uri::check_origin_form(target.as_bytes()).is_err() || target.starts_with("//") {
        return Err(refused());
    }
    let parts = uri::split_path_query(&target);
    let path = path::normalise(parts.path).map_err(|_| ScopeError::Ambiguous(shown(text)))?;
    Ok(Place {
        authority,
        path: path::upper_case_hex(&path).into_owned(),
        query: parts.query.map(str::to_owned),
    })
}

/// As much of a text as belongs into a message.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(authority) = &self.authority {
            write!(f, "http://{authority}")?;
        }
        f.write_str(&self.path)?;
        match &self.query {
            Some(query) => write!(f, "?{query}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(place) => write!(f, "url:{place}"),
            Self::Prefix(place) => write!(f, "prefix:{place}"),
            Self::Host(host) => write!(f, "host:{host}"),
            Self::Everything => f.write_str("all"),
            Self::Tags(tags) => {
                for (index, tag) in tags.iter().enumerate() {
                    let before = if index == 0 { "" } else { ", " };
                    write!(f, "{before}tag:{tag}")?;
                }
                Ok(())
            }
        }
    }
}

impl FromStr for Scope {
    type Err = ScopeError;

    /// One scope; several tags are several texts.
    fn from_str(text: &str) -> Result<Self, ScopeError> {
        let text = text.trim();
        match text.split_once(':') {
            Some(("url", place)) => Self::url(place.trim()),
            Some(("prefix", place)) => Self::prefix(place.trim()),
            Some(("host", host)) => Self::host(host.trim()),
            Some(("tag", tag)) => Self::tags([tag.trim()]),
            None if text == "all" => Ok(Self::Everything),
            _ => Err(ScopeError::Unknown(shown(text))),
        }
    }
}

/// A scope as an object of JSON has it: one of the names, with its value.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Written {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    all: Option<bool>,
    pub(super) soft: bool,
}

impl Written {
    pub(super) fn new(scope: &Scope, soft: bool) -> Self {
        let written = Self {
            soft,
            ..Self::default()
        };
        match scope {
            Scope::Url(place) => Self {
                url: Some(place.to_string()),
                ..written
            },
            Scope::Prefix(place) => Self {
                prefix: Some(place.to_string()),
                ..written
            },
            Scope::Host(host) => Self {
                host: Some(host.clone()),
                ..written
            },
            Scope::Tags(tags) => Self {
                tags: Some(tags.clone()),
                ..written
            },
            Scope::Everything => Self {
                all: Some(true),
                ..written
            },
        }
    }

    pub(super) fn scope(self) -> Result<Scope, ScopeError> {
        let Self {
            url,
            prefix,
            host,
            tag,
            tags,
            all,
            soft: _,
        } = self;
        let mut given = Vec::new();
        given.extend(url.map(|text| Scope::url(&text)));
        given.extend(prefix.map(|text| Scope::prefix(&text)));
        given.extend(host.map(|text| Scope::host(&text)));
        given.extend(tag.map(|tag| Scope::tags([tag])));
        given.extend(tags.map(Scope::tags));
        given.extend(all.map(|all| all.then_some(Scope::Everything).ok_or(ScopeError::NotAll)));
        match (given.pop(), given.len()) {
            (Some(only), 0) => only,
            (found, more) => Err(ScopeError::Count(more + usize::from(found.is_some()))),
        }
    }
}

#[cfg(test)]
#[path = "scope_tests.rs"]
mod tests;
