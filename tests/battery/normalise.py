"""Table 3.2: what is put in order and forwarded, judged by the bytes of the request that reached the origin."""

import client
from cases import Case, answered_here, either, failed, normalised, passed, refused, size, warned

HOST = "Host: battery.test\r\n"
CASES = []


def add(table, name, send, expect, **more):
    CASES.append(Case(name, f"3.2 {table}", send.encode("latin-1"), expect, **more))


def get(lines="", target="/case/{id}", method="GET", version="1.1"):
    return f"{method} {target} HTTP/{version}\r\n{HOST}{lines}\r\n"


def post(lines, body="", version="1.1", method="POST"):
    return f"{method} /case/{{id}} HTTP/{version}\r\n{HOST}{lines}\r\n{body}"


# ── one Content-Length ──
LENGTH = "content length"
ONE = normalised(b"POST", has={"content-length": b"5"}, body=b"hello", hasnt=("transfer-encoding",))
for lines in [
    "Content-Length: 5\r\n", "content-length:5\r\n", "CONTENT-LENGTH: \t5\t \r\n", "Content-Length: 05\r\n", "Content-Length: 000000005\r\n",
]:
    add(LENGTH, repr(lines)[1:-1], post(lines, "hello"), ONE, methods=("POST",), lenient=refused(400))
for lines in [
    "Content-Length: 5\r\nContent-Length: 5\r\n", "Content-Length: 5, 5\r\n", "Content-Length: 5,5,5\r\n",
    "Content-Length: 5\r\nX: y\r\ncontent-length: 5\r\n", "Content-Length: 5 ,5\r\n", "Content-Length: 5\r\nContent-Length: 05\r\n",
    "Content-Length: 0000000000000000000000005\r\n",
]:
    add(LENGTH, repr(lines)[1:-1], post(lines, "hello"), either(ONE, refused(400)), methods=("POST",))
add(LENGTH, "0 with POST", post("Content-Length: 0\r\n"), normalised(b"POST", has={"content-length": b"0"}), methods=("POST",))
add(LENGTH, "POST without any", post(""), either(normalised(b"POST"), refused(411)), methods=("POST",))
add(LENGTH, "zeros", post("Content-Length: 00\r\n"), either(normalised(b"POST"), refused(400)), methods=("POST",))

# ── empty lines in front ──
for number in [1, 2, 4]:
    add("empty lines", f"{number} in front", "\r\n" * number + get(), normalised())
add("empty lines", "behind a body", post("Content-Length: 5\r\n", "hello\r\n\r\n"), ONE, methods=("POST",))
add("empty lines", "LF in front", "\n" + get(), either(refused(400), normalised()))

# ── bare LF ──
for name, send in {
    "one line": f"GET /case/{{id}} HTTP/1.1\r\n{HOST}X-A: b\nX-B: c\r\n\r\n",
    "the last line": f"GET /case/{{id}} HTTP/1.1\r\n{HOST}\n",
    "all lines": "GET /case/{id} HTTP/1.1\nHost: battery.test\nX-A: b\n\n",
}.items():
    add("bare LF", name, send, either(refused(400), normalised()))

# ── chunks ──
CHUNKS = "chunked bodies"
TE = "Transfer-Encoding: chunked\r\n"


def rebuilt(body=b"hello", method=b"POST", **more):
    """The body is whole, and nothing of its framing came along but the framing."""

    def check(request):
        if request.extensions:
            return "chunk extensions"
        names = [name.lower() for name, _ in request.fields]
        if b"x-trailer" in names or b"content-length" in names and request.chunked:
            return "a trailer in the head, or two framings"
        return None

    return normalised(method, body=body, check=check, **more)


