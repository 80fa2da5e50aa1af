//! Guards and the other spellings of their paths: what an application may read as a guarded route's does not go by another route.

use crate::rig::{edge, get, ok, origin};

/// Flask and Django decode the path, and merge slashes or not: the route of what they read is the one that counts.
#[tokio::test(flavor = "multi_thread")]
async fn no_other_spelling_of_a_path_passes_its_guard() {
    let o = origin("o1").on("*", ok().max_age(600).body("page")).start();
    let o = o.await;
    let e = edge(
        r#"
        [[route]]
        to = "{o1}"
        [[route]]
        path = "/staff/"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "/users/@me"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "=/login"
        to = "{o1}"
        rate_limit = { rate = "1/h" }
        "#,
    )
    .origin(&o)
    .start()
    .await;
    for path in ["/staff/a", "/users/@me"] {
        e.client().get(path).send().await.expect(403);
    }
    let h2 = e.client().h2().await;
    for path in [
        "/staff%2fa",
        "/staff%2Fa",
        "//staff/a",
        "/%2fstaff/a",
        "/staff%2f",
        "/staff;x/a",
        "/staff%3bx/a",
        "/staff%5ca",
        "/users/%40me",
        "/users//@me",
        "//login",
        "/login;x",
        "/%2flogin",
        "/login%00.css",
    ] {
        e.client().get(path).send().await.expect(400);
        h2.send(get(path)).await.expect(400);
        let line = e.log_line(path).await;
        assert_eq!(line["error"], "ambiguous-path", "{path}: {line:#}");
    }
    assert_eq!(o.requests().len(), 0);
    // What is nobody's guarded path goes on, also from the store.
    for path in ["//other", "/a%2fb", "/staffing%2fa", "/a;b/c"] {
        for _ in 0..2 {
            e.client().get(path).send().await.expect(200);
        }
    }
}

/// A route whose path is written with escapes is guarded against the spellings of what they stand for.
#[tokio::test(flavor = "multi_thread")]
async fn a_guard_on_a_path_with_escapes_is_passed_by_no_spelling() {
    let o = origin("o1").on("*", ok().max_age(600).body("page"));
    let o = o.start().await;
    let e = edge(
        r#"
        [[route]]
        to = "{o1}"
        [[route]]
        path = "/my%20files/"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "/caf%C3%A9/"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "/user%40home/"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "/staff/"
        to = "{o1}"
        allow = ["192.0.2.0/24"]
        [[route]]
        path = "/staff/public/"
        to = "{o1}"
        "#,
    )
    .origin(&o)
    .start()
    .await;
    for path in [
        "/my%20files/x",
        "/caf%c3%a9/x",
        "/user%40home/x",
        "/staff/x",
    ] {
        e.client().get(path).send().await.expect(403);
    }
    for path in [
        "//my%20files/x",
        "/my%20files;/x",
        "/my%20files%2fx",
        "//caf%C3%A9/x",
        "/caf%C3%A9;/x",
        "/café/x",
        "/user@home/x",
        "/user%40home%2fx",
        // Not all read as obligingly as the most obliging one.
        "/staff%2fpublic;x/y",
        "/staff%2fpublic%5Cx",
        "/staff%2f/public/y",
    ] {
        let raw = format!("GET {path} HTTP/1.1\r\nHost: site.test\r\n\r\n");
        e.client().raw(&raw).await.expect(400);
    }
    assert_eq!(o.requests().len(), 0);
    for path in ["/else", "/caf%C3%A8/x", "/my-files@x", "/staff/public/x"] {
        e.client().get(path).send().await.expect(200);
        e.client().get(path).send().await.cache_status("hit");
    }
}
