//! Why we answered in the upstream's stead, in a word: what `error` in the access log may say of a request that passed the gate.
//!
//! The cache has words of its own ([`Reason`](crate::cache::outcome::Reason)), and so has the gate
//! ([`refusals`](crate::listen::gate::refusals)). `docs/reasons.md` has all three, with what to do.

/// Each word with its sentence, in the order of the stops.
pub const WORDS: &[(&str, &str)] = &[
    (
        "ambiguous-path",
        "The path hides a dot segment behind an encoded slash, a backslash, a parameter or a doubled escape, or is that of a guarded route for an application that decodes it.",
    ),
    (
        "loop",
        "The request has been here before: `Via` or `CDN-Loop` names this proxy.",
    ),
    ("max-forwards", "`Max-Forwards` is not a number."),
    (
        "options",
        "`OPTIONS *`, or one that may go no further, is answered by the proxy itself.",
    ),
    ("purge", "What was meant was purged."),
    (
        "purge-nothing",
        "Nothing was stored for what was to be purged.",
    ),
    (
        "purge-off",
        "The `PURGE` method is off: there is no `[purge]`.",
    ),
    (
        "purge-forbidden",
        "The client may not purge: it is not in `allow`, and shows no token.",
    ),
    (
        "purge-bad",
        "What is to be purged cannot be read from the request.",
    ),
    ("purge-ban", "`BAN` has no counterpart here."),
    (
        "purge-failed",
        "Purging failed; the program's log says more.",
    ),
    ("no-route", "No route matches the request."),
    (
        "address-denied",
        "The client's address is not one that may use the route: `deny` names it, or `allow` does not.",
    ),
    (
        "no-credentials",
        "The route asks for a name and a password, and the request has none.",
    ),
    (
        "wrong-credentials",
        "Name and password are not in the route's password file, or cannot be read.",
    ),
    (
        "auth-busy",
        "Too many passwords are being checked at once, or too many of this client.",
    ),
    (
        "auth-refused",
        "The service that the route asks did not let the request in; the client got its answer.",
    ),
    (
        "auth-unavailable",
        "The service that the route asks failed, or did not answer in time; nobody gets in without its word.",
    ),
    (
        "no-certificate",
        "The route is for clients with a certificate, and this one has shown none.",
    ),
    (
        "wrong-certificate",
        "The client's certificate has none of the names that the route is for.",
    ),
    (
        "body-too-large",
        "The request body is larger than the route or `[limits] body` allows.",
    ),
    (
        "rate-limited",
        "The client asked more often than a rate limit of the route allows.",
    ),
    (
        "file",
        "The directory has no such file, or it may not be read.",
    ),
    ("files", "Reading the directory failed."),
    (
        "unsatisfiable",
        "The stored response is shorter than the range that was asked for.",
    ),
    (
        "only-if-cached",
        "The request wants it from the cache only, and it is not there.",
    ),
    (
        "nobody",
        "No server of the upstream is available, and requests are not held.",
    ),
    (
        "hold_expired",
        "No server of the upstream became available for as long as the request was held.",
    ),
    (
        "hold_full",
        "As many requests are held for the upstream as `hold_max` allows.",
    ),
    (
        "queue_full",
        "As many requests queue for the upstream as `queue_max` allows.",
    ),
    (
        "queue_timeout",
        "No place at the upstream became free within `queue_timeout`.",
    ),
    (
        "draining",
        "The proxy is shutting down and no server of the upstream is available.",
    ),
    ("connect", "The server cannot be connected to."),
    (
        "upstream-tls",
        "The TLS hand-shake with the server failed, or its certificate is not trusted.",
    ),
    (
        "upstream-timeout",
        "The server did not answer, or did not go on, in time.",
    ),
    (
        "upstream-malformed",
        "The server's answer is not HTTP as it should be.",
    ),
    (
        "upstream-reset",
        "The server broke the connection off before its answer was whole.",
    ),
    (
        "starting",
        "The server answered with a status of `hold_on` for as long as the request was held.",
    ),
    (
        "unasked-304",
        "The server answered 304 to a request without conditions.",
    ),
    (
        "fetch-dropped",
        "The fetch that several clients shared ended without an answer.",
    ),
    (
        "error-page",
        "The server's answer was replaced by the route's page for its status.",
    ),
    (
        "body-timeout",
        "The client sent nothing of its request body for too long.",
    ),
    (
        "body-slow",
        "The client sent its request body more slowly than `body_rate` allows.",
    ),
    (
        "answered-early",
        "The server answered before the request body was whole.",
    ),
    ("chunk", "The request body's framing is broken."),
    (
        "client-gone",
        "The client left before the answer was whole, or took nothing for `write_timeout` (`end` is `timed_out` then).",
    ),
    (
        "refused",
        "The request was refused before a server was asked.",
    ),
    (
        "events-full",
        "As many viewers follow the route's events as `events` allows.",
    ),
    ("events-method", "Events are followed with GET."),
    (
        "probe-timeout",
        "The request that `forebay explain --fetch` made took too long.",
    ),
    ("internal", "The proxy itself failed; its log says more."),
];

/// What a word means; of one that is not in the table, that it is none.
pub fn sentence(word: &str) -> &'static str {
    let found = WORDS.iter().find(|(known, _)| *known == word);
    found.map_or("The proxy's log says more.", |(_, sentence)| sentence)
}
