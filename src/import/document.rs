//! The `proxy.toml` that is made, and how it is written: a section for each value, a comment for each route.

use std::collections::BTreeMap;
use std::time::Duration;

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, Value};

use super::access::Access;
use super::limit::RateLimit;
use super::upstream::Upstream;
use crate::units::{ByteSize, format_duration};

/// Everything that is printed. What is `None` or empty has Forebay's default.
#[derive(Debug, Default, Clone)]
pub(super) struct Document {
    pub(super) threads: Option<u64>,
    pub(super) trusted_proxies: Vec<String>,
    pub(super) listen: Vec<Listen>,
    /// Keys of `[limits]` with their values.
    pub(super) limits: BTreeMap<&'static str, String>,
    pub(super) access_log: Option<&'static str>,
    pub(super) cache_memory: Option<u64>,
    pub(super) upstreams: Vec<(String, Upstream)>,
    pub(super) rate_limits: Vec<(String, RateLimit)>,
    pub(super) routes: Vec<Route>,
}

/// `[[listen]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) addr: String,
    /// Certificate and key.
    pub(super) tls: Vec<(String, String)>,
    pub(super) proxy_protocol: bool,
}

/// `[[route]]`
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Route {
    /// What it was made of.
    pub(super) comment: String,
    pub(super) scheme: Option<&'static str>,
    pub(super) host: Option<String>,
    pub(super) path: String,
    pub(super) methods: Vec<String>,
    pub(super) content: Content,
}

/// What a route does with a request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Content {
    pub(super) action: Action,
    pub(super) rewrite: Rewrite,
    pub(super) request_headers: Edits,
    pub(super) response_headers: Edits,
    pub(super) error_pages: BTreeMap<u16, String>,
    pub(super) body_limit: Option<u64>,
    pub(super) cache: Cache,
    pub(super) access: Access,
    /// Names of what limits it.
    pub(super) rate_limits: Vec<String>,
}

impl Content {
    /// Nothing but an action.
    pub(super) fn of(action: Action) -> Self {
        Self {
            action,
            rewrite: Rewrite::None,
            request_headers: Edits::default(),
            response_headers: Edits::default(),
            error_pages: BTreeMap::new(),
            body_limit: None,
            cache: Cache::Default,
            access: Access::default(),
            rate_limits: Vec::new(),
        }
    }

    /// Whether it keeps somebody away.
    pub(super) fn is_guard(&self) -> bool {
        self.refuses() || self.access != Access::default()
    }

    /// Whether it keeps everybody away.
    pub(super) fn refuses(&self) -> bool {
        matches!(self.action, Action::Respond { status: 400.., .. })
    }

    /// Where it led to this upstream, it leads nowhere now.
    pub(super) fn lose(&mut self, upstream: &str) {
        if self.action == Action::To(upstream.to_owned()) {
            *self = Self::status(501);
        }
        let asked = self.access.ask.as_ref();
        if asked.is_some_and(|it| it.url.starts_with(&format!("http://{upstream}/"))) {
            *self = Self::status(403);
        }
    }

