//! The command line: what each command prints, and its exit code (0 ok, 1 runtime, 2 configuration or usage, 3 cannot bind).

use std::path::Path;
use std::process::Stdio;

use tempfile::TempDir;

use crate::rig::{
    client, edge, forebay, free_port, ok, origin, run_forebay, temporary_directory, within,
};

/// A directory with this `proxy.toml`.
fn directory(toml: &str) -> TempDir {
    let dir = temporary_directory();
    write(dir.path(), toml);
    dir
}

fn write(dir: &Path, toml: &str) {
    std::fs::write(dir.join("proxy.toml"), toml).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_says_that_all_is_well() {
    let dir = directory("[[route]]\nto = \"http://app:5000\"");
    for args in [
        &["check"][..],
        &["-t"],
        &["check", "--config", "proxy.toml"],
        &["-t", "-c", "proxy.toml"],
    ] {
        run_forebay(dir.path(), args)
            .await
            .expect(0)
            .says("proxy.toml");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_everything_at_once_with_place_and_hint() {
    let dir = directory(
        "[upstream.api]\nservers = [\"http://api:8000\"]\nhold = \"10 parsecs\"\n\n[[route]]\nto = \"ap1\"\ntll = 5\n\n[limits]\nhead = true\n",
    );
    let run = run_forebay(dir.path(), &["check"]).await.expect(2);
    for part in [
        "proxy.toml:3:8",
        "10 parsecs",
        "proxy.toml:6:6",
        "`ap1`",
        "api",
        "proxy.toml:7:1",
        "tll",
        "proxy.toml:10:8",
    ] {
        assert!(run.stderr.contains(part), "no {part:?} in {run:#?}");
    }
    // The line itself is shown.
    run.complains("tll = 5");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_issues_own_example_of_an_error() {
    let dir = directory("[[route]]\nto = \"http://a:1\"\ncache = { tll = \"5m\" }\n");
    run_forebay(dir.path(), &["check"])
        .await
        .expect(2)
        .complains("did you mean")
        .complains("ttl");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reads_the_files_that_are_there() {
    let dir = directory(
        "[[listen]]\naddr = \"127.0.0.1:8443\"\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n\
         [upstream.o]\nservers = [\"https://o.test\"]\ntls = { ca = \"ca.pem\" }\n\
         [[route]]\nto = \"o\"\nauth = { basic = \"users\" }\n\
         [[route]]\npath = \"/more/\"\nto = \"o\"\nauth = { basic = \"users\" }",
    );
    // They may be there where the program will run.
    let run = run_forebay(dir.path(), &["check"]).await.expect(0);
    assert_eq!(run.stdout.matches("is not there").count(), 5, "{run:#?}");
    for file in ["c.pem", "k.pem", "ca.pem", "users"] {
        std::fs::write(dir.path().join(file), "bob:{SHA}x\n").unwrap();
    }
    let run = run_forebay(dir.path(), &["check"]).await.expect(2);
    assert_eq!(run.stderr.lines().count(), 3, "{run:#?}");
    run.complains("listener 127.0.0.1:8443: ")
        .complains("upstream `o`: `ca.pem`: ")
        .complains("users:1: user `bob`: ");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_knows_routes_that_nothing_reaches() {
    let dir = directory(
        "[[route]]\npath = \"/a/\"\nrespond = \"1\"\n[[route]]\npath = \"/a\"\nrespond = \"2\"\n",
    );
    let run = run_forebay(dir.path(), &["check"]).await;
    assert!(
        run.stderr.contains("proxy.toml:4") || run.stderr.contains("proxy.toml:5"),
        "{run:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_configuration_is_looked_for() {
    let dir = temporary_directory();
    let run = run_forebay(dir.path(), &["check"]).await.expect(2);
    assert!(run.stderr.contains("proxy.toml"), "{run:#?}");
    run_forebay(dir.path(), &["check", "--config", "missing.toml"])
        .await
        .expect(2)
        .complains("missing.toml");
    std::fs::write(dir.path().join("other.toml"), "[[route]]\nrespond = \"x\"").unwrap();
    let output = forebay()
        .arg("check")
        .current_dir(dir.path())
        .env("FOREBAY_CONFIG", "other.toml")
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_may_stand_for_to() {
    let dir = temporary_directory();
    for (to, complaint) in [
        ("http://a/b", "--to: expected a URL without a path"),
        ("", "found no configuration"),
    ] {
        let mut run = forebay();
        run.arg("run").current_dir(dir.path()).env("FOREBAY_TO", to);
        let output = run.output().await.unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:#?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(complaint), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn variables_and_includes() {
    let dir = directory(
        "include = [\"conf.d/*.toml\"]\n[[route]]\nto = \"http://${FOREBAY_TEST_HOST:-app}:${FOREBAY_TEST_PORT:-5000}\"",
    );
    std::fs::create_dir(dir.path().join("conf.d")).unwrap();
    std::fs::write(
        dir.path().join("conf.d/more.toml"),
        "[[route]]\npath = \"/more\"\nrespond = \"more\"",
    )
    .unwrap();
    run_forebay(dir.path(), &["routes"])
        .await
        .expect(0)
        .says("http://app:5000")
        .says("/more");
    let output = forebay()
        .arg("routes")
        .current_dir(dir.path())
        .env("FOREBAY_TEST_HOST", "elsewhere")
        .output()
        .await
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains("http://elsewhere:5000"));
    // The same key twice names both places.
    std::fs::write(
        dir.path().join("conf.d/a.toml"),
        "[limits]\nhead = \"1KiB\"",
    )
    .unwrap();
    std::fs::write(
        dir.path().join("conf.d/b.toml"),
        "[limits]\nhead = \"2KiB\"",
    )
    .unwrap();
    run_forebay(dir.path(), &["check"])
        .await
        .expect(2)
        .complains("a.toml")
        .complains("b.toml");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_in_the_order_in_which_they_are_tried() {
    let dir = directory(
        "[[route]]\nrespond = \"any\"\n[[route]]\nname = \"api\"\npath = \"/api/\"\nrespond = \"api\"\n[[route]]\nname = \"health\"\nhost = \"a.test\"\npath = \"=/healthz\"\nrespond = \"ok\"",
    );
    let run = run_forebay(dir.path(), &["routes"]).await.expect(0);
    let at = |part: &str| {
        run.stdout
            .find(part)
            .unwrap_or_else(|| panic!("no {part:?} in {run:#?}"))
    };
    assert!(at("health") < at("api"), "{}", run.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_init_prints_is_valid() {
    let dir = temporary_directory();
    let run = run_forebay(dir.path(), &["init"]).await.expect(0);
    write(dir.path(), &run.stdout);
    run_forebay(dir.path(), &["check"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_config_effective_prints_means_the_same() {
    let dir = directory(
        "[server]\nname = \"edge-1\"\n[upstream.api]\nservers = [\"http://api:8000\", { url = \"unix:/run/a.sock\", weight = 2 }]\nhealth = { path = \"/healthz\" }\n[[route]]\nhost = \"a.test\"\npath = \"/api/\"\nto = \"api\"\nstrip_prefix = true\n[[route]]\nredirect = \"https://{host}{uri}\"",
    );
    let first = run_forebay(dir.path(), &["config", "--effective"])
        .await
        .expect(0)
        .stdout;
    assert!(
        first.contains("hold = \"10s\""),
        "defaults are shown: {first}"
    );
    write(dir.path(), &first);
    let second = run_forebay(dir.path(), &["config", "--effective"])
        .await
        .expect(0)
        .stdout;
    let body = |text: &str| {
        text.lines()
            .filter(|l| !l.starts_with('#'))
            .collect::<Vec<_>>()
            .join("\n")
    };
    assert_eq!(body(&first), body(&second));
    run_forebay(dir.path(), &["config"]).await.expect(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_version_and_completions() {
    let dir = temporary_directory();
    run_forebay(dir.path(), &["frobnicate"]).await.expect(2);
    run_forebay(dir.path(), &[]).await.expect(2);
    run_forebay(dir.path(), &["--help"])
        .await
        .expect(0)
        .says("healthcheck");
    run_forebay(dir.path(), &["version"])
        .await
        .expect(0)
        .says(env!("CARGO_PKG_VERSION"));
    for shell in ["bash", "zsh", "fish"] {
        run_forebay(dir.path(), &["completions", shell])
            .await
            .expect(0)
            .says("forebay");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_configuration_is_2_and_a_taken_port_is_3() {
    let dir = directory("[[route]]\nto = 5");
    run_forebay(dir.path(), &["run"])
        .await
        .expect(2)
        .complains("proxy.toml:2");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    write(
        dir.path(),
        &format!(
            "[admin]\nlisten = \"off\"\n[[listen]]\naddr = \"{addr}\"\n[[route]]\nrespond = \"x\""
        ),
    );
    run_forebay(dir.path(), &["run"])
        .await
        .expect(3)
        .complains(&addr);
    let admin = format!(
        "[admin]\nlisten = \"{addr}\"\n[[listen]]\naddr = \"127.0.0.1:{}\"\n[[route]]\nrespond = \"x\"",
        free_port()
    );
    write(dir.path(), &admin);
    run_forebay(dir.path(), &["run"])
        .await
        .expect(3)
        .complains(&addr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_not_there_is_2() {
    let dir = directory(&format!(
        "[[listen]]\naddr = \"127.0.0.1:{}\"\ntls = {{ cert = \"no.pem\", key = \"no.key\" }}\n[[route]]\nrespond = \"x\"",
        free_port()
    ));
    let run = run_forebay(dir.path(), &["run"]).await;
    assert!([1, 2].contains(&run.code), "{run:#?}");
    run.complains("no.pem");
}

/// In a network of its own, where the default ports are free: a site, an edge in front of it, and a client.
const NO_FILE: &str = r#"
ip link set lo up
"$0" run --config site.toml & site=$!
"$0" run --to 127.0.0.1:5000 --listen 127.0.0.1:8080 & edge=$!
until curl --silent --fail http://127.0.0.1:8080/a; do :; done
"$0" healthcheck
kill $site $edge
"#;

#[tokio::test(flavor = "multi_thread")]
async fn to_and_listen_need_no_file() {
    let dir = temporary_directory();
    let site = "[server]\nname = \"site\"\n[admin]\nlisten = \"off\"\n[log]\naccess = \"off\"\n[[listen]]\naddr = \"127.0.0.1:5000\"\n[[route]]\nrespond = \"no file needed\"";
    std::fs::write(dir.path().join("site.toml"), site).unwrap();
    let mut alone = tokio::process::Command::new("unshare");
    alone.args([
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        NO_FILE,
        env!("CARGO_BIN_EXE_forebay"),
    ]);
    let output = within(
        "the edge without a file",
        alone.current_dir(dir.path()).output(),
    )
    .await
    .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(
        stdout.contains("no file needed") && stdout.contains("\"path\":\"/a\""),
        "{output:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck() {
    let mut o = origin("o1").on("*", ok());
    let toml = "[upstream.o]\nservers = [\"{o1}\"]\nhealth = { tcp = true, every = \"50ms\", every_down = \"50ms\", unhealthy = 1 }\n[[route]]\nto = \"o\"";
    let e = edge(toml).origin(&o).start().await;
    e.metric_becomes("forebay_upstream_up", 0.0).await;
    run_forebay(e.dir(), &["healthcheck"]).await.expect(0);
    run_forebay(e.dir(), &["healthcheck", "--ready"])
        .await
        .expect(1);
    o.up().await;
    e.metric_becomes("forebay_upstream_up", 1.0).await;
    run_forebay(e.dir(), &["healthcheck", "--ready"])
        .await
        .expect(0);
    let socket = format!("unix:{}", e.dir().join("admin.sock").display());
    run_forebay(e.dir(), &["healthcheck", "--url", &socket])
        .await
        .expect(0);
    run_forebay(e.dir(), &["healthcheck", "--url", "http://127.0.0.1:1"])
        .await
        .expect(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_without_a_running_edge_is_1() {
    let dir = temporary_directory();
    let socket = dir.path().join("nobody.sock");
    write(
        dir.path(),
        &format!(
            "[admin]\nlisten = \"unix:{}\"\n[[route]]\nrespond = \"x\"",
            socket.display()
        ),
    );
    run_forebay(dir.path(), &["reload"]).await.expect(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn demo_starts_before_its_application_and_nobody_sees_an_error() {
    let listen = format!("127.0.0.1:{}", free_port());
    let dir = temporary_directory();
    let mut child = forebay();
    child
        .args(["demo", "--listen", &listen])
        .current_dir(dir.path());
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (out, err) = (
        crate::rig::Lines::of(child.stdout.take().unwrap()),
        crate::rig::Lines::of(child.stderr.take().unwrap()),
    );
    within("the demo's proxy", async {
        while client(&listen).try_stream().await.is_err() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The application is three seconds late.
    let began = forebay::clock::now();
    client(&listen)
        .get("/")
        .send()
        .await
        .expect(200)
        .body_contains("<html");
    assert!(began.elapsed().as_millis() > 300, "it was there already");
    client(&listen).get("/api/items").send().await.expect(200);
    client(&listen)
        .post("/api/items", "one more")
        .send()
        .await
        .expect(201);
    let banner = [out.all(), err.all()].concat().join("\n");
    assert!(banner.contains("curl"), "things to try: {banner}");
    child.kill().await.unwrap();
}
