//! A new configuration takes over without anybody noticing; a bad one changes nothing and says why.

use rustix::process::Signal;

use crate::rig::{Edge, client, edge, gate, get, ok, origin, run_forebay, upgrade, within};

fn answering(text: &str) -> String {
    format!("[[route]]\nrespond = \"{text}\"")
}

/// Waits until the edge answers with `text`.
async fn answers(e: &Edge, text: &str) {
    within(&format!("the answer {text:?}"), async {
        while e.client().get("/").send().await.expect(200).text() != text {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_sighup() {
    let mut e = edge(&answering("old")).start().await;
    answers(&e, "old").await;
    e.write(&answering("new"));
    e.signal(Signal::HUP);
    answers(&e, "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_admin_listener_and_by_the_command() {
    let e = edge(&answering("old")).start().await;
    e.write(&answering("new"));
    let report = e.reload().await.expect(200).json();
    assert!(report["changes"].is_array(), "{report:#}");
    // In force when the call returns.
    e.client().get("/").send().await.expect(200).body("new");
    e.write(&answering("newer"));
    run_forebay(e.dir(), &["reload", "--config", "proxy.toml"])
        .await
        .expect(0);
    e.client().get("/").send().await.expect(200).body("newer");
}

#[tokio::test(flavor = "multi_thread")]
async fn by_watching_the_files() {
    let watched = |text: &str| {
        format!(
            "include = [\"conf.d/*.toml\"]\n[server]\nwatch = true\n{}",
            answering(text)
        )
    };
    let e = edge(&watched("old"))
        .file(
            "conf.d/a.toml",
            "[[route]]\npath = \"/inc\"\nrespond = \"inc\"",
        )
        .start()
        .await;
    answers(&e, "old").await;
    e.write(&watched("new"));
    answers(&e, "new").await;
    // A broken file is not the last word.
    e.write("[[route]]\nrespond = 5");
    e.stderr("proxy.toml:").await;
    answers(&e, "new").await;
    e.write(&watched("newest"));
    answers(&e, "newest").await;
    std::fs::write(
        e.dir().join("conf.d/a.toml"),
        "[[route]]\npath = \"/inc\"\nrespond = \"changed\"",
    )
    .unwrap();
    within("the included file to be read", async {
        while e.client().get("/inc").send().await.expect(200).text() != "changed" {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_changes_nothing_and_says_why() {
    let mut e = edge(&answering("old")).start().await;
    for (bad, why) in [
        ("[[route]]\nto = \"nobody\"", "nobody"),
        ("[[route]]\nrespond = \"x\"\ncach = true", "cach"),
        ("[[route]]\nrespond = ", "proxy.toml:2"),
        (
            "[limits]\nhead = \"many\"\n[[route]]\nrespond = \"x\"",
            "many",
        ),
    ] {
        e.write(bad);
        let got = e.reload().await;
        assert!(
            got.status == 422 && got.text().contains(why),
            "{bad}: {got:#?}"
        );
        assert!(
            got.text().contains("proxy.toml"),
            "names the file: {got:#?}"
        );
        e.client().get("/").send().await.expect(200).body("old");
    }
    e.metric_becomes("forebay_config_last_reload_success", 0.0)
        .await;
    run_forebay(e.dir(), &["reload", "--config", "proxy.toml"]).await;
    e.signal(Signal::HUP);
    e.stderr("many").await;
    e.write(&answering("good"));
    e.reload().await.expect(200);
    e.client().get("/").send().await.expect(200).body("good");
    e.metric_becomes("forebay_config_last_reload_success", 1.0)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_hears_of_a_bad_file_from_the_command_too() {
    let e = edge(&answering("old")).start().await;
    let mut failures = 0.0;
    for (bad, why) in [
        ("[[route]]\nrespond = 5", "respond"),
        (
            "[admin]\nlisten = \"unix:{dir}/admin.sock\"\n[[route]]\nrespond = ",
            "proxy.toml:4",
        ),
    ] {
        e.write(&answering("old"));
        e.reload().await.expect(200);
        e.write(bad);
        let run = run_forebay(e.dir(), &["reload", "--config", "proxy.toml"]).await;
        run.expect(2).complains(why);
        failures += 1.0;
        e.metric_becomes("forebay_config_last_reload_success", 0.0)
            .await;
        e.metric_becomes("forebay_config_reloads_total{result=\"failure\"}", failures)
            .await;
    }
    // Where the place to tell it at is bad itself, what is wrong is told to whoever runs the command.
    e.write("[admin]\nlisten = 5\n[[route]]\nrespond = \"x\"");
    let run = run_forebay(e.dir(), &["reload", "--config", "proxy.toml"]).await;
    run.expect(2).complains("listen");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_and_websockets_in_flight_go_on() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("old"))
        .on("/ws", upgrade("websocket"))
        .start()
        .await;
    let toml = "[[route]]\nto = \"{o1}\"";
    let e = edge(toml).origin(&o).start().await;
    let slow = e.client().get("/slow").spawn();
    o.head(0).await;
    let mut ws = e.client().websocket("/ws").await;
    ws.echo("before").await;
    let mut kept = e.client().connect().await;
    kept.get("/404").await.expect(404);

    e.reload_with(&answering("new")).await;
    e.client().get("/").send().await.expect(200).body("new");
    // The same connection, the next request: the new rules.
    kept.get("/").await.expect(200).body("new");
    ws.echo("after").await;
    held.open();
    slow.await.unwrap().expect(200).body("old");
    ws.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn listeners_come_and_go() {
    let one = "[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"hi\"";
    let two = "[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{listen2}\"\n[[route]]\nrespond = \"hi\"";
    let other = "[[listen]]\naddr = \"{listen2}\"\n[[route]]\nrespond = \"hi\"";
    let e = edge(one).start().await;
    let second = client(e.value("listen2"));
    assert!(second.try_stream().await.is_err());
    e.reload_with(two).await;
    second.get("/").send().await.expect(200);
    let mut kept = e.client().connect().await;
    kept.get("/").await.expect(200);
    e.reload_with(other).await;
    within("the removed listener to refuse", async {
        while client(e.addr()).try_stream().await.is_ok() {}
    })
    .await;
    second.get("/").send().await.expect(200);
    // What was taken away may come back at once, though its queue is still being emptied.
    for _ in 0..3 {
        e.reload_with(one).await;
        e.client().get("/").send().await.expect(200);
        e.reload_with(other).await;
        second.get("/").send().await.expect(200);
    }
}

/// A file that an editor or a full disk has left empty, or cut off.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_without_a_route_is_no_configuration_to_go_on_with() {
    let whole = "[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"old\"";
    let e = edge(whole).start().await;
    for cut in ["", "[[listen]]\naddr = \"{listen}\"\n"] {
        e.write(cut);
        let got = e.reload().await;
        assert!(
            got.status == 422 && got.text().contains("there is no [[route]]"),
            "{got:#?}"
        );
        e.client().get("/").send().await.expect(200).body("old");
    }
}

/// What has no end is not waited for, and the next reload finds nobody waiting.
#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_the_place_of_a_file_is_an_error() {
    use rustix::fs::{CWD, Mode, mkfifoat};
    let including = "include = [\"parts/*.toml\"]\n[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"old\"";
    let e = edge(including).start().await;
    let parts = e.dir().join("parts");
    std::fs::create_dir(&parts).unwrap();
    for name in [e.dir().join("proxy.toml"), parts.join("a.toml")] {
        let _ = std::fs::remove_file(&name);
        mkfifoat(CWD, &name, Mode::RUSR | Mode::WUSR).unwrap();
        let got = e.reload().await;
        assert!(
            got.status == 422 && got.text().contains("a pipe"),
            "{got:#?}"
        );
        e.client().get("/").send().await.expect(200).body("old");
        std::fs::remove_file(&name).unwrap();
        e.reload_with(including).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_be_bound_leaves_the_old_ones() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let e = edge("[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"old\"")
        .value("taken", &addr)
        .start()
        .await;
    e.write("[[listen]]\naddr = \"{listen}\"\n[[listen]]\naddr = \"{taken}\"\n[[route]]\nrespond = \"new\"");
    let got = e.reload().await;
    assert!(got.status >= 400 && got.text().contains(&addr), "{got:#?}");
    e.client().get("/").send().await.expect(200).body("old");
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_and_upstreams_change() {
    let a = origin("a").on("*", ok().body("a")).start().await;
    let b = origin("b").on("*", ok().body("b")).start().await;
    let toml = |to: &str, body: &str| {
        format!(
            "[limits]\nbody = \"{body}\"\n[upstream.o]\nservers = [\"{to}\"]\n[[route]]\nto = \"o\""
        )
    };
    let e = edge(&toml("{a}", "10B"))
        .origin(&a)
        .origin(&b)
        .start()
        .await;
    e.client().post("/", "0123456789X").send().await.expect(413);
    e.client().get("/").send().await.expect(200).body("a");
    e.reload_with(&toml("{b}", "1MiB")).await;
    e.client()
        .post("/", "0123456789X")
        .send()
        .await
        .expect(200)
        .body("b");
    e.client().get("/").send().await.expect(200).body("b");
    assert_eq!(a.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn held_requests_survive_a_reload() {
    let mut o = origin("o1").on("*", ok().body("v1"));
    let toml = |more: &str| {
        format!(
            "[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"30s\"\n[[route]]\nto = \"o\"\n{more}"
        )
    };
    let e = edge(&toml("")).origin(&o).start().await;
    let waiting = e.client().get("/a").spawn();
    e.metric_becomes("forebay_upstream_held", 1.0).await;
    e.reload_with(&toml("[[route]]\npath = \"/new\"\nrespond = \"new\""))
        .await;
    e.client().get("/new").send().await.expect(200);
    o.up().await;
    waiting.await.unwrap().expect(200).body("v1");
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_reloads_under_load_lose_nothing() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = |n: usize| {
        format!(
            "[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"{}s\"\n[[route]]\nname = \"r{n}\"\nto = \"o\"",
            10 + n
        )
    };
    let e = edge(&toml(0)).origin(&o).start().await;
    let stop = gate();
    let load: Vec<_> = (0..4)
        .map(|n| {
            let (c, stop) = (e.client(), stop.clone());
            tokio::spawn(async move {
                let mut k = c.connect().await;
                let mut served = 0_u32;
                loop {
                    tokio::select! {
                        biased;
                        () = stop.pass(), if served > 0 => return,
                        // Half of them on connections of their own, half on one that stays.
                        got = async { if n % 2 == 0 { k.send(&get("/a")).await } else { c.get("/a").send().await } } => {
                            got.expect(200).body("v1");
                            served += 1;
                        }
                    }
                }
            })
        })
        .collect();
    for n in 1..=20 {
        e.reload_with(&toml(n)).await;
    }
    stop.open();
    for client in load {
        client.await.unwrap();
    }
}
