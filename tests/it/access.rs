//! Who may use a route: addresses, names and passwords; what browsers are told to beware of; plain HTTP sent to HTTPS.

use crate::rig::{Authority, Edge, Origin, edge, get, ok, origin, post, request, within};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// "secret", at the least cost that bcrypt has.
const ANN: &str = "ann:$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n";
/// "secret", as `htpasswd` writes it unless told otherwise.
const BOB: &str = "bob:$apr1$9sNvqYxX$JCrMXxVFbAHMZmqNe/r8t1\n";

fn basic(pair: &str) -> String {
    format!("Basic {}", STANDARD.encode(pair))
}

async fn pages() -> Origin {
    let page = |body: &str| ok().max_age(600).body(body);
    let o = origin("o1").on("/a", page("a")).on("/b", page("b"));
    o.on("/staff/a", page("for the staff")).start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_let_in_or_not_in_both_lanes() {
    let o = pages().await;
    let e = edge(
        r#"
        [server]
        trusted_proxies = ["loopback"]
        [[route]]
        to = "{o1}"
        [[route]]
        name = "staff"
        path = "/staff/"
        to = "{o1}"
        allow = ["10.0.0.0/8", "2001:db8::/32"]
        deny = ["10.66.0.0/16"]
        "#,
    )
    .origin(&o)
    .start()
    .await;
    let mut k = e.client().connect().await;
    for round in ["fetched", "from the store"] {
        for (client, status) in [
            ("10.1.2.3", 200),
            ("2001:db8::7", 200),
            ("10.66.1.1", 403),
            ("192.0.2.1", 403),
            ("10.1.2.3, 10.66.1.1", 403),
            ("192.0.2.1, 10.1.2.3", 200),
        ] {
            let asked = get("/staff/a").header("X-Forwarded-For", client);
            let answer = k.send(&asked).await;
            assert_eq!(answer.status, status, "{client}, {round}");
        }
    }
    assert_eq!(o.fetches("/staff/a"), 1);
    let line = e.log_where(|line| line["error"] == "address-denied").await;
    assert_eq!(
        (&line["status"], &line["route"]),
        (&403.into(), &"staff".into())
    );
    e.metric_becomes(
        "forebay_access_refused_total{route=\"staff\",reason=\"address-denied\"}",
        6.0,
    )
    .await;
    assert!(e.metric("forebay_express_answers_total").await >= 3.0);
    // What is not said of a route holds nowhere else.
    e.client().get("/a").send().await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_word_on_its_address_does_not_count() {
    let o = pages().await;
    let e = edge("[[route]]\nto = '{o1}'\nallow = ['10.0.0.0/8']")
        .origin(&o)
        .start()
        .await;
    let asked = get("/a").header("X-Forwarded-For", "10.1.2.3");
    let asked = asked
        .header("X-Real-IP", "10.1.2.3")
        .header("Forwarded", "for=10.1.2.3");
    e.client()
        .request(asked)
        .send()
        .await
        .expect(403)
        .header("cache-control", "no-store");
    assert_eq!(o.requests().len(), 0);
    e.reload_with("[[route]]\nto = '{o1}'\nallow = ['loopback']")
        .await;
    e.client().get("/a").send().await.expect(200);
}

async fn with_users(toml: &str, o: &Origin) -> Edge {
    let e = edge(toml).origin(o).file("users", [ANN, BOB].concat());
    e.start().await
}

const STAFF: &str = r#"
[[route]]
path = "/staff/"
to = "{o1}"
auth = { basic = "{dir}/users", realm = 'The "staff"' }
"#;

async fn staff(o: &Origin) -> Edge {
    with_users(STAFF, o).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_lets_in_and_stored_pages_are_behind_it_too() {
    let o = pages().await;
    let e = staff(&o).await;
    let ask = |pair: &str| {
        let asked = get("/staff/a").header("Authorization", &basic(pair));
        e.client().request(asked)
    };
    for round in 0..2 {
        e.client()
            .get("/staff/a")
            .send()
            .await
            .expect(401)
            .header(
                "www-authenticate",
                "Basic realm=\"The \\\"staff\\\"\", charset=\"UTF-8\"",
            )
            .header("cache-control", "no-store");
        for wrong in ["ann:guess", "bob:", "eve:secret", ":", "ann"] {
            let refused = ask(wrong).send().await;
            assert_eq!(refused.status, 401, "{wrong} {round}");
        }
        ask("ann:secret")
            .send()
            .await
            .expect(200)
            .body("for the staff");
        ask("bob:secret")
            .send()
            .await
            .expect(200)
            .body("for the staff");
    }
    // One page for all who may see it, and the application sees no password.
    assert_eq!(o.fetches("/staff/a"), 1);
    assert_eq!(o.last("/staff/a").header("authorization"), None);
    for word in ["no-credentials", "wrong-credentials"] {
        e.log_where(|line| line["error"] == word && line["status"] == 401)
            .await;
    }
    let twice = get("/staff/a").header("Authorization", &basic("ann:secret"));
    let twice = twice.header("Authorization", &basic("eve:x"));
    e.client().request(twice).send().await.expect(401);
    let bearer = get("/staff/a").header("Authorization", "Bearer secret");
    e.client().request(bearer).send().await.expect(401);
    let body = post("/staff/a", "x=1").header("Authorization", &basic("ann:secret"));
    e.client().request(body).send().await.expect(200);
    e.client().post("/staff/a", "x=1").send().await.expect(401);
    assert_eq!(o.requests().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http2_a_password_is_asked_for_too() {
    let o = pages().await;
    let e = staff(&o).await;
    let k = e.client().h2().await;
    let asked = || get("/staff/a").header("Authorization", &basic("ann:secret"));
    for _ in 0..2 {
        k.get("/staff/a").await.expect(401);
        k.send(asked()).await.expect(200).body("for the staff");
    }
    assert_eq!(o.fetches("/staff/a"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_passed_on_where_the_route_says_so() {
    let o = pages().await;
    let toml = STAFF.replace("realm", "pass = true, realm");
    let e = with_users(&toml, &o).await;
    for _ in 0..2 {
        let asked = get("/staff/a").header("Authorization", &basic("ann:secret"));
        // RFC 9111 §3.5: then `max-age` alone does not let a cache share it.
        e.client().request(asked).send().await.expect(200);
    }
    assert_eq!(o.fetches("/staff/a"), 2);
    let seen = o.last("/staff/a");
    assert_eq!(
        seen.header("authorization"),
        Some(basic("ann:secret").as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_password_file_counts_and_a_bad_one_does_not() {
    let o = pages().await;
    let e = staff(&o).await;
    let users = e.dir().join("users");
    let status = async |name: &str| {
        let asked = get("/staff/a").header("Authorization", &basic(&format!("{name}:secret")));
        e.client().request(asked).send().await.status
    };
    assert_eq!(status("ann").await, 200);
    // Noticed by itself, also for who was let in before.
    std::fs::write(&users, BOB).unwrap();
    let out = async { while status("ann").await == 200 {} };
    within("ann to be out", out).await;
    assert_eq!(status("bob").await, 200);
    std::fs::write(&users, "bob:hunter2\n").unwrap();
    let bad = "user `bob`: the password is not hashed";
    // Looked at when somebody asks.
    let asked = async {
        while !e.stderr_lines().concat().contains(bad) {
            assert_eq!(status("bob").await, 200);
        }
    };
    within("the file to be looked at", asked).await;
    let said = e.stderr(bad).await;
    assert!(
        said.contains("users:1") && said.contains("forebay password"),
        "{said}"
    );
    assert_eq!(status("bob").await, 200);
    let refused = e.reload().await;
    assert!(
        refused.status >= 400 && refused.text().contains("users:1"),
        "{}",
        refused.text()
    );
    assert_eq!(status("bob").await, 200);
    std::fs::write(&users, [ANN, BOB].concat()).unwrap();
    e.reload().await.expect(200);
    assert_eq!(status("ann").await, 200);
    assert!(!e.stderr_lines().concat().contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_says_that_a_password_file_has_changed() {
    let o = pages().await;
    let e = staff(&o).await;
    let changes = async || e.reload().await.expect(200).json()["changes"].clone();
    assert_eq!(changes().await.as_array().map(Vec::len), Some(0));
    std::fs::write(e.dir().join("users"), BOB).unwrap();
    let told = changes().await.to_string();
    assert!(
        told.contains("password file `") && told.contains("users`: changed"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_guesses_keeps_out_nobody_who_was_in() {
    let o = pages().await;
    let e = with_users(&[STAFF, "[[route]]\nto = '{o1}'\n"].concat(), &o).await;
    let asked = get("/staff/a").header("Authorization", &basic("ann:secret"));
    e.client().request(asked.clone()).send().await.expect(200);
    let guesses =
        (0..400).map(|n| get("/staff/a").header("Authorization", &basic(&format!("ann:guess{n}"))));
    let crowd = e.client().crowd_of(guesses);
    crowd.asked().await;
    e.client().request(asked).send().await.expect(200);
    e.client().get("/a").send().await.expect(200);
    for seen in crowd.all().await {
        let status = seen.response.status;
        assert!(matches!(status, 401 | 503), "{status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_for_the_file_is_made_by_the_program() {
    let o = pages().await;
    let e = edge(STAFF)
        .origin(&o)
        .file("users", made("carol", "correct horse"))
        .start()
        .await;
    let asked = get("/staff/a").header("Authorization", &basic("carol:correct horse"));
    e.client().request(asked).send().await.expect(200);
}

/// What `forebay password` prints.
fn made(name: &str, password: &str) -> Vec<u8> {
    use std::io::Write as _;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["password", name])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(password.as_bytes()).unwrap();
    drop(stdin);
    child.wait_with_output().unwrap().stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_by_checks_is_taken_from_strangers_on_every_route() {
    let o = pages().await;
    let toml = r#"
        [[route]]
        to = "{o1}"
        [[route]]
        path = "/members/"
        to = "{o1}"
        auth = { forward = "{o1}/verify", copy = ["Remote-User"] }
        "#;
    let e = edge(toml).origin(&o).start().await;
    for target in ["/a", "/b?fresh", "/a"] {
        let asked = request("GET", target).header("Remote-User", "root");
        let asked = asked
            .header("Client-Cert", ":AAAA:")
            .header("X-Else", "kept");
        e.client().request(asked).send().await.expect(200);
    }
    assert_eq!(o.requests().len(), 2);
    for seen in o.requests() {
        assert_eq!(seen.header("remote-user"), None);
        assert_eq!(seen.header("client-cert"), None);
        assert_eq!(seen.header("x-else"), Some("kept"));
    }
}

/// Most balancers hand on what they do not know.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_check_here_sets_is_not_believed_of_a_trusted_proxy_either() {
    let o = pages().await;
    let toml = r#"
        [server]
        trusted_proxies = ["loopback"]
        [[route]]
        to = "{o1}"
        [[route]]
        path = "/members/"
        to = "{o1}"
        auth = { forward = "{o1}/verify", copy = ["Remote-User"] }
        "#;
    let e = edge(toml).origin(&o).start().await;
    // The second is in the store by then.
    for target in ["/a", "/a", "/b?fresh"] {
        let asked = request("GET", target).header("Remote-User", "root");
        let asked = asked.header("Client-Cert", ":AAAA:");
        e.client().request(asked).send().await.expect(200);
    }
    assert_eq!(o.requests().len(), 2);
    for seen in o.requests() {
        assert_eq!(seen.header("remote-user"), None);
        // Nothing here sets it: who has ended the client's TLS may say so (RFC 9440 §3).
        assert_eq!(seen.header("client-cert"), Some(":AAAA:"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn browsers_are_told_what_the_application_does_not_say_itself() {
    let own = ok()
        .max_age(600)
        .header("x-frame-options", "ALLOWALL")
        .etag("\"v1\"")
        .body("own");
    let o = origin("o1")
        .on("/a", ok().max_age(600).etag("\"v1\"").body("a"))
        .on("/own", own);
    let o = o.start().await;
    let e = edge("[[route]]\nto = '{o1}'\nsecurity_headers = 'basic'")
        .origin(&o)
        .start()
        .await;
    let mut k = e.client().connect().await;
    for _ in 0..2 {
        k.get("/a")
            .await
            .expect(200)
            .header_lines("x-frame-options", &["SAMEORIGIN"])
            .header_lines("x-content-type-options", &["nosniff"])
            .header_lines("referrer-policy", &["strict-origin-when-cross-origin"])
            .no_header("strict-transport-security");
        k.get("/own")
            .await
            .expect(200)
            .header_lines("x-frame-options", &["ALLOWALL"]);
        let asked = get("/own").header("If-None-Match", "\"v1\"");
        k.send(&asked)
            .await
            .expect(304)
            .no_header("referrer-policy");
    }
    assert!(e.metric("forebay_express_answers_total").await >= 3.0);
    let h2 = e.client().h2().await;
    h2.get("/own")
        .await
        .expect(200)
        .header_lines("x-frame-options", &["ALLOWALL"]);
    h2.get("/a")
        .await
        .expect(200)
        .header_lines("x-frame-options", &["SAMEORIGIN"]);
    k.get("/lost")
        .await
        .expect(404)
        .header("x-content-type-options", "nosniff");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_http_is_sent_to_https() {
    let ca = Authority::new();
    let o = pages().await;
    let e = edge(
        r#"
        [server]
        https = "redirect"
        [[listen]]
        addr = "{listen}"
        [[listen]]
        addr = "{listen2}"
        tls = { cert = "{dir}/a.pem", key = "{dir}/a.key" }
        [[route]]
        to = "{o1}"
        security_headers = "strict"
        [[route]]
        host = "site.test"
        path = "/staff/"
        to = "{o1}"
        [[route]]
        scheme = "http"
        path = "/.well-known/acme-challenge/"
        respond = "token"
        "#,
    )
    .origin(&o);
    ca.write(e.dir(), "a", &["site.test"]);
    let e = e.start().await;
    for target in ["/a?b=c", "/staff/a?b=c"] {
        let sent = e.client().get(target).send().await.expect(308);
        sent.header("location", &format!("https://site.test{target}"))
            .no_header("strict-transport-security");
    }
    e.client()
        .get("/.well-known/acme-challenge/x")
        .send()
        .await
        .expect(200)
        .body("token");
    let secure = crate::rig::client(e.value("listen2")).tls(ca.client(&[]), "site.test");
    for _ in 0..2 {
        let page = secure.get("/a").send().await.expect(200).body("a");
        page.header(
            "strict-transport-security",
            "max-age=63072000; includeSubDomains",
        );
    }
    assert_eq!(o.requests().len(), 1);
}
