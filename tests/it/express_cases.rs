//! What both lanes are compared by: what routes may say, what origins send, what clients ask.

use crate::compress::json;
use crate::rig::{Reply, ago, ok, status};

/// What routes may say, each a route of its own.
pub const ROUTES: &[&str] = &[
    "",
    "host = \"site.test\"",
    "host = \"*.test\"",
    "method = \"GET\"",
    "method = [\"GET\", \"POST\"]",
    "method = \"HEAD\"",
    "scheme = \"http\"",
    "scheme = \"https\"",
    "header = { X-Device = \"phone\" }",
    "header = { Cookie = true }",
    "query = { q = \"1\" }",
    "query = { q = true }",
    "strip_prefix = true",
    "replace_prefix = \"/v1\"",
    "request_headers = { set = { X-Stage = \"live\", Accept-Language = \"de\" }, remove = [\"X-Device\", \"Cookie\"] }",
    "response_headers = { set = { X-Frame-Options = \"DENY\" }, remove = [\"X-Own\"] }",
    "response_headers = { set = { ETag = \"\\\"other\\\"\" } }",
    "response_headers = { remove = [\"ETag\", \"Last-Modified\", \"Content-Type\", \"Vary\", \"Cache-Control\"] }",
    "response_headers = { set = { Age = \"7\" } }",
    "response_headers = { remove = [\"Age\", \"Via\", \"Cache-Status\", \"Date\", \"X-Request-Id\"] }",
    "response_headers = { set = { Via = \"1.1 us\", Cache-Status = \"us; hit\", Date = \"Sun, 06 Nov 1994 08:49:37 GMT\" } }",
    "response_headers = { set = { X-Request-Id = \"fixed\", Content-Range = \"none\" } }",
    "response_headers = { set = { Proxy-Authenticate = \"Basic\", HTTP2-Settings = \"AA\", Proxy-Authorization = \"x\" } }",
    "response_headers = { set = { Content-Encoding = \"x\", Set-Cookie = \"a=b\", Location = \"/x\", Link = \"<x>\" } }",
    "error_pages = { 404 = \"{dir}/page.html\", 416 = \"{dir}/page.html\", 503 = \"{dir}/page.html\" }",
    "allow = [\"loopback\"]",
    "allow = [\"192.0.2.0/24\"]",
    "deny = [\"127.0.0.1\", \"10.0.0.0/8\"]",
    "deny = [\"192.0.2.0/24\"]",
    "security_headers = \"basic\"",
    "security_headers = \"strict\"",
    "security_headers = \"strict\"\nresponse_headers = { set = { X-Frame-Options = \"ours\" }, remove = [\"Referrer-Policy\"] }",
    "auth = { basic = \"{dir}/users\" }",
    "auth = { certificate = true }",
    "auth = { certificate = \"optional\" }",
    "body_limit = \"1B\"",
    "hold_on = [503]",
    "rate_limit = { rate = \"1000000/s\" }",
    "rate_limit = [{ rate = \"1/h\", dry_run = true }, { rate = \"1000000/s\", key = \"cookie:lang\" }]",
    "cache = false",
    "cache = { ttl = \"10m\" }",
    "cache = { origin = \"ignore\", ttl = \"10m\" }",
    "cache = { ttl = \"10m\", deception_guard = false }",
    "cache = { ttl_by_status = { 404 = \"10m\", 5xx = \"10m\", 200 = \"10m\" } }",
    "cache = { ttl_min = \"10m\", ttl_max = \"1h\" }",
    "cache = { stale_while_revalidate = \"1h\", stale_if_error = \"1h\", stale_if_unreachable = \"0s\" }",
    "cache = { refresh_every = \"1h\", uncacheable_for = \"0s\" }",
    "cache = { clients = \"honour\" }",
    "cache = { clients = \"ignore\" }",
    "cache = { bypass = [{ cookie = \"sid\" }, { header = \"X-Device\", value = \"phone\" }] }",
    "cache = { bypass = [{ query = \"q\", value = \"1\" }, { header = \"Authorization\" }, { path = \"/r{n}/l*\" }] }",
    "cache = { key = { query = \"none\" } }",
    "cache = { key = { query = { drop = [\"tracking\", \"q\"] }, sort_query = true } }",
    "cache = { key = { query = { allow = [\"q\"] }, headers = [\"X-Device\"], cookies = [\"lang\"] } }",
    "cache = { compress = false }",
    "cache = { surrogate_control = true, x_accel_expires = true }",
];

