//! Each reason of the cache is brought about, and stands as the same word in `Cache-Status`, in the access log and in the metric.
//!
//! The match below has no arm for all others: a new reason wants its situation here.

use crate::rig::{Edge, Reply, Request, ago, edge, gate, get, ok, origin, request, status};
use forebay::cache::outcome::Reason;

/// A situation: what the origin answers, one after the other, what is asked, and the last request, whose answer is looked at.
struct Stage {
    /// Behind `[[route]]`.
    rules: &'static str,
    /// In front of it.
    server: &'static str,
    replies: Vec<Reply>,
    before: Vec<Request>,
    last: Request,
    /// What happens between these.
    turn: Turn,
    /// The path that the origin answers; the last request's, too, where it is not `/a`.
    path: &'static str,
}

/// What happens before the last request.
enum Turn {
    Nothing,
    /// The origin goes away.
    Down,
    /// The target is written to while the last request is being answered.
    WrittenTo,
}

fn stage(replies: impl IntoIterator<Item = Reply>, before: &[Request], last: Request) -> Stage {
    Stage {
        rules: "",
        server: "",
        replies: replies.into_iter().collect(),
        before: before.to_vec(),
        last,
        turn: Turn::Nothing,
        path: "/a",
    }
}

impl Stage {
    fn at(mut self, path: &'static str) -> Self {
        path.clone_into(&mut self.last.target);
        Self { path, ..self }
    }

    fn rules(self, rules: &'static str) -> Self {
        Self { rules, ..self }
    }

    fn server(self, server: &'static str) -> Self {
        Self { server, ..self }
    }

    fn turn(self, turn: Turn) -> Self {
        Self { turn, ..self }
    }
}

fn a() -> Request {
    get("/a")
}

fn fresh() -> Reply {
    ok().max_age(600).body("body")
}

/// Stale on arrival, to be validated.
fn stale() -> Reply {
    ok().max_age(60).age(100).etag("\"v1\"").body("body")
}

fn by_guess() -> Reply {
    ok().last_modified(&ago(86_400)).body("body")
}

/// How it comes about. `None` where no client can see it, because the answer is out or is judged otherwise by then; each of those
/// has a unit test, which is named.
fn situation(reason: Reason) -> Option<Stage> {
    let wants = |directive| a().header("Cache-Control", directive);
    let cookie = || a().header("Cookie", "a=b");
    let authorized = || a().header("Authorization", "Basic x");
    let once = |reply| stage([reply], &[], a());
    let ranged = || a().header("Range", "bytes=2-");
    let part = |etag| {
        status(206)
            .max_age(60)
            .etag(etag)
            .header("content-range", "bytes 2-3/4")
            .body("dy")
    };
    Some(match reason {
        Reason::RouteOff => once(fresh()).rules("cache = false"),
        Reason::BypassRule => {
            stage([fresh()], &[], cookie()).rules("cache = { bypass = [{ cookie = \"a\" }] }")
        }
        Reason::MethodNotCached => stage([ok()], &[], request("DELETE", "/a")),
        Reason::RequestBody => stage([fresh()], &[], a().body("x")),
        Reason::Upgrade => {
            let upgrade = a()
                .header("Connection", "Upgrade")
                .header("Upgrade", "websocket")
                .header("Sec-WebSocket-Version", "13")
                .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
            stage([fresh()], &[], upgrade)
        }
        Reason::OnWrite => {
            once(fresh()).rules("on_write = [{ match = \"GET /a\", purge = \"tag:a\" }]")
        }
        Reason::TagsMany => {
            let tags: Vec<String> = (0..1_100).map(|n| format!("tag-{n}")).collect();
            once(fresh().header("cache-tag", &tags.join(", ")))
        }
        Reason::UnkeyedClaim => stage([fresh()], &[], a().header("X-Forwarded-Host", "else"))
            .server("[server]\ntrusted_proxies = [\"loopback\"]"),
        Reason::PathSpelling => once(fresh())
            .at("//b")
            .server("[[route]]\npath = \"/b\"\nto = \"o\"\ncache = false"),
        Reason::Precondition => stage([fresh()], &[], a().header("If-Match", "\"v1\"")),
        Reason::RangeUncached => stage([fresh()], &[], ranged()),
        Reason::HitForMiss => stage([ok().no_store().body("body"), fresh()], &[a()], a()),
        Reason::Crowded => once(fresh().body("x".repeat(400_000)))
            .server("[cache]\nmemory = \"8MiB\"\nobject = \"1MiB\"\nin_flight = \"128KiB\""),
        Reason::StatusNotFinal => stage(
            [
                ok().no_store().body("body"),
                status(416).header("content-range", "bytes */4"),
            ],
            &[a()],
            ranged(),
        ),
        Reason::StatusUnknown => once(
            status(418)
                .directive("must-understand")
                .max_age(60)
                .body("body"),
        ),
        Reason::RequestNoStore => stage([fresh()], &[], wants("no-store")),
        Reason::NoStore => once(ok().no_store().body("body")),
        Reason::Private => once(ok().directive("private").max_age(60).body("body")),
        Reason::Authorization => stage([fresh()], &[], authorized()),
        Reason::SetCookie => once(fresh().header("set-cookie", "a=b")),
        Reason::CookieHeuristic => stage([by_guess()], &[], cookie()),
        Reason::TypeMismatch => once(ok().header("content-type", "text/html").body("body"))
            .at("/a.css")
            .rules("cache = { ttl = \"10m\" }"),
        Reason::VaryStar => once(fresh().vary("*")),
        Reason::VaryMany => once(fresh().vary("a, b, c, d, e, f, g, h, i")),
        Reason::NoFreshness => once(ok().body("body")),
        Reason::ExpiredNoValidator => once(ok().max_age(0).body("body")),
        Reason::PartialUnusable => stage([part("W/\"v1\"")], &[], ranged()),
        Reason::TooLarge => {
            once(fresh().body("x".repeat(5_000))).server("[cache]\nobject = \"4KiB\"")
        }
        Reason::Invalidated => once(fresh()).turn(Turn::WrittenTo),
        Reason::StaleWhileRevalidate => {
            let window = stale().directive("stale-while-revalidate=600");
            stage([window], &[a()], a())
        }
        Reason::StaleIfError => {
            let window = stale().directive("stale-if-error=600");
            stage([window, status(500)], &[a()], a())
        }
        Reason::StaleIfUnreachable => stage([stale()], &[a()], a()).turn(Turn::Down),
        Reason::MaxStale => stage([stale()], &[a()], wants("max-stale")),
        Reason::ClientNoCache => stage([fresh(), fresh()], &[a()], wants("no-cache")),
        Reason::ClientMaxAge => stage([fresh().age(5), fresh()], &[a()], wants("max-age=1")),
        Reason::ClientMinFresh => stage([fresh(), fresh()], &[a()], wants("min-fresh=900")),
        Reason::OnlyIfCached => stage([fresh()], &[], wants("only-if-cached")),
        Reason::AlwaysValidate => {
            let always = |tag| ok().directive("no-cache").etag(tag).body("body");
            stage([always("\"v1\""), always("\"v2\"")], &[a()], a())
        }
        Reason::Expired => stage([stale(), fresh()], &[a()], a()),
        Reason::Refreshed => {
            let same = status(304).max_age(60).etag("\"v1\"");
            stage([stale(), same], &[a()], a())
        }
        Reason::CookieNotExplicit => stage([by_guess(), fresh()], &[a()], cookie()),
        // `cache::policy::storable`: a fetch is a GET, and a POST that is not stored is told as `method`.
        // `cache::partial`: that a part is short is known when its answer is out.
        Reason::UnsafeMethod | Reason::Incomplete => return None,
    })
}

