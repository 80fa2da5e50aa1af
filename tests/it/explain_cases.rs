//! Situations that `forebay explain` is held to: the routes, what is stored before, what is asked, and how the verdict begins.

use crate::rig::{Reply, Request, ago, get, head, ok, request, status};

/// One situation.
pub struct Case {
    /// What is asked about in the end.
    pub asked: Request,
    /// What its path is answered with.
    pub reply: Reply,
    /// What was asked before.
    pub before: Vec<Request>,
    /// How the verdict begins.
    pub verdict: &'static str,
}

fn case(asked: Request, reply: Reply, before: &[Request], verdict: &'static str) -> Case {
    Case {
        asked,
        reply,
        before: before.to_vec(),
        verdict,
    }
}

pub const ROUTES: &str = r#"
[[route]]
name = "off"
path = "/off/"
to = "{o1}"
cache = false

[[route]]
name = "bypass"
path = "/bypass/"
to = "{o1}"
cache = { bypass = [{ cookie = "sid" }, { header = "X-Preview" }, { query = "draft", value = "1" }, { path = "/bypass/never/*" }] }

[[route]]
name = "ttl"
path = "/ttl/"
to = "{o1}"
cache = { ttl = "1h", ttl_by_status = { 404 = "5m" } }

[[route]]
name = "bounds"
path = "/bounds/"
to = "{o1}"
cache = { ttl_min = "2m", ttl_max = "10m" }

[[route]]
name = "key"
path = "/key/"
to = "{o1}"
cache = { key = { query = { drop = ["utm_*"] }, headers = ["X-Device"], cookies = ["lang"] } }

[[route]]
name = "ignore"
path = "/ignore/"
to = "{o1}"
cache = { clients = "ignore" }

[[route]]
name = "honour"
path = "/honour/"
to = "{o1}"
cache = { clients = "honour" }

[[route]]
name = "api"
path = "/api/"
method = "POST"
to = "{o1}"

[[route]]
name = "strip"
path = "/strip/"
to = "{o1}"
strip_prefix = true

[[route]]
name = "moved"
path = "/moved/"
redirect = "https://elsewhere.test{uri}"

[[route]]
name = "fixed"
path = "/fixed/"
respond = { status = 204 }

[[route]]
name = "plain"
to = "{o1}"
"#;

