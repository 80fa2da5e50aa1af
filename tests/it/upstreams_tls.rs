//! HTTP/1.1 over TLS to servers: the same reader as in the clear, kept connections that stay with whom they were made for, and
//! ends that an attacker could have made.

use crate::rig::{Authority, Edge, Origin, edge, gate, ok, origin, post, raw};

const NAME: &str = "app.internal";
/// What a whole answer of somebody else would be.
const STRAY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";

/// An edge of one thread that trusts the authority in `ca.pem`, with these settings of the upstream besides.
fn trusting(settings: &str) -> String {
    format!(
        "[server]\nthreads = 1\n[upstream.o]\nservers = [\"{{o1}}\"]\nhold = \"0s\"\nkeepalive = \"30s\"\n\
         tls = {{ ca = \"{{dir}}/ca.pem\", sni = \"{NAME}\" }}\n{settings}\n[[route]]\nto = \"o\""
    )
}

async fn serving(o: Origin, settings: &str) -> (Origin, Edge) {
    let ca = Authority::new();
    let o = o.tls(ca.server(&[NAME], &[])).start().await;
    let e = edge(&trusting(settings)).origin(&o);
    let e = e.file("ca.pem", ca.pem()).start().await;
    (o, e)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_is_used_again() {
    // Behind the hand-shake the origin gives two tickets, which nobody has asked for either.
    let answers = origin("o1")
        .on("/length", ok().body("v1"))
        .on("/chunked", ok().chunks(["v", "1"]))
        .on("*", ok().echo());
    let (o, e) = serving(answers, "").await;
    let mut k = e.client().connect().await;
    for path in ["/length", "/chunked", "/length", "/length"] {
        k.get(path).await.expect(200).body("v1");
    }
    k.send(&post("/echo", "hello"))
        .await
        .expect(200)
        .body("hello");
    assert_eq!(o.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_after_an_answer_are_never_the_next_answer() {
    let answers = origin("o1")
        .on("/stray", ok().body("v1").then_raw(STRAY))
        .on("/next", ok().body("v2"));
    let (o, e) = serving(answers, "").await;
    for n in 1..=20 {
        let mut k = e.client().connect().await;
        k.get("/stray").await.expect(200).body("v1");
        k.get("/next").await.expect(200).body("v2");
        assert!(o.connections() > n, "the stray connection was used again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_chunk_is_a_cut_and_not_stored() {
    let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n";
    let bodies = [
        "5\r\nhello\r\n\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nno colon\r\n\r\n",
    ];
    // Whichever version the server was offered: it picks none.
    for http in ["1.1", "2", "auto"] {
        for (n, body) in bodies.iter().enumerate() {
            let path = format!("/{n}");
            let whole = ok().header("cache-control", "max-age=60").body("whole");
            let broken = raw(format!("{head}{body}"));
            let answers = origin("o1").on(&path, broken).then(whole);
            let settings = format!("http = \"{http}\"\nretry = {{ tries = 1 }}");
            let (o, e) = serving(answers, &settings).await;
            let got = e.client().get(&path).send().await;
            let cut = got.status == 502 || got.cut.is_some();
            assert!(cut, "{http}, {body:?}: {got:#?}");
            e.client().get(&path).send().await.expect(200).body("whole");
            assert_eq!(o.fetches(&path), 2, "{http}, {body:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_tls_was_not_told_of_is_a_cut() {
    let fresh = || ok().header("cache-control", "max-age=60");
    let answers = origin("o1")
        .on("/told", fresh().until_close().data("hello"))
        .on("/severed", fresh().until_close().data("hello").sever())
        .then(fresh().until_close().data("hello, all of you"))
        .on("/length", fresh().length(9).data("hello").sever());
    let (o, e) = serving(answers, "retry = { tries = 1 }").await;
    e.client()
        .get("/told")
        .send()
        .await
        .expect(200)
        .body("hello");
    for path in ["/severed", "/length"] {
        let got = e.client().get(path).send().await;
        assert!(got.status == 502 || got.cut.is_some(), "{path}: {got:#?}");
    }
    let again = e.client().get("/severed").send().await;
    again.expect(200).body("hello, all of you");
    assert_eq!((o.fetches("/told"), o.fetches("/severed")), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_connection_that_has_ended_is_not_used() {
    let answers = origin("o1")
        .on("/severed", ok().body("v1").sever())
        .on("*", ok().echo());
    let (o, e) = serving(answers, "").await;
    let mut k = e.client().connect().await;
    for n in 0..10 {
        k.get("/severed").await.expect(200).body("v1");
        // A POST is sent once, so it must not meet the dead connection.
        k.send(&post("/echo", "hello"))
            .await
            .expect(200)
            .body("hello");
        assert_eq!(o.fetches("/echo"), n + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_said_to_be_that() {
    let (ca, strangers) = (Authority::new(), Authority::new());
    let o = origin("o1").on("*", ok().body("v1"));
    let o = o.tls(ca.server(&[NAME], &[])).start().await;
    let e = edge(&trusting("")).origin(&o);
    let e = e.file("ca.pem", strangers.pem()).start().await;
    e.client().get("/a").send().await.expect(502);
    let line = e.log_line("/a").await;
    assert_eq!(line["error"], "upstream-tls", "{line:#}");
    let seen = e.admin().get("/upstreams").send().await.expect(200).json();
    let said = "TLS as `app.internal`: invalid peer certificate: ";
    assert!(seen.to_string().contains(said), "{seen:#}");
    assert!(o.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hand_shake_that_does_not_end_is_a_connect_that_does_not() {
    // The kernel accepts; nobody behind it ever says a word.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = silent.local_addr().unwrap();
    let toml = trusting("timeouts = { connect = \"300ms\" }");
    let toml = toml.replace("{o1}", &format!("https://{addr}"));
    let e = edge(&toml).file("ca.pem", Authority::new().pem());
    let e = e.start().await;
    e.client().get("/a").send().await.expect(502);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_serves_whom_it_was_made_for() {
    let (ca, strangers) = (Authority::new(), Authority::new());
    let o = origin("o1").on("*", ok().body("v1"));
    let o = o.tls(ca.server(&[NAME], &[])).start().await;
    let upstream = |name: &str, tls: &str| {
        format!(
            "[upstream.{name}]\nservers = [\"{{o1}}\"]\nhold = \"0s\"\nkeepalive = \"30s\"\ntls = {{ {tls} }}\n\
             [[route]]\npath = \"/{name}\"\nto = \"{name}\"\n"
        )
    };
    let toml = [
        "[server]\nthreads = 1\n",
        &upstream("blind", "insecure = true"),
        &upstream("other", "ca = \"{dir}/ca.pem\", sni = \"other.internal\""),
        &upstream(
            "strange",
            "ca = \"{dir}/strangers.pem\", sni = \"app.internal\"",
        ),
        &upstream("right", "ca = \"{dir}/ca.pem\", sni = \"app.internal\""),
    ]
    .concat();
    let e = edge(&toml).origin(&o).file("ca.pem", ca.pem());
    let e = e.file("strangers.pem", strangers.pem()).start().await;
    for (path, status) in [
        ("/blind", 200),
        ("/other", 502),
        ("/strange", 502),
        ("/right", 200),
        ("/other", 502),
        ("/strange", 502),
        ("/blind", 200),
        ("/right", 200),
    ] {
        let got = e.client().get(path).send().await;
        assert_eq!(got.status, status, "{path}: {got:#?}");
    }
    assert_eq!(
        o.connections(),
        2,
        "one of those who look away, one of the others"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_trusts_another_authority_leaves_kept_connections_behind() {
    let strangers = Authority::new();
    let (o, e) = serving(origin("o1").on("*", ok().body("v1")), "").await;
    e.client().get("/a").send().await.expect(200);
    let trusted = std::fs::read_to_string(e.dir().join("ca.pem")).unwrap();
    for (ca, status) in [(strangers.pem(), 502), (trusted, 200)] {
        std::fs::write(e.dir().join("ca.pem"), ca).unwrap();
        let told = e.reload().await.expect(200).text();
        assert!(
            told.contains("upstream `o`: certificates changed"),
            "{told}"
        );
        e.client().get("/b").send().await.expect(status);
    }
    assert_eq!((o.fetches("/b"), o.connections()), (1, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn uploads_and_answers_arrive_whole_however_slow_the_server() {
    for settings in ["", "buffer_request = \"0\""] {
        let reads = gate();
        let slow = ok().early().hold_first(&reads).echo();
        let answers = origin("o1").on("/slow", slow).on("*", ok().echo());
        let (o, e) = serving(answers, settings).await;
        let mut k = e.client().connect().await;
        for length in [64 << 10, 65 << 10, 1 << 20] {
            let body = "0123456789abcdef".repeat(length / 16);
            let answer = k.send(&post("/length", &body)).await;
            answer.expect(200).body(&body);
            let chunked = post("/chunked", "").chunked([&body, &body]);
            k.send(&chunked).await.expect(200).body(body.repeat(2));
        }
        // More than the kernel takes while nobody reads: what TLS holds back then must leave later.
        let body = "0123456789abcdef".repeat(1 << 19);
        let request = post("/slow", &body);
        let (answer, ()) = tokio::join!(k.send(&request), async {
            o.head(6).await;
            reads.open();
        });
        answer.expect(200).body(&body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_before_the_upload_is_over() {
    let early = origin("o1").on("*", ok().early().body("enough"));
    let (o, e) = serving(early, "buffer_request = \"0\"").await;
    let mut k = e.client().connect().await;
    k.write("POST /a HTTP/1.1\r\nHost: site.test\r\nContent-Length: 10\r\n\r\nhello")
        .await;
    k.response("POST").await.expect(200).body("enough");
    assert_eq!(o.connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_picks_which_version_is_asked_once() {
    // Who is offered HTTP/2 alone may pick nothing, and speaks HTTP/1.1 then.
    for (http, both, others) in [
        (
            "auto",
            &["h2", "http/1.1"][..],
            &[&["http/1.1"][..], &[]][..],
        ),
        ("2", &["h2"], &[&[]]),
    ] {
        let ca = Authority::new();
        let new = origin("o1").on("*", ok().body("v2")).h2();
        let mut new = new.tls(ca.server(&[NAME], both)).start().await;
        let e = edge(&trusting(&format!("http = \"{http}\""))).origin(&new);
        let e = e.file("ca.pem", ca.pem()).start().await;
        for _ in 0..3 {
            e.client().get("/a").send().await.expect(200).body("v2");
        }
        assert_eq!(new.connections(), 2, "one to ask, one for all requests");
        new.down().await;

        for alpn in others {
            let old = origin("o1").at(new.addr()).on("*", ok().body("v1"));
            let mut old = old.tls(ca.server(&[NAME], alpn)).start().await;
            for _ in 0..4 {
                e.client().get("/a").send().await.expect(200).body("v1");
            }
            assert!(old.connections() <= 2, "{} connections", old.connections());
            old.down().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upstream_of_servers_in_the_clear_and_over_tls() {
    let ca = Authority::new();
    let plain = origin("o1").on("*", ok().echo()).start().await;
    let tls = origin("o2").on("*", ok().echo());
    let tls = tls.tls(ca.server(&[NAME], &[])).start().await;
    let new = origin("o3").on("*", ok().echo()).h2();
    let new = new.tls(ca.server(&[NAME], &["h2"])).start().await;
    let toml = trusting("http = \"auto\"").replace("\"{o1}\"", "\"{o1}\", \"{o2}\", \"{o3}\"");
    let e = edge(&toml).origin(&plain).origin(&tls).origin(&new);
    let e = e.file("ca.pem", ca.pem()).start().await;
    for n in 0..9 {
        let body = format!("hello {n}");
        let answer = e.client().request(post("/a", &body)).send().await;
        answer.expect(200).body(&body);
    }
    for o in [&plain, &tls, &new] {
        assert_eq!(o.fetches("/a"), 3, "{}", o.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_checks_trust_what_requests_trust_after_a_reload() {
    let successor = Authority::new();
    let healthy = || origin("o1").on("*", ok().body("v1"));
    let checked = "health = { path = \"/healthz\", every = \"50ms\", every_down = \"50ms\" }";
    let (mut o, e) = serving(healthy(), checked).await;
    o.fetched("/healthz", 1).await;
    o.down().await;
    let renewed = healthy().at(o.addr());
    let renewed = renewed.tls(successor.server(&[NAME], &[])).start().await;
    std::fs::write(e.dir().join("ca.pem"), successor.pem()).unwrap();
    e.reload().await.expect(200);
    // By the old authority not one of them would come that far.
    renewed.fetched("/healthz", 2).await;
    e.becomes("/a", "v1").await;
}
