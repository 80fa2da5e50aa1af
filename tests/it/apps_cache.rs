//! Real applications whose answers are worth keeping, and real clients that want parts of them.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Value, json};
use tokio::process::Command;

use crate::rig::{
    App, Edge, Response, edge, free_port, get, ok, origin, peak_kib, post, python, repository,
    temporary_directory, within,
};

/// gunicorn with four sync workers, serving `module` of `tests/apps` with these in its environment.
async fn served(module: &str, environment: &[(&str, &str)]) -> (App, String) {
    let addr = format!("127.0.0.1:{}", free_port());
    let mut command = python("gunicorn").await;
    let module = format!("{module}:app");
    command.args(["--workers", "4", "--bind", &addr, &module]);
    command
        .current_dir(repository().join("tests/apps"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .envs(environment.iter().copied());
    (App::start(command), addr)
}

/// An edge in front of it. It is asked at once, and holds until gunicorn is there.
async fn in_front_of(addr: &str) -> Edge {
    let toml =
        "[upstream.app]\nservers = [\"http://{app}\"]\nhold = \"30s\"\n[[route]]\nto = \"app\"";
    edge(toml).value("app", addr).start().await
}

fn lines(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(ToOwned::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_and_a_list_that_takes_its_time() {
    let dir = temporary_directory();
    let builds = dir.path().join("builds");
    // The shop's is 19 s, which is what `make cache-figures` measures; what is tested here is the same at two.
    let seconds = std::env::var("IMAGES_SECONDS").unwrap_or_else(|_| "2".to_owned());
    let environment = [
        ("IMAGES_BUILDS", builds.to_str().unwrap()),
        ("IMAGES_SECONDS", &seconds),
    ];
    let (_app, addr) = served("images", &environment).await;
    let e = in_front_of(&addr).await;
    let crowd = e.client().crowd(500, &get("/images"));
    let mut bodies: Vec<String> = Vec::new();
    for one in crowd.all().await {
        let images = one.response.expect(200).json();
        assert_eq!(images["images"].as_array().map(Vec::len), Some(190));
        bodies.push(images.to_string());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1);
    assert_eq!(lines(&builds).len(), 1, "{:?}", lines(&builds));
    let hit = e.client().get("/images").send().await.expect(200);
    hit.cache_status("hit");
}

const BOOKS: &str =
    "query Books($first: Int!) { books(first: $first) { id title price(currency: \"USD\") } }";

/// The SHA-256 of `BOOKS`, as a client of persisted queries computes it when it is built.
const BOOKS_HASH: &str = "63bc2552b660b7d3e4afa1e73da0f060b7864956b04663e5cb5b07e51e8ca41f";

/// The GET of a persisted query: `variables` and the hash, percent-encoded, in the query string.
fn persisted(variables: &Value) -> String {
    let encode = |value: &Value| {
        percent_encoding::utf8_percent_encode(
            &value.to_string(),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .to_string()
    };
    let extensions = json!({"persistedQuery": {"version": 1, "sha256Hash": BOOKS_HASH}});
    format!(
        "/graphql?operationName=Books&variables={}&extensions={}",
        encode(variables),
        encode(&extensions)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn graphql_with_persisted_queries() {
    let dir = temporary_directory();
    let (_app, addr) = served("catalogue", &[("CATALOGUE", dir.path().to_str().unwrap())]).await;
    let e = in_front_of(&addr).await;
    let c = e.client();
    let runs = || lines(&dir.path().join("runs")).len();
    let (two, three) = (
        persisted(&json!({"first": 2})),
        persisted(&json!({"first": 3})),
    );

    // Unknown so far; that is not remembered.
    let unknown = c.get(&two).send().await.expect(200);
    unknown
        .body_contains("PersistedQueryNotFound")
        .cache_status("detail=no-store");
    let query = json!({
        "query": BOOKS,
        "variables": {"first": 2},
        "extensions": {"persistedQuery": {"version": 1, "sha256Hash": BOOKS_HASH}},
    });
    let post = |body: &Value| {
        let request = post("/graphql", body.to_string()).header("Content-Type", "application/json");
        c.request(request).send()
    };
    let titles = |answer: &Response| {
        let books = answer.json()["data"]["books"].clone();
        let books = books.as_array().cloned().unwrap_or_default();
        books
            .iter()
            .map(|book| book["title"].to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(titles(&post(&query).await.expect(200)).len(), 2);
    assert_eq!(runs(), 1);

    // From here on the hash is enough, and each set of variables is run once, whoever asks.
    for target in [&two, &three] {
        let before = runs();
        for one in c.crowd(50, &get(target)).all().await {
            let answer = one.response.expect(200);
            assert_eq!(titles(&answer).len(), if target == &two { 2 } else { 3 });
        }
        // The first was known not to be shared, so up to fifty ran it; then it is noticed, and kept.
        c.get(target).send().await.expect(200);
        let hit = c.get(target).send().await.expect(200);
        hit.cache_status("hit");
        let most = if target == &two { 51 } else { 1 };
        let more = runs() - before;
        assert!((1..=most).contains(&more), "{more} runs of {target}");
    }
    // A mistake is nobody else's answer.
    let wrong = json!({"query": "{ nothing }"});
    post(&wrong)
        .await
        .expect(200)
        .body_contains("Cannot query field");
}

#[tokio::test(flavor = "multi_thread")]
async fn django_with_sessions_shows_nobody_anothers_page() {
    let dir = temporary_directory();
    let views = dir.path().join("views");
    let (_app, addr) = served("members", &[("MEMBERS_VIEWS", views.to_str().unwrap())]).await;
    let e = in_front_of(&addr).await;
    let c = e.client();
    let viewed = |path: &str| lines(&views).iter().filter(|line| *line == path).count();

    // Everybody's page is kept, since it says so.
    for _ in 0..3 {
        let front = c.get("/").send().await.expect(200);
        front.body("Hello, whoever you are!");
    }
    assert_eq!(viewed("/"), 1);
    let tag = c.get("/").send().await.expect(200).cache_status("hit");
    let tag = tag.value("etag").to_owned();
    c.get("/")
        .header("If-None-Match", &tag)
        .send()
        .await
        .expect(304)
        .cache_status("hit");

    let mut sessions = Vec::new();
    for name in ["ada", "grace"] {
        let login = c.get(&format!("/login/{name}")).send().await.expect(200);
        login
            .clone()
            .body(format!("Logged in as {name}"))
            .no_cache_status("stored");
        let cookie = login.value("set-cookie").split(';').next().unwrap();
        sessions.push((name, cookie.to_owned()));
    }
    // Interleaved and at once, over and over: each sees their own.
    for path in ["/", "/basket", "/offers"] {
        let requests = (0..60).map(|n| {
            let request = get(path);
            match sessions.get(n % 3) {
                Some((_, cookie)) => request.header("Cookie", cookie),
                None => request,
            }
        });
        for (n, one) in c.crowd_of(requests).all().await.into_iter().enumerate() {
            let answer = one.response.expect(200).text();
            let name = sessions.get(n % 3).map(|(name, _)| *name);
            for (other, _) in &sessions {
                let theirs = answer.contains(other);
                assert_eq!(
                    theirs,
                    Some(*other) == name,
                    "{path} for {name:?}: {answer}"
                );
            }
        }
    }
    // What says how long it is fresh and varies by cookie is kept once for each session.
    for (name, cookie) in &sessions {
        let offers = c.get("/offers").header("Cookie", cookie).send().await;
        let offers = offers.expect(200).body(format!("Offers for {name}"));
        offers.cache_status("hit");
    }
    assert_eq!(viewed("/offers"), 3);
    // A login page sets a cookie, so it is nobody else's.
    let again = c.get("/login/ada").send().await.expect(200);
    assert!(again.head.get("set-cookie").is_some());
    assert_eq!(viewed("/login/ada"), 2);
}

const GIBIBYTE: u64 = 1 << 30;

/// A file of this size that is all holes but for a mark of sixteen octets at each of these places.
fn sparse(path: &Path, size: u64, marks: &[u64]) {
    let mut file = std::fs::File::create(path).unwrap();
    file.set_len(size).unwrap();
    for &at in marks {
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(mark(at).as_bytes()).unwrap();
    }
}

fn mark(at: u64) -> String {
    format!("{at:015}\n")
}

/// Runs curl to its end and gives what it wrote.
async fn curl(args: &[&str]) -> String {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--fail", "--max-time", "120"]);
    let run = command.args(args).kill_on_drop(true).output();
    let output = within(&format!("curl {args:?}"), run).await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "curl {args:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gibibytes_with_ranges_leave_memory_flat() {
    let dir = temporary_directory();
    let marks = [0, 777, GIBIBYTE, 2 * GIBIBYTE - 16];
    sparse(&dir.path().join("film"), 2 * GIBIBYTE, &marks);
    let (_app, addr) = served("media", &[("MEDIA_ROOT", dir.path().to_str().unwrap())]).await;
    let toml = "[cache]\nmemory = \"64MiB\"\n[upstream.app]\nservers = [\"http://{app}\"]\nhold = \"30s\"\n[[route]]\nto = \"app\"";
    let e = edge(toml).value("app", &addr).start().await;
    let url = format!("http://{}/film", e.addr());
    e.client()
        .head("/film")
        .send()
        .await
        .expect(200)
        .header("content-length", "2147483648");
    let before = peak_kib(e.pid());

    for at in marks {
        let range = format!("{at}-{}", at + 15);
        let said = curl(&["--range", &range, "--write-out", "%{http_code}", &url]).await;
        assert_eq!(said, mark(at) + "206");
    }
    let end = curl(&["--range", "-16", &url]).await;
    assert_eq!(end, mark(2 * GIBIBYTE - 16));
    // From there to the end, as curl goes on with a download; and all of it.
    let output = [
        "--output",
        "/dev/null",
        "--write-out",
        "%{http_code} %{size_download}",
    ];
    let from = (2 * GIBIBYTE - GIBIBYTE / 4).to_string();
    let rest = [&output[..], &["--continue-at", &from, &url]].concat();
    assert_eq!(curl(&rest).await, format!("206 {}", GIBIBYTE / 4));
    let whole = [&output[..], &[&url]].concat();
    assert_eq!(curl(&whole).await, format!("200 {}", 2 * GIBIBYTE));

    let grown = peak_kib(e.pid()) - before;
    assert!(grown < 48 * 1024, "grown by {grown} KiB at its peak");
    let beyond = e
        .client()
        .get("/film")
        .header("Range", "bytes=2147483648-")
        .send()
        .await;
    beyond.expect(416);
}

/// Silence as PCM with one channel of 8 bits at 8 kHz: a second is 8,000 octets.
fn wav(path: &Path, seconds: u32) {
    let data = seconds * 8_000;
    let mut head = Vec::new();
    head.extend_from_slice(b"RIFF");
    head.extend_from_slice(&(data + 36).to_le_bytes());
    head.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    head.extend_from_slice(&8_000_u32.to_le_bytes());
    head.extend_from_slice(&8_000_u32.to_le_bytes());
    head.extend_from_slice(b"\x01\0\x08\0data");
    head.extend_from_slice(&data.to_le_bytes());
    let mut file = std::fs::File::create(path).unwrap();
    file.write_all(&head).unwrap();
    file.set_len(u64::from(data) + head.len() as u64).unwrap();
}

/// A browser, where there is one; says where there is none.
#[expect(clippy::print_stderr, reason = "what was not tested is said aloud")]
pub fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = names
        .into_iter()
        .find(|name| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()));
    if found.is_none() {
        eprintln!("SKIPPED: no browser here: apt-get install chromium");
    }
    found
}

/// A browser without a screen that opens a page, with a profile of its own.
pub fn headless(browser: &str, profile: &Path, page: &str) -> Command {
    let mut command = Command::new(browser);
    command
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--mute-audio",
        ])
        .args([
            "--autoplay-policy=no-user-gesture-required",
            "--no-first-run",
        ])
        .args(["--disable-dev-shm-usage", "--disable-background-networking"])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(page);
    command
}

/// A page whose video element seeks to three quarters, plays on, and tells the origin "seen".
async fn seeks(seconds: u32, more: &str) {
    let Some(browser) = browser() else { return };
    let dir = temporary_directory();
    wav(&dir.path().join("tone.wav"), seconds);
    let (_app, addr) = served("media", &[("MEDIA_ROOT", dir.path().to_str().unwrap())]).await;
    let seen = origin("o1").on("/seen", ok().body("")).start().await;
    let toml = "[upstream.app]\nservers = [\"http://{app}\"]\nhold = \"30s\"\n[[route]]\npath = \"/seen\"\ncache = false\nto = \"{o1}\"\n[[route]]\nto = \"app\"\n";
    let toml = format!("{more}\n{toml}");
    let e = edge(&toml).value("app", &addr).origin(&seen).start().await;
    e.client().get("/").send().await.expect(200);
    for visit in 0..2 {
        let profile = dir.path().join(format!("profile-{visit}"));
        let page = format!("http://{}/", e.addr());
        let browser = App::start(headless(browser, &profile, &page));
        let told = seen.head(visit).await;
        drop(browser);
        let query: Vec<(&str, &str)> = told
            .target()
            .trim_start_matches("/seen?")
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .collect();
        let value = |name: &str| query.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        assert_eq!(value("what"), Some("played"), "{query:?}");
        let (at, of): (f64, f64) = (
            value("at").unwrap().parse().unwrap(),
            value("of").unwrap().parse().unwrap(),
        );
        assert!((of - f64::from(seconds)).abs() < 1.0, "{query:?}");
        assert!(at > 0.75 * of && at < 0.75 * of + 5.0, "{query:?}");
    }
    // It did seek: parts were asked for.
    e.log_where(|line| line["path"] == "/tone.wav" && line["status"] == 206)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_seeks_in_a_film_that_is_stored() {
    // Eight megabytes.
    seeks(1_000, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_seeks_in_a_film_that_is_too_large_to_store() {
    // Eight hundred megabytes, and eight is the most that is stored.
    seeks(100_000, "[cache]\nmemory = \"64MiB\"").await;
}