for name, body in {
    "one": "5\r\nhello\r\n0\r\n\r\n",
    "several": "2\r\nhe\r\n1\r\nl\r\n2\r\nlo\r\n0\r\n\r\n",
    "leading zeros": "005\r\nhello\r\n000\r\n\r\n",
    "an extension": "5;a=b\r\nhello\r\n0\r\n\r\n",
    "a quoted extension": "5;a=\"b;c\"\r\nhello\r\n0;last\r\n\r\n",
    "an extension without a name": "5;\r\nhello\r\n0\r\n\r\n",
    "spaces around an extension": "5 ; a = b\r\nhello\r\n0\r\n\r\n",
    "an extension that looks like a chunk": "5;0\r\nhello\r\n0\r\n\r\n",
    "a high octet in an extension": "5;a=\xe9\r\nhello\r\n0\r\n\r\n",
    "a trailer": "5\r\nhello\r\n0\r\nX-Trailer: y\r\n\r\n",
    "trailers that mean something": "5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: x\r\nHost: evil.test\r\nX-Trailer: y\r\n\r\n",
    "a trailer that authorises": "5\r\nhello\r\n0\r\nAuthorization: Basic eDp5\r\nCookie: a=b\r\nX-Trailer: y\r\n\r\n",
    "an empty trailer": "5\r\nhello\r\n0\r\nX-Trailer:\r\n\r\n",
}.items():
    expect = rebuilt(hasnt=("authorization", "cookie"), has={"host": b"battery.test"})
    # What RFC 9112 §7.1.1 does not have, though nobody reads it in two ways.
    odd = name in ("a high octet in an extension", "an extension without a name", "spaces around an extension")
    add(CHUNKS, name, post(TE, body), either(expect, refused(400)) if odd else expect, methods=("POST",), lenient=refused(400))
add(CHUNKS, "upper case hexadecimal", post(TE, "A\r\n0123456789\r\n0\r\n\r\n"), rebuilt(b"0123456789"), methods=("POST",))
add(CHUNKS, "the coding in upper case", post("TRANSFER-ENCODING: CHUNKED\r\n", "5\r\nhello\r\n0\r\n\r\n"), rebuilt(), methods=("POST",))
add(CHUNKS, "white space around the coding", post("Transfer-Encoding: \t chunked \t\r\n", "5\r\nhello\r\n0\r\n\r\n"), rebuilt(), methods=("POST",),
    lenient=refused(400, 501))
add(CHUNKS, "empty", post(TE, "0\r\n\r\n"), rebuilt(b""), methods=("POST",))
INNER = "GET /inner/{id} HTTP/1.1\r\nHost: battery.test\r\n\r\n"

def inner_is_body(run):
    whole = len(run.requests) == 1 and run.requests[0].complete and b"/inner/" in run.requests[0].body and run.followed
    return passed() if whole else failed(run.told())


add(CHUNKS, "a request as a chunk", post(TE, f"{size(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"), inner_is_body, methods=("POST",))

# ── bodies where none is usual ──
for method in ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "PUT", "QUERY", "PROPFIND"]:
    for framing, lines, body in [("length", "Content-Length: 5\r\n", "hello"), ("chunks", TE, "5\r\nhello\r\n0\r\n\r\n")]:
        expect = either(rebuilt(method=method.encode()), refused(400, 405, 413, 501))
        # A cache may ask for the whole page where it is asked for its head.
        lenient = rebuilt(method=b"GET") if method == "HEAD" else None
        add("bodies", f"{method}, {framing}", post(lines, body, method=method), expect, methods=(method,), lenient=lenient)


def hit_with_a_body(lines, body):
    """A page that is stored is asked for with a body: answered, and the body is not the next request."""

    async def play(stage):
        path = stage.path("stored")
        await stage.store(path)
        request = f"GET {path} HTTP/1.1\r\n{HOST}{lines}\r\n{body}"
        heard = await stage.ask(request + "GET /follow/{id} HTTP/1.1\r\nHost: battery.test\r\nConnection: close\r\n\r\n", ("GET", "GET"))

        def judge():
            requests, faults = stage.reached()
            if faults or heard.fault or any(b"/inner/" in it.target for it in requests):
                return failed(f"{heard.told()}; {requests} {faults}")
            if not heard.responses or heard.end == "open":
                return failed(heard.told())
            return passed()

        return judge

    return play