    /// A status and nothing else.
    pub(super) fn status(status: u16) -> Self {
        Self::of(Action::Respond {
            status,
            body: String::new(),
            content_type: None,
        })
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// An upstream's name or a URL.
    To(String),
    Redirect {
        to: String,
        status: u16,
    },
    Respond {
        status: u16,
        body: String,
        content_type: Option<String>,
    },
    Files {
        root: String,
        index: Option<String>,
        fallback: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rewrite {
    None,
    Strip,
    Replace(String),
}

/// Changes of fields.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Edits {
    pub(super) set: Vec<(String, String)>,
    pub(super) remove: Vec<String>,
}

/// What the cache may do on a route.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cache {
    /// Nothing is said.
    Default,
    Off,
    Rules(Box<CacheRules>),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct CacheRules {
    pub(super) ignores_origin: bool,
    pub(super) ttl_by_status: Vec<(String, Duration)>,
    pub(super) stale_while_revalidate: Option<Duration>,
    pub(super) stale_if_error: Option<Duration>,
    /// Kind of rule and name.
    pub(super) bypass: Vec<(&'static str, String)>,
    pub(super) key_query: Option<KeyQuery>,
    pub(super) key_headers: Vec<String>,
    pub(super) key_cookies: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyQuery {
    None,
    Allow(Vec<String>),
}

impl Document {
    /// The text, without the notes.
    pub(super) fn write(&self) -> String {
        let mut document = DocumentMut::new();
        let root = document.as_table_mut();
        let mut server = Table::new();
        if let Some(threads) = self.threads {
            server.insert("threads", number(threads));
        }
        if !self.trusted_proxies.is_empty() {
            server.insert("trusted_proxies", list(&self.trusted_proxies).into());
        }
        add(root, "server", server);
        add_all(root, "listen", self.listen.iter().map(listen));
        // The administration's own port, unless nginx has it: then the next that it has not.
        let is_taken = |port: &u16| {
            let end = format!(":{port}");
            self.listen.iter().any(|listen| listen.addr.ends_with(&end))
        };
        if is_taken(&9900)
            && let Some(port) = (9901..=u16::MAX).find(|port| !is_taken(port))
        {
            let mut admin = Table::new();
            admin.insert("listen", text(&format!("127.0.0.1:{port}")).into());
            root.insert("admin", Item::Table(admin));
        }
        let mut limits = Table::new();
        for (key, value) in &self.limits {
            let count = value.parse::<i64>().map(Value::from);
            limits.insert(key, count.unwrap_or_else(|_| text(value)).into());
        }
        add(root, "limits", limits);
        if let Some(access) = self.access_log {
            let mut log = Table::new();
            log.insert("access", text(access).into());
            add(root, "log", log);
        }
        if let Some(memory) = self.cache_memory {
            let mut cache = Table::new();
            cache.insert("memory", size(memory).into());
            add(root, "cache", cache);
        }
        let upstreams = self.upstreams.iter().map(|(name, it)| (name, it.table()));
        add_named(root, "upstream", upstreams);
        let limits = self.rate_limits.iter().map(|(name, it)| (name, it.table()));
        add_named(root, "rate_limit", limits);
        add_all(root, "route", self.routes.iter().map(Route::table));
        document.to_string()
    }
}

impl Route {
    fn table(&self) -> Table {
        let mut table = Table::new();
        set_apart(&mut table, Some(&self.comment));
        let Content {
            action,
            rewrite,
            request_headers,
            response_headers,
            error_pages,
            body_limit,
            cache,
            access,
            rate_limits,
        } = &self.content;
        if let Some(scheme) = self.scheme {
            table.insert("scheme", text(scheme).into());
        }
        if let Some(host) = &self.host {
            table.insert("host", text(host).into());
        }
        if self.path != "/" {
            table.insert("path", text(&self.path).into());
        }
        if !self.methods.is_empty() {
            table.insert("method", list(&self.methods).into());
        }
        let (key, value) = action.value();
        table.insert(key, value.into());
        match rewrite {
            Rewrite::None => {}
            Rewrite::Strip => {
                table.insert("strip_prefix", Value::from(true).into());
            }
            Rewrite::Replace(to) => {
                table.insert("replace_prefix", text(to).into());
            }
        }
        for (key, edits) in [
            ("request_headers", request_headers),
            ("response_headers", response_headers),
        ] {
            if *edits != Edits::default() {
                table.insert(key, edits.value().into());
            }
        }
        if !error_pages.is_empty() {
            let pages = error_pages.iter();
            let pages = pages.map(|(status, page)| (status.to_string(), text(page)));
            table.insert("error_pages", inline(pages).into());
        }
        if let Some(limit) = body_limit {
            table.insert("body_limit", size(*limit).into());
        }
        access.write(&mut table);
        if let [one] = rate_limits.as_slice() {
            table.insert("rate_limit", text(one).into());
        } else if !rate_limits.is_empty() {
            table.insert("rate_limit", list(rate_limits).into());
        }
        match cache {
            Cache::Default => {}
            Cache::Off => {
                table.insert("cache", Value::from(false).into());
            }
            Cache::Rules(rules) => {
                let rules = rules.value();
                if !rules.is_empty() {
                    table.insert("cache", Value::from(rules).into());
                }
            }
        }
        table
    }
}

impl Action {
    fn value(&self) -> (&'static str, Value) {
        match self {
            Self::To(to) => ("to", text(to)),
            Self::Redirect { to, status } => {
                let table = inline([
                    ("to", text(to)),
                    ("status", Value::from(i64::from(*status))),
                ]);
                ("redirect", table)
            }
            Self::Respond {
                status,
                body,
                content_type,
            } => {
                let status = ("status", Value::from(i64::from(*status)));
                let body = (!body.is_empty()).then(|| ("body", text(body)));
                let kind = content_type.as_deref();
                let kind = kind.map(|kind| ("content_type", text(kind)));
                let parts = [Some(status), body, kind];
                ("respond", inline(parts.into_iter().flatten()))
            }
            Self::Files {
                root,
                index: None,
                fallback: None,
            } => ("files", text(root)),
            Self::Files {
                root,
                index,
                fallback,
            } => {
                let root = Some(("root", text(root)));
                let index = index.as_deref().map(|index| ("index", text(index)));
                let fallback = fallback.as_deref().map(|path| ("fallback", text(path)));
                let parts = [root, index, fallback];
                ("files", inline(parts.into_iter().flatten()))
            }
        }
    }
}

impl Edits {
    fn value(&self) -> Value {
        let set = self.set.iter().map(|(name, value)| (name, text(value)));
        let set = (!self.set.is_empty()).then(|| ("set", inline(set)));
        let remove = (!self.remove.is_empty()).then(|| ("remove", list(&self.remove)));
        inline([set, remove].into_iter().flatten())
    }
}

impl CacheRules {
    fn value(&self) -> InlineTable {
        let mut table = InlineTable::new();
        if self.ignores_origin {
            table.insert("origin", text("ignore"));
        }
        if !self.ttl_by_status.is_empty() {
            let ttls = self.ttl_by_status.iter();
            let ttls = ttls.map(|(status, ttl)| (status, time(*ttl)));
            table.insert("ttl_by_status", inline(ttls));
        }
        if let Some(window) = self.stale_while_revalidate {
            table.insert("stale_while_revalidate", time(window));
        }
        if let Some(window) = self.stale_if_error {
            table.insert("stale_if_error", time(window));
        }
        if !self.bypass.is_empty() {
            let rules = self.bypass.iter();
            let rules = rules.map(|(kind, name)| inline([(kind, text(name))]));
            table.insert("bypass", Value::Array(rules.collect()));
        }
        let query = match &self.key_query {
            None => None,
            Some(KeyQuery::None) => Some(("query", text("none"))),
            Some(KeyQuery::Allow(names)) => Some(("query", inline([("allow", list(names))]))),
        };
        let names = |key, names: &[String]| (!names.is_empty()).then(|| (key, list(names)));
        let key = [
            query,
            names("headers", &self.key_headers),
            names("cookies", &self.key_cookies),
        ];
        let key: Vec<_> = key.into_iter().flatten().collect();
        if !key.is_empty() {
            table.insert("key", inline(key));
        }
        table
    }
}

fn listen(listen: &Listen) -> Table {
    let mut table = Table::new();
    set_apart(&mut table, None);
    table.insert("addr", text(&listen.addr).into());
    let pairs = listen.tls.iter();
    let mut pairs: Vec<Value> = pairs
        .map(|(cert, key)| inline([("cert", text(cert)), ("key", text(key))]))
        .collect();
    match pairs.len() {
        0 => {}
        1 => table.extend(pairs.pop().map(|pair| ("tls", pair))),
        _ => {
            let pairs: Array = pairs.into_iter().collect();
            table.insert("tls", Value::Array(pairs).into());
        }
    }
    if listen.proxy_protocol {
        table.insert("proxy_protocol", Value::from(true).into());
    }
    table
}

/// A string, safe from what Forebay replaces in strings.
pub(super) fn text(text: &str) -> Value {
    Value::from(text.replace("${", "$${"))
}

pub(super) fn time(duration: Duration) -> Value {
    text(&format_duration(duration))
}

pub(super) fn size(bytes: u64) -> Value {
    text(&ByteSize::new(bytes).to_string())
}

pub(super) fn number(number: u64) -> Item {
    Value::from(i64::try_from(number).unwrap_or(i64::MAX)).into()
}

pub(super) fn list(texts: &[String]) -> Value {
    Value::Array(texts.iter().map(|one| text(one)).collect())
}

pub(super) fn inline<K: AsRef<str>>(pairs: impl IntoIterator<Item = (K, Value)>) -> Value {
    let mut table = InlineTable::new();
    for (key, value) in pairs {
        table.insert(key.as_ref(), value);
    }
    Value::InlineTable(table)
}

/// An empty line above, and a comment where there is one.
fn set_apart(table: &mut Table, comment: Option<&str>) {
    let comment = comment.map(|comment| {
        let plain = |c: char| if c.is_control() { ' ' } else { c };
        format!("# {}\n", comment.chars().map(plain).collect::<String>())
    });
    let prefix = format!("\n{}", comment.unwrap_or_default());
    table.decor_mut().set_prefix(prefix);
}

fn add(root: &mut Table, key: &str, mut table: Table) {
    if !table.is_empty() {
        set_apart(&mut table, None);
        root.insert(key, Item::Table(table));
    }
}

fn add_named<'a>(root: &mut Table, key: &str, tables: impl Iterator<Item = (&'a String, Table)>) {
    let mut named = Table::new();
    named.set_implicit(true);
    for (name, mut table) in tables {
        set_apart(&mut table, None);
        named.insert(name, Item::Table(table));
    }
    if !named.is_empty() {
        root.insert(key, Item::Table(named));
    }
}

fn add_all(root: &mut Table, key: &str, tables: impl Iterator<Item = Table>) {
    let tables: ArrayOfTables = tables.collect();
    if !tables.is_empty() {
        root.insert(key, Item::ArrayOfTables(tables));
    }
}
