"""Table 6, what an origin may say that is wrong: nothing malformed reaches a client, and what was cut looks cut and is not stored."""

from cases import Case, failed, passed, warned

CASES = []
# Towards the origin a proxy may have another client for TLS.
WAYS = ("http", "tls", "to-tls")
# What is stored when it is whole.
STORED = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
GOOD = STORED + b"Content-Length: 5\r\n\r\nwhole"


def add(table, name, answer, judge, **more):
    CASES.append(Case(name, f"6 {table}", play=lie(answer, judge, **more), ways=WAYS))


def lie(answer, judge, method="GET", lines="", ends="closes", again=True, version="1.1"):
    """The origin answers `answer` (bytes, or a script) to whatever is asked first; then, to a second client, well.

    `ends`: what the origin's connection does behind the bytes: "closes", "resets", or is "kept".
    """

    async def play(stage):
        path = stage.path("lie")
        lied = []

        async def script(connection, request, _before):
            if request.get("x-again"):
                await connection.send(GOOD)
                return
            lied.append(request)
            if callable(answer):
                await answer(connection, request)
            else:
                await connection.send(answer)
            if ends == "closes":
                connection.close()
            elif ends == "resets":
                connection.reset()

        stage.answers(script)
        head = f"{method} {path} HTTP/{version}\r\nHost: battery.test\r\nConnection: close\r\n{lines}\r\n"
        first = await stage.ask(head, (method,))
        # What was taken for whole would be stored, and be what the next one gets.
        second = await stage.ask(f"GET {path} HTTP/1.1\r\nHost: battery.test\r\nConnection: close\r\nX-Again: 1\r\n\r\n") if again else None

        def verdict():
            if first.fault:
                return failed(f"malformed to the client: {first.told()}")
            if first.end == "open":
                return failed(f"never ends: {first.told()}")
            if second is not None and (second.fault or second.end == "open" or not second.responses):
                return failed(f"the next one: {second.told()}")
            return judge(first, second, lied)

        return verdict

    return play


def was_whole(response):
    return response is not None and response.status == 200 and response.complete


def refreshed(second):
    """The next client got what the origin says now, not what it said before."""
    return second is None or second.responses[0].body == b"whole"


def gateway_error(first, second, _lied):
    """5xx, and nothing of it kept."""
    if [it.status for it in first.responses] not in ([502], [500], [503], [504]):
        return failed(f"passed on: {first.told()}")
    return passed() if refreshed(second) else failed(f"stored: {second.told()}")


def error_or_cut(first, second, lied):
    """5xx, or visibly not whole: and nothing of it kept."""
    if first.responses and first.responses[0].status < 500 and first.responses[0].complete:
        return failed(f"looks whole: {first.told()}")
    if not refreshed(second):
        return failed(f"stored: {second.told()}")
    return passed()


def error_or(body, status=200, **fields):
    """5xx; or whole, in one reading, with this body and these fields and no others of their names."""

    def judge(first, second, lied):
        response = first.responses[0] if first.responses else None
        if response is not None and response.status >= 500:
            return gateway_error(first, second, lied)
        if response is None or not response.complete or response.status != status or response.body != body or len(first.responses) != 1:
            return failed(f"not in order: {first.told()}")
        for name, values in fields.items():
            # The next client may get what was stored of it.
            stored = second.responses if second is not None and second.responses[0].body == body else []
            for each in [response, *stored]:
                if each.all(name.replace("_", "-")) != values:
                    return failed(f"{name}: {each.all(name.replace('_', '-'))}")
        return passed()

    return judge


def answered(body, status=200, **fields):
    """As `error_or`, without the error."""
    strict = error_or(body, status, **fields)
    return lambda first, second, lied: failed(first.told()) if not first.responses or first.responses[0].status != status else strict(first, second, lied)


