//! `Cache-Control` and its relatives as directives (RFC 9111 §5.2, RFC 9213, RFC 5861, RFC 8246).
//!
//! Names in any case; arguments as tokens or quoted strings; unknown directives ignored. Of a directive that comes twice,
//! the first counts (§4.2.1 leaves the choice between that and "stale"), except that the form which restricts more wins:
//! `no-cache` over `no-cache="x"`. Arguments that make no sense restrict too: `max-age=1.5` is a lifetime that nobody can
//! read, and such a response is stale; `no-store=0` is `no-store`; but `public=1` is nothing.
//!
//! `Pragma` is not read: in a response it never meant anything, and RFC 9111 §5.4 deprecates it in requests.

use super::settings::Rules;
use crate::fields::delta_seconds::DeltaSeconds;
use crate::fields::directive::{Argument, Directive, directives, unreadable};
use crate::fields::list;
use crate::fields::view::{FieldView, Marks};
use http::{HeaderMap, HeaderName, header};
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// RFC 9213 §3.1.
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
/// Of the Edge Architecture Specification: what came before [`CDN_CACHE_CONTROL`].
pub const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
/// nginx's.
pub const X_ACCEL_EXPIRES: HeaderName = HeaderName::from_static("x-accel-expires");

/// The argument of a directive that takes seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Seconds {
    /// The directive is not there.
    #[default]
    Absent,
    /// It is, and says this.
    Given(Duration),
    /// It is, and says nothing that can be read.
    Unreadable,
}

impl Seconds {
    /// What it says, where that can be read.
    pub fn given(self) -> Option<Duration> {
        match self {
            Self::Given(duration) => Some(duration),
            Self::Absent | Self::Unreadable => None,
        }
    }

    fn first(&mut self, argument: &Argument<'_>) {
        if *self == Self::Absent {
            *self = match argument {
                Argument::Value(value) => {
                    DeltaSeconds::parse(value).map_or(Self::Unreadable, Self::of)
                }
                Argument::Absent | Argument::Malformed => Self::Unreadable,
            };
        }
    }

    fn of(delta: DeltaSeconds) -> Self {
        Self::Given(delta.duration())
    }
}

/// What `private` and `no-cache` are about.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Scope {
    /// The directive is not there.
    #[default]
    None,
    /// These fields only.
    Fields(Vec<HeaderName>),
    /// The whole response.
    Response,
}

impl Scope {
    /// Whether the whole response is meant.
    pub fn is_response(&self) -> bool {
        *self == Self::Response
    }

    /// The fields that are meant, where it is about fields.
    pub fn fields(&self) -> &[HeaderName] {
        match self {
            Self::Fields(fields) => fields,
            Self::None | Self::Response => &[],
        }
    }

    fn add(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Response, _) | (_, Self::None) => {}
            (Self::Fields(fields), Self::Fields(more)) => fields.extend(more),
            (Self::None, other) | (_, other @ Self::Response) => *self = other,
        }
    }

    /// Of a directive's argument. A list that cannot be read, or that names a field without which the rest would be
    /// misread, is about the whole response.
    fn of(argument: &[u8]) -> Self {
        let names: Option<Vec<_>> = list::members(argument)
            .map(|name| HeaderName::from_bytes(name).ok())
            .collect();
        match names {
            Some(names) if !names.is_empty() && !names.iter().any(|name| VITAL.contains(name)) => {
                Self::Fields(names)
            }
            _ => Self::Response,
        }
    }
}

/// Fields without which what is left of a response would say something else.
static VITAL: [HeaderName; 6] = [
    header::CONTENT_ENCODING,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::LOCATION,
    header::TRANSFER_ENCODING,
    header::VARY,
];

/// A response directive without an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Flag {
    /// §5.2.2.5.
    NoStore = 1,
    /// §5.2.2.2.
    MustRevalidate = 2,
    /// §5.2.2.8.
    ProxyRevalidate = 4,
    /// §5.2.2.3.
    MustUnderstand = 8,
    /// §5.2.2.9.
    Public = 16,
    /// RFC 8246.
    Immutable = 32,
    /// §5.2.2.6.
    NoTransform = 64,
}

