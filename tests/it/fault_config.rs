//! Thirty configurations that nobody can run on, loaded while requests come: each is named by file, line and key, and the old one serves.

use rustix::process::Signal;

use crate::rig::{edge, ok, origin};

const GOOD: &str = "[[route]]\nto = \"{o1}\"";

/// What is wrong, on which line, and what must be said about it.
#[rustfmt::skip]
const BAD: &[(&str, u32, &str)] = &[
    ("[[route]]\nto = \"nobody\"", 2, "nobody"),
    ("[[route]]\nto = 5", 2, "to"),
    ("[[route]]\nto = \"\"", 2, "to"),
    ("[[route]]\nto = \"ftp://a\"", 2, "ftp"),
    ("[[route]]\nto = \"http://a:99999\"", 2, "99999"),
    ("[[route]]\nrespond = \"x\"\ncach = true", 3, "cach"),
    ("[[route]]\nrespond = \"x\"\nto = \"{o1}\"", 2, "to"),
    ("[[route]]\npath = \"no-slash\"\nrespond = \"x\"", 2, "path"),
    ("[[route]]\nrespond = { status = 99, body = \"x\" }", 2, "status"),
    ("[[route]]\nrespond = \"x\"\nbody_limit = \"big\"", 3, "body_limit"),
    ("[[route]]\nrespond = \"x\"\nresponse_headers = { set = { \"a b\" = \"c\" } }", 3, "a b"),
    ("[[route]]\nrespond = \"x\"\nerror_pages = { 99 = \"a\" }", 3, "99"),
    ("[[route]]\nto = \"{o1}\"\nhold_on = [99]", 3, "hold_on"),
    ("[[route]]\nto = \"{o1}\"\ncache = { ttl = 5 }", 3, "ttl"),
    ("[[route]]\nto = \"{o1}\"\ncache = { tll = \"5s\" }", 3, "tll"),
    ("[[route]]\nrespond = ", 2, "proxy.toml"),
    ("[[route]\nrespond = \"x\"", 1, "proxy.toml"),
    ("[route]\nrespond = \"x\"", 1, "route"),
    ("[limits]\nhead = \"many\"\n[[route]]\nrespond = \"x\"", 2, "head"),
    ("[limits]\nhead_timeout = \"5\"\n[[route]]\nrespond = \"x\"", 2, "head_timeout"),
    ("[limits]\nconnections = 0\n[[route]]\nrespond = \"x\"", 2, "connections"),
    ("[limits]\nbody = -1\n[[route]]\nrespond = \"x\"", 2, "body"),
    ("[cache]\nmemory = \"1\"\n[[route]]\nrespond = \"x\"", 2, "memory"),
    ("[cache]\nobject = \"1GiB\"\n[[route]]\nrespond = \"x\"", 2, "object"),
    ("[log]\naccess = 5\n[[route]]\nrespond = \"x\"", 2, "access"),
    ("[log]\nformat = \"xml\"\n[[route]]\nrespond = \"x\"", 2, "format"),
    ("[log]\nlevel = \"loud\"\n[[route]]\nrespond = \"x\"", 2, "level"),
    ("[upstream.a]\nservers = []\n[[route]]\nto = \"a\"", 2, "servers"),
    ("[upstream.a]\nservers = [\"{o1}\"]\nhold = 5\n[[route]]\nto = \"a\"", 3, "hold"),
    ("[upstream.a]\nservers = [\"{o1}\"]\nretry = { tries = 0 }\n[[route]]\nto = \"a\"", 3, "tries"),
    ("[upstream.a]\nservers = [\"{o1}\"]\nbalance = \"fair\"\n[[route]]\nto = \"a\"", 3, "balance"),
    ("[[listen]]\naddr = \"nowhere\"\n[[route]]\nrespond = \"x\"", 2, "addr"),
    ("[[listen]]\naddr = \"127.0.0.1:0\"\ntls = { cert = \"a.pem\" }\n[[route]]\nrespond = \"x\"", 3, "key"),
    ("include = [5]\n[[route]]\nrespond = \"x\"", 1, "include"),
    ("[sever]\nname = \"x\"\n[[route]]\nrespond = \"x\"", 1, "sever"),
];

#[tokio::test(flavor = "multi_thread")]
async fn each_is_named_by_file_line_and_key_and_the_old_one_serves() {
    let o = origin("o1").on("*", ok().body("old")).start().await;
    let mut e = edge(GOOD).origin(&o).start().await;
    assert!(BAD.len() >= 30);
    let mut untold = Vec::new();
    for (bad, line, key) in BAD {
        e.write(bad);
        let got = e.reload().await;
        let said = got.text();
        if got.status != 422
            || !said.contains(&format!("proxy.toml:{line}:"))
            || !said.contains(key)
        {
            untold.push(format!("{bad}\nis told as\n{} {said}", got.status));
        }
        e.client().get("/a").send().await.expect(200).body("old");
    }
    assert!(untold.is_empty(), "{}", untold.join("\n\n"));
    // By a signal there is nobody to be told but the log.
    e.signal(Signal::HUP);
    e.stderr("proxy.toml:1:").await;
    e.client().get("/a").send().await.expect(200).body("old");
    let failures = f64::from(u32::try_from(BAD.len()).unwrap() + 1);
    e.metric_becomes("forebay_config_reloads_total{result=\"failure\"}", failures)
        .await;
    e.reload_with("[[route]]\nrespond = \"new\"").await;
    e.client().get("/a").send().await.expect(200).body("new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_which_keys_changed_and_never_their_values() {
    let o = origin("o1").on("*", ok()).start().await;
    let toml = |hold: &str, token: &str| {
        format!(
            "[purge]\ntoken = \"{token}\"\n[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"{hold}\"\n[[route]]\nto = \"o\""
        )
    };
    let e = edge(&toml("1s", "a-token-of-before"))
        .origin(&o)
        .start()
        .await;
    e.write(&toml("2s", "a-s3cret-of-now"));
    let report = e.reload().await.expect(200);
    assert_eq!(
        report.json()["changes"],
        serde_json::json!(["upstream `o`: changed (hold)", "purge: changed (token)"])
    );
    assert!(!report.text().contains("s3cret"), "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_judges_a_certificate_that_is_known_to_be_bad() {
    let ca = crate::rig::Authority::new();
    let dir = crate::rig::temporary_directory();
    let (cert, key) = ca.write(dir.path(), "a", &["a.test"]);
    let toml = format!(
        "[[listen]]\naddr = \"{{listen}}\"\ntls = {{ cert = \"{}\", key = \"{}\" }}\n[[route]]\nrespond = \"hello\"",
        cert.display(),
        key.display()
    );
    let e = edge(&toml).start().await;
    let (orphan, _) = ca.certificate(&["a.test"]);
    let fresh = dir.path().join("fresh");
    std::fs::write(&fresh, orphan).unwrap();
    std::fs::rename(&fresh, &cert).unwrap();
    // Whoever watches the files has seen it, and says so once.
    e.stderr("a.pem").await;
    for _ in 0..2 {
        let got = e.reload().await.expect(422);
        assert!(got.text().contains("a.pem"), "{got:#?}");
    }
    let c = e.client().tls(ca.client(&[]), "a.test");
    c.get("/").send().await.expect(200).body("hello");
}