# ── no answer ──
NONE = "no answer"
add(NONE, "closed before an answer", b"", gateway_error)
add(NONE, "reset before an answer", b"", gateway_error, ends="resets")


def sends(most):
    """At most so many sends of the request."""

    def judge(first, second, lied):
        if len(lied) > most:
            return failed(f"sent {len(lied)} times")
        return gateway_error(first, second, lied)

    return judge


add(NONE, "a POST that is reset is sent once", b"", sends(1), ends="resets", method="POST", lines="Content-Length: 0\r\n")
add(NONE, "a POST that is closed is sent once", b"", sends(1), method="POST", lines="Content-Length: 0\r\n")
add(NONE, "a PATCH that is cut in its answer's head is sent once", b"HTTP/1.1 200 OK\r\nX-A", sends(1), method="PATCH", lines="Content-Length: 0\r\n")
# A kept connection that turns out to be dead is no try: several of them may be in store.
add(NONE, "a GET that is reset is not sent without end", b"", sends(12), ends="resets")


async def dead(stage):
    response = await stage.get(stage.path("dead"))
    return passed() if response is not None and response.status in (502, 503) else failed(f"{response}")


CASES.append(Case("connection refused", f"6 {NONE}", play=dead, ways=("http", "tls")))

# ── cut ──
CUT = "cut"
for name, octets in {
    "in the status line": b"HTTP/1.1 20",
    "behind the status line": b"HTTP/1.1 200 OK\r\n",
    "in a field": STORED + b"X-Half: a",
    "behind a field": STORED,
    "in the last line": STORED + b"Content-Length: 5\r\n\r",
}.items():
    for ends in ("closes", "resets"):
        add(CUT, f"{name}, {ends}", octets, gateway_error, ends=ends)
for name, octets in {
    "a length": STORED + b"Content-Length: 10\r\n\r\nhello",
    "a length, nothing of it": STORED + b"Content-Length: 10\r\n\r\n",
    "a long length": STORED + b"Content-Length: 200000\r\n\r\n" + b"x" * 100_000,
    "chunks, no last one": STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "chunks, in data": STORED + b"Transfer-Encoding: chunked\r\n\r\n9\r\nhello",
    "chunks, in a size": STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1",
    "chunks, in the last size": STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0",
    "chunks, before the last line": STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n",
    "chunks, in a trailer": STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Tra",
    "chunks, before any": STORED + b"Transfer-Encoding: chunked\r\n\r\n",
}.items():
    for ends in ("closes", "resets"):
        add(CUT, f"{name}, {ends}", octets, error_or_cut, ends=ends)
add(CUT, "what the close delimits, by a reset", STORED + b"\r\n" + b"x" * 100_000, error_or_cut, ends="resets")

# ── garbage ──
GARBAGE = "no HTTP"
for octets in [
    b"garbage\r\n\r\n", b"\r\n\r\n", b"\0" * 100, b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 \r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n", b"HTTP/1.1 2000 OK\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n", b"HTTP/1.1 000 OK\r\n\r\n", b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/1.1 -200 OK\r\n\r\n", b"HTTP/1.1 +20 OK\r\n\r\n", b"HTTP/1.1  200 OK\r\n\r\n", b"HTTP/1.1\t200 OK\r\n\r\n", b"HTTP/1.1 200OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n", b"HTTP/3 200 OK\r\n\r\n", b"HTTP/0.9 200 OK\r\n\r\n", b"http/1.1 200 OK\r\n\r\n", b"HTTX/1.1 200 OK\r\n\r\n",
    b" HTTP/1.1 200 OK\r\n\r\n", b"ICY 200 OK\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"<html>hello</html>\n", b"HTTP/1.1 200 O\0K\r\n\r\n",
    b"HTTP/1.1 200 O\rK\r\n\r\n", b"\x15\x03\x03\x00\x02\x02\x28", b"RTSP/1.0 200 OK\r\n\r\n", b"+OK\r\n", b"HTTP/1.1 200 \x01\r\n\r\n",
    b"HTTP/1.1 200 OK HTTP/1.1\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64",
]:
    add(GARBAGE, repr(octets[:30])[2:-1], octets, gateway_error)


