//! What people look at: `/stats`, the status page, `top` and `log`, and the metrics of what is saved.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::rig::{
    Edge, Lines, Origin, client, edge, forebay, free_port, gate, ok, origin, run_forebay, within,
};

const CACHED: &str = "[[route]]\nname = \"app\"\nto = \"{o1}\"";

/// An edge in front of one origin that answers everything so that it may be kept.
async fn caching() -> (Origin, Edge) {
    let reply = ok()
        .header("Cache-Control", "max-age=600")
        .body("0123456789");
    let o = origin("o1").on("*", reply).start().await;
    let e = edge(CACHED).origin(&o).start().await;
    (o, e)
}

/// Asks until the document is so. It is made of samples, one a second.
async fn stats_where(e: &Edge, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let becomes = async {
        loop {
            let stats = e.admin().get("/stats").send().await.expect(200).json();
            if is(&stats) {
                return stats;
            }
            tokio::task::yield_now().await;
        }
    };
    within(what, becomes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stats_tell_what_happened() {
    let (_o, e) = caching().await;
    for _ in 0..4 {
        e.client().get("/a").send().await.expect(200);
    }
    let stats = stats_where(&e, "four requests", |it| it["totals"]["requests"] == 4).await;
    for (path, value) in [
        ("/name", "edge".into()),
        ("/totals/hit", 3.into()),
        ("/totals/miss", 1.into()),
        ("/totals/errors", 0.into()),
        ("/totals/bytes_out", 40.into()),
        ("/hit_ratio/start", 0.75.into()),
        ("/latency/start/hit/count", 3.into()),
        ("/latency/start/miss/count", 1.into()),
        ("/saved/bytes", 30.into()),
        ("/cache/entries", 1.into()),
        ("/routes/0/name", "app".into()),
        ("/routes/0/totals/requests", 4.into()),
        ("/upstreams/0/available", true.into()),
        ("/upstreams/0/servers/0/state", "up".into()),
        ("/draining", false.into()),
    ] {
        assert_eq!(
            stats.pointer(path),
            Some::<&Value>(&value),
            "{path} in {stats:#}"
        );
    }
    let hottest = stats["hottest"][0]["url"].as_str().unwrap_or_default();
    assert!(hottest.ends_with("site.test/a"), "{stats:#}");
    assert!(stats["process"]["resident_bytes"].as_f64() > Some(1e6));
    // One line: a script may read it line by line.
    let text = e.admin().get("/stats").send().await.expect(200).text();
    assert_eq!(text.lines().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_is_remembered() {
    let (_o, e) = caching().await;
    e.client().get("/a").send().await.expect(200);
    let purge = e
        .admin()
        .post("/purge", r#"{"prefix": "/a", "soft": true}"#);
    purge.send().await.expect(200);
    e.reload_with(&format!("{CACHED}\n[log]\nlevel = \"warn\""))
        .await;
    e.write("nonsense");
    e.reload().await.expect(422);
    let stats = stats_where(&e, "three events", |it| it["events"][2].is_object()).await;
    let told: Vec<(&str, bool)> = stats["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| (event["kind"].as_str().unwrap(), event["ok"] == true))
        .collect();
    let newest_first = [("reload", false), ("reload", true), ("purge", true)];
    assert_eq!(told, newest_first, "{stats:#}");
    let text = stats["events"][2]["text"].as_str().unwrap();
    assert!(text.starts_with("prefix:/a, soft"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_held_and_then_answered_is_counted_as_saved() {
    let reply = ok()
        .header("Cache-Control", "max-age=600")
        .body("0123456789");
    let mut o = origin("o1").on("*", reply);
    let toml =
        "[upstream.o]\nservers = [\"{o1}\"]\nhold = \"30s\"\n[[route]]\nname = \"app\"\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes("forebay_upstream_held{upstream=\"o\"}", 1.0)
        .await;
    stats_where(&e, "one held", |it| it["waiting"]["held"] == 1).await;
    o.up().await;
    waiting.await.unwrap().expect(200);
    let held = "forebay_saved_failures_total{route=\"app\",by=\"hold\"}";
    e.metric_becomes(held, 1.0).await;
    assert!(e.metric("forebay_saved_bytes_total").await.abs() < 0.5);
    e.client().get("/a").send().await.expect(200);
    e.metric_becomes("forebay_saved_bytes_total{route=\"app\"}", 10.0)
        .await;
    e.metric_becomes(held, 1.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_hit_saves_what_the_origin_took() {
    const SAVED: &str = "forebay_saved_origin_seconds_total{route=\"app\"}";
    let thinks = gate();
    let text = "0123456789".repeat(500);
    let reply = ok().header("Cache-Control", "max-age=600");
    let reply = reply.header("Content-Type", "text/plain").hold(&thinks);
    let o = origin("o1").on("*", reply.body(&text)).start().await;
    let e = edge(CACHED).origin(&o).start().await;
    let first = e.client().get("/a").spawn();
    // It takes as long as somebody looks at it several times, which is more than the tenth of a millisecond that is kept of it.
    o.head(0).await;
    for _ in 0..10 {
        e.metric_becomes("forebay_upstream_in_flight", 1.0).await;
    }
    thinks.open();
    first.await.unwrap().expect(200);
    assert!(e.metric(SAVED).await.abs() < 1e-9);
    e.client().get("/a").send().await.expect(200);
    let once = e.metric(SAVED).await;
    assert!(once > 0.000_1, "{once}");
    // From either lane, and in whichever form: several ranges are the full lane's.
    let coded = e.client().get("/a").header("Accept-Encoding", "gzip");
    coded.send().await.expect(200);
    let slowly = e.client().get("/a").header("Range", "bytes=0-0,2-2");
    slowly.send().await.expect(206);
    e.metric_becomes(SAVED, 3.0 * once).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_for_everybody_and_the_figures_are_not() {
    let port = free_port().to_string();
    let toml =
        "[admin]\nlisten = \"0.0.0.0:{port}\"\ntoken = \"s3cret\"\n[[route]]\nrespond = \"hi\"";
    let e = edge(toml).value("port", &port).start().await;
    let admin = client(&format!("127.0.0.1:{port}"));
    let page = admin.get("/").send().await.expect(200);
    let policy = page.value("content-security-policy").to_owned();
    for part in [
        "default-src 'none'",
        "script-src 'sha256-",
        "style-src 'sha256-",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ] {
        assert!(policy.contains(part), "no {part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // There is nothing in it that was not there before the proxy began.
    assert!(!page.text().contains("edge"), "it names the server");
    admin.get("/stats").send().await.expect(401);
    let with_token = admin.get("/stats").header("Authorization", "Bearer s3cret");
    with_token.send().await.expect(200);
    drop(e);
}

/// A browser, where there is one; says where there is none.
#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
fn browser() -> Option<&'static str> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = ["chromium", "chromium-browser", "google-chrome"]
        .into_iter()
        .find(|name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    if found.is_none() {
        eprintln!("SKIPPED: no browser here: apt-get install chromium");
    }
    found
}

/// The page as a browser has it a while after it was opened.
async fn as_a_browser_has_it(browser: &str, e: &Edge, url: &str) -> String {
    let mut command = Command::new(browser);
    command
        .args(["--headless=new", "--no-sandbox", "--disable-gpu"])
        .args(["--disable-dev-shm-usage", "--disable-background-networking"])
        .args(["--no-first-run", "--virtual-time-budget=4000", "--dump-dom"])
        .arg(format!(
            "--user-data-dir={}",
            e.dir().join("profile").display()
        ))
        .arg(url)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = within("the browser to end", command.output()).await;
    String::from_utf8_lossy(&output.expect("it starts").stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_draws_the_figures() {
    let Some(browser) = browser() else { return };
    let port = free_port().to_string();
    let reply = ok()
        .header("Cache-Control", "max-age=600")
        .body("0123456789");
    let o = origin("o1").on("*", reply).start().await;
    let toml = format!("[admin]\nlisten = \"127.0.0.1:{{port}}\"\n{CACHED}");
    let e = edge(&toml).origin(&o).value("port", &port).start().await;
    for _ in 0..4 {
        e.client()
            .get("/an/address?a=%3Cb%3E")
            .send()
            .await
            .expect(200);
    }
    let admin = client(&format!("127.0.0.1:{port}")).host("localhost");
    let counted = async {
        loop {
            let stats = admin.get("/stats").send().await.expect(200).json();
            if stats["totals"]["requests"] == 4 {
                return;
            }
        }
    };
    within("four requests", counted).await;
    let page = as_a_browser_has_it(browser, &e, &format!("http://127.0.0.1:{port}/")).await;
    for part in [
        "<span id=\"state\" class=\"pill good\">serving</span>",
        "<span id=\"name\">edge</span>",
        "id=\"t-ratio\">75.0<i>%</i>",
        "4 in all",
        "/an/address?a=%3Cb%3E",
        "class=\"curve cache\"",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_asks_for_the_token() {
    let Some(browser) = browser() else { return };
    let port = free_port().to_string();
    let toml =
        "[admin]\nlisten = \"0.0.0.0:{port}\"\ntoken = \"s3cret\"\n[[route]]\nrespond = \"hi\"";
    let e = edge(toml).value("port", &port).start().await;
    let page = as_a_browser_has_it(browser, &e, &format!("http://127.0.0.1:{port}/")).await;
    assert!(page.contains(">token needed</span>"), "{page}");
    assert!(page.contains("<form id=\"ask\">"), "{page}");
    assert!(
        page.contains("<main id=\"views\" class=\"empty\" hidden=\"\">"),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn top_for_scripts_and_for_tickets() {
    let (_o, e) = caching().await;
    e.client().get("/a").send().await.expect(200);
    stats_where(&e, "one request", |it| it["totals"]["requests"] == 1).await;
    let run = run_forebay(e.dir(), &["top", "--json", "--once"])
        .await
        .expect(0);
    let stats: Value = serde_json::from_str(&run.stdout).expect("a document");
    assert_eq!(stats["totals"]["requests"], 1);
    run_forebay(e.dir(), &["top", "--once"])
        .await
        .expect(0)
        .says("forebay edge  serving")
        .says("site.test/a");
    // Neither a terminal nor told what to do without one.
    run_forebay(e.dir(), &["top"])
        .await
        .expect(2)
        .complains("--json");
    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::write(
        elsewhere.path().join("proxy.toml"),
        "[admin]\nlisten = \"unix:/nowhere/a.sock\"\n[[route]]\nrespond = \"hi\"",
    )
    .unwrap();
    run_forebay(elsewhere.path(), &["top", "--once"])
        .await
        .expect(1)
        .complains("is it running?");
}

#[tokio::test(flavor = "multi_thread")]
async fn top_ends_with_its_reader_or_a_signal() {
    let (_o, e) = caching().await;
    let args = ["top", "--json", "--interval", "100ms"];
    let mut command = forebay();
    command
        .args(args)
        .current_dir(e.dir())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    lines.expect("\"uptime_s\"").await;
    let pid = child
        .id()
        .and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    rustix::process::kill_process(pid.unwrap(), rustix::process::Signal::TERM).unwrap();
    let ended = within("it to end", child.wait()).await.unwrap();
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended);
    assert_eq!(signal, Some(rustix::process::Signal::TERM.as_raw()));

    let mut child = forebay()
        .args(args)
        .current_dir(e.dir())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ended = within("it to end", child.wait()).await.unwrap();
    assert_eq!(ended.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_follows_across_rotation() {
    let reply = ok().header("Cache-Control", "max-age=600").body("hello");
    let o = origin("o1").on("*", reply).start().await;
    let toml = format!("[log]\naccess = \"{{dir}}/access.log\"\n{CACHED}");
    let mut e = edge(&toml).origin(&o).start().await;
    let mut command = forebay();
    command
        .args(["log", "-f", "--filter", "path^=/wanted and status=200"])
        .current_dir(e.dir())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = Lines::of(child.stdout.take().unwrap());
    for path in ["/wanted/1", "/other", "/wanted/2"] {
        e.client().get(path).send().await.expect(200);
    }
    let line = lines.expect("/wanted/2").await;
    assert!(line.contains(" 200 miss "), "{line}");
    std::fs::rename(e.dir().join("access.log"), e.dir().join("access.log.1")).unwrap();
    e.signal(rustix::process::Signal::USR1);
    within("the new file", async {
        while !e.dir().join("access.log").exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    e.client().get("/wanted/3").send().await.expect(200);
    lines.expect("/wanted/3").await;
    let shown = lines.all();
    assert_eq!(shown.len(), 3, "{shown:#?}");
    let _ = child.kill().await;

    let log = ["log", "--json", "--filter", "cache=miss", "access.log.1"];
    let run = run_forebay(e.dir(), &log).await.expect(0);
    let mut paths: Vec<String> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["path"].to_string())
        .collect();
    // A line is written after its answer was sent: those of two connections in either order.
    paths.sort();
    assert_eq!(paths, ["\"/other\"", "\"/wanted/1\"", "\"/wanted/2\""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn log_reads_what_is_piped_into_it() {
    let (_o, e) = caching().await;
    // What goes to standard output is not there to be opened.
    run_forebay(e.dir(), &["log"])
        .await
        .expect(2)
        .complains("| forebay log -");
    run_forebay(e.dir(), &["log", "--filter", "statsu=500", "-"])
        .await
        .expect(2)
        .complains("did you mean `status`?");
    run_forebay(e.dir(), &["log", "missing.log"])
        .await
        .expect(1)
        .complains("missing.log");
    let (mut input, piped) = std::io::pipe().map(|(read, write)| (write, read)).unwrap();
    let mut command = forebay();
    command
        .args(["log", "--filter", "duration>1s", "-"])
        .stdin(piped)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let text = concat!(
        "2026-11-22T02:46:41.727Z  INFO forebay is ready\n",
        "{\"status\":200,\"path\":\"/fast\",\"duration_ms\":1.5}\n",
        "{\"status\":200,\"path\":\"/slow\\u001b[2J\",\"duration_ms\":1500.0}\n",
    );
    std::io::Write::write_all(&mut input, text.as_bytes()).unwrap();
    drop(input);
    let output = within("it to end", child.wait_with_output()).await.unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(shown.lines().count(), 1, "{shown}");
    assert!(
        shown.contains("/slow\\u{1b}[2J") && shown.contains("1.5s"),
        "{shown}"
    );
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("not JSON"), "{said}");
}

/// However often it is looked at, what is stored is walked over at most every two seconds.
#[tokio::test(flavor = "multi_thread")]
async fn lists_are_not_made_for_each_who_asks() {
    let (_o, e) = caching().await;
    e.client().get("/first").send().await.expect(200);
    let begun = forebay::clock::now();
    let first = e.admin().get("/stats").send().await.expect(200).json();
    e.client().get("/second").send().await.expect(200);
    let second = e.admin().get("/stats").send().await.expect(200).json();
    let count = |stats: &Value| stats["hottest"].as_array().map_or(0, Vec::len);
    // A machine that takes two seconds for this has made them twice, as it should.
    if begun.elapsed() < Duration::from_secs(2) {
        assert_eq!((count(&first), count(&second)), (1, 1));
    }
    stats_where(&e, "both in the list", |it| count(it) == 2).await;
}