impl Flag {
    /// Whether it restricts what a cache may do. Such a directive counts whatever argument somebody gave it; one that
    /// permits counts only as it is defined.
    fn restricts(self) -> bool {
        match self {
            Self::NoStore | Self::MustRevalidate | Self::ProxyRevalidate | Self::NoTransform => {
                true
            }
            Self::MustUnderstand | Self::Public | Self::Immutable => false,
        }
    }

    fn by_name(name: &str) -> Option<Self> {
        Some(match name {
            "no-store" => Self::NoStore,
            "must-revalidate" => Self::MustRevalidate,
            "proxy-revalidate" => Self::ProxyRevalidate,
            "must-understand" => Self::MustUnderstand,
            "public" => Self::Public,
            "immutable" => Self::Immutable,
            "no-transform" => Self::NoTransform,
            _ => return None,
        })
    }
}

/// The directives of a response.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseDirectives {
    flags: u8,
    /// §5.2.2.1.
    pub max_age: Seconds,
    /// §5.2.2.10.
    pub s_maxage: Seconds,
    /// §5.2.2.4.
    pub no_cache: Scope,
    /// §5.2.2.7.
    pub private: Scope,
    /// RFC 5861 §3.
    pub stale_while_revalidate: Seconds,
    /// RFC 5861 §4.
    pub stale_if_error: Seconds,
}

impl ResponseDirectives {
    /// Whether a directive is there.
    pub fn has(&self, flag: Flag) -> bool {
        self.flags & flag as u8 != 0
    }