async fn brought_about(reason: Reason, stage: Stage) {
    let word = reason.word();
    let held = gate();
    let mut replies = stage.replies.into_iter();
    let mut first = replies.next().expect("it answers something");
    if matches!(stage.turn, Turn::WrittenTo) {
        // Held before its head.
        first = ok().max_age(600).hold(&held).body("body");
    }
    let mut o = origin("o1").on(stage.path, first);
    for reply in replies {
        o = o.then(reply);
    }
    let mut o = o.start().await;
    let upstream = "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"2s\"\nretry = { tries = 1 }";
    let toml = format!(
        "{}\n{upstream}\n[[route]]\nname = \"r\"\npath = \"/\"\nto = \"o\"\n{}",
        stage.server, stage.rules
    );
    let e = edge(&toml).origin(&o).start().await;
    for before in stage.before {
        e.client().request(before).send().await;
    }
    let got = match stage.turn {
        Turn::Nothing => e.client().request(stage.last).send().await,
        Turn::Down => {
            o.down().await;
            e.client().request(stage.last).send().await
        }
        Turn::WrittenTo => {
            let waiting = e.client().request(stage.last).spawn();
            o.fetched("/a", 1).await;
            o.change("/a", ok());
            e.client().post("/a", "x").send().await.expect(200);
            held.open();
            waiting.await.unwrap()
        }
    };
    told(&e, word, &got.cache().words).await;
}

/// The word stands in all three places.
async fn told(e: &Edge, word: &str, words: &[String]) {
    let detail = words.iter().find_map(|it| it.strip_prefix("detail="));
    assert_eq!(detail, Some(word), "{words:?}");
    e.log_where(|line| line["cache_reason"] == word).await;
    let text = e.admin().get("/metrics").send().await.expect(200).text();
    let of_route = |line: &&str| line.starts_with("forebay_cache_requests_total{route=\"r\"");
    let label = format!("reason=\"{word}\"");
    let counted = text.lines().filter(of_route).find(|it| it.contains(&label));
    assert!(
        counted.is_some_and(|it| it.ends_with(" 1")),
        "{word}: {counted:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reason_is_brought_about_and_stands_in_three_places() {
    let mut seen = 0;
    for &reason in Reason::ALL {
        if let Some(stage) = situation(reason) {
            brought_about(reason, stage).await;
            seen += 1;
        }
    }
    assert_eq!(seen, Reason::ALL.len() - 2);
}
