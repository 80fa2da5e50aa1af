//! `/_events`: a page that is open learns what has changed, and nobody is kept waiting or remembered for it.

use crate::apps_cache::{browser, headless};
use crate::rig::{
    App, Authority, Client, Connection, Edge, Origin, Request, edge, get, head, ok, origin,
    request, temporary_directory, within,
};
use rustix::process::Signal;
use serde_json::{Value, json};

const SHOP: &str = "[[route]]\nname = \"shop\"\npath = \"/shop/\"\nto = \"{o1}\"\nevents = true\n[[route]]\nname = \"rest\"\nto = \"{o1}\"\n";

async fn shop(toml: &str) -> (Origin, Edge) {
    let o = origin("o1")
        .on("*", ok().max_age(600).body("b"))
        .start()
        .await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

/// A viewer that is being told.
async fn viewer(e: &Edge, asked: &Request) -> Connection {
    viewer_by(e.client(), asked).await
}

async fn viewer_by(client: Client, asked: &Request) -> Connection {
    let mut k = client.connect().await;
    k.start(asked).await;
    let head = k.head().await;
    assert_eq!(head.word(1), "200", "{head:?}");
    assert_eq!(head.get("content-type"), Some("text/event-stream"));
    k.read_until("\n\n").await;
    k
}

/// The next event: its id, its type, its data.
async fn event(k: &mut Connection) -> (String, String, Value) {
    loop {
        let text = k.read_until("\n\n").await;
        let line = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim_end().to_owned())
        };
        if let Some(data) = line("data: ") {
            let kind = line("event: ").unwrap_or_else(|| "message".to_owned());
            let data = serde_json::from_str(&data).expect("JSON in one line");
            return (line("id: ").expect("an id"), kind, data);
        }
    }
}