    /// Reads `Cache-Control`.
    pub fn parse<I>(lines: I) -> Self
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut found = Self::default();
        for line in lines {
            for directive in directives(line.as_ref()) {
                found.add(&directive);
            }
            for member in unreadable(line.as_ref()) {
                found.restrict(member);
            }
        }
        found
    }

    /// What keeps a response back counts where it is misspelt, too: `no-store; max-age=60`, `"private"`.
    fn restrict(&mut self, member: &[u8]) {
        let is_of_word = |octet: &u8| octet.is_ascii_alphanumeric() || *octet == b'-';
        for word in member.split(|octet| !is_of_word(octet)) {
            match word.to_ascii_lowercase().as_slice() {
                b"no-store" => self.flags |= Flag::NoStore as u8,
                b"no-cache" => self.no_cache.add(Scope::Response),
                b"private" => self.private.add(Scope::Response),
                _ => {}
            }
        }
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let name = directive.name.to_ascii_lowercase();
        let Ok(name) = std::str::from_utf8(&name) else {
            return;
        };
        if let Some(flag) = Flag::by_name(name) {
            if flag.restricts() || directive.argument == Argument::Absent {
                self.flags |= flag as u8;
            }
            return;
        }
        let scope = || match &directive.argument {
            Argument::Value(value) => Scope::of(value),
            Argument::Absent | Argument::Malformed => Scope::Response,
        };
        match name {
            "no-cache" => self.no_cache.add(scope()),
            "private" => self.private.add(scope()),
            _ => {
                if let Some(seconds) = self.seconds(name) {
                    seconds.first(&directive.argument);
                }
            }
        }
    }

    fn seconds(&mut self, name: &str) -> Option<&mut Seconds> {
        Some(match name {
            "max-age" => &mut self.max_age,
            "s-maxage" => &mut self.s_maxage,
            "stale-while-revalidate" => &mut self.stale_while_revalidate,
            "stale-if-error" => &mut self.stale_if_error,
            _ => return None,
        })
    }

    /// RFC 9213 §2.1: a targeted field. `None` where it is empty or no dictionary: it is then as if it were not there.
    pub fn parse_targeted<I>(lines: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let lines: Vec<_> = lines.into_iter().collect();
        let parts: Vec<&[u8]> = lines.iter().map(AsRef::as_ref).collect();
        let dictionary: Dictionary = Parser::parse_dictionary(&parts.join(&b", "[..])).ok()?;
        if dictionary.is_empty() {
            return None;
        }
        let mut found = Self::default();
        for (name, entry) in &dictionary {
            found.add_targeted(name, entry);
        }
        Some(found)
    }

    /// RFC 9213 §2.1: a directive without an argument is true, one with seconds an integer, one with fields a string.
    fn add_targeted(&mut self, name: &str, entry: &ListEntry) {
        let value = match entry {
            ListEntry::Item(item) => Some(&item.bare_item),
            ListEntry::InnerList(_) => None,
        };
        if let Some(BareItem::Boolean(false)) = value {
            return;
        }
        let is_true = matches!(value, Some(BareItem::Boolean(true)));
        if let Some(flag) = Flag::by_name(name) {
            if flag.restricts() || is_true {
                self.flags |= flag as u8;
            }
            return;
        }
        let scope = || match value {
            Some(BareItem::String(fields)) => Scope::of(fields.as_bytes()),
            _ => Scope::Response,
        };
        match name {
            "no-cache" => self.no_cache.add(scope()),
            "private" => self.private.add(scope()),
            _ => {
                if let Some(seconds) = self.seconds(name) {
                    *seconds = match value {
                        Some(BareItem::Integer(number)) => u64::try_from(*number)
                            .map_or(Seconds::Unreadable, |number| {
                                Seconds::of(DeltaSeconds::new(number))
                            }),
                        _ => Seconds::Unreadable,
                    };
                }
            }
        }
    }

    /// `Surrogate-Control`: `max-age=60+30` is a lifetime and how long it may be served beyond. Directives for a named
    /// surrogate (`max-age=60;cdn`) are for somebody else. `None` where nothing in it is about storing.
    fn parse_surrogate<I>(lines: I) -> Option<Self>
    where
        I: IntoIterator,
        I::Item: AsRef<[u8]>,
    {
        let mut found = Self::default();
        for line in lines {
            let ours = list::members(line.as_ref()).filter(|member| !member.contains(&b';'));
            for directive in ours.flat_map(directives) {
                let plus = match &directive.argument {
                    Argument::Value(value) if directive.name.eq_ignore_ascii_case(b"max-age") => {
                        memchr::memchr(b'+', value).and_then(|at| value.split_at_checked(at))
                    }
                    _ => None,
                };
                match plus {
                    Some((lifetime, [_plus, beyond @ ..])) => {
                        found.max_age.first(&Argument::Value(lifetime.into()));
                        let beyond = Argument::Value(beyond.into());
                        found.stale_while_revalidate.first(&beyond);
                    }
                    _ => found.add(&directive),
                }
            }
        }
        (found != Self::default()).then_some(found)
    }
}

/// What an origin says to this cache, of all the fields in which it can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// The directives of the one field that counts.
    pub directives: ResponseDirectives,
    /// Which freshness counts beside them.
    pub beside: Beside,
}

/// Which freshness counts beside the directives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// `Expires`, where no directive gives a lifetime.
    Expires,
    /// None: a targeted field spoke (RFC 9213 §2.2).
    Nothing,
    /// `X-Accel-Expires` instead of all lifetimes: so long from when it came.
    For(Duration),
    /// `X-Accel-Expires` instead of all lifetimes: until then.
    Until(SystemTime),
}

impl Control {
    /// RFC 9213 §2.2: the first field of our target list with a valid value that is not empty, else `Cache-Control`.
    pub fn of(headers: &HeaderMap, rules: &Rules) -> Self {
        let lines = |name: &HeaderName| headers.get_all(name).into_iter();
        if let Some((_, directives)) = targeted(headers, rules) {
            return Self {
                directives,
                beside: Beside::Nothing,
            };
        }
        let mut directives = ResponseDirectives::parse(lines(&header::CACHE_CONTROL));
        let accel = headers
            .get(&X_ACCEL_EXPIRES)
            .filter(|_| rules.x_accel_expires);
        let beside = accel
            .and_then(|value| accel_expires(value.as_bytes()))
            .unwrap_or(Beside::Expires);
        // nginx: zero switches caching off.
        if beside == Beside::For(Duration::ZERO) {
            directives.flags |= Flag::NoStore as u8;
        }
        Self { directives, beside }
    }
}

