"""Table 4: one client tries to choose what another is given. The origin is a credulous one: it shows what it was told.

Each case asks twice, on connections of their own: who attacks, and then an ordinary client, the victim, whose page must be the one that
it would have got by itself. Or the other way round: the victim first, whose page is its own, and then who wants to see it.
"""

from urllib.parse import unquote

from cases import Case, failed, passed, warned

HOST = "Host: battery.test\r\n"
# What the attacker wants on the victim's page, and the victim's on nobody's.
EVIL, SECRET = b"evil", b"secret"
CASES = []

# Fields that applications and frameworks believe without being asked to.
CLAIMS = [
    "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Proto", "X-Forwarded-Scheme", "X-Forwarded-Prefix", "X-Forwarded-Server",
    "X-Forwarded-For", "X-Forwarded-Uri", "X-Forwarded-Ssl", "X-Real-IP", "X-Client-IP", "X-Scheme", "X-Url-Scheme", "Front-End-Https",
    "X-Original-URL", "X-Rewrite-URL", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "Forwarded", "X-Request-Id",
]


def page(body, *lines, status="200 OK"):
    """An answer with a length."""
    body = body if isinstance(body, bytes) else body.encode()
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *lines, f"Content-Length: {len(body)}"))
    return head.encode("latin-1") + b"\r\n" + body


def credulous(request):
    """What an application makes of a request that believes all that it is told."""
    told = [b"method=" + request.method, b"target=" + request.target, b"host=" + (request.get("host") or b"")]
    told += [name.encode() + b"=" + value for name in CLAIMS for value in request.all(name.lower())]
    if request.body:
        told.append(b"body=" + request.body)
    return b"\n".join(told)


def fresh(*lines):
    """Shows what it was told, to be kept for ten minutes."""

    async def script(connection, request, before):
        body = credulous(request)
        answer = page(body, "Content-Type: text/plain", *(lines or ("Cache-Control: max-age=600",)))
        await connection.send(answer[: -len(body)] if request.method == b"HEAD" and body else answer)

    return script


def attack(name, table, send, methods=("GET",), script=None, victim="/stored/{id}", lines="", judge=None, only=None, ways=("http", "tls")):
    """`send` is the attacker's octets; the victim GETs `victim`. By default its page is for itself and holds nothing of the attacker's."""
    judge = judge or untouched

    async def play(stage):
        stage.answers(script or fresh())
        await stage.ask(send, methods, responses=1)
        path = stage.fill(victim).decode()
        given = await stage.get(path, lines)
        return judge(given, path)

    CASES.append(Case(name, f"4 {table}", play=play, ways=ways, only=only))


def untouched(given, path):
    """A whole 200, of the victim's own target, host and method, with nothing evil in it."""
    if given is None or given.status != 200 or not given.complete:
        return failed(f"the victim is refused its page: {given!r}")
    if EVIL in given.body:
        return failed(f"the victim is shown {given.body!r}")
    told = dict(line.split(b"=", 1) for line in given.body.split(b"\n") if b"=" in line)
    if told.get(b"host") != b"battery.test" or told.get(b"method") != b"GET":
        return failed(f"the victim is shown {given.body!r}")
    if not same(told.get(b"target", b"").decode("latin-1"), path):
        return failed(f"the victim asked {path}, and is shown {given.body!r}")
    return passed()


def same(one, other):
    """Whether two targets are one by RFC 3986 §6.2.2: letters' escapes undone, the case of the others' digits, dot segments gone."""
    return normal(one) == normal(other)


def normal(target):
    path, mark, query = target.partition("?")
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
    out, at = "", 0
    while at < len(path):
        triplet = path[at : at + 3]
        if triplet[:1] == "%" and len(triplet) == 3 and all(c in "0123456789abcdefABCDEF" for c in triplet[1:]):
            known = unquote(triplet, "latin-1")
            out += known if known in plain else triplet.upper()
            at += 3
        else:
            out += path[at]
            at += 1
    kept = []
    for segment in out.split("/"):
        if segment == "..":
            kept[1:] = kept[1:-1]
        elif segment != ".":
            kept.append(segment)
    return "/".join(kept) + mark + query


def get(lines="", target="/stored/{id}", method="GET", host=HOST):
    return f"{method} {target} HTTP/1.1\r\n{host}{lines}Connection: close\r\n\r\n"


# ── fields that the key does not hold ──
for field in CLAIMS:
    attack(f"{field} of a stranger", "unkeyed fields", get(f"{field}: evil\r\n"))
