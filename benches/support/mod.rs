//! A lane with stored responses, without a socket: what the benches and the test of allocations ask.
#![allow(dead_code, reason = "each of those who include it uses a part")]

use arc_swap::ArcSwap;
use bytes::Bytes;
use forebay::cache::key::Target;
use forebay::cache::policy::Moment;
use forebay::cache::{Answer, Ask, Cache};
use forebay::clock;
use forebay::express::Lane;
use forebay::fields::view::FieldView;
use forebay::listen::Handler;
use forebay::listen::at_once::Circumstances;
use forebay::listen::burst::Burst;
use forebay::listen::gate::canonical::{self, LINES_MAX};
use forebay::listen::settings::LimitSettings;
use forebay::listen::stream::Client;
use forebay::proxy::{Proxy, Site};
use forebay::telemetry::Registry;
use forebay::telemetry::metrics::HttpMetrics;
use forebay::upstream::metrics::UpstreamMetrics;
use forebay::upstream::{Environment, Upstreams};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What a browser sends for a style sheet.
pub const BROWSERS: &str = "GET /1k HTTP/1.1\r\nHost: www.example.org\r\nConnection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"126\"\r\nsec-ch-ua-mobile: ?0\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) \
    AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36\r\nsec-ch-ua-platform: \"Linux\"\r\n\
    Accept: text/css,*/*;q=0.1\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: style\r\n\
    Referer: http://www.example.org/\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n\
    Cookie: session=0123456789abcdef; theme=dark\r\n\r\n";

/// What a browser sends that has the style sheet already, as far as it matters.
pub const CONDITIONAL: &str =
    "GET /1k HTTP/1.1\r\nHost: www.example.org\r\nIf-None-Match: \"5e9f1c2b-400\"\r\n\r\n";

/// What a load generator sends.
pub const PLAIN: &str = "GET /1k HTTP/1.1\r\nHost: www.example.org\r\n\r\n";

/// The lane, and what a connection of it would hold.
pub struct Warm {
    lane: Lane,
    /// The cache behind it.
    pub cache: Arc<Cache>,
    /// The site that it serves.
    pub site: Arc<ArcSwap<Site>>,
    client: Client,
    limits: LimitSettings,
    burst: Burst,
    /// The upstreams' tasks are on it.
    pub runtime: Arc<tokio::runtime::Runtime>,
}

impl Warm {
    /// One that has responses of 1 KiB and of 10 KiB at `/1k` and `/10k`.
    pub fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let text = "[server]\nname = \"edge\"\n[[route]]\nto = \"http://127.0.0.1:9\"\ncache = { compress = false }\n";
        let settings = forebay::config::load_str(text, "bench.toml").expect("it is right");
        let metrics = HttpMetrics::new(&Registry::new());
        let environment = Environment::new(runtime.handle().clone(), UpstreamMetrics::default());
        let upstreams =
            Upstreams::build(&settings.upstreams, None, &environment).expect("there is one");
        let cache = Arc::new(Cache::new(settings.cache.clone()));
        let site = Site::new(
            settings.routes,
            settings.rules,
            upstreams,
            settings.proxy,
            cache.clone(),
            &metrics,
        );
        let site = Arc::new(ArcSwap::from_pointee(site));
        let entered = runtime.enter();
        let lane = Lane::new(site.clone(), Proxy::new(site.clone()));
        drop(entered);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
        let warm = Self {
            lane,
            cache,
            site,
            client: Client {
                addr: address,
                local: address,
                tls: false,
                certificate: None,
            },
            limits: settings.limits,
            burst: Burst::default(),
            runtime: Arc::new(runtime),
        };
        warm.store("/1k", 1024);
        warm.store("/10k", 10 * 1024);
        warm
    }

    /// Another thread's, of the same cache.
    #[must_use]
    pub fn beside(&self) -> Self {
        Self {
            lane: self.lane.clone(),
            cache: self.cache.clone(),
            site: self.site.clone(),
            client: self.client.clone(),
            limits: self.limits.clone(),
            burst: Burst::default(),
            runtime: self.runtime.clone(),
        }
    }

    fn store(&self, path: &str, octets: usize) {
        let date = forebay::fields::date::format(clock::wall());
        let fields: HeaderMap = [
            ("server", "gunicorn"),
            ("date", &date),
            ("content-type", "text/css; charset=utf-8"),
            ("cache-control", "public, max-age=3600"),
            ("etag", "\"5e9f1c2b-400\""),
            ("last-modified", "Sat, 05 Nov 1994 08:49:37 GMT"),
        ]
        .into_iter()
        .map(|(name, value)| {
            let name = http::HeaderName::from_static(name);
            let value = HeaderValue::from_str(value).expect("a value");
            (name, value)
        })
        .collect();
        let Answer::Lead(mut lead, _follower) = self.ask(path) else {
            panic!("it is not stored yet");
        };
        lead.writer.requested(Moment::now());
        lead.writer.head(StatusCode::OK, fields, Moment::now());
        lead.writer.data(Bytes::from(vec![b'x'; octets]));
        lead.writer.end();
    }

    /// What the engine says to a GET.
    pub fn ask(&self, path: &str) -> Answer {
        let site = self.site.load();
        let route = site.routes.in_order().next().expect("there is one");
        let place = site.place(Some(route));
        let ask = Ask {
            method: &Method::GET,
            target: Target {
                scheme: "http",
                authority: "www.example.org",
                path,
                query: None,
            },
            headers: FieldView::Map(&HeaderMap::new()),
            has_body: false,
            upgrade: false,
            unshared: None,
            rules: &place.rules,
            route: &place.name,
            upstream: &place.upstream,
            client: Ipv4Addr::LOCALHOST.into(),
        };
        self.cache.ask(&ask, Moment::now())
    }

    /// Answers a request as a connection would, but for the socket. The octets of the answer.
    pub fn answer(&mut self, request: &str) -> usize {
        let mut lines = [MaybeUninit::uninit(); LINES_MAX];
        let asked = canonical::read(request.as_bytes(), &mut lines, &self.limits);
        let circumstances = Circumstances {
            client: &self.client,
            arrived: clock::now(),
            close: false,
            logged: false,
        };
        let asked = asked.expect("it is canonical");
        let given = self.lane.at_once(asked, &circumstances, &mut self.burst);
        given.expect("it is a hit");
        let octets = self.burst.len();
        self.burst.clear();
        octets
    }
}