/// The name of the field whose directives count, as it is spelt.
pub fn spoken_in(headers: &HeaderMap, rules: &Rules) -> &'static str {
    targeted(headers, rules).map_or("Cache-Control", |(name, _)| name)
}

/// The targeted field that speaks, where one does.
fn targeted(headers: &HeaderMap, rules: &Rules) -> Option<(&'static str, ResponseDirectives)> {
    let lines = |name: &HeaderName| headers.get_all(name).into_iter();
    let cdns = ResponseDirectives::parse_targeted(lines(&CDN_CACHE_CONTROL));
    cdns.map(|said| ("CDN-Cache-Control", said)).or_else(|| {
        let said = rules
            .surrogate_control
            .then(|| ResponseDirectives::parse_surrogate(lines(&SURROGATE_CONTROL)))
            .flatten()?;
        Some(("Surrogate-Control", said))
    })
}

/// Seconds, or `@` and seconds since 1970. `None` for anything else, which is ignored.
fn accel_expires(value: &[u8]) -> Option<Beside> {
    match value.strip_prefix(b"@") {
        Some(since) => {
            let since = DeltaSeconds::parse(since)?.duration();
            UNIX_EPOCH.checked_add(since).map(Beside::Until)
        }
        None => Some(Beside::For(DeltaSeconds::parse(value)?.duration())),
    }
}

/// The directives of a request (§5.2.1). What cannot be read is ignored: a client that cannot say how old is too old
/// gets what everybody gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "four directives that have nothing to do with each other"
)]
pub struct RequestDirectives {
    /// §5.2.1.4.
    pub no_cache: bool,
    /// §5.2.1.5.
    pub no_store: bool,
    /// §5.2.1.6.
    pub no_transform: bool,
    /// §5.2.1.7.
    pub only_if_cached: bool,
    /// §5.2.1.1.
    pub max_age: Option<Duration>,
    /// §5.2.1.3.
    pub min_fresh: Option<Duration>,
    /// §5.2.1.2. Without an argument, any staleness is allowed: [`Duration::MAX`].
    pub max_stale: Option<Duration>,
}

impl RequestDirectives {
    /// Reads a request's `Cache-Control`.
    pub fn of<'h>(headers: impl Into<FieldView<'h>>) -> Self {
        const MARKS: Marks = Marks::of(&["cache-control"]);
        let (mut found, headers) = (Self::default(), headers.into());
        if !headers.may_have(MARKS) {
            return found;
        }
        for line in headers.get_all(&header::CACHE_CONTROL) {
            for directive in directives(line) {
                found.add(&directive);
            }
        }
        found
    }

    fn add(&mut self, directive: &Directive<'_>) {
        let seconds = || match &directive.argument {
            Argument::Value(value) => DeltaSeconds::parse(value).map(DeltaSeconds::duration),
            Argument::Absent | Argument::Malformed => None,
        };
        match directive.name.to_ascii_lowercase().as_slice() {
            b"no-cache" => self.no_cache = true,
            b"no-store" => self.no_store = true,
            b"no-transform" => self.no_transform = true,
            b"only-if-cached" => self.only_if_cached = true,
            b"max-age" => self.max_age = self.max_age.or_else(seconds),
            b"min-fresh" => self.min_fresh = self.min_fresh.or_else(seconds),
            b"max-stale" if directive.argument == Argument::Absent => {
                self.max_stale = self.max_stale.or(Some(Duration::MAX));
            }
            b"max-stale" => self.max_stale = self.max_stale.or_else(seconds),
            _ => {}
        }
    }
}

#[cfg(test)]
#[path = "control_targeted_tests.rs"]
mod targeted_tests;
#[cfg(test)]
#[path = "control_tests.rs"]
mod tests;
