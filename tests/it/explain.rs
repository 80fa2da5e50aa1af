//! `forebay explain` and `POST /explain`: what is said would become of a request is what then becomes of it.

use crate::explain_cases::{Case, ROUTES, cases};
use crate::express::given;
use crate::rig::{Edge, Origin, Request, Response, edge, gate, get, ok, origin, run_forebay};
use serde_json::{Value, json};

/// Asks about a request, and about a fetch of it where that is wanted.
async fn ask(e: &Edge, asked: &Request, fetch: bool) -> Value {
    let question = json!({
        "url": asked.target,
        "method": asked.method,
        "headers": asked.fields,
        "fetch": fetch,
    });
    let call = e.admin().post("/explain", question.to_string());
    call.send().await.expect(200).json()
}

/// A request to the host that a question about a path alone is about.
fn as_asked(asked: &Request) -> Request {
    if asked.fields.iter().any(|(name, _)| name == "Host") {
        asked.clone()
    } else {
        asked.clone().host("localhost")
    }
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or(target)
}

/// What was said is what came.
fn holds(said: &Value, got: &Response, asked: &Request, of: &str) {
    let status = |value: &Value| value.as_u64().map(|it| u16::try_from(it).unwrap());
    if let Some(refused) = said.get("refused") {
        assert_eq!(status(&refused["status"]), Some(got.status), "{of}");
        return;
    }
    let Some(cache) = said.get("cache") else {
        assert!(got.head.get("cache-status").is_none(), "{of}: {got:#?}");
        return;
    };
    let (lookup, words) = (&cache["lookup"], got.cache());
    assert_eq!(lookup["hit"], json!(words.has("hit")), "{of}: {words:?}");
    if let Some(fwd) = lookup["fwd"].as_str() {
        assert!(words.has(&format!("fwd={fwd}")), "{of}: {words:?}");
    }
    let does = lookup["does"].as_str().unwrap();
    let asks_nobody = ["serve", "serve-part", "gateway-timeout"].contains(&does);
    // What the answer itself says of a range that is not there.
    let unsatisfiable = cache["answer"]["status"] == 416;
    if unsatisfiable {
        assert!(words.has("detail=unsatisfiable"), "{of}: {words:?}");
    } else if asks_nobody || lookup["reason"]["word"] != "hit-for-miss" && does == "forward" {
        let detail = lookup["reason"]["word"].as_str();
        let told = words.words.iter().find_map(|it| it.strip_prefix("detail="));
        // A forwarded request's answer may say more: that the part that came was stored, or why it could not.
        if does != "forward" || detail != Some("range") {
            assert_eq!(detail, told, "{of}: {words:?}");
        }
    }
    if let Some(ttl) = lookup["ttl"].as_i64() {
        let came = words.ttl().expect("a hit says how long it is fresh");
        assert!((came - ttl).abs() <= 2, "{of}: {ttl}, and then {came}");
    }
    if let Some(answer) = cache.get("answer") {
        assert_eq!(status(&answer["status"]), Some(got.status), "{of}");
        for field in answer["fields"].as_array().unwrap() {
            let (name, value) = (field[0].as_str().unwrap(), field[1].as_str().unwrap());
            let came = got.head.all(name).join(", ");
            if name == "age" {
                let (said, came): (u64, u64) = (value.parse().unwrap(), came.parse().unwrap());
                assert!(came >= said && came <= said + 2, "{of}: {said}, {came}");
            } else {
                assert_eq!(came, value, "{of}: {name}");
            }
        }
    }
    let _ = asked;
}

