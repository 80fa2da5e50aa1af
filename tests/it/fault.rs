//! The process short of what it needs: no room for the log, nobody who reads it, no descriptors, no port.

use rustix::process::Signal;

use crate::rig::{
    client, edge, free_port, gate, get, ok, origin, run_forebay, temporary_directory, within,
};

const LOST: &str = "forebay_access_log_lost_total";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_lines_and_no_request() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    let toml = |log: &str| format!("[log]\naccess = \"{log}\"\n[[route]]\nto = \"{{o1}}\"");
    let e = edge(&toml("/dev/full")).origin(&o).start().await;
    for n in 0..20 {
        e.client().get(&format!("/{n}")).send().await.expect(200);
    }
    e.metric_becomes(LOST, 20.0).await;
    // With room again, lines are written again.
    e.reload_with(&toml("{dir}/access.log")).await;
    e.client().get("/written").send().await.expect(200);
    within("a line in the new file", async {
        while !std::fs::read_to_string(e.dir().join("access.log"))
            .is_ok_and(|text| text.contains("/written"))
        {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!((e.metric(LOST).await - 20.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_reads_standard_output() {
    let o = origin("o1").on("*", ok().body("v1")).start().await;
    // Closed from the beginning; and a pipe whose reader ends. The program must not mistake a socket for its output.
    for script in ["exec \"$0\" \"$@\" >&-", "exec \"$0\" \"$@\" >pipe"] {
        let builder = edge("[[route]]\nto = \"{o1}\"").origin(&o).by(script);
        let pipe = builder.dir().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let reader = std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open(&pipe);
        let mut e = builder.start().await;
        drop(reader.unwrap());
        let mut k = e.client().connect().await;
        for n in 0..50 {
            k.get(&format!("/{n}")).await.expect(200).body("v1");
        }
        e.signal(Signal::TERM);
        assert_eq!(e.wait_exit().await, 0, "{script}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_what_was_begun_is_finished_and_the_rest_comes_later() {
    let held = gate();
    let o = origin("o1")
        .on("/slow", ok().hold(&held).body("slow"))
        .on("*", ok().body("v1"))
        .start()
        .await;
    let e = edge("[server]\nthreads = 1\n[[route]]\nto = \"{o1}\"")
        .origin(&o)
        .open_files(64)
        .start()
        .await;
    let begun: Vec<_> = (0..4)
        .map(|n| e.client().get(&format!("/slow?{n}")).spawn())
        .collect();
    o.head(3).await;
    // More than there are descriptors for; the kernel takes them.
    let mut crowd = Vec::new();
    for _ in 0..80 {
        crowd.push(client(e.addr()).connect().await);
    }
    held.open();
    for one in begun {
        one.await.unwrap().expect(200).body("slow");
    }
    drop(crowd);
    for n in 0..10 {
        e.client()
            .get(&format!("/after-{n}"))
            .send()
            .await
            .expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_had_is_told_with_its_remedy() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let free = format!("127.0.0.1:{}", free_port());
    let dir = temporary_directory();
    for (listen, admin, remedy) in [
        (&*taken, "off", "another program has that port"),
        ("192.0.2.1:8080", "off", "no interface of this machine"),
        (&*free, &*taken, "another Forebay may have it"),
        (&*free, "192.0.2.1:9900", "[admin]"),
    ] {
        let toml = format!(
            "[admin]\nlisten = \"{admin}\"\ntoken = \"a-long-enough-token\"\n[[listen]]\naddr = \"{listen}\"\n[[route]]\nrespond = \"x\""
        );
        std::fs::write(dir.path().join("proxy.toml"), toml).unwrap();
        let run = run_forebay(dir.path(), &["run"]).await.expect(3);
        run.complains(remedy);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_it_starts_again_at_once_with_nothing_of_before() {
    let o = origin("o1")
        .on("*", ok().max_age(60).body("v1"))
        .start()
        .await;
    let toml = "[[listen]]\naddr = \"{at}\"\n[[route]]\nto = \"{o1}\"";
    let at = format!("127.0.0.1:{}", free_port());
    for life in 1..=3 {
        let mut e = edge(toml).origin(&o).value("at", &at).start().await;
        let c = client(&at);
        let mut k = c.connect().await;
        k.get("/a").await.expect(200).body("v1");
        c.get("/a").send().await.expect(200).body("v1");
        // Everything was in memory: each life fetches once.
        assert_eq!(o.fetches("/a"), life);
        k.start(&get("/b")).await;
        e.signal(Signal::KILL);
        e.wait_exit().await;
        k.rest().await;
    }
}