def lenient(judge, permitted):
    """`permitted` is what the RFC allows besides."""

    def judged(first, second, lied):
        verdict = judge(first, second, lied)
        if verdict.mark == "FAIL" and permitted(first, second, lied).mark == "pass":
            return warned(f"permitted: {verdict.why}")
        return verdict

    return judged


# ── framing that says two things, or nothing ──
LENGTH = "bad lengths"
for value in [b"-1", b"five", b"+5", b"0x5", b"5.0", b"5e0", b"", b"5 5", b"5;", b"\"5\"", b"5_0", b"18446744073709551616", b"18446744073709551615",
              b"18446744073709551621", b"9223372036854775808", b"99999999999999999999999999", b"5, 6", b"5,", b",5", b"5\x0b", b"5, five"]:
    add(LENGTH, repr(value)[2:-1], STORED + b"Content-Length: " + value + b"\r\n\r\nhello", gateway_error)
for lines in [b"Content-Length: 5\r\nContent-Length: 6", b"Content-Length: 6\r\nContent-Length: 5", b"Content-Length: 5\r\nContent-Length:",
              b"Content-Length: 5\r\nContent-Length: five"]:
    add(LENGTH, repr(lines)[2:-1], STORED + lines + b"\r\n\r\nhello!", gateway_error)
for lines in [b"Content-Length: 5\r\nContent-Length: 5", b"Content-Length: 5, 5"]:
    add(LENGTH, repr(lines)[2:-1], STORED + lines + b"\r\n\r\nhello", error_or(b"hello", content_length=[b"5"]))

CODING = "codings"
CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
for lines in [b"Content-Length: 5\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: chunked\r\nContent-Length: 500",
              b"Content-Length: 0\r\nTransfer-Encoding: chunked"]:
    # RFC 9112 §6.3: the coding overrides the length.
    add(CODING, repr(lines)[2:-1], STORED + lines + b"\r\n\r\n" + CHUNKED, error_or(b"hello"))
for value in [b"gzip", b"chunked, gzip", b"identity", b"gzip, chunked", b"chunked, chunked", b"xchunked", b"\x0bchunked", b"chunked;q=1", b"\"chunked\"",
              b"", b"chunked,", b"chunked\xff", b"chu nked"]:
    add(CODING, repr(value)[2:-1], STORED + b"Transfer-Encoding: " + value + b"\r\n\r\n" + CHUNKED, gateway_error)
