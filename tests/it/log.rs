//! The access log: one line a request, with what an operator asks for; and where it goes.

use rustix::process::Signal;

use crate::rig::{edge, free_port, gate, get, ok, origin, post, within};

const PLAIN: &str = "[[route]]\nname = \"app\"\nto = \"{o1}\"";

#[tokio::test(flavor = "multi_thread")]
async fn at_debug_connections_and_tries_are_told_and_no_secrets() {
    let o = origin("o1").on("*", ok().body("hello")).start().await;
    let dead = free_port();
    let e = edge("[log]\nlevel = \"debug\"\n[upstream.app]\nservers = [\"{o1}\", \"http://127.0.0.1:{dead}\"]\nbalance = \"round_robin\"\n[[route]]\nto = \"app\"")
        .value("dead", &dead.to_string())
        .origin(&o)
        .start()
        .await;
    for _ in 0..2 {
        let c = e.client();
        let asked = c.get("/a").header("Authorization", "Bearer s3cret");
        asked
            .header("Cookie", "sid=s3cret")
            .send()
            .await
            .expect(200);
    }
    for part in [
        ": connected",
        &format!("({}) is tried", o.addr()),
        "upstream `app`: a try failed: ",
        "tried again: connect",
        ": gone after ",
    ] {
        e.stderr(part).await;
    }
    let lines = e.stderr_lines();
    assert!(
        lines.iter().all(|line| !line.contains("s3cret")),
        "{lines:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_has_who_what_where_and_how_long() {
    let o = origin("o1").on("/a", ok().body("hello")).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    let request = post("/a?x=1", "body")
        .header("User-Agent", "rig/1")
        .header("Referer", "http://site.test/");
    e.client().request(request).send().await.expect(200);
    let line = e.log_line("/a").await;
    for (key, value) in [
        ("method", "POST"),
        ("host", "site.test"),
        ("path", "/a"),
        ("query", "x=1"),
        ("proto", "HTTP/1.1"),
        ("client", "127.0.0.1"),
        ("route", "app"),
        ("upstream_addr", o.addr()),
        ("user_agent", "rig/1"),
        ("referer", "http://site.test/"),
        ("end", "complete"),
    ] {
        assert_eq!(line[key], value, "{key} in {line:#}");
    }
    for (key, value) in [
        ("status", 200),
        ("upstream_status", 200),
        ("bytes_in", 4),
        ("bytes_out", 5),
        ("tries", 1),
    ] {
        assert_eq!(line[key], value, "{key} in {line:#}");
    }
    for key in ["duration_ms", "ttfb_ms", "connect_ms"] {
        assert!(
            line[key].as_f64().is_some_and(|ms| ms >= 0.0),
            "{key} in {line:#}"
        );
    }
    assert_eq!(line["tls"], false);
    assert!(
        line["ts"].as_str().is_some_and(|ts| ts.ends_with('Z')),
        "{line:#}"
    );
    assert!(!line["id"].as_str().unwrap().is_empty());
    assert_eq!(e.log().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn how_a_request_ended() {
    let held = gate();
    let o = origin("o1")
        .on("/left", ok().hold(&held).body("v1"))
        .on("/cut", ok().length(10).data("hello").cut())
        .on("*", ok())
        .start()
        .await;
    let e = edge(PLAIN).origin(&o).start().await;
    let mut leaving = e.client().connect().await;
    leaving.start(&get("/left")).await;
    o.head(0).await;
    drop(leaving);
    assert_eq!(e.log_line("/left").await["end"], "client_gone");
    e.client().get("/cut").send().await;
    assert_eq!(e.log_line("/cut").await["end"], "upstream_cut");
    e.client().raw("GET / HTTP/1.1\r\n\r\n").await.expect(400);
    let line = e.log_where(|l| l["status"] == 400).await;
    assert_eq!(
        (line["end"].as_str(), line["route"].as_str()),
        (Some("refused"), Some("-"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_writes_a_line_of_their_own() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client()
        .get("/quote%22")
        .header("User-Agent", "a\"} {\"b\\")
        .send()
        .await
        .expect(200);
    let line = e.log_line("/quote%22").await;
    assert_eq!(line["user_agent"], "a\"} {\"b\\");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_not_written() {
    let o = origin("o1").on("*", ok()).start().await;
    let e = edge(PLAIN).origin(&o).start().await;
    e.client()
        .get("/a")
        .header("Authorization", "Bearer s3cret")
        .header("Cookie", "sid=s3cret")
        .send()
        .await
        .expect(200);
    let line = e.log_line("/a").await.to_string();
    assert!(!line.contains("s3cret"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn combined() {
    let o = origin("o1").on("*", ok().body("hello")).start().await;
    let e = edge(&format!("[log]\nformat = \"combined\"\n{PLAIN}"))
        .origin(&o)
        .start()
        .await;
    e.client()
        .get("/a?x=1")
        .header("User-Agent", "rig/1")
        .send()
        .await
        .expect(200);
    let line = e.stdout("GET /a").await;
    assert!(line.starts_with("127.0.0.1 - - ["), "{line}");
    assert!(
        line.ends_with("] \"GET /a?x=1 HTTP/1.1\" 200 5 \"-\" \"rig/1\""),
        "{line}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn off_means_off() {
    let o = origin("o1").on("*", ok()).start().await;
    let mut e = edge(&format!("[log]\naccess = \"off\"\n{PLAIN}"))
        .origin(&o)
        .start()
        .await;
    e.client().get("/a").send().await.expect(200);
    e.signal(Signal::TERM);
    e.wait_exit().await;
    assert!(e.log().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_opened_again_on_sigusr1() {
    let o = origin("o1").on("*", ok()).start().await;
    let mut e = edge(&format!("[log]\naccess = \"{{dir}}/access.log\"\n{PLAIN}"))
        .origin(&o)
        .start()
        .await;
    let (path, rotated) = (e.dir().join("access.log"), e.dir().join("access.log.1"));
    let has = |path: &std::path::Path, part: &str| {
        std::fs::read_to_string(path).is_ok_and(|text| text.contains(part))
    };
    let written = async |path: &std::path::Path, part: &str| {
        within(&format!("{part} in {}", path.display()), async {
            while !has(path, part) {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    e.client().get("/first").send().await.expect(200);
    written(&path, "/first").await;
    std::fs::rename(&path, &rotated).unwrap();
    e.signal(Signal::USR1);
    within("the new file", async {
        while !path.exists() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    e.client().get("/second").send().await.expect(200);
    written(&path, "/second").await;
    assert!(!has(&rotated, "/second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_log_delays_nobody() {
    // Standard output is a pipe that is full: nobody reads the log of this edge.
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let e = edge(&format!("[log]\naccess = \"{{dir}}/log.fifo\"\n{PLAIN}")).origin(&o);
    let fifo = e.dir().join("log.fifo");
    assert!(
        std::process::Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    // Held open for reading and never read.
    let _reader = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&fifo)
        .unwrap();
    let e = e.start().await;
    let mut k = e.client().connect().await;
    for n in 0..2_000 {
        k.get(&format!("/{n}?{}", "q".repeat(200)))
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_request_has_its_line_before_the_exit() {
    let o = origin("o1").on("*", ok()).start().await;
    let mut e = edge(PLAIN).origin(&o).start().await;
    let mut k = e.client().connect().await;
    for n in 0..500 {
        k.get(&format!("/{n}")).await.expect(200);
    }
    e.signal(Signal::TERM);
    assert_eq!(e.wait_exit().await, 0);
    e.log_line("/499").await;
    assert_eq!(e.log().len(), 500);
}
