//! Real applications behind the edge, and real clients in front of it.
//!
//! No application is waited for: the edge is asked at once, and holds.

use std::path::Path;
use std::process::Output;

use tokio::process::Command;

use crate::rig::{
    Authority, Edge, client, edge, free_port, gate, gunicorn, peak_kib, post, pulse, python,
    repository, within,
};

/// Runs a client to its end, which is a success.
async fn run(mut command: Command) -> String {
    let what = format!("{command:?}");
    let Output {
        status,
        stdout,
        stderr,
    } = within(&what, command.kill_on_drop(true).output())
        .await
        .unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{what}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

/// curl, quiet but for errors.
fn curl(args: &[&str]) -> Command {
    let mut command = Command::new("curl");
    command
        .args(["--silent", "--show-error", "--fail", "--max-time", "60"])
        .args(args);
    command
}

/// An edge in front of one application.
async fn in_front_of(server: &str, settings: &str) -> Edge {
    let toml = format!(
        "[upstream.app]\nservers = [\"{server}\"]\nhold = \"30s\"\n{settings}\n[[route]]\nto = \"app\""
    );
    edge(&toml).start().await
}

async fn greets(e: &Edge) {
    let c = e.client();
    c.get("/").send().await.expect(200).body("Hello, World!");
    c.request(post("/update/by%20POST", ""))
        .send()
        .await
        .expect(200)
        .body("updated to: by POST");
    c.get("/").send().await.expect(200).body("by POST");
    c.get("/update/by-GET")
        .send()
        .await
        .expect(200)
        .body("updated to: by-GET");
    c.h2().await.get("/").await.expect(200).body("by-GET");
    c.get("/nothing").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn flask_under_gunicorn_over_tcp() {
    let bind = format!("127.0.0.1:{}", free_port());
    let e = in_front_of(&format!("http://{bind}"), "max_in_flight = 4").await;
    let _app = gunicorn("greeting", "app:app", &bind, &e.dir().join("greeting.txt")).await;
    greets(&e).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flask_under_gunicorn_over_a_unix_socket() {
    let dir = crate::rig::temporary_directory();
    let bind = format!("unix:{}", dir.path().join("app.sock").display());
    let e = in_front_of(&bind, "max_in_flight = 4").await;
    let _app = gunicorn(
        "greeting",
        "app:app",
        &bind,
        &dir.path().join("greeting.txt"),
    )
    .await;
    greets(&e).await;
}

/// Twenty clients that ask without a pause while the application is stopped and started again, twice.
async fn recreated(bind: &str, server: &str, greeting: &Path) {
    let e = in_front_of(server, "").await;
    let stop = gate();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (c, stop) = (e.client(), stop.clone());
            tokio::spawn(async move {
                let mut served = 0_u32;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.pass() => return served,
                        got = c.get("/").send() => {
                            got.expect(200).body("Hello, World!");
                            served += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..3 {
        let mut app = gunicorn("greeting", "app:app", bind, greeting).await;
        // It has come up, served who waited, and goes on to serve.
        for n in 0..50 {
            e.client()
                .get(&format!("/update/Hello,%20World!?{n}"))
                .send()
                .await
                .expect(200);
        }
        app.stop().await;
        e.metric_becomes("forebay_upstream_held", 20.0).await;
    }
    let _app = gunicorn("greeting", "app:app", bind, greeting).await;
    e.metric_becomes("forebay_upstream_held", 0.0).await;
    stop.open();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gunicorn_recreated_while_clients_wait() {
    let dir = crate::rig::temporary_directory();
    let bind = format!("127.0.0.1:{}", free_port());
    recreated(
        &bind,
        &format!("http://{bind}"),
        &dir.path().join("greeting.txt"),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gunicorn_recreated_behind_a_unix_socket() {
    let dir = crate::rig::temporary_directory();
    let bind = format!("unix:{}", dir.path().join("app.sock").display());
    recreated(&bind, &bind, &dir.path().join("greeting.txt")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_application_as_three_services() {
    let [greeting, update, status] =
        [free_port(), free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let toml = r#"
        [[route]]
        path = "/greeting"
        to = "http://{greeting}"
        [[route]]
        path = "/update/"
        to = "http://{update}"
        [[route]]
        path = "/status"
        to = "http://{status}"
    "#;
    let e = edge(toml)
        .value("greeting", &greeting)
        .value("update", &update)
        .value("status", &status)
        .start()
        .await;
    let store = e.dir().join("greeting.txt");
    let _greeting = gunicorn("split", "greeting:app", &greeting, &store).await;
    let _update = gunicorn("split", "update:app", &update, &store).await;
    let _status = gunicorn("split", "status:app", &status, &store).await;
    let c = e.client();
    c.get("/greeting")
        .send()
        .await
        .expect(200)
        .body("Hello, World!");
    c.request(post("/update/split", ""))
        .send()
        .await
        .expect(200);
    c.get("/greeting").send().await.expect(200).body("split");
    assert_eq!(
        c.get("/status").send().await.expect(200).json()["greeting"],
        "split"
    );
    c.get("/").send().await.expect(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grpc_client_and_server() {
    let port = free_port();
    let e = in_front_of(
        &format!("grpc://127.0.0.1:{port}"),
        "buffer_request = \"0\"",
    )
    .await;
    let mut server = python("python").await;
    server
        .arg(repository().join("docker/apps/grpc/server.py"))
        .arg(port.to_string());
    let server = crate::rig::App::start(server);
    server.says("serving").await;
    let mut client = python("python").await;
    client
        .arg(repository().join("docker/apps/grpc/client.py"))
        .arg(e.addr());
    let result: serde_json::Value = serde_json::from_str(&run(client).await).unwrap();
    let wanted = serde_json::json!({
        "unary": "cba",
        "initial": "1",
        "trailing": "2",
        "fails": ["FAILED_PRECONDITION", "not today"],
        "count": 1000,
        "both": ["echo one", "echo two", "echo three"],
        "both_ended": "ended",
        "large": 3_000_000,
    });
    assert_eq!(result, wanted);
}

/// The client of Python's `websockets`: hand-shake, compression offer, fragments, ping, close.
const WEBSOCKETS: &str = r#"
import asyncio, sys
from websockets.asyncio.client import connect

async def main():
    async with connect(sys.argv[1], max_size=None) as ws:
        for n in range(200):
            await ws.send(f"message {n}")
            assert await ws.recv() == f"message {n}"
        await ws.send(bytes(1_000_000))
        assert await ws.recv() == bytes(1_000_000)
        await (await ws.ping())
    print(ws.close_code)

asyncio.run(main())
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_websocket_client_and_server() {
    let addr = format!("127.0.0.1:{}", free_port());
    let e = in_front_of(&format!("http://{addr}"), "").await;
    let _pulse = pulse(&addr).await;
    let mut client = python("python").await;
    client
        .args(["-c", WEBSOCKETS])
        .arg(format!("ws://{}/ws", e.addr()));
    assert_eq!(run(client).await.trim(), "1000");
}

#[tokio::test(flavor = "multi_thread")]
async fn curl_over_every_protocol() {
    let addr = format!("127.0.0.1:{}", free_port());
    let ca = Authority::new();
    let toml = "[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\ntls = { cert = \"{dir}/a.pem\", key = \"{dir}/a.key\" }\n[[route]]\nto = \"http://{pulse}\"";
    let e = edge(toml).value("pulse", &addr).file("ca.pem", ca.pem());
    ca.write(e.dir(), "a", &["a.test"]);
    let e = e.start().await;
    let _pulse = pulse(&addr).await;
    let plain = format!("http://{}", e.addr());
    let tls = e.value("listen2");
    let port = tls.rsplit(':').next().unwrap();
    let secure = format!("https://a.test:{port}");
    let resolve = format!("a.test:{port}:127.0.0.1");
    let trust = e.dir().join("ca.pem").display().to_string();
    let tls_args = ["--cacert", &trust, "--resolve", &resolve];
    for (version, base, spoken) in [
        ("--http1.1", &plain, "1.1"),
        ("--http2-prior-knowledge", &plain, "2"),
        ("--http1.1", &secure, "1.1"),
        ("--http2", &secure, "2"),
    ] {
        let args = [&[version, "--write-out", " %{http_version}"][..], &tls_args].concat();
        let ask = |path: &str, more: &[&str]| {
            run(curl(
                &[&args[..], more, &[&format!("{base}{path}")]].concat(),
            ))
        };
        let json = ask("/json", &[]).await;
        assert!(
            json.contains("\"service\":\"pulse\"") && json.ends_with(&format!(" {spoken}")),
            "{json}"
        );
        assert_eq!(
            ask("/stream?n=3", &["--no-buffer"]).await,
            format!("line 0\nline 1\nline 2\n {spoken}")
        );
        assert_eq!(
            ask("/events?n=2", &[]).await,
            format!("data: 0\n\ndata: 1\n\n {spoken}")
        );
        // 32 KiB, with curl's own Expect: 100-continue where it uses one.
        let upload = ask(
            "/upload",
            &[
                "--data-binary",
                &"x".repeat(32 * 1024),
                "--header",
                "Expect: 100-continue",
            ],
        )
        .await;
        assert!(upload.contains("\"bytes\":32768"), "{upload}");
        let head = ask("/slow?ms=1", &["--head"]).await;
        assert!(
            head.to_ascii_lowercase().contains("via: 1.1 edge"),
            "{head}"
        );
    }
}

const GIBIBYTE: u64 = 1 << 30;
/// Of that many zero bytes (zlib says the same).
const CRC32_OF_ZEROS: u64 = 0x5b64_c2b0;

#[tokio::test(flavor = "multi_thread")]
async fn a_gibibyte_up_and_down_leaves_memory_flat() {
    let addr = format!("127.0.0.1:{}", free_port());
    let e = in_front_of(&format!("http://{addr}"), "").await;
    let _pulse = pulse(&addr).await;
    e.client().get("/json").send().await.expect(200);
    let before = peak_kib(e.pid());

    // A hole of a gibibyte: it costs no disk, and is read as zeros.
    let file = e.dir().join("gibibyte");
    std::fs::File::create(&file)
        .unwrap()
        .set_len(GIBIBYTE)
        .unwrap();
    let file = file.display().to_string();
    let upload = run(curl(&[
        "--upload-file",
        &file,
        &format!("http://{}/upload", e.addr()),
    ]))
    .await;
    let received: serde_json::Value = serde_json::from_str(&upload).unwrap();
    assert_eq!(
        (received["bytes"].as_u64(), received["crc32"].as_u64()),
        (Some(GIBIBYTE), Some(CRC32_OF_ZEROS))
    );

    let url = format!("http://{}/download?bytes={GIBIBYTE}", e.addr());
    let count = run(curl(&[
        "--output",
        "/dev/null",
        "--write-out",
        "%{size_download}",
        &url,
    ]))
    .await;
    assert_eq!(count, GIBIBYTE.to_string());

    let grown = peak_kib(e.pid()) - before;
    assert!(grown < 24 * 1024, "grown by {grown} KiB at its peak");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_download_over_http2_leaves_memory_flat() {
    let addr = format!("127.0.0.1:{}", free_port());
    let e = in_front_of(&format!("http://{addr}"), "").await;
    let _pulse = pulse(&addr).await;
    e.client().get("/json").send().await.expect(200);
    let before = peak_kib(e.pid());
    let url = format!("http://{}/download?bytes=268435456", e.addr());
    let count = run(curl(&[
        "--http2-prior-knowledge",
        "--output",
        "/dev/null",
        "--write-out",
        "%{size_download}",
        &url,
    ]))
    .await;
    assert_eq!(count, "268435456");
    let grown = peak_kib(e.pid()) - before;
    assert!(grown < 24 * 1024, "grown by {grown} KiB at its peak");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rust_service_restarted_under_load() {
    let addr = format!("127.0.0.1:{}", free_port());
    let e = in_front_of(&format!("http://{addr}"), "").await;
    let stop = gate();
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let (c, stop) = (client(e.addr()), stop.clone());
            tokio::spawn(async move {
                let mut k = c.connect().await;
                let mut served = 0_u32;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.pass() => return served,
                        got = k.get("/bytes/1024") => {
                            got.expect(200).body([b'p'; 1024]);
                            served += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for _ in 0..5 {
        let mut service = pulse(&addr).await;
        for _ in 0..200 {
            e.client().get("/json").send().await.expect(200);
        }
        service.stop().await;
    }
    let _service = pulse(&addr).await;
    e.client().get("/json").send().await.expect(200);
    stop.open();
    for client in clients {
        assert!(client.await.unwrap() > 0);
    }
}