async fn behind(cases: &[Case]) -> (Origin, Edge) {
    let mut o = origin("o1");
    for case in cases {
        let path = path_of(&case.asked.target);
        let path = path.rsplit_once("..").map_or(path, |(_, path)| path);
        o = o.on(path, case.reply.clone());
        o = o.on(path.trim_start_matches("/strip"), case.reply.clone());
    }
    let o = o.start().await;
    let toml = format!("[server]\nname = \"edge-under-test\"\n{ROUTES}");
    let e = edge(&toml).origin(&o).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_happens() {
    let cases = cases();
    let (o, e) = behind(&cases).await;
    for case in &cases {
        let of = format!(
            "{} {} {:?}",
            case.asked.method, case.asked.target, case.asked.fields
        );
        let mut k = e.client().connect().await;
        for before in &case.before {
            k.send(&as_asked(before)).await;
        }
        // What came is stored, or remembered not to be, before it is whole; what it left behind is gone with its follower.
        e.metric_becomes("forebay_cache_followers", 0.0).await;
        // Nor is anything of an earlier case still on its way to the origin.
        e.metric_becomes("forebay_cache_fills_in_flight", 0.0).await;
        let asked_before = o.requests().len();
        let said = ask(&e, &case.asked, false).await;
        let verdict = said["verdict"].as_str().unwrap();
        assert!(
            verdict.starts_with(case.verdict),
            "{of}: {verdict}\n{said:#}"
        );
        // It says the same again: nothing has changed by asking.
        let again = ask(&e, &case.asked, false).await;
        assert_eq!(
            again["cache"]["lookup"]["does"],
            said["cache"]["lookup"]["does"]
        );
        assert_eq!(o.requests().len(), asked_before, "{of}: somebody was asked");

        let before = given(&e).await;
        let got = k.send(&as_asked(&case.asked)).await;
        let at_once = given(&e).await > before;
        assert_eq!(said["express"], json!(at_once), "{of}: {got:#?}");
        holds(&said, &got, &case.asked, &of);
        let asks = |does: &str| ["fetch", "validate", "forward"].contains(&does);
        let does = said["cache"]["lookup"]["does"].as_str().unwrap_or("serve");
        let refreshes = said["cache"]["lookup"]["refresh"] == true;
        if asks(does) || !refreshes {
            let more = o.requests().len() - asked_before;
            assert_eq!(more, usize::from(asks(does)), "{of}: {does}");
        }
    }
    assert!(cases.len() > 50, "{} situations", cases.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_soft_purge_is_named() {
    let reply = ok().max_age(600).header("cache-tag", "t").body("b");
    let o = origin("o1").on("*", reply).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    for (path, purge) in [
        ("/tag", json!({ "tag": "t", "soft": true })),
        ("/url", json!({ "url": "/url", "soft": true })),
        ("/all", json!({ "all": true, "soft": true })),
    ] {
        let asked = get(path).host("localhost");
        e.client().request(asked.clone()).send().await.expect(200);
        let said = ask(&e, &asked, false).await;
        assert_eq!(said["cache"]["stored"][0]["purged"], false, "{said:#}");
        e.admin().post("/purge", purge.to_string()).send().await;
        let stored = &ask(&e, &asked, false).await["cache"]["stored"][0];
        assert_eq!(stored["purged"], true, "{path}: {stored:#}");
        let from = stored["lifetime_from"].as_str().unwrap();
        assert!(
            from.ends_with("until a soft purge ended it"),
            "{path}: {from}"
        );
        let url = format!("http://localhost{path}");
        let config = e.dir().join("proxy.toml");
        let args = ["explain", &url, "--config", config.to_str().unwrap()];
        let shown = run_forebay(e.dir(), &args).await.expect(0);
        shown.says("by a soft purge").says("a soft purge ended it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_under_way_is_named_and_not_joined() {
    let held = gate();
    let reply = ok().max_age(60).hold(&held).body("b");
    let o = origin("o1").on("/a", reply).start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let asked = get("/a").host("localhost");
    let first = e.client().request(asked.clone()).spawn();
    o.fetched("/a", 1).await;
    let said = ask(&e, &asked, false).await;
    assert_eq!(said["cache"]["lookup"]["does"], "share", "{said:#}");
    assert_eq!(said["cache"]["lookup"]["collapsed"], true);
    assert!((e.metric("forebay_cache_followers").await - 1.0).abs() < f64::EPSILON);
    let second = e.client().request(asked).spawn();
    e.metric_becomes("forebay_cache_followers", 2.0).await;
    held.open();
    first
        .await
        .unwrap()
        .expect(200)
        .cache_status("fwd=uri-miss");
    second
        .await
        .unwrap()
        .expect(200)
        .cache_status("collapsed; fwd=uri-miss");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_evidence_is_told() {
    let reply = ok()
        .directive("s-maxage=600")
        .directive("stale-while-revalidate=30")
        .etag("\"v1\"")
        .vary("Cookie, Accept-Language")
        .body("b");
    let o = origin("o1").on("/x", reply).start().await;
    let toml = "[[route]]\nname = \"narrow\"\npath = \"/api/x\"\nmethod = \"POST\"\nto = \"{o1}\"\n[[route]]\nname = \"api\"\npath = \"/api/\"\nstrip_prefix = true\nto = \"{o1}\"\ncache = { key = { headers = [\"X-Device\"] } }";
    let e = edge(toml).origin(&o).start().await;
    let asked = |cookie: &str| {
        get("/api/x")
            .host("localhost")
            .header("Cookie", cookie)
            .header("X-Device", "tv")
    };
    e.client()
        .request(asked("a=secret"))
        .send()
        .await
        .expect(200);
    let said = ask(&e, &asked("a=other"), false).await;
    assert_eq!(said["route"]["name"], "api");
    assert_eq!(said["route"]["target"], "/x");
    assert_eq!(said["not_matched"][0]["route"], "narrow");
    assert_eq!(said["not_matched"][0]["why"], "the method differs");
    assert_eq!(said["upstreams"][0]["available"], true);
    let key = &said["cache"]["key"];
    assert_eq!(key["authority"], "localhost");
    assert_eq!(key["path"], "/api/x");
    assert_eq!(
        key["headers"],
        json!([{ "name": "x-device", "values": ["tv"] }])
    );
    let stored = &said["cache"]["stored"][0];
    assert_eq!(stored["fits"], false);
    assert_eq!(stored["lifetime"], 600);
    assert_eq!(stored["lifetime_from"], "s-maxage in Cache-Control");
    assert_eq!(stored["when_stale"], "windows-only");
    assert_eq!(stored["stale_while_revalidate"], 30);
    let cookie = &stored["vary"][1];
    assert_eq!(cookie["field"], "cookie");
    assert_eq!(cookie["same"], false);
    let text = said["text"].as_str().unwrap();
    assert!(!said.to_string().contains("secret"), "{text}");
    assert!(text.starts_with("would be fetched, because what is stored is for other values"));
    for part in [
        "not `narrow`: the method differs",
        "asked for /x",
        "header x-device: tv",
        "lifetime 10 min 0 s, from s-maxage in Cache-Control",
        "varies by cookie: stored `(8 octets)`, asked `(7 octets)`  <- differs",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let hit = ask(&e, &asked("a=secret"), false).await;
    assert!(
        hit["verdict"].as_str().unwrap().starts_with("HIT"),
        "{hit:#}"
    );
    assert_eq!(hit["cache"]["answer"]["status"], 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_is_a_request_like_any_other() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("b"))
        .on(
            "/personal",
            ok().max_age(60).header("set-cookie", "a=b").body("b"),
        )
        .start()
        .await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let said = ask(&e, &get("/a"), true).await;
    assert_eq!(said["verdict"], "fetched: 200, and stored", "{said:#}");
    let fetched = &said["fetched"];
    assert_eq!(fetched["upstream_status"], 200);
    assert_eq!(fetched["stored"], true);
    assert_eq!(fetched["complete"], true);
    let line = e.log_line("/a").await;
    assert_eq!(line["cache"], "miss");
    assert!(
        line["user_agent"]
            .as_str()
            .unwrap()
            .starts_with("forebay-explain/")
    );
    let hit = e.client().request(get("/a").host("localhost")).send();
    hit.await.expect(200).cache_status("hit");
    let said = ask(&e, &get("/a"), true).await;
    assert_eq!(said["verdict"], "200 from the cache, nobody was asked");
    assert_eq!(o.fetches("/a"), 1);

    let said = ask(&e, &get("/personal"), true).await;
    let verdict = said["verdict"].as_str().unwrap();
    assert_eq!(
        verdict,
        "fetched: 200, and not stored, because the response sets a cookie and does not say that it may be shared"
    );
    assert_eq!(said["fetched"]["reason"]["word"], "set-cookie");
    assert_eq!(
        said["fetched"]["reason"]["page"],
        "docs/reasons.md#set-cookie"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_said() {
    let o = origin("o1").start().await;
    let e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    for (question, part) in [
        (r#"{"url":"nowhere"}"#, "expected `http://host/path`"),
        (r#"{"method":"GET"}"#, "url"),
        (r#"{"url":"/","fetch":true,"method":"POST"}"#, "GET or HEAD"),
        (r#"{"url":"/","colour":1}"#, "colour"),
        ("garbage", ""),
        ("", ""),
    ] {
        let got = e.admin().post("/explain", question).send().await;
        assert!((400..=422).contains(&got.status), "{question}: {got:#?}");
        let error = got.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(part), "{question}: {error}");
    }
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_finds_the_process_and_says_when_there_is_none() {
    let o = origin("o1")
        .on("/a", ok().max_age(60).body("b"))
        .start()
        .await;
    let mut e = edge("[[route]]\nto = \"{o1}\"").origin(&o).start().await;
    let config = e.dir().join("proxy.toml");
    let config = config.to_str().unwrap();
    let args = ["explain", "http://a.test/a", "--config", config];
    let run = run_forebay(e.dir(), &args).await.expect(0);
    run.says("would be fetched, because nothing is stored for it");
    let fetch = [&args[..], &["--fetch", "-H", "X-A: b"]].concat();
    run_forebay(e.dir(), &fetch)
        .await
        .expect(0)
        .says("fetched: 200, and stored");
    assert_eq!(o.last("/a").header("x-a"), Some("b"));
    let json = [&args[..], &["--json"]].concat();
    run_forebay(e.dir(), &json)
        .await
        .expect(0)
        .says("\"does\": \"serve\"");
    let bad = ["explain", "nowhere", "--config", config];
    run_forebay(e.dir(), &bad)
        .await
        .expect(2)
        .complains("expected `http://host/path`");
    let bad = [&args[..], &["-H", "no colon"]].concat();
    run_forebay(e.dir(), &bad)
        .await
        .expect(2)
        .complains("Name: value");
    e.signal(rustix::process::Signal::TERM);
    e.wait_exit().await;
    run_forebay(e.dir(), &args)
        .await
        .expect(1)
        .complains("is it running?");
}