/// What origins send.
pub fn replies() -> Vec<(&'static str, Reply)> {
    let page = || ok().header("content-type", "text/plain").max_age(600);
    let own = |r: Reply| r.header("x-own", "1").header("date", &ago(5));
    let coded = ok().header("content-type", "application/json");
    let dated = ago(90_000);
    vec![
        (
            "small",
            own(page())
                .etag("\"v1\"")
                .last_modified(&dated)
                .body("hello, world"),
        ),
        ("weak", page().etag("W/\"v1\"").body("weakly the same")),
        ("bare", page().body("no validator and no date")),
        ("empty", page().etag("\"v1\"").body("")),
        ("fit", own(page()).etag("\"v1\"").body("x".repeat(4096))),
        ("over", page().etag("\"v1\"").body("x".repeat(4097))),
        ("segments", page().etag("\"v1\"").body("y".repeat(65_537))),
        ("large", page().etag("\"v1\"").body("z".repeat(300_000))),
        (
            "json",
            own(coded.clone()).etag("\"v1\"").max_age(600).body(json()),
        ),
        (
            "json-vary",
            coded
                .vary("X-Device")
                .etag("\"v1\"")
                .max_age(600)
                .body(json()),
        ),
        (
            "chunks",
            page()
                .trailer("x-trailer", "t")
                .etag("\"v1\"")
                .chunks(["ab", "cde", "f"]),
        ),
        (
            "gzip",
            page()
                .header("content-encoding", "gzip")
                .etag("\"v1\"")
                .body("not really"),
        ),
        (
            "length-twice",
            page().header("content-length", "5").body("hello"),
        ),
        (
            "connection",
            page()
                .header("connection", "x-hop")
                .header("x-hop", "1")
                .header("keep-alive", "timeout=5")
                .body("hop"),
        ),
        (
            "trailer",
            page()
                .header("trailer", "x-t")
                .header("upgrade", "h2c")
                .header("proxy-authenticate", "Basic")
                .body("t"),
        ),
        (
            "careful",
            page()
                .header("x-frame-options", "ALLOWALL")
                .header("content-security-policy", "default-src *")
                .etag("\"v1\"")
                .body("says what browsers may do"),
        ),
        (
            "lines",
            page()
                .header("link", "</a>")
                .header("link", "</b>")
                .header("x-empty", "")
                .body("several"),
        ),
        (
            "chain",
            page()
                .header("via", "1.1 far")
                .header("cache-status", "far; hit")
                .header("x-request-id", "theirs")
                .age(100)
                .body("far"),
        ),
        (
            "lang",
            page()
                .vary("Accept-Language, Cookie")
                .etag("\"v1\"")
                .body("varies"),
        ),
        (
            "coded",
            page()
                .vary("Accept-Encoding")
                .etag("\"v1\"")
                .body("says so itself"),
        ),
        ("nothing", status(204).max_age(600).etag("\"v1\"")),
        (
            "found",
            status(301)
                .max_age(600)
                .header("location", "/x")
                .body("there"),
        ),
        (
            "lost",
            status(404).max_age(600).etag("\"v1\"").body("not here"),
        ),
        (
            "gone",
            status(410)
                .max_age(600)
                .last_modified(&dated)
                .body("never again"),
        ),
        (
            "away",
            status(503)
                .max_age(600)
                .header("retry-after", "1")
                .body("later"),
        ),
        ("odd", status(599).max_age(600).body("odd")),
        (
            "early",
            page()
                .interim(103, &[("link", "</x>")])
                .etag("\"v1\"")
                .body("after a hint"),
        ),
        ("stale", page().age(600).etag("\"v1\"").body("was fresh")),
        (
            "swr",
            page()
                .directive("stale-while-revalidate=600")
                .age(600)
                .etag("\"v1\"")
                .body("was fresh"),
        ),
        (
            "guess",
            ok().last_modified(&ago(900_000)).body("fresh by guess"),
        ),
        (
            "checked",
            ok().directive("no-cache")
                .etag("\"v1\"")
                .body("always checked"),
        ),
        (
            "shared",
            ok().directive("public, s-maxage=600")
                .header("expires", &ago(5))
                .body("shared"),
        ),
        (
            "targeted",
            ok().header("cdn-cache-control", "max-age=600")
                .header("surrogate-control", "max-age=60")
                .header("x-accel-expires", "60")
                .body("targeted"),
        ),
        (
            "cookie",
            ok().max_age(600)
                .header("set-cookie", "a=b")
                .body("personal"),
        ),
        (
            "accept-ranges",
            page()
                .header("accept-ranges", "bytes")
                .header("content-language", "de")
                .header("content-md5", "x")
                .etag("\"v1\"")
                .body("0123456789"),
        ),
    ]
}