attack("X-Forwarded-Host twice", "unkeyed fields", get("X-Forwarded-Host: battery.test\r\nX-Forwarded-Host: evil\r\n"))
attack("X_Forwarded_Host", "unkeyed fields", get("X_Forwarded_Host: evil\r\n"))
attack("Forwarded with a host", "unkeyed fields", get("Forwarded: for=1.2.3.4;host=evil;proto=https\r\n"))

# ── hosts ──
for name, send in {
    "absolute target of another host": get(target="http://evil.test/stored/{id}"),
    "another Host": get(host="Host: evil.test\r\n"),
    "another Host beside an absolute target": get(target="http://battery.test/stored/{id}", host="Host: evil.test\r\n"),
    "two Hosts": get(host=HOST + "Host: evil.test\r\n"),
    "two Hosts, the other way round": get(host="Host: evil.test\r\n" + HOST),
    "Host with white space before the colon": get(host="Host : evil.test\r\n" + HOST),
    "folded Host": get(host="Host:\r\n evil.test\r\n" + HOST),
    "Host with a port of its own": get(host="Host: battery.test:1337\r\n"),
    "Host with a port that is none": get(host="Host: battery.test:evil\r\n"),
    "Host with userinfo": get(host="Host: evil@battery.test\r\n"),
    "Host that ends with a dot": get(host="Host: battery.test.\r\n"),
    "absolute target whose host ends with a dot": get(target="http://battery.test./stored/{id}"),
    "Host that ends with two dots": get(host="Host: battery.test..\r\n"),
    "Host with a comma": get(host="Host: battery.test,evil\r\n"),
    "Host with a path": get(host="Host: battery.test/evil\r\n"),
    "Host with a query": get(host="Host: battery.test?evil\r\n"),
    "Host in capitals": get(host="Host: BATTERY.TEST\r\n"),
    "Host with the scheme's port": get(host="Host: battery.test:80\r\n"),
    "Host with the other scheme's port": get(host="Host: battery.test:443\r\n"),
    "HTTP/1.0 with another Host": get(host="Host: evil.test\r\n").replace("HTTP/1.1", "HTTP/1.0"),
    "absolute target with userinfo": get(target="http://evil@battery.test/stored/{id}"),
    "absolute target, https": get(target="https://battery.test/stored/{id}", host="Host: evil.test\r\n"),
}.items():
    # Over TLS "the scheme's port" is another, and the page may be the victim's with or without it.
    attack(name, "hosts", send)

# ── keys that look alike ──
for one, other in [
    ("/stored/{id}%2Fx", "/stored/{id}/x"), ("/stored/{id}%2fx", "/stored/{id}%2Fx"), ("/stored/{id}%00", "/stored/{id}"),
    ("/stored/{id}%00.css", "/stored/{id}"), ("/stored/{id};a", "/stored/{id}"), ("/stored/{id}%3Ba", "/stored/{id};a"),
    ("/stored//{id}", "/stored/{id}"), ("//stored/{id}", "/stored/{id}"), ("/stored/./{id}", "/stored/{id}"),
    ("/stored/x/../{id}", "/stored/{id}"), ("/stored/%2e/{id}", "/stored/{id}"), ("/%73tored/{id}", "/stored/{id}"),
    ("/stored/{id}%7E", "/stored/{id}~"), ("/stored/{id}?", "/stored/{id}"), ("/stored/{id}?a=evil", "/stored/{id}"),
    ("/stored/{id}%3Fa", "/stored/{id}?a"), ("/stored/{id}%23", "/stored/{id}"), ("/stored/{id}#a", "/stored/{id}"),
    ("/stored/{id}?a+b", "/stored/{id}?a%20b"), ("/stored/{id}?a=1&b=2", "/stored/{id}?b=2&a=1"),
    ("/stored/{id}?a=1;b=2", "/stored/{id}?a=1&b=2"), ("/stored/{id}?utm_source=evil", "/stored/{id}"),
    ("/stored/{id}?a&utm_content=x%26a=evil", "/stored/{id}?a"), ("/Stored/{id}", "/stored/{id}"), ("/stored/{id}/", "/stored/{id}"),
    ("/stored/{id}%20", "/stored/{id}"), ("/stored/{id}%0A", "/stored/{id}"), ("/stored/{id}%0D%0AX:%20evil", "/stored/{id}"),
    ("/stored/{id}\\x", "/stored/{id}/x"), ("/stored/{id}%5Cx", "/stored/{id}/x"), ("/stored/{id}%", "/stored/{id}"),
    ("/stored/{id}%C0%AFx", "/stored/{id}/x"), ("/stored/{id}?" + "x" * 4096 + "evil", "/stored/{id}?" + "x" * 4096),
    ("/stored/{id}/" + "y" * 4096 + "1", "/stored/{id}/" + "y" * 4096 + "2"), ("/stored/{id}..;/x", "/stored/{id}/x"),
    ("/x/..%2Fstored/{id}", "/stored/{id}"), ("/stored/{id}:GET", "/stored/{id}"), ("/stored/{id}?a=b=c", "/stored/{id}?a=b%3Dc"),
]:
    shown = [it if len(it) < 60 else it[:40] + "…" for it in (one, other)]
    attack(f"{shown[0]} for {shown[1]}", "keys", get(target=one), victim=other)

