//! Scenarios against the real program: an origin, an edge, a client, read top to bottom.
//!
//! One file is one concern; this list is the index. `rig` has the actors. Nothing sleeps: a scenario waits for what
//! it is about (a line, a connect, a byte), and every wait is bounded and named.

#![expect(clippy::format_push_string, reason = "heads are written line by line")]
#![expect(
    clippy::many_single_char_names,
    reason = "o, e, c and k are the origin, the edge, the client and its kept connection in every scenario"
)]
#![expect(
    clippy::unwrap_used,
    reason = "a rig or a scenario that is wrong fails where it stands"
)]

mod rig;
mod rig_itself; // a rig that lies proves nothing

// Which route, and what becomes of a request there.
mod actions; // redirect, respond, rewrite, header edits, weights, error pages
mod files; // a directory: types, validators, ranges, no traversal
mod routing; // host, path, method, header, query, and which of several wins

// Who may use a route.
mod access; // addresses, passwords, security headers, plain HTTP sent to HTTPS
mod access_forward; // a service is asked
mod access_secrets; // nothing secret in what the process writes
mod access_tls; // clients' certificates

// What is on the wire.
mod compress; // content codings: negotiated, made while they pass, streamed
mod early; // 1xx, Expect: 100-continue, answers before the request has ended
mod framing; // bodies both ways: chunked, length, close, HEAD, 204, cut, broken
mod gate; // hostile heads: table 3.1, refused; nothing of them reaches an origin
mod gate_bodies; // and the bodies of table 3.1
mod hygiene; // hop-by-hop, Via, loops, X-Forwarded-*, Forwarded, X-Request-Id, Date
mod normalise; // table 3.2: what is repaired before it goes on, split points, pipelining
mod second_opinion; // the gate beside RFC 9112's grammar, read once more
mod streams; // WebSocket and event streams, unbuffered both ways

// Backends that are not there, slow, broken or many.
mod balance; // round robin, least_conn, hash, backup
mod fault_origins; // ends, resets, flaps, dead resolvers: what a client sees of them
mod health; // active checks, passive ejection that never ejects the last one
mod hold; // requests wait for a backend that is not there yet
mod queue; // max_in_flight and its queue
mod retry; // what is tried again, and what is not
mod upstreams; // https, unix, h2c, client certificates, Host policies
mod upstreams_tls; // HTTP/1.1 over TLS: kept connections and whose they are, cuts, uploads, who picks which version

// The cache.
mod cache; // what is kept, served again, shared, validated, invalidated; Cache-Status, Age, log, metric
mod cache_attack; // poisoning, leaks, evictions: what must not be had by trying
mod cache_attack_keys; // what one request brings along and the key does not hold: spellings, claims, bodies, errors
mod cache_attack_names; // pages under the names of files
mod cache_attack_queries; // parameters that are left out of the key
mod cache_coded; // coded forms of what is stored: made once, kept, freshened and dropped with it
mod cache_edge; // cookies, credentials, HEAD, HTTP/2, routes, coding; log and metric
mod cache_faults; // an origin that is away or breaks off, clients that leave
mod cache_large; // bodies that the kernel sends, ranges of them, slow readers of what is gone
mod cache_limits; // objects, memory, slow readers, abandoned fetches
mod cache_parts;
mod cache_reuse; // RFC 9111: what a request may demand, variants
mod cache_rfc; // RFC 9111: storing, directives, ages; RFC 9213
mod cache_rules; // bypass, key, foreign fields, bounds, refresh, reload
mod cache_stale; // stale or nothing, invalidation, operator's rules, the key
mod cache_stampede; // one fetch for many, whatever becomes of it
mod cache_validate; // conditions, 304, HEAD, ranges, 1xx // conditions and ranges
mod purge; // by the application, by on_write: read your writes, in either lane

// The operator's side of the cache.
mod purge_calls; // by the control plane and the command line: every scope, dry runs, lists, exit codes
mod purge_method; // PURGE on public listeners, in everybody's words

// The express lane.
mod express; // what is answered at once, and what is not
mod express_cases; // routes, responses and requests that both lanes are compared by
mod express_holds; // limits, deadlines, drain, reload, trust, log, metrics: as for everything else
mod express_lanes; // both lanes side by side: every option, every kind of request, one answer

// Limits of a client.
mod flood; // connections of one client, room when all places are taken, slow bodies and readers
mod limits; // sizes and numbers
mod proxy_protocol; // v1 and v2
mod rate; // rate limits: by client, field, route; both lanes, reloads, dry runs
mod timeouts; // total deadlines, both sides

// Other protocols towards the client.
mod express_http2; // hits, given at once
mod http2; // streams, trailers, gRPC's shape
mod http2_crowded;
mod http2_hostile; // malformed streams and floods
mod tls; // SNI, renewal, ALPN

// The process.
mod admin; // health, readiness, metrics, upstreams
mod admin_access; // who is kept out: pages, rebound names, wrong tokens, garbage, 10 MB
mod cli; // commands and exit codes
mod drain; // SIGTERM
mod events; // a page that is open learns what changed
mod explain; // what would become of a request is what becomes of it
mod explain_cases; // situations that it is held to
mod fault; // no room, no reader, no descriptor, no port, no warning
mod fault_config; // thirty bad files, and what a reload says
mod import; // nginx.conf to proxy.toml: nginx's rules, the command
mod import_beside; // and what comes of it beside nginx itself
mod import_guards; // of what nginx refuses nothing gets through what import makes
mod log; // the access log
mod reasons; // each of the cache's words is brought about, in three places
mod reload; // SIGHUP, watch, admin
mod upgrade; // SIGQUIT
mod views; // /stats, the status page, top, log, what is saved

// Real applications.
mod apps; // Flask under gunicorn, a Rust service, gRPC, WebSocket, curl, a gibibyte
mod apps_cache; // what is slow, personal, persisted or large: Flask, Django, GraphQL, a browser