/// The table. Each has a path of its own.
pub fn cases() -> Vec<Case> {
    let fresh = || ok().max_age(600).body("b");
    let stale = || ok().max_age(60).age(100).etag("\"v1\"").body("b");
    let wants = |target: &str, directive: &str| get(target).header("Cache-Control", directive);
    vec![
        case(
            get("/a1"),
            fresh(),
            &[],
            "would be fetched, because nothing is stored for it",
        ),
        case(get("/a2"), fresh(), &[get("/a2")], "HIT, fresh for another"),
        case(head("/a3"), fresh(), &[get("/a3")], "HIT"),
        case(head("/a4"), fresh(), &[], "would be forwarded by itself"),
        case(
            get("/a5").header("If-None-Match", "\"v1\""),
            fresh().etag("\"v1\""),
            &[get("/a5")],
            "HIT",
        ),
        case(
            get("/a6").header("Range", "bytes=0-0"),
            fresh(),
            &[get("/a6")],
            "HIT",
        ),
        case(
            get("/a7").header("Range", "bytes=0-0"),
            fresh(),
            &[],
            "would be forwarded by itself, because the range",
        ),
        case(
            get("/a8").header("Range", "bytes=9-"),
            fresh(),
            &[get("/a8")],
            "HIT",
        ),
        case(get("/./x/../a9"), fresh(), &[get("/a9")], "HIT"),
        case(get("/a10?x"), fresh(), &[get("/a10")], "would be fetched"),
        case(
            get("/a11").host("other.test"),
            fresh(),
            &[get("/a11")],
            "would be fetched",
        ),
        case(
            get("/a12").header("If-Match", "\"v1\""),
            fresh(),
            &[get("/a12")],
            "would be forwarded by itself, because If-Match",
        ),
        case(
            request("OPTIONS", "/a13"),
            fresh(),
            &[],
            "would be forwarded by itself, because only GET",
        ),
        case(
            request("POST", "/a14"),
            fresh(),
            &[get("/a14")],
            "would be forwarded by itself, because only GET",
        ),
        // Variants.
        case(
            get("/b1").header("Accept-Language", "de"),
            fresh().vary("Accept-Language"),
            &[get("/b1").header("Accept-Language", "de")],
            "HIT",
        ),
        case(
            get("/b2").header("Accept-Language", "fr"),
            fresh().vary("Accept-Language"),
            &[get("/b2").header("Accept-Language", "de")],
            "would be fetched, because what is stored is for other values",
        ),
        case(
            get("/b3"),
            fresh().vary("Cookie"),
            &[get("/b3").header("Cookie", "a=secret")],
            "would be fetched, because what is stored is for other values",
        ),
        // What clients want.
        case(
            wants("/c1", "no-cache"),
            fresh().etag("\"v1\""),
            &[get("/c1")],
            "would be validated at the origin, because the request asks for validation",
        ),
        case(
            wants("/c2", "max-age=0"),
            fresh().age(5).etag("\"v1\""),
            &[get("/c2")],
            "would be validated at the origin, because it is older",
        ),
        case(
            wants("/c3", "min-fresh=900"),
            fresh(),
            &[get("/c3")],
            "would be fetched, because it is not fresh for as long",
        ),
        case(
            wants("/c4", "max-stale"),
            stale(),
            &[get("/c4")],
            "STALE for",
        ),
        case(
            wants("/c5", "only-if-cached"),
            fresh(),
            &[],
            "504, because the request wants it from the cache only",
        ),
        case(
            wants("/c6", "only-if-cached"),
            fresh(),
            &[get("/c6")],
            "HIT",
        ),
        case(
            wants("/ignore/c7", "no-cache"),
            fresh(),
            &[get("/ignore/c7")],
            "HIT",
        ),
        case(
            wants("/honour/c8", "max-age=0"),
            fresh().age(5),
            &[get("/honour/c8")],
            "would be fetched, because it is older",
        ),
        // What the origin says.
        case(
            get("/d1"),
            stale(),
            &[get("/d1")],
            "would be validated at the origin, because it is stale",
        ),
        case(
            get("/d2"),
            stale().directive("stale-while-revalidate=600"),
            &[get("/d2")],
            "STALE for",
        ),
        case(
            get("/d3"),
            ok().directive("no-cache").etag("\"v1\"").body("b"),
            &[get("/d3")],
            "would be validated at the origin, because the response must be validated",
        ),
        case(
            get("/d4"),
            ok().no_store().body("b"),
            &[get("/d4")],
            "would be forwarded by itself, because the response says `no-store`, as of the last one",
        ),
        case(
            get("/d5"),
            ok().directive("private").body("b"),
            &[get("/d5")],
            "would be forwarded by itself, because the response says `private`, as of the last one",
        ),
        case(
            get("/d6").header("Cookie", "a=b"),
            ok().last_modified(&ago(86_400)).body("b"),
            &[get("/d6")],
            "would be fetched, because the request has a cookie",
        ),
        case(
            get("/d7"),
            ok().last_modified(&ago(86_400)).body("b"),
            &[get("/d7")],
            "HIT",
        ),
        case(
            get("/d8"),
            ok().header("cdn-cache-control", "max-age=30")
                .max_age(600)
                .body("b"),
            &[get("/d8")],
            "HIT",
        ),
        case(
            get("/d9"),
            ok().directive("s-maxage=40")
                .directive("max-age=1")
                .body("b"),
            &[get("/d9")],
            "HIT",
        ),
        case(
            get("/d10"),
            ok().header("expires", &crate::rig::ahead(300)).body("b"),
            &[get("/d10")],
            "HIT",
        ),
        case(
            get("/d11").header("Authorization", "Basic x"),
            fresh(),
            &[get("/d11").header("Authorization", "Basic x")],
            "would be forwarded by itself, because the request has `Authorization`",
        ),
        case(
            get("/d12"),
            status(404).max_age(60).body("b"),
            &[get("/d12")],
            "HIT",
        ),
        case(
            get("/d13"),
            status(503).body("b"),
            &[get("/d13")],
            "would be forwarded by itself",
        ),
        // What the operator says.
        case(
            get("/off/e1"),
            fresh(),
            &[],
            "would be forwarded by itself, because the route says",
        ),
        case(
            get("/bypass/e2").header("Cookie", "sid=1"),
            fresh(),
            &[get("/bypass/e2")],
            "would be forwarded by itself, because a bypass rule",
        ),
        case(
            get("/bypass/e3").header("X-Preview", "1"),
            fresh(),
            &[get("/bypass/e3")],
            "would be forwarded by itself, because a bypass rule",
        ),
        case(
            get("/bypass/e4?draft=1"),
            fresh(),
            &[get("/bypass/e4")],
            "would be forwarded by itself, because a bypass rule",
        ),
        case(
            get("/bypass/never/e5"),
            fresh(),
            &[],
            "would be forwarded by itself, because a bypass rule",
        ),
        case(get("/bypass/e6"), fresh(), &[get("/bypass/e6")], "HIT"),
        case(
            get("/ttl/e7"),
            ok().directive("max-age=0").body("b"),
            &[get("/ttl/e7")],
            "HIT",
        ),
        case(
            get("/ttl/e8"),
            status(404).body("b"),
            &[get("/ttl/e8")],
            "HIT",
        ),
        case(
            get("/ttl/e11.css"),
            ok().header("content-type", "text/html").body("b"),
            &[get("/ttl/e11.css")],
            "would be forwarded by itself, because the path ends like a file's, the response is of another type, and only a rule or a guess",
        ),
        case(
            get("/bounds/e9"),
            ok().max_age(1).body("b"),
            &[get("/bounds/e9")],
            "HIT",
        ),
        case(
            get("/bounds/e10"),
            ok().max_age(9_000).body("b"),
            &[get("/bounds/e10")],
            "HIT",
        ),
        case(
            get("/key/e11?utm_source=x"),
            fresh(),
            &[get("/key/e11")],
            "HIT",
        ),
        case(
            get("/key/e12").header("X-Device", "tv"),
            fresh(),
            &[get("/key/e12")],
            "would be fetched",
        ),
        case(
            get("/key/e13").header("Cookie", "lang=de; a=b"),
            fresh(),
            &[get("/key/e13").header("Cookie", "lang=de")],
            "HIT",
        ),
        case(get("/strip/e14"), fresh(), &[get("/strip/e14")], "HIT"),
        // Answered by ourselves.
        case(
            get("/moved/f1"),
            fresh(),
            &[],
            "redirected by route `moved`",
        ),
        case(
            get("/fixed/f2"),
            fresh(),
            &[],
            "a fixed answer of route `fixed`",
        ),
        case(
            get("/x/..%2ff3"),
            fresh(),
            &[],
            "answered 400 by the proxy itself",
        ),
        case(
            get("/f4").header("Via", "1.1 edge-under-test"),
            fresh(),
            &[],
            "answered 508 by the proxy itself",
        ),
        case(
            get("/f5").header("X_Odd\u{e9}", "1"),
            fresh(),
            &[],
            "answered 400 by the proxy itself",
        ),
        // Invalidated.
        case(
            get("/g1"),
            fresh(),
            &[get("/g1"), request("DELETE", "/g1")],
            "would be fetched, because nothing is stored",
        ),
    ]
}