# ── methods and bodies ──
for method in ["HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY", "get", "Get", "GETX", "TRACE"]:
    body = "" if method in ("HEAD", "OPTIONS", "get", "Get", "GETX", "TRACE") else "Content-Length: 0\r\n"
    attack(f"{method} feeds GET", "methods", get(body, method=method), (method,))
fat = "Content-Length: 4\r\n"
attack("GET with a body", "fat GET", get(fat) + "evil")
attack("GET with a chunked body", "fat GET", get("Transfer-Encoding: chunked\r\n") + "4\r\nevil\r\n0\r\n\r\n")
attack("GET with a form", "fat GET", get(fat + "Content-Type: application/x-www-form-urlencoded\r\n") + "evil")
attack("GET with a body and Expect", "fat GET", get(fat + "Expect: 100-continue\r\n") + "evil")
attack("HEAD with a body", "fat GET", get(fat, method="HEAD") + "evil", ("HEAD",))
attack("GET with a trailer", "fat GET", get("Transfer-Encoding: chunked\r\n") + "0\r\nX-Forwarded-Host: evil\r\n\r\n")


# ── errors of one's own (CPDoS) ──
def touchy(status, when, *lines):
    """Refuses what has one thing about it, and shows the page to all others."""

    async def script(connection, request, before):
        if when(request):
            await connection.send(page("refused", "Content-Type: text/plain", *lines, status=status))
        else:
            await fresh()(connection, request, before)

    return script


def strange(request):
    return request.get("x-strange") is not None


MODIFIED = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT"
for status in [
    "400 Bad Request", "401 Unauthorized", "403 Forbidden", "405 Method Not Allowed", "406 Not Acceptable", "408 Request Timeout",
    "413 Content Too Large", "414 URI Too Long", "415 Unsupported Media Type", "429 Too Many Requests",
    "431 Request Header Fields Too Large", "500 Internal Server Error", "501 Not Implemented", "502 Bad Gateway",
    "503 Service Unavailable",
]:
    for place, kind in [("stored", "by a guess"), ("ruled", "by a rule")]:
        attack(f"{status.split()[0]} kept {kind}", "errors", get("X-Strange: 1\r\n", f"/{place}/{{id}}"),
            script=touchy(status, strange, MODIFIED), victim=f"/{place}/{{id}}")
for name, lines in {
    "16 KiB of a field": "X-Strange: " + "x" * 16_000 + "\r\n",
    "a hundred fields": "".join(f"X-{n}: y\r\n" for n in range(120)) + "X-Strange: 1\r\n",
    "a control byte": "X-Strange: a\x01b\r\n",
    "a NUL": "X-Strange: a\x00b\r\n",
    "a CR": "X-Strange: a\rb\r\n",
    "a look-alike": "X-Strange: 1\r\nTransfer_Encoding: chunked\r\n",
    "no Accept": "X-Strange: 1\r\nAccept: application/x-nothing\r\n",
    "a coding that nobody knows": "X-Strange: 1\r\nAccept-Encoding: evil, identity;q=0\r\n",
}.items():
    attack(f"{name}, refused by the origin", "errors", get(lines), script=touchy("400 Bad Request", strange))
for name in ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]:
    attack(f"{name}: POST", "errors", get(f"{name}: POST\r\n"),
        script=touchy("405 Method Not Allowed", lambda request, name=name: request.get(name.lower()) is not None, MODIFIED))