for lines in [b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
              b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity"]:
    add(CODING, repr(lines)[2:-1], STORED + lines + b"\r\n\r\n" + CHUNKED, gateway_error)
add(CODING, "chunked in HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKED, error_or(b"hello"))
for body in [b"not a size\r\n", b"-5\r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"\r\nhello\r\n0\r\n\r\n",
             b"10000000000000005\r\nhello\r\n0\r\n\r\n", b"8000000000000000\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloX\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n",
             b"5\nhello\r\n0\r\n\r\n", b"5\r\nhello\n0\r\n\r\n", b"5;\0\r\nhello\r\n0\r\n\r\n", b"5\r\nhello\r\n\r\n\r\n", b"5\r\nhello\r\n0\r\nno colon\r\n\r\n",
             b"5\r\nhello\r\n0\r\nX: a\rb\r\n\r\n", b"5\r\nhello\r\nffffffffffffffff\r\n", b"5 5\r\nhello\r\n0\r\n\r\n", b"g\r\nhello\r\n0\r\n\r\n"]:
    # Where a parser forgives, what it makes of it may be whole; never with what stands behind it.
    add(CODING, f"chunks {repr(body)[2:-1]}", STORED + b"Transfer-Encoding: chunked\r\n\r\n" + body,
        lenient(error_or_cut, lambda first, second, lied: passed() if first.responses and first.responses[0].body in (b"hello", b"") else failed("")))
add(CODING, "chunk extensions", STORED + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0;c\r\n\r\n", answered(b"hello"))


def no_trailer_in_head(first, second, lied):
    response = first.responses[0]
    if response.all("x-trailer") or response.all("set-cookie") or response.body != b"hello":
        return failed(f"{response.fields}")
    return passed()


add(CODING, "trailers", STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Trailer: y\r\nSet-Cookie: a=b\r\nContent-Length: 1\r\n\r\n",
    no_trailer_in_head)

# ── hostile octets in fields ──
FIELD = "hostile fields"
for line in [b"no colon", b"X A: b", b": b", b":", b"X\xe9: b", b"X(A): b", b"X-A: b\0c", b"X\0A: b", b"X-A: b\rc", b"X-A: b\r", b"X-A: b\rSet-Cookie: evil=1",
             b"X-A: \x01", b"X-A: \x7f", b"X-A: \x1b[0m", b"\0", b"X\x01: b", b"\x0bX: b", b"X-A: b\x0b"]:
    bad = STORED + line + b"\r\nContent-Length: 5\r\n\r\nhello"
    add(FIELD, repr(line)[2:-1], bad, lenient(gateway_error, error_or(b"hello")))
for line, kept in [(b"X-A : b", b"b"), (b"X-A\t: b", b"b"), (b"X-A: b\r\n c", b"b c"), (b"X-A: b\r\n\tc", b"b c")]:
    # RFC 9112 §5.1 and §5.2: of a response a proxy takes the space and the fold away.
    add(FIELD, repr(line)[2:-1], STORED + line + b"\r\nContent-Length: 5\r\n\r\nhello",
        lenient(error_or(b"hello", x_a=[kept]), error_or(b"hello")))
for lines in [b"Content-Length : 5", b"Transfer-Encoding : chunked", b"Content-Length: 5\r\n 0", b"Transfer-Encoding:\r\n chunked"]:
    # Whatever is made of it, it must be made in one way.
    body = CHUNKED if b"chunked" in lines else b"hello"
    add(FIELD, repr(lines)[2:-1], STORED + lines + b"\r\n\r\n" + body,
        lambda first, second, lied: passed() if error_or(b"hello")(first, second, lied).mark == "pass" else error_or_cut(first, second, lied))
add(FIELD, "a fold behind another field", b"HTTP/1.1 200 OK\r\nX-A: b\r\n X: b\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello", x=[]))
add(FIELD, "bare LF", b"HTTP/1.1 200 OK\nContent-Length: 5\nX-A: b\n\nhello", error_or(b"hello"))
add(FIELD, "high octets", STORED + b"X-A: \xe9\xff\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello", x_a=[b"\xe9\xff"]))
add(FIELD, "a reason of high octets", b"HTTP/1.1 200 \xe9t\xe9\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello"))
add(FIELD, "no reason, no space", b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello"))
add(FIELD, "300 lines", STORED + b"".join(b"X-%d: v\r\n" % n for n in range(300)) + b"Content-Length: 5\r\n\r\nhello", error_or(b"hello"))
add(FIELD, "a long line", STORED + b"X-A: " + b"v" * 30_000 + b"\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello"))

