//! Parameters that the operator's rules leave out of the key: what they say is for nobody else's page.

use crate::rig::{Edge, Origin, Reply, edge, get, ok, origin, status};

const PLAIN: &str = "[[route]]\nto = \"{o1}\"";

async fn site(toml: &str, reply: Reply) -> (Origin, Edge) {
    let o = origin("o1").on("*", reply).start().await;
    let e = edge(toml).origin(&o).start().await;
    (o, e)
}

/// An operator says which parameters count. What does not is not in the key, and so not in what is asked for on behalf of all:
/// however its name is spelt, and whatever else an application would find in it.
#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_do_not_count_reach_nobody_elses_page() {
    let allow = "allow = [\"page\"]";
    let drop = "drop = [\"tracking\", \"ref\"]";
    for (rule, odd, asked) in [
        (allow, "/?page=1&p%61ge=9", "/?page=1&p%61ge=9"),
        (allow, "/?page=1&+page=9", "/?page=1"),
        (allow, "/?page=1&%20page=9", "/?page=1"),
        (allow, "/?page=1&x=1;page=9", "/?page=1"),
        (allow, "/?page=1&page%00=9", "/?page=1"),
        (allow, "/?page=1&page[]=9", "/?page=1"),
        (allow, "/?page=1;page=9", "/?page=1;page=9"),
        (allow, "/?other=1", "/"),
        (drop, "/?a=1&utm_x=1;a=evil", "/?a=1"),
        (drop, "/?utm_source=%3Cscript%3E&a=1", "/?a=1"),
        (drop, "/?a=1&%75tm_x=evil&r%65f=evil", "/?a=1"),
        (drop, "/?ref=evil", "/"),
    ] {
        let toml = format!("{PLAIN}\ncache = {{ key = {{ query = {{ {rule} }} }} }}");
        let (o, e) = site(&toml, ok().max_age(60).body("b")).await;
        e.client().get(odd).send().await.cache_status("stored");
        assert_eq!(o.requests()[0].target(), asked, "{odd}");
        e.client().get(asked).send().await.cache_status("hit");
    }
}

/// The page that is only for who asked is asked for once more in his own words, where he says what no rule names: to his session it
/// may count.
#[tokio::test(flavor = "multi_thread")]
async fn who_gets_a_page_of_his_own_is_asked_for_in_his_own_words() {
    let allow = "cache = { key = { query = { allow = [\"page\"] } } }";
    let (o, e) = site(&format!("{PLAIN}\n{allow}"), ok().no_store().body("b")).await;
    let c = e.client();
    c.get("/?tab=orders").send().await.expect(200);
    // That nothing of it can be shared is remembered: the next goes straight through.
    c.get("/?tab=bills").send().await.expect(200);
    c.get("/").send().await.expect(200);
    assert_eq!(targets(&o), ["/", "/?tab=orders", "/?tab=bills", "/"]);
    // That it may not come in, the key's words say of nobody's own.
    o.change("*", status(403).no_store().body("b"));
    c.get("/signed?token=t").send().await.expect(403);
    assert_eq!(o.requests().len(), 6);
    // A failure is one in any words.
    o.change("*", status(500).body("no"));
    c.get("/else?token=t").send().await.expect(500);
    assert_eq!(o.requests().len(), 7);
}

/// A link that works once is used once: what a rule drops by its name, or puts in order, is no reason to ask again.
#[tokio::test(flavor = "multi_thread")]
async fn what_answers_one_client_is_not_asked_for_twice() {
    for (key, sent, asked) in [
        (
            "query = { drop = [\"tracking\"] }",
            "/in?token=t&utm_source=mail",
            "/in?token=t",
        ),
        (
            "sort_query = true",
            "/in?state=s&code=c",
            "/in?code=c&state=s",
        ),
        (
            "query = { allow = [\"code\", \"state\"] }, sort_query = true",
            "/in?state=s&code=c",
            "/in?code=c&state=s",
        ),
    ] {
        let rules = format!("{PLAIN}\ncache = {{ key = {{ {key} }} }}");
        let welcome = status(302)
            .header("Location", "/")
            .header("Set-Cookie", "session=s");
        let (o, e) = site(&rules, welcome).await;
        let got = e.client().get(sent).send().await.expect(302);
        assert_eq!(got.value("set-cookie"), "session=s");
        assert_eq!(targets(&o), [asked]);
    }
}

/// That a page may be shared says one who asked as the key does: what others write beside it has them wait for nobody.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_said_in_his_own_words_does_not_end_what_is_remembered() {
    let allow = "cache = { key = { query = { allow = [\"page\"] } } }";
    let (o, e) = site(&format!("{PLAIN}\n{allow}"), ok().no_store().body("b")).await;
    let c = e.client();
    c.get("/").send().await.expect(200);
    o.change("*", ok().max_age(60).body("b"));
    c.get("/?format=css").send().await.expect(200);
    let got = c.get("/?format=css").send().await.expect(200);
    got.cache_status("detail=hit-for-miss");
    // Until he asks who may.
    c.get("/").send().await.expect(200);
    c.get("/").send().await.cache_status("stored");
}

fn targets(o: &Origin) -> Vec<String> {
    let requests = o.requests();
    requests.iter().map(|it| it.target().to_owned()).collect()
}

/// What is forwarded as one client wrote it is not kept for all: a part, the answer to a POST, the fields of a HEAD.
#[tokio::test(flavor = "multi_thread")]
async fn what_one_client_said_in_his_own_words_is_not_kept() {
    let rules = "cache = { key = { query = { drop = [\"ref\"] } } }";
    let part = || {
        let part = status(206).max_age(60).etag("\"v1\"");
        part.header("content-range", "bytes 2-3/4").body("dy")
    };
    let (_o, e) = site(&format!("{PLAIN}\n{rules}"), part()).await;
    let ranged = |path| get(path).header("Range", "bytes=2-3");
    let c = e.client();
    for odd in ["/p?ref=evil", "/p%2fq"] {
        let got = c.request(ranged(odd)).send().await.expect(206);
        assert!(!got.cache().words.iter().any(|it| it == "stored"), "{odd}");
    }
    c.request(ranged("/p")).send().await.cache_status("stored");
    c.request(ranged("/p")).send().await.cache_status("hit");
}