/// What clients send besides; each row is about one field, of whose values a request has one, several, or none.
pub fn fields() -> Vec<(&'static str, Vec<String>)> {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    vec![
        (
            "If-None-Match",
            texts(&[
                "\"v1\"",
                "W/\"v1\"",
                "*",
                "\"v0\", W/\"v1\"",
                "\"v0\"",
                "\"v1\", W/\"v1\"",
                "garbage",
                "\"other\"",
            ]),
        ),
        (
            "If-Modified-Since",
            vec![ago(60), ago(90_000), ago(200_000), "yesterday".to_owned()],
        ),
        (
            "Range",
            texts(&[
                "bytes=0-3",
                "bytes=-2",
                "bytes=2-",
                "bytes=0-0,2-3",
                "bytes=999999999-",
                "bytes=4-1",
                "lines=1-2",
                "bytes=0-999999999",
                "bytes=4095-4096",
            ]),
        ),
        (
            "If-Range",
            vec![
                "\"v1\"".to_owned(),
                "W/\"v1\"".to_owned(),
                "\"v0\"".to_owned(),
                ago(90_000),
            ],
        ),
        (
            "Accept-Encoding",
            texts(&[
                "gzip",
                "br, gzip",
                "identity",
                "*",
                "gzip;q=0",
                "",
                "zstd, identity;q=0",
                "identity;q=0",
            ]),
        ),
        ("Cookie", texts(&["sid=1", "lang=de", "lang=en; x=1"])),
        ("Authorization", texts(&["Basic eDp5"])),
        (
            "Cache-Control",
            texts(&[
                "no-cache",
                "max-age=0",
                "max-age=60",
                "min-fresh=60",
                "max-stale=700",
                "only-if-cached",
                "no-store",
                "no-transform",
            ]),
        ),
        ("Pragma", texts(&["no-cache"])),
        ("X-Device", texts(&["phone", "desk"])),
        ("Accept-Language", texts(&["de", "en"])),
        ("If-Match", texts(&["\"v1\""])),
        ("If-Unmodified-Since", vec![ago(1)]),
        ("Connection", texts(&["keep-alive", "Keep-Alive"])),
        ("X-Forwarded-Proto", texts(&["https", "http", "ftp"])),
        ("X-Forwarded-For", texts(&["203.0.113.9"])),
        ("X-Forwarded-Host", texts(&["other.test"])),
        ("Forwarded", texts(&["for=203.0.113.9;proto=https"])),
        ("Via", texts(&["1.1 other", "1.1 edge"])),
        ("Max-Forwards", texts(&["0"])),
        ("User-Agent", texts(&["rig/1"])),
    ]
}