# ── hop by hop, on the way back ──
HOP = "hop by hop, back"
for lines, gone in [
    (b"Connection: X-Hop\r\nX-Hop: 1", ["x_hop"]),
    (b"Connection: keep-alive, x-hop\r\nX-Hop: 1", ["x_hop"]),
    (b"Connection: close\r\nConnection: X-HOP\r\nX-Hop: 1", ["x_hop"]),
    (b"Keep-Alive: timeout=5", ["keep_alive"]),
    (b"Proxy-Connection: close", ["proxy_connection"]),
    (b"Upgrade: h2c\r\nConnection: Upgrade", ["upgrade"]),
    (b"Upgrade: h2,h2c", ["upgrade"]),
    (b"Connection: X-Hop, X-Other\r\nX-Other: 1\r\nX-Hop: 1\r\nX-Hop: 2", ["x_hop", "x_other"]),
]:
    good = answered(b"hello", **{name: [] for name in gone})
    add(HOP, repr(lines)[2:-1], STORED + lines + b"\r\nContent-Length: 5\r\n\r\nhello", lenient(good, answered(b"hello")))
for named in [b"Content-Length", b"Content-Type", b"Date", b"Cache-Control", b"ETag", b"Set-Cookie", b"Via", b"Transfer-Encoding", b"Age"]:
    # Obeyed or refused or ignored: the framing holds.
    add(HOP, f"Connection: {named.decode()}", STORED + b"Connection: " + named + b"\r\nContent-Length: 5\r\nContent-Type: a/b\r\n\r\nhello", error_or(b"hello"))
for value in [b"a b", b"\"x\"", b"(", b"\xe9", b";"]:
    add(HOP, f"Connection: {repr(value)[2:-1]}", STORED + b"Connection: " + value + b"\r\nContent-Length: 5\r\n\r\nhello", error_or(b"hello"))

# ── answers without a body that have one ──
NOBODY = "bodies where none may be"
EVIL = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"


def bodiless(status):
    def judge(first, second, lied):
        response = first.responses[0] if first.responses else None
        if response is None or response.status >= 500:
            return gateway_error(first, second, lied)
        good = response.status == status and response.body == b"" and len(first.responses) == 1
        return passed() if good and (second is None or b"evil" not in second.raw) else failed(first.told())

    return judge


for status in (204, 304):
    for name, lines in {"a length": b"Content-Length: 4\r\n", "chunks": b"Transfer-Encoding: chunked\r\n", "nothing": b""}.items():
        body = b"4\r\nevil\r\n0\r\n\r\n" if name == "chunks" else b"evil"
        for ends in ("closes", "kept"):
            add(NOBODY, f"{status} with {name}, {ends}", b"HTTP/1.1 %d X\r\n" % status + lines + b"\r\n" + body, bodiless(status), ends=ends)
for name, lines in {"a length": b"Content-Length: 4\r\n", "chunks": b"Transfer-Encoding: chunked\r\n"}.items():
    body = b"4\r\nevil\r\n0\r\n\r\n" if name == "chunks" else b"evil"
    for ends in ("closes", "kept"):
        add(NOBODY, f"HEAD with {name}, {ends}", b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n" + lines + b"\r\n" + body, bodiless(200),
            ends=ends, method="HEAD")
add(NOBODY, "HEAD with a whole answer behind it", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + EVIL, bodiless(200), ends="kept", method="HEAD")
add(NOBODY, "205 with a body", b"HTTP/1.1 205 Reset\r\nContent-Length: 4\r\n\r\nevil", error_or(b"evil", 205))

# ── left over ──
LEFT = "left-over bytes"


def left_over(stray, when="with"):
    """Behind a good answer come bytes that nobody asked for; nobody gets them."""

    async def play(stage):
        path = stage.path("left")

        async def script(connection, request, before):
            own = b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: %d\r\n\r\n" % len(request.target) + request.target
            if before % 2:
                await connection.send(own)
            elif when == "with":
                await connection.send(own + stray)
            else:
                # In the kernel before anybody here can ask again: what comes after the next request nobody can tell from its answer.
                connection.writer.write(own)
                connection.writer.write(stray)

        stage.answers(script)
        heards = []
        for number in range(12):
            connection = await stage.connect()
            for turn in range(2):
                await connection.send(f"GET {path}/{number}/{turn} HTTP/1.1\r\nHost: battery.test\r\n\r\n".encode())
                heard = await connection.hear(responses=1)
                heards.append((f"{path}/{number}/{turn}", heard))
            connection.close()

        def verdict():
            for asked, heard in heards:
                if heard.fault or b"evil" in heard.raw or heard.end == "open" and not heard.responses:
                    return failed(f"{asked}: {heard.told()}")
                if not heard.responses:
                    continue
                if heard.responses[0].status == 200 and heard.responses[0].body != asked.encode():
                    return failed(f"{asked} got {heard.responses[0].body!r}")
            wrong = [heard for _, heard in heards if heard.statuses()[:1] != [200]]
            return warned(f"{len(wrong)} answered {wrong[0].told()}") if wrong else passed()

        return verdict

    return play


