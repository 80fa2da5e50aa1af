//! What the answers to POST requests leave behind: no more than those to GET would, and nothing from before a purge.

use crate::rig::{edge, gate, ok, origin, post, request};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

/// The answer to a POST may be what a GET is given (RFC 9110 §9.3.3), but not where its request went past the cache.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_post_brings_is_kept_as_little_as_what_a_get_does() {
    let routes = "
        [server]\ntrusted_proxies = [\"loopback\"]
        [[route]]\npath = \"/\"\nto = \"{o1}\"\ncache = { bypass = [{ cookie = \"session\" }] }
        [[route]]\npath = \"/account/\"\nto = \"{o1}\"\ncache = false";
    for (path, name, value, kept) in [
        ("/post", "X-Else", "1", true),
        ("/post", "Cookie", "session=alice", false),
        ("/post", "X-Forwarded-Prefix", "//evil.test", false),
        ("/account;x/me", "X-Else", "1", false),
    ] {
        let answer = ok().max_age(60).header("content-location", path);
        let o = origin("o1").on("*", answer.body("her own")).start().await;
        let e = edge(routes).origin(&o).start().await;
        let posted = post(path, "x").header(name, value);
        e.client().request(posted).send().await.expect(200);
        let got = e.client().get(path).send().await.expect(200);
        assert_eq!(got.cache().has("hit"), kept, "{path} {name}");
    }
}

/// What was invalidated while a POST was under way does not come back with its answer.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_post_brings_is_not_from_before_a_purge_or_a_write() {
    for written in ["PURGE", "DELETE", "nothing"] {
        let held = gate();
        let slow = ok().max_age(60).header("content-location", "/u");
        let o = origin("o1").on("/u", slow.hold(&held).body("posted"));
        let o = o.then(ok().no_store().body("else")).start().await;
        let toml = format!("[purge]\nallow = [\"loopback\"]\n{PLAIN}");
        let e = edge(&toml).origin(&o).start().await;
        let waiting = e.client().request(post("/u", "x")).spawn();
        o.fetched("/u", 1).await;
        if written != "nothing" {
            e.client().request(request(written, "/u")).send().await;
        }
        held.open();
        waiting.await.unwrap().expect(200).body("posted");
        let got = e.client().get("/u").send().await.expect(200);
        assert_eq!(got.cache().has("hit"), written == "nothing", "{written}");
    }
}
