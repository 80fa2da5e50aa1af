//! What is secret is in nothing that the process writes: at the loudest level of its log, in the access log, in metrics, in
//! what the control plane says, in errors.

use crate::rig::{edge, get, ok, origin, post, run_forebay};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Each is in no other text.
const SECRETS: [&str; 8] = [
    "s3cret-password",
    "s3cret-guess",
    "s3cret-token",
    "s3cret-cookie",
    "s3cret-session",
    "s3cret-bearer",
    "s3cret-purge",
    "s3cret-basic",
];

const TOML: &str = r#"
[log]
level = "trace,pingora=trace,h2=trace,hyper=trace,rustls=trace"
[admin]
listen = "unix:{dir}/admin.sock"
token = "s3cret-token"
[purge]
token = "s3cret-purge"
[[route]]
to = "{o1}"
request_headers = { set = { Authorization = "Basic s3cret-basic" } }
[[route]]
path = "/staff/"
to = "{o1}"
auth = { basic = "{dir}/users" }
[[route]]
path = "/members/"
to = "{o1}"
auth = { forward = "{auth}/verify", copy = ["Remote-User"], send = ["Cookie", "Authorization"], cache = "1h" }
"#;

fn in_any_coding(secret: &str) -> [String; 2] {
    [secret.to_owned(), STANDARD.encode(secret)]
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_written_has_a_secret_in_it() {
    let o = origin("o1")
        .on(
            "/a",
            ok().max_age(60)
                .header("set-cookie", "sid=s3cret-session")
                .body("a"),
        )
        .on("/staff/a", ok().max_age(60).body("staff"))
        .on("/members/a", ok().body("members"))
        .start()
        .await;
    let auth = origin("auth")
        .on(
            "/verify",
            ok().header("set-cookie", "sid=s3cret-session")
                .header("remote-user", "ann"),
        )
        .start()
        .await;
    let e = edge(TOML)
        .origin(&o)
        .origin(&auth)
        .file("users", line("s3cret-password"));
    let e = e.start().await;
    let pair = |password: &str| format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
    for target in ["/a", "/staff/a", "/members/a"] {
        for authorization in [
            pair("s3cret-password"),
            pair("s3cret-guess"),
            "Bearer s3cret-bearer".to_owned(),
        ] {
            let asked = get(target).header("Authorization", &authorization);
            let asked = asked.header("Cookie", "sid=s3cret-cookie");
            e.client().request(asked.clone()).send().await;
            e.client().h2().await.send(asked).await;
        }
    }
    let purge = crate::rig::request("PURGE", "/a").header("Authorization", "Bearer s3cret-purge");
    e.client().request(purge).send().await;
    let mut said = String::new();
    for path in [
        "/",
        "/stats",
        "/metrics",
        "/upstreams",
        "/cache",
        "/healthz",
    ] {
        said.push_str(&e.admin().get(path).send().await.text());
    }
    let explain = post("/explain", r#"{"url": "http://site.test/members/a"}"#);
    let explain = explain.header("Authorization", "Bearer s3cret-token");
    said.push_str(&e.admin().request(explain).send().await.text());
    // A reload with an error in the very lines.
    e.write(&TOML.replace("token = \"s3cret-purge\"", "token = \"s3cret-purge\", x"));
    let reload = post("/reload", "").header("Authorization", "Bearer s3cret-token");
    said.push_str(&e.admin().request(reload).send().await.text());
    e.write(TOML);
    e.log_where(|line| line["path"] == "/members/a" && line["status"] == 200)
        .await;
    for command in [&["config", "--effective"][..], &["check"], &["routes"]] {
        let run = run_forebay(e.dir(), command).await;
        said.push_str(&format!("{run:?}"));
    }
    let stdout: Vec<String> = e.log().iter().map(ToString::to_string).collect();
    for (where_, text) in [
        ("what it says", &said),
        ("its log", &e.stderr_lines().join("\n")),
        ("the access log", &stdout.join("\n")),
    ] {
        assert!(!text.is_empty(), "{where_}");
        for secret in SECRETS.iter().flat_map(|secret| in_any_coding(secret)) {
            let at = text.find(&secret);
            let around =
                at.map(|at| text[at.saturating_sub(200)..(at + 60).min(text.len())].to_owned());
            assert_eq!(around, None, "{secret} in {where_}");
        }
    }
    // Where it is asked for, it is shown.
    let run = run_forebay(e.dir(), &["config", "--effective", "--secrets"]).await;
    assert!(format!("{run:?}").contains("s3cret-token"));
}

fn line(password: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["password", "ann"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(password.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().stdout
}