for name, stray in {"a whole answer": EVIL, "half an answer": EVIL[:30], "garbage": b"evil" * 10, "an empty line": b"\r\n", "NUL": b"\0",
                    "an interim answer": b"HTTP/1.1 103 X\r\nX-evil: 1\r\n\r\n", "408": b"HTTP/1.1 408 Timeout\r\nConnection: close\r\nX-evil: 1\r\n\r\n"}.items():
    for when in ("with", "behind"):
        CASES.append(Case(f"{name}, sent {when} the answer", f"6 {LEFT}", play=left_over(stray, when), ways=WAYS))
add(LEFT, "more than the length", STORED + b"Content-Length: 5\r\n\r\nhelloevil", error_or(b"hello"), again=False)
add(LEFT, "more than the chunks", STORED + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED + EVIL, error_or(b"hello"), again=False)
add(LEFT, "two answers", STORED + b"Content-Length: 5\r\n\r\nhello" + EVIL, error_or(b"hello"), again=False)

# ── interim and switching ──
INTERIM = "1xx and upgrades"
for octets in [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 102 Processing\r\n\r\n",
               b"HTTP/1.1 199 X\r\n\r\n", b"HTTP/1.1 100 Continue\r\nContent-Length: 0\r\n\r\n"]:
    add(INTERIM, f"{repr(octets)[2:-1]}, then 200", octets + STORED + b"Content-Length: 5\r\n\r\nhello", error_or(b"hello"))
add(INTERIM, "only 100", b"HTTP/1.1 100 Continue\r\n\r\n", gateway_error)
add(INTERIM, "100 with a body", b"HTTP/1.1 100 Continue\r\nContent-Length: 4\r\n\r\nevil" + GOOD, error_or_cut)


async def interim_flood(connection, _request):
    await connection.flood(b"HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n" * 200, 32 << 20)


add(INTERIM, "a flood of 103", interim_flood, lenient(gateway_error, error_or_cut))
add(INTERIM, "a flood of 100", b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000, lenient(gateway_error, error_or_cut))
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: %s\r\nConnection: Upgrade\r\n\r\nevil"
add(INTERIM, "101 that nobody asked for", SWITCH % b"websocket", gateway_error)
add(INTERIM, "101 to h2c", SWITCH % b"h2c", gateway_error, lines="Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n")
add(INTERIM, "101 to POST", SWITCH % b"websocket", gateway_error, method="POST",
    lines="Content-Length: 0\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n")
add(INTERIM, "101 without a word", b"HTTP/1.1 101 X\r\n\r\n" + GOOD, gateway_error)

# ── without end ──
ENDLESS = "without end"


async def endless_head(connection, _request):
    await connection.send(STORED)
    await connection.flood(b"X-Fill: " + b"f" * 1000 + b"\r\n", 64 << 20)


async def endless_line(connection, _request):
    await connection.send(STORED + b"X-Fill: ")
    await connection.flood(b"f" * 60_000, 64 << 20)


async def endless_status(connection, _request):
    await connection.send(b"HTTP/1.1 200 ")
    await connection.flood(b"f" * 60_000, 64 << 20)