# ── ranges and conditions ──
def literal(request):
    """Does what the conditions of a request ask of it, cacheable for ten minutes each."""
    keep = ("Cache-Control: max-age=600", 'ETag: "1"', "Content-Type: text/plain")
    body = credulous(request)
    if request.get("if-match") or request.get("if-unmodified-since"):
        return page("", *keep, status="412 Precondition Failed")
    if request.get("if-none-match") or request.get("if-modified-since"):
        return b"HTTP/1.1 304 Not Modified\r\n" + "".join(f"{it}\r\n" for it in keep).encode() + b"\r\n"
    asked = request.get("range")
    if asked == b"bytes=0-0":
        return page(body[:1], *keep, f"Content-Range: bytes 0-0/{len(body)}", status="206 Partial Content")
    if asked:
        return page("", *keep, f"Content-Range: bytes */{len(body)}", status="416 Range Not Satisfiable")
    return page(body, *keep)


async def obedient(connection, request, before):
    await connection.send(literal(request))


for name, lines in {
    "Range of one octet": "Range: bytes=0-0\r\n",
    "Range beyond the end": "Range: bytes=9999-\r\n",
    "Range that cannot be read": "Range: evil\r\n",
    "Range of a unit that nobody knows": "Range: evil=0-1\r\n",
    "two Ranges": "Range: bytes=0-0\r\nRange: bytes=1-1\r\n",
    "many ranges": "Range: bytes=" + ",".join(f"{n}-{n}" for n in range(100)) + "\r\n",
    "If-None-Match": 'If-None-Match: "1"\r\n',
    "If-None-Match: *": "If-None-Match: *\r\n",
    "If-Modified-Since": "If-Modified-Since: Sun, 06 Nov 2094 08:49:37 GMT\r\n",
    "If-Match": 'If-Match: "no"\r\n',
    "If-Unmodified-Since": "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
    "If-Range": 'If-Range: "1"\r\nRange: bytes=0-0\r\n',
    "If-Match and Range": 'If-Match: "no"\r\nRange: bytes=0-0\r\n',
}.items():
    attack(name, "ranges and conditions", get(lines), script=obedient)


def unasked(first):
    async def script(connection, request, before):
        await (connection.send(first) if before == 0 else fresh()(connection, request, before))

    return script


for name, first in {
    "206": page("e", "Cache-Control: max-age=600", 'ETag: "1"', "Content-Range: bytes 0-0/4", status="206 Partial Content"),
    "304": b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\nCache-Control: max-age=600\r\n\r\n',
    "416": page("evil", "Content-Range: bytes */4", status="416 Range Not Satisfiable"),
}.items():
    attack(f"{name} that nobody asked for", "ranges and conditions", get(), script=unasked(first))


# ── pages of one's own ──
def own(*lines):
    """The page of whoever shows who they are, and nobody's else."""

    async def script(connection, request, before):
        known = request.get("cookie") or request.get("authorization")
        body = b"secret" if known else b"please log in"
        await connection.send(page(body, *lines))

    return script


def leak(name, table, lines, answer, target="/stored/{id}", then=None, only=None):
    """Somebody known asks `target`, then a stranger asks the same, or `then`."""

    async def play(stage):
        stage.answers(own(*answer))
        await stage.ask(get(lines, target), ("GET",), responses=1)
        path = stage.fill(then or target).decode("latin-1")
        given = await stage.get(path)
        if given is not None and SECRET in given.body:
            return failed(f"a stranger is shown the page of another: {given!r}")
        if given is None:
            return warned("a stranger is shown nothing")
        return passed()

    CASES.append(Case(name, f"4 {table}", play=play, ways=("http", "tls"), only=only))