for name, lines, body in [
    ("length", f"Content-Length: {size(INNER)}\r\n", INNER),
    ("chunks", TE, f"{size(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"),
    ("no request in it", "Content-Length: 5\r\n", "hello"),
    ("expected", f"Content-Length: {size(INNER)}\r\nExpect: 100-continue\r\n", INNER),
    ("chunks, expected", TE + "Expect: 100-continue\r\n", f"{size(INNER):x}\r\n{INNER}\r\n0\r\n\r\n"),
    ("with an upgrade", f"Content-Length: {size(INNER)}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n", INNER),
]:
    CASES.append(Case(f"on a stored page, {name}", "3.2 bodies", play=hit_with_a_body(lines, body), ways=("http", "tls")))



def preface_is_refused(run):
    """The request is answered; what stands behind it is another protocol's, and ends the connection."""
    if run.faults or run.heard.fault or run.followed or run.heard.end == "open" or len(run.requests) != 1:
        return failed(run.told())
    return passed() if [it.status for it in run.responses][:1] == [200] and len(run.responses) < 3 else failed(run.told())


add("bodies", "an HTTP/2 preface behind a request", get() + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", preface_is_refused)

# ── hop by hop ──
HOP = "hop by hop"
for lines, gone in [
    ("Connection: X-Hop\r\nX-Hop: 1\r\n", ("x-hop",)),
    ("Connection: x-hop, keep-alive\r\nX-Hop: 1\r\n", ("x-hop",)),
    ("Connection: keep-alive\r\nConnection: X-Hop\r\nX-Hop: 1\r\n", ("x-hop",)),
    ("Connection: ,, x-hop ,\r\nX-HOP: 1\r\n", ("x-hop",)),
    ("Keep-Alive: timeout=5\r\n", ("keep-alive",)),
    ("Proxy-Connection: keep-alive\r\n", ("proxy-connection",)),
    ("TE: trailers, deflate\r\n", ()),
    ("Trailer: X-Trailer\r\n", ("trailer",)),
    ("Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", ("upgrade", "http2-settings")),
    ("Upgrade: h2c\r\n", ("upgrade",)),
    ("Upgrade: TLS/1.0\r\nConnection: Upgrade\r\n", ("upgrade",)),
    ("Upgrade: foo, websocket\r\nConnection: Upgrade\r\n", ("upgrade",)),
    ("Upgrade: websocket\r\n", ("upgrade",)),
    ("HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n", ("http2-settings",)),
    ("Proxy-Authorization: Basic eDp5\r\n", ("proxy-authorization",)),
    ("Proxy-Authenticate: Basic\r\n", ("proxy-authenticate",)),
]:
    teless = (lambda it: it.all("te") not in ([], [b"trailers"]) and f"TE: {it.all('te')}") if lines.startswith("TE") else None
    # What Connection names must go (RFC 9110 §7.6.1), and what upgrades; the others should.
    must = "x-hop" in gone or "h2c" in lines
    add(HOP, repr(lines)[1:-1], get(lines), normalised(hasnt=gone, check=teless), lenient=None if must else normalised())
for named in [
    "Host", "host", "Content-Length", "Transfer-Encoding", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Via", "Forwarded",
    "X-Real-IP", "x-a, HOST",
]:
    add(HOP, f"Connection: {named}", get(f"Connection: {named}\r\n"), either(
        refused(400), normalised(check=lambda it: len(it.all("host")) != 1 and "no Host")))
for named in ["Cookie", "Authorization", "Range", "Cache-Control"]:
    # RFC 9110 §7.6.1 has it obeyed; a shield may refuse what nobody means.
    add(HOP, f"Connection: {named}", get(f"Connection: {named}\r\n{named}: bytes=0-1\r\n"),
        either(normalised(hasnt=(named,)), refused(400)), lenient=normalised())
for value in ["a b", "\"x\"", "x;y", "(", "x-hop: 1", "\xe9"]:
    add(HOP, f"Connection: {value}", get(f"Connection: {value}\r\n"), either(refused(400), normalised()))

# ── Expect ──
EXPECT = "expectations"


def continued(stage_lines, body="hello"):
    """Waits for 100 before it sends the body."""

    async def play(stage):
        connection = await stage.connect()
        await connection.send(stage.fill(f"POST /case/{{id}} HTTP/1.1\r\n{HOST}{stage_lines}Expect: 100-continue\r\n\r\n"))
        # The 100 is the proxy's own or the origin's, which has read a head by then.
        heard = client.Heard(("POST", "GET"))
        while not heard.reader.interim and not heard.responses and heard.end == "open":
            data = await connection.reader.read(4096)
            if not data:
                heard.end = "closed"
            heard.reader.feed(data)
        await connection.send(stage.fill(body + "GET /follow/{id} HTTP/1.1\r\nHost: battery.test\r\nConnection: close\r\n\r\n"))
        await connection.hear(heard=heard)

        def judge():
            requests, faults = stage.reached()
            uploads = [it for it in requests if it.method == b"POST"]
            if heard.fault or faults or len(uploads) != 1 or uploads[0].body != b"hello" or not uploads[0].complete:
                return failed(f"{heard.told()}; {requests} {faults}")
            return passed() if heard.statuses()[:1] == [200] else failed(heard.told())

        return judge

    return play


async def early_100(connection, request):
    if request.get("expect"):
        await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")


def with_early(play):
    async def played(stage):
        stage.origin.early[stage.token.encode()] = early_100
        return await play(stage)

    return played


for name, lines, body in [("length", "Content-Length: 5\r\n", "hello"), ("chunks", TE, "5\r\nhello\r\n0\r\n\r\n")]:
    CASES.append(Case(f"100-continue, {name}", "3.2 expectations", play=with_early(continued(lines, body)), ways=("http", "tls")))
for value in ["100-Continue", "100-continue, x", "200-ok", "x", "", "100-continue;x", "\"100-continue\"", "100"]:
    sent = get(f"Expect: {value}\r\n")
    add(EXPECT, f"Expect: {value}", sent, either(refused(417, 400), normalised(hasnt=() if value == "100-Continue" else ("expect",)), answered_here(417)),
        lenient=normalised())
add(EXPECT, "100-continue twice", get("Expect: 100-continue\r\nExpect: 100-continue\r\n"), either(refused(417, 400), normalised()))
add(EXPECT, "100-continue from HTTP/1.0", get("Expect: 100-continue\r\n", version="1.0"), either(normalised(closes=True), refused(400, 417)))

# ── absolute-form ──
ABSOLUTE = "absolute form"
WANTED = {"host": b"battery.test"}
for target, wanted in [
    ("http://battery.test/case/{id}", rb"/case/q\d+z"),
    ("HTTP://battery.test/case/{id}", rb"/case/q\d+z"),
    ("http://battery.test/case/{id}?a=b", rb"/case/q\d+z\?a=b"),
    ("http://battery.test?{id}", rb"/\?q\d+z"),
]:
    add(ABSOLUTE, target, f"GET {target} HTTP/1.1\r\n{HOST}X-Case: {{id}}\r\n\r\n", normalised(target=wanted, has=WANTED),
        lenient=normalised(has=WANTED))
add(ABSOLUTE, "no path", f"GET http://battery.test HTTP/1.1\r\n{HOST}X-Case: {{id}}\r\n\r\n", normalised(target=rb"/", has=WANTED),
    lenient=normalised(has=WANTED))
add(ABSOLUTE, "https", f"GET https://battery.test/case/{{id}} HTTP/1.1\r\n{HOST}\r\n", either(normalised(has=WANTED), refused(400, 421)))
for host in ["other.test", "battery.test:81", "battery.test.", "other.test:80"]:
    add(ABSOLUTE, f"Host: {host}", f"GET http://battery.test/case/{{id}} HTTP/1.1\r\nHost: {host}\r\n\r\n",
        either(normalised(target=rb"/case/q\d+z", has=WANTED), refused(400)))
add(ABSOLUTE, "OPTIONS", "OPTIONS http://battery.test HTTP/1.1\r\nHost: battery.test\r\nX-Case: {id}\r\n\r\n",
    either(normalised(b"OPTIONS", target=rb"\*|/"), answered_here(200, 204)), methods=("OPTIONS",), lenient=normalised(b"OPTIONS"))

# ── methods that end here ──
for name, send, expect in [
    ("TRACE", get(method="TRACE"), refused(405, 501, 400)),
    ("TRACE with secrets", get("Cookie: a=b\r\nAuthorization: Basic eDp5\r\n", method="TRACE"), refused(405, 501, 400)),
    ("TRACE, Max-Forwards: 0", get("Max-Forwards: 0\r\n", method="TRACE"), either(refused(405, 501, 400), answered_here(200))),
    ("OPTIONS, Max-Forwards: 0", get("Max-Forwards: 0\r\n", method="OPTIONS"), answered_here(200, 204)),
    ("OPTIONS, Max-Forwards: 5", get("Max-Forwards: 5\r\n", method="OPTIONS"), normalised(b"OPTIONS", has={"max-forwards": b"4"})),
    ("OPTIONS, Max-Forwards: x", get("Max-Forwards: x\r\n", method="OPTIONS"), either(answered_here(400), refused(400))),
    ("TRACK", get(method="TRACK"), either(refused(405, 501, 400), normalised(b"TRACK"))),
    ("a method that nobody knows", get(method="BREW"), either(normalised(b"BREW"), refused(405, 501))),
    ("a method in lower case", get(method="get"), either(normalised(b"get"), refused(405, 501, 400))),
    ("a token of all its characters", get(method="!#$%&'*+-.^_`|~9"), either(normalised(b"!#$%&'*+-.^_`|~9"), refused(405, 501, 400))),
]:
    # To pass TRACE on is lawful for a proxy. That it is asked to is not likely.
    lenient = normalised(send.split()[0].encode()) if name.startswith(("TRACE", "OPTIONS")) else None
    add("methods", name, send, expect, methods=(send.split()[0],), lenient=lenient)

# ── who says what of the way so far ──
WAY = "claims"
for name in ["X-Forwarded-For", "X-Real-IP", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "Forwarded",
             "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Proxy", "X-Forwarded-Scheme",
             "X-Forwarded-Server", "X-Forwarded-Ssl", "X-Client-IP", "Front-End-Https", "X-Original-Host", "X-Host", "X-Forwarded",
             "X-Request-Id", "True-Client-IP", "CF-Connecting-IP", "X-Cluster-Client-IP", "X-Original-Forwarded-For", "Client-IP",
             "X-Forwarded-By", "Fastly-Client-IP", "X-ProxyUser-Ip", "WL-Proxy-Client-IP", "Proxy-Client-IP", "X-Originating-IP"]:
    def unclaimed(request, name=name):
        said = [value for key, value in request.fields if b"evil" in value]
        return f"{name} went through: {said}" if said else None

    for spelling in (name, name.lower()):
        add(WAY, spelling, get(f"{spelling}: evil\r\n"), normalised(check=unclaimed), lenient=normalised(), ways=("http", "tls", "behind-hit"))


def via(request):
    values = b", ".join(request.all("via"))
    return None if b"1.1 " in values or b"1.0 " in values else f"Via: {values!r}"


add("via", "is added", get(), normalised(check=via), lenient=normalised())
add("via", "is appended", get("Via: 1.0 fred, 1.1 other\r\n"), normalised(
    check=lambda it: via(it) or (not b", ".join(it.all("via")).startswith(b"1.0 fred, 1.1 other, ") and "not behind the others")), lenient=normalised())
add("via", "our own name is a loop", get("Via: 1.1 battery\r\n"), answered_here(508), only=("forebay",))
add("via", "our own name in CDN-Loop", get("CDN-Loop: x; a=b, battery\r\n"), answered_here(508), only=("forebay",))

# ── versions and persistence ──
PERSIST = "persistence"
add(PERSIST, "HTTP/1.0 closes", get(version="1.0"), normalised(closes=True))
add(PERSIST, "HTTP/1.0 without Host closes", "GET /case/{id} HTTP/1.0\r\n\r\n", either(normalised(closes=True), refused(400)))
add(PERSIST, "HTTP/1.0 keep-alive", get("Connection: keep-alive\r\n", version="1.0"), either(normalised(), normalised(closes=True)))
for value in ["close", "Close", "keep-alive, close", "close, x"]:
    add(PERSIST, f"Connection: {value}", get(f"Connection: {value}\r\n"), normalised(closes=True))
add(PERSIST, "Connection: close on two lines", get("Connection: keep-alive\r\nConnection: close\r\n"), normalised(closes=True))
add(PERSIST, "HTTP/1.0 close and keep-alive", get("Connection: close, keep-alive\r\n", version="1.0"), normalised(closes=True))



def half_closed(path):
    """The client sends its request and its FIN. It may be taken to have left; the connection ends either way, and nobody waits."""

    async def play(stage):
        if path == "stored":
            await stage.store(stage.path(path))
        connection = await stage.connect()
        await connection.send(f"GET {stage.path(path)} HTTP/1.1\r\n{HOST}\r\n".encode())
        connection.half_close()
        heard = await connection.hear()
        if heard.fault or heard.end == "open" or heard.statuses() not in ([], [200]):
            return failed(heard.told())
        # What is ready costs no wait.
        return passed() if path != "stored" or heard.statuses() else warned("a hit is not given")

    return play


for path in ("stored", "case"):
    CASES.append(Case(f"half-closed, {path}", f"3.2 {PERSIST}", play=half_closed(path)))

# ── upgrades ──
WEBSOCKET = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


def refused_upgrade(early):
    """The origin declines; what came early must not be read as a request by it, nor be passed on."""

    async def play(stage):
        heard = await stage.ask(f"GET /case/{{id}} HTTP/1.1\r\n{HOST}{WEBSOCKET}\r\n{early}", ("GET", "GET"), responses=1)

        def judge():
            requests, faults = stage.reached()
            tunnelled = [it for it in requests if b"/inner/" in it.target and it.get("via") is None and stage.proxy.name == "forebay"]
            if faults or heard.fault or tunnelled:
                return failed(f"{heard.told()}; {requests} {faults}")
            return passed()

        return judge

    return play


CASES.append(Case("declined, with a request behind it", "3.2 upgrades", play=refused_upgrade(INNER), ways=("http", "tls")))
CASES.append(Case("declined, with other bytes behind it", "3.2 upgrades", play=refused_upgrade("\x81\x05hello{id}"), ways=("http", "tls")))
add("upgrades", "websocket on POST", post(WEBSOCKET + "Content-Length: 5\r\n", "hello"), normalised(b"POST", body=b"hello", hasnt=("upgrade",)),
    methods=("POST",), lenient=normalised(b"POST", body=b"hello"))
add("upgrades", "websocket on GET with a body", get(WEBSOCKET + "Content-Length: 5\r\n") + "hello", either(
    normalised(body=b"hello", hasnt=("upgrade",)), refused(400)), lenient=normalised(body=b"hello"))
add("upgrades", "websocket in HTTP/1.0", get(WEBSOCKET, version="1.0"), normalised(hasnt=("upgrade",), closes=True), lenient=normalised(closes=True))