add(ENDLESS, "a head", endless_head, gateway_error)
add(ENDLESS, "a line", endless_line, gateway_error)
add(ENDLESS, "a reason", endless_status, gateway_error)
add(ENDLESS, "chunk extensions", STORED + b"Transfer-Encoding: chunked\r\n\r\n5;" + b"x" * 2_000_000 + b"\r\nhello\r\n0\r\n\r\n",
    lenient(error_or_cut, error_or(b"hello")))
add(ENDLESS, "trailers", STORED + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + b"X-Fill: y\r\n" * 200_000 + b"\r\n",
    lenient(error_or_cut, error_or(b"hello")))


def endless_body(chunked):
    """The origin never stops; the client takes a little and nothing more, and then goes: the origin must not have been drained."""

    async def play(stage):
        sent = []

        async def script(connection, request, _before):
            if request.get("x-again"):
                await connection.send(GOOD)
                return
            coding = b"Transfer-Encoding: chunked\r\n" if chunked else b""
            await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\n" + coding + b"\r\n")
            piece = b"x" * 60_000
            sent.append(connection)
            await connection.flood(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece, 256 << 20)

        stage.answers(script)
        connection = await stage.connect()
        await connection.send(f"GET {stage.path('endless')} HTTP/1.1\r\nHost: battery.test\r\n\r\n".encode())
        got = 0
        while got < 100_000:
            data = await connection.reader.read(65536)
            if not data:
                return failed("ended")
            got += len(data)
        # It takes nothing more. The origin goes on until everything between is full: somebody else's answer proves that the
        # proxy has had time to take what it would.
        for _ in range(20):
            other = await stage.get(stage.path("other"), "X-Again: 1\r\n")
            if not was_whole(other):
                return failed("others are not answered meanwhile")
        taken = sent[0].sent
        connection.close()
        return passed() if taken < 100 << 20 else warned(f"took {taken >> 20} MiB for a client that took 100 KB")

    return play


for chunked in (False, True):
    CASES.append(Case(f"a body, {'chunks' if chunked else 'until the close'}", f"6 {ENDLESS}", play=endless_body(chunked), ways=WAYS))

# ── an answer before the request is over ──
EARLY = "early answers"


def early_answer(close, lines, first_piece):
    """The origin answers at the head of an upload. The client hears it, and what it sends later is no request."""

    async def play(stage):
        async def at_head(connection, _request):
            ending = b"Connection: close\r\n" if close else b""
            await connection.send(b"HTTP/1.1 413 No\r\n" + ending + b"Content-Length: 2\r\n\r\nno")
            if close:
                connection.close()

        async def nothing(_connection, _request, _before):
            return

        stage.origin.early[stage.token.encode()] = at_head
        stage.answers(nothing)
        connection = await stage.connect()
        await connection.send(f"POST {stage.path('upload')} HTTP/1.1\r\nHost: battery.test\r\n{lines}\r\n{first_piece}".encode())
        await connection.send(b"x" * 4_000_000)
        heard = await connection.hear(("POST",), responses=1)
        inner = f"GET {stage.path('inner')} HTTP/1.1\r\nHost: battery.test\r\n\r\n".encode()
        await connection.send(inner)
        connection.close()

        def verdict():
            requests, faults = stage.reached()
            if heard.fault or faults or any(b"/inner/" in it.target for it in requests):
                return failed(f"{heard.told()}; {requests} {faults}")
            if heard.statuses() in ([413], [502]):
                return passed()
            return warned(f"not told: {heard.told()}")

        return verdict

    return play


for close in (True, False):
    for name, lines, piece in [("length", "Content-Length: 50000000\r\n", ""), ("chunks", "Transfer-Encoding: chunked\r\n", "2faf080\r\n")]:
        CASES.append(Case(f"{name}, {'closes' if close else 'kept'}", f"6 {EARLY}", play=early_answer(close, lines, piece), ways=WAYS))