COOKIE, PASSWORD = "Cookie: session=1\r\n", "Authorization: Basic eDp5\r\n"
HTML = "Content-Type: text/html"
for name, lines in {
    "private": ("Cache-Control: private, max-age=600",),
    "Private in another case": ("cache-control: PRIVATE, MAX-AGE=600",),
    "private on the second line": ("Cache-Control: max-age=600", "Cache-Control: private"),
    "private behind a quoted text": ('Cache-Control: x="a, b", private, max-age=600',),
    "private behind an unknown one": ("Cache-Control: max-age=600, foo, private",),
    "private behind a tab": ("Cache-Control: max-age=600,\tprivate",),
    "private behind no space": ("Cache-Control: max-age=600,private",),
    "private behind empty members": ("Cache-Control: ,,max-age=600,, private",),
    "private, with an equals sign": ("Cache-Control: private=, max-age=600",),
    "private and s-maxage": ("Cache-Control: s-maxage=600, private",),
    "private and public": ("Cache-Control: public, private, max-age=600",),
    "no-store": ("Cache-Control: no-store",),
    "no-store on the second line": ("Cache-Control: max-age=600", "Cache-Control: no-store"),
    "no-store and max-age": ("Cache-Control: max-age=600, no-store",),
    "no-cache without a validator": ("Cache-Control: no-cache",),
    "max-age=0": ("Cache-Control: max-age=0",),
    "max-age twice, one of them 0": ("Cache-Control: max-age=0", "Cache-Control: max-age=0"),
    "Expires: 0": ("Expires: 0",),
    "Vary: *": ("Cache-Control: max-age=600", "Vary: *"),
    "Vary: * in a list": ("Cache-Control: max-age=600", "Vary: Accept, *"),
    "Vary: * on the second line": ("Cache-Control: max-age=600", "Vary: Accept", "Vary: *"),
    "Vary: Cookie": ("Cache-Control: max-age=600", "Vary: cookie"),
    "Set-Cookie": ("Cache-Control: max-age=600", "Set-Cookie: id=1"),
    "no word of freshness": (),
    "Last-Modified only": (MODIFIED,),
    "CDN-Cache-Control: private": ("Cache-Control: max-age=600", "CDN-Cache-Control: private"),
}.items():
    targeted = ("forebay",) if name.startswith("CDN") else None
    leak(f"{name}, by cookie", "pages of one's own", COOKIE, (HTML, *lines), only=targeted)
for name, lines in {
    "max-age": ("Cache-Control: max-age=600",),
    "Expires": ("Expires: Thu, 01 Jan 2099 00:00:00 GMT",),
    "Last-Modified": (MODIFIED,),
}.items():
    leak(f"{name}, by password", "pages of one's own", PASSWORD, (HTML, *lines))
leak("a rule, by password", "pages of one's own", PASSWORD, (HTML,), "/ruled/{id}")
leak("a rule, and a cookie set", "pages of one's own", COOKIE, (HTML, "Set-Cookie: id=1"), "/ruled/{id}")
leak("a rule, and private", "pages of one's own", COOKIE, (HTML, "Cache-Control: private"), "/ruled/{id}")
leak("a rule, and no-store", "pages of one's own", COOKIE, (HTML, "Cache-Control: no-store"), "/ruled/{id}")

# ── deception: the own page under the name of a file ──
for end in [
    "/x.css", "/x.js", "/x.png", "/x.ico", "/x.woff2", "/x.json", "/x.txt", "/x.pdf", "/x.mp4", ".css", ";x.css", "%3Bx.css", "%2Fx.css",
    "%00.css", "%3F.css", "%23.css", "%0A.css", "%20.css", "!.css", "/X.CSS", "/x.cs%73", "/x.css;v=1", "/x.css%00", "/x.css?v=1",
]:
    leak(f"account{end}", "deception", COOKIE, (HTML,), "/ruled/{id}/account" + end)
for name, target, then in [
    ("dot segments", "/ruled/x.css/../../account/{id}", "/ruled/x.css/../../account/{id}"),
    ("hidden dot segments", "/ruled/{id}/x.css%2F..%2F..%2F..%2Faccount", None),
    ("dot segments to a file", "/account/{id}/..%2F..%2Fruled/x.css", None),
    ("parameters", "/ruled/..;/account/{id}", None),
    ("backslash", "/ruled/..\\account/{id}", None),
]:
    leak(name, "deception", COOKIE, (HTML,), target, then)


# ── variants ──
def by_language(request):
    return page(b"lang=" + (request.get("accept-language") or b"none"), "Cache-Control: max-age=600", "Vary: Accept-Language")


async def languages(connection, request, before):
    await connection.send(by_language(request))


def tongue(given, path):
    if given is None or given.status != 200 or not given.complete:
        return failed(f"the victim is refused its page: {given!r}")
    return passed() if given.body == b"lang=de" else failed(f"the victim is shown {given.body!r}")


for name, lines in {
    "another value": "Accept-Language: evil\r\n",
    "absent": "",
    "empty": "Accept-Language:\r\n",
    "two lines": "Accept-Language: de\r\nAccept-Language: evil\r\n",
    "a list": "Accept-Language: de, evil\r\n",
    "another weight": "Accept-Language: evil, de;q=0.5\r\n",
    "nominated by Connection": "Accept-Language: de\r\nConnection: Accept-Language\r\n",
}.items():
    attack(name, "variants", f"GET /stored/{{id}} HTTP/1.1\r\n{HOST}{lines}\r\n", script=languages, lines="Accept-Language: de\r\n", judge=tongue)