async fn purge(e: &Edge, what: Value) {
    let got = e.admin().post("/purge", what.to_string()).send().await;
    // Whether something was stored is another matter.
    assert!([200, 404].contains(&got.status), "{got:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn viewers_are_told_what_concerns_them() {
    let (o, e) = shop(SHOP).await;
    let mut all = viewer(&e, &get("/shop/_events").host("h.test")).await;
    let mut some = viewer(&e, &get("/shop/_events?tags=a,b").host("h.test")).await;
    e.metric_becomes("forebay_event_viewers", 2.0).await;
    for what in [
        json!({ "tag": "c" }),
        json!({ "url": "http://other.test/shop/x" }),
        json!({ "url": "/elsewhere" }),
        json!({ "host": "other.test" }),
        json!({ "url": "/shop/x?y=1" }),
        json!({ "prefix": "http://h.test/shop/z/" }),
        json!({ "tags": ["b", "d"], "soft": true }),
        json!({ "all": true }),
    ] {
        purge(&e, what).await;
    }
    for expected in [
        json!({ "tags": ["c"], "soft": false }),
        json!({ "url": "/shop/x?y=1", "soft": false }),
        json!({ "prefix": "/shop/z/", "soft": false }),
        json!({ "tags": ["b", "d"], "soft": true }),
        json!({ "all": true, "soft": false }),
    ] {
        let (_, kind, data) = event(&mut all).await;
        assert_eq!((kind.as_str(), data), ("message", expected));
    }
    for expected in [
        json!({ "tags": ["b", "d"], "soft": true }),
        json!({ "all": true, "soft": false }),
    ] {
        assert_eq!(event(&mut some).await.2, expected);
    }
    assert_eq!(o.fetches("/shop/_events"), 0);
    drop((all, some));
    e.metric_becomes("forebay_event_viewers", 0.0).await;
    let line = e.log_line("/shop/_events").await;
    assert_eq!(
        (&line["status"], &line["route"]),
        (&json!(200), &json!("shop"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_to_what_is_stored_is_told() {
    let (_o, e) = shop(SHOP).await;
    let mut k = viewer(&e, &get("/shop/_events")).await;
    for path in ["/shop/x", "/rest"] {
        e.client().get(path).send().await.expect(200);
    }
    // Of what is not stored, and of what is another route's, nothing.
    for path in ["/shop/y", "/rest", "/shop/x"] {
        e.client().post(path, "z").send().await.expect(200);
    }
    let (_, kind, data) = event(&mut k).await;
    let expected = json!({ "url": "/shop/x", "soft": false });
    assert_eq!((kind.as_str(), data), ("message", expected));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_hears_what_was_missed_or_is_told_to_load_anew() {
    let (_o, e) = shop(SHOP).await;
    let mut k = viewer(&e, &get("/shop/_events")).await;
    purge(&e, json!({ "tag": "a" })).await;
    let (id, ..) = event(&mut k).await;
    drop(k);
    e.metric_becomes("forebay_event_viewers", 0.0).await;
    purge(&e, json!({ "tag": "b" })).await;
    let again = |id: &str| get("/shop/_events").header("Last-Event-ID", id);
    let mut k = viewer(&e, &again(&id)).await;
    assert_eq!(
        event(&mut k).await.2,
        json!({ "tags": ["b"], "soft": false })
    );
    // Another process's, and what is none.
    for strange in ["0-1", "x"] {
        let mut k = viewer(&e, &again(strange)).await;
        assert_eq!(event(&mut k).await.1, "reload");
        purge(&e, json!({ "tag": "c" })).await;
        assert_eq!(event(&mut k).await.1, "message");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_neither_stored_nor_coded_nor_for_everybody() {
    let toml = SHOP.replace(
        "events = true",
        "events = { viewers = 1, heartbeat = \"1s\" }",
    );
    let (o, e) = shop(&toml).await;
    // What stands below another route, or beside the name, is the application's.
    for path in ["/_events", "/shop/_eventsx", "/shop/x/_events"] {
        e.client().get(path).send().await.expect(200).body("b");
    }
    let asked = get("/shop/_events").header("Accept-Encoding", "gzip, br");
    let mut k = e.client().connect().await;
    k.start(&asked).await;
    let first = k.head().await;
    assert_eq!(first.get("content-encoding"), None);
    assert_eq!(first.get("cache-control"), Some("no-store"));
    assert_eq!(first.get("cache-status"), None);
    // A comment comes without an event.
    k.read_until(":\n\n").await;
    let full = e.client().get("/shop/_events").send().await.expect(503);
    full.header("retry-after", "30");
    let line = e.log_where(|line| line["status"] == 503).await;
    assert_eq!(line["error"], "events-full");
    e.metric_becomes("forebay_event_viewers_refused_total", 1.0)
        .await;
    drop(k);
    e.metric_becomes("forebay_event_viewers", 0.0).await;
    let got = e
        .client()
        .request(head("/shop/_events"))
        .send()
        .await
        .expect(200);
    got.header("content-type", "text/event-stream").body("");
    let got = e
        .client()
        .post("/shop/_events", "x")
        .send()
        .await
        .expect(405);
    got.header("allow", "GET, HEAD");
    let got = e
        .client()
        .request(request("DELETE", "/shop/_events"))
        .send();
    got.await.expect(405);
    assert_eq!(o.fetches("/shop/_events"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_stored_before_it_was_a_stream_is_not_served() {
    let before = SHOP.replace("events = true\n", "");
    let (o, e) = shop(&before).await;
    e.client()
        .get("/shop/_events")
        .send()
        .await
        .expect(200)
        .body("b");
    let hit = e.client().get("/shop/_events").send().await.expect(200);
    hit.cache_status("hit");
    e.reload_with(SHOP).await;
    viewer(&e, &get("/shop/_events")).await;
    assert_eq!(o.fetches("/shop/_events"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_of_the_configuration_keeps_viewers() {
    let (_o, e) = shop(SHOP).await;
    let mut k = viewer(&e, &get("/shop/_events")).await;
    e.reload_with(&format!("{SHOP}cache = false\n")).await;
    let mut other = viewer(&e, &get("/shop/_events")).await;
    purge(&e, json!({ "tag": "a" })).await;
    let (one, another) = (event(&mut k).await, event(&mut other).await);
    assert_eq!(one, another);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_the_stream_whole() {
    let (_o, mut e) = shop(SHOP).await;
    let mut k = viewer(&e, &get("/shop/_events")).await;
    e.signal(Signal::TERM);
    // The last chunk: a browser comes back by itself.
    k.read_until("0\r\n\r\n").await;
    assert_eq!(within("the end of the edge", e.wait_exit()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_and_tls() {
    let authority = Authority::new();
    let dir = temporary_directory();
    let (cert, key) = authority.write(dir.path(), "edge", &["edge.test"]);
    let toml = format!(
        "[[listen]]\naddr = \"{{listen}}\"\ntls = {{ cert = \"{}\", key = \"{}\" }}\n{SHOP}",
        cert.display(),
        key.display()
    );
    let (_o, e) = shop(&toml).await;
    let tls = |alpn: &[&str]| e.client().tls(authority.client(alpn), "edge.test");
    let mut k = tls(&["http/1.1"]).connect().await;
    k.start(&get("/shop/_events")).await;
    assert_eq!(k.head().await.word(1), "200");
    k.read_until("\n\n").await;
    let h2 = tls(&["h2"]).h2().await;
    let call = h2
        .call(&get("/shop/_events"), true)
        .await
        .expect("a stream");
    let mut body = within("its head", call.follow()).await;
    within("its first event", body.until("\n\n")).await;
    e.metric_becomes("forebay_event_viewers", 2.0).await;
    purge(&e, json!({ "tag": "a" })).await;
    let text = within("an event", body.until("\n\n")).await;
    assert!(text.contains("\"tags\":[\"a\"]"), "{text}");
    assert_eq!(event(&mut k).await.2["tags"], json!(["a"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_reads_nothing_costs_nothing_and_is_told_so_in_the_end() {
    let toml = format!("[limits]\nwrite_timeout = \"60s\"\n{SHOP}");
    let (_o, e) = shop(&toml).await;
    // It reads its first event and no more for now.
    // Over HTTP/1.0 nothing stands between the octets of an event.
    let asked = get("/shop/_events").http10().host("h.test");
    let mut slow = viewer_by(e.client().receive_buffer(16 * 1024), &asked).await;
    let mut quick = viewer(&e, &asked).await;
    // More than the kernel's buffers and ours take.
    let long = "x".repeat(1_000);
    let tags: Vec<String> = (0..60).map(|n| format!("{n}{long}")).collect();
    for _ in 0..200 {
        purge(&e, json!({ "tags": tags })).await;
        event(&mut quick).await;
    }
    let (mut kind, mut events) = (String::new(), 0);
    while kind != "reload" {
        (_, kind, _) = event(&mut slow).await;
        events += 1;
    }
    assert!(events < 200, "{events} events were kept for it");
    purge(&e, json!({ "tag": "a" })).await;
    loop {
        let (_, _, data) = event(&mut slow).await;
        if data["tags"] == json!(["a"]) {
            break;
        }
    }
}

/// What an open page does: it shows what is there, and shows it anew when it is told.
const PAGE: &str = r#"<!doctype html>
<meta charset="utf-8"><title>Shop</title>
<p id="price">…</p>
<script>
const show = () => fetch("/shop/price").then(got => got.text()).then(price => {
  document.getElementById("price").textContent = price;
  fetch("/seen?price=" + encodeURIComponent(document.getElementById("price").textContent));
});
const events = new EventSource("/shop/_events?tags=price");
events.onmessage = show;
events.addEventListener("reload", show);
events.onopen = show;
</script>
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_open_page_shows_what_another_client_changed() {
    let Some(browser) = browser() else { return };
    // For us, and not for the browser, which would not ask again.
    let price = |price: &str| {
        let reply = ok()
            .directive("no-cache")
            .header("cdn-cache-control", "max-age=600");
        reply.header("cache-tag", "price").body(price)
    };
    let o = origin("o1")
        .on(
            "/shop/",
            ok().header("content-type", "text/html").body(PAGE),
        )
        .on("/shop/price", price("5 €"))
        .on("/seen", ok().no_store().body(""))
        .on("/favicon.ico", ok().max_age(60).body(""))
        .start()
        .await;
    let toml = format!("{SHOP}cache = {{ bypass = [{{ path = \"/seen\" }}] }}\n");
    let e = edge(&toml).origin(&o).start().await;
    let dir = temporary_directory();
    let _page = App::start(headless(
        browser,
        dir.path(),
        &format!("http://{}/shop/", e.addr()),
    ));
    seen(&o, "5 €").await;
    e.metric_becomes("forebay_event_viewers", 1.0).await;
    assert_eq!(o.fetches("/shop/price"), 1);
    // Somebody else changes it, and says so.
    o.change("/shop/price", price("6 €"));
    purge(&e, json!({ "tag": "price" })).await;
    seen(&o, "6 €").await;
    assert_eq!(o.fetches("/shop/price"), 2);
}

/// The page has told what it shows.
async fn seen(o: &Origin, price: &str) {
    let wanted = percent_encoding::utf8_percent_encode(price, percent_encoding::NON_ALPHANUMERIC);
    let wanted = format!("price={wanted}").replace("%2520", "%20");
    within(&format!("a page that shows {price}"), async {
        let mut looked = 0;
        loop {
            let request = o.request(looked).await;
            looked += 1;
            if request.target().starts_with("/seen") && request.target().contains(&wanted) {
                return;
            }
        }
    })
    .await;
}
