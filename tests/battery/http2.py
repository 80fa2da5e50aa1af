"""Table 5, HTTP/2: what is malformed reaches nobody, and what is cheap to send is not dear to receive.

A flood is over when the proxy ends the connection, or when it has taken it all and answers a ping. Meanwhile ordinary clients
are answered, and the origin sees no more than the streams that may be open at once, and a few.
"""

import asyncio

import h2wire
from cases import Case, failed, passed
from h2wire import CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PADDED, PING, PRIORITISED, PRIORITY
from h2wire import RST_STREAM, SETTINGS, WINDOW_UPDATE, Wire, block, frame, reset, settings, window_update

CASES = []
# Floods at once: they would keep all others from their turn.
TURNS = asyncio.Semaphore(6)
# Streams that may be open at once, by default, and what may be on its way besides.
AT_ONCE = 100
FEW = 60


def add(table, name, play, ways=("tls",), only=None):
    CASES.append(Case(name, f"5 {table}", play=play, ways=ways, only=only))


def good(stage, *changed, method="GET", path="case"):
    """An ordinary head; `changed` are fields in the place of those of their names, or more; a value of None takes one away."""
    fields = [(":method", method), (":scheme", "https"), (":authority", "battery.test"), (":path", stage.path(path))]
    for name, value in changed:
        value = value.replace("{path}", stage.path(path)) if isinstance(value, str) else value
        at = next((i for i, (known, _) in enumerate(fields) if known == name), None)
        if value is None:
            fields.pop(at)
        elif at is None:
            fields.append((name, value))
        else:
            fields[at] = (name, value)
    return fields


async def still_serves(stage):
    """Whether a client of its own connection is answered."""
    answer = await stage.get(stage.path("ordinary"))
    return answer is not None and answer.status == 200 and answer.complete


def of_the_case(stage):
    """What reached the origin, without the ordinary clients'; and why bytes were no request."""
    requests, faults = stage.reached()
    return [it for it in requests if not it.target.startswith(b"/ordinary/")], faults


# Heads that are refused. None of them is a request at the origin, whatever the proxy says of it.


def refused(fields, body=None):
    """The fields are a function of the stage."""

    async def play(stage):
        wire = await Wire.open(stage)
        await wire.request(1, fields(stage), end=body is None)
        if body is not None:
            await wire.write(frame(DATA, END_STREAM, 1, body))
        heard = await wire.until(lambda: wire.goaway is not None or wire.answer(1).is_over())
        serves = await still_serves(stage)

        def judge():
            requests, faults = of_the_case(stage)
            if requests or faults:
                return failed(f"reached the origin: {requests}{faults or ''}; {wire.told()}")
            status = wire.answer(1).status
            if not heard or (status is not None and status < 400):
                return failed(f"not refused: {wire.told()}")
            return passed() if serves else failed("others are not answered")

        return judge

    return play


def bad(name, *changed, method="GET", body=None):
    add("malformed", name, refused(lambda stage: good(stage, *changed, method=method), body))


bad("no :path", (":path", None))
bad("no :method", (":method", None))
bad("no :scheme", (":scheme", None))
bad("empty :path", (":path", ""))
bad(":path without a slash", (":path", "case"))
bad(":path *", (":path", "*"))
bad("a space in :path", (":path", "{path} b"))
bad("CR in :path", (":path", "{path}\rb"))
bad("LF in :path", (":path", "{path}\nb"))
bad("NUL in :path", (":path", "{path}\0b"))
bad("a request in :path", (":path", "{path} HTTP/1.1\r\nHost: evil.test\r\n\r\nGET /smuggled"))
bad("empty :method", (":method", ""))
bad("a space in :method", (":method", "G ET"))
bad("a request in :method", (":method", "GET /x HTTP/1.1\r\nX:"))
bad("empty :authority", (":authority", ""))
bad("a space in :authority", (":authority", "a b"))
bad("userinfo in :authority", (":authority", "user@battery.test"))
bad("a path in :authority", (":authority", "a/b"))
bad("CRLF in :authority", (":authority", "a\r\nX: b"))
bad("host that is not :authority", ("host", "evil.test"))
bad("an upper-case name", ("X-Upper", "v"))
bad("a space in a name", ("x a", "v"))
bad("a colon in a name", ("x:a", "v"))
bad("an empty name", ("", "v"))
bad("CRLF in a name", ("x\r\na", "v"))
bad("NUL in a name", ("x\0", "v"))
bad("a high octet in a name", ("x\xe9", "v"))
bad("CRLF in a value", ("x-a", "v\r\nTransfer-Encoding: chunked"))
bad("LF in a value", ("x-a", "v\nx"))
bad("CR in a value", ("x-a", "v\rx"))
bad("NUL in a value", ("x-a", "v\0x"))
bad("connection", ("connection", "keep-alive"))
bad("keep-alive", ("keep-alive", "1"))
bad("proxy-connection", ("proxy-connection", "x"))
bad("transfer-encoding", ("transfer-encoding", "chunked"))
bad("transfer-encoding with a body", ("transfer-encoding", "chunked"), method="POST", body=b"0\r\n\r\nGET /x HTTP/1.1\r\n\r\n")
bad("upgrade", ("upgrade", "h2c"))
bad("te that is not trailers", ("te", "gzip"))
bad("content-length without a body", ("content-length", "5"))
bad("content-length that is no number", ("content-length", "+0"))
bad("content-length twice in one", ("content-length", "0, 1"))
bad(":status in a request", (":status", "200"))
bad("an unknown pseudo-field", (":protocol-x", "y"))
bad("extended CONNECT that was not offered", (":method", "CONNECT"), (":protocol", "websocket"))
add("malformed", "two :path", refused(lambda stage: good(stage) + [(":path", "/two")]))
add("malformed", "two :authority", refused(lambda stage: good(stage) + [(":authority", "b.test")]))
add("malformed", "a pseudo-field behind a field", refused(lambda stage: [("x-a", "b")] + good(stage)))
add("malformed", "two content-lengths", refused(lambda stage: good(stage) + [("content-length", "0"), ("content-length", "1")]))
add("malformed", "CONNECT", refused(lambda stage: [(":method", "CONNECT"), (":authority", "battery.test:443"), ("x-a", stage.token)]))


# Bodies whose length is another than was said: never whole to the origin.


def contradicted(length, *data):
    async def play(stage):
        wire = await Wire.open(stage)
        await wire.request(1, good(stage, ("content-length", length), method="POST"), end=False)
        for at, piece in enumerate(data):
            await wire.write(frame(DATA, END_STREAM if at == len(data) - 1 else 0, 1, piece))
        heard = await wire.until(lambda: wire.goaway is not None or wire.answer(1).is_over())
        serves = await still_serves(stage)

        def judge():
            requests, faults = of_the_case(stage)
            if faults and any("head" in fault for fault in faults):
                return failed(f"the origin could not read it: {faults}")
            if any(it.complete for it in requests):
                return failed(f"looked whole to the origin: {requests}; {wire.told()}")
            if not heard:
                return failed(f"not refused: {wire.told()}")
            return passed() if serves else failed("others are not answered")

        return judge

    return play


add("downgrade", "a body shorter than content-length", contradicted("10", b"hell", b""))
add("downgrade", "a body longer than content-length", contradicted("4", b"hello!"))
add("downgrade", "a body longer than content-length in pieces", contradicted("4", b"hell", b"o!"))
add("downgrade", "no body where there should be one", contradicted("1", b""))
add("downgrade", "a request behind the body", contradicted("4", b"hellGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"))


def rebuilt(*pieces, said=None):
    """A lawful body: framed anew for the origin, the same octets."""

    async def play(stage):
        wire = await Wire.open(stage)
        more = [("content-length", said)] if said else []
        await wire.request(1, good(stage, *more, ("cookie", "a=1"), method="POST") + [("cookie", "b=2")], end=False)
        for at, piece in enumerate(pieces):
            await wire.write(frame(DATA, END_STREAM if at == len(pieces) - 1 else 0, 1, piece))
        await wire.until(lambda: wire.goaway is not None or wire.answer(1).is_over())

        def judge():
            requests, faults = of_the_case(stage)
            if faults or len(requests) != 1 or not requests[0].complete:
                return failed(f"not one whole request: {requests}{faults or ''}; {wire.told()}")
            request = requests[0]
            if request.body != b"".join(pieces):
                return failed(f"another body: {request.body[:60]!r}")
            if request.all("cookie") != [b"a=1; b=2"]:
                return failed(f"cookies: {request.all('cookie')}")
            if wire.answer(1).status != 200:
                return failed(f"not answered: {wire.told()}")
            return passed()

        return judge

    return play


add("downgrade", "a body without content-length", rebuilt(b"0\r\n\r\n", b"GET /smuggled HTTP/1.1\r\n\r\n", b""))
add("downgrade", "a body with content-length", rebuilt(b"hello", said="5"))


async def fragment(stage):
    """A `#` in :path: refused, or gone for the key and the origin alike."""
    wire = await Wire.open(stage)
    await wire.request(1, good(stage, (":path", stage.path() + "#GET /smuggled")))
    await wire.until(lambda: wire.goaway is not None or wire.answer(1).is_over())

    def judge():
        requests, faults = of_the_case(stage)
        other = [it for it in requests if it.target != stage.path().encode()]
        return failed(f"reached the origin: {other}{faults or ''}") if other or faults else passed()

    return judge


add("downgrade", "a fragment in :path", fragment)


# Floods.


def flood(frames, rounds, head=None, streams=True, answers=None, pairs=(), credit=True, must_end=None):
    """Sends `frames(n)` for n below `rounds`, a hundred at a time, behind `head`; both of the stage and, for `frames`, of n.

    `answers`: what the origin does. `must_end`: True where the proxy has to end the connection.
    """

    async def play(stage):
        over = asyncio.Event()

        async def held(connection, request, _before):
            await over.wait()
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

        async def ordinary(connection, request, before):
            if request.target.startswith(b"/ordinary/"):
                await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            else:
                await (answers or held)(connection, request, before)

        stage.answers(ordinary)
        served = []
        async with TURNS:
            wire = await Wire.open(stage, *pairs, credit=credit)
            if head:
                await wire.write(head(stage))
            for first in range(0, rounds, 100):
                if not await wire.write(b"".join(frames(stage, n) for n in range(first, min(first + 100, rounds)))):
                    break
                if first % 2_500 == 0:
                    served.append(await still_serves(stage))
            ended = await wire.ended()
        asked = len([it for it in of_the_case(stage)[0] if it.target.startswith(b"/case/")])
        served.append(await still_serves(stage))
        over.set()
        if not all(served):
            return failed(f"ordinary clients were not answered: {served}")
        if asked > AT_ONCE + FEW:
            return failed(f"{asked} requests at the origin; {wire.told()}")
        if must_end and not ended:
            return failed(f"it was all taken: {wire.told()}")
        if not ended and not wire.pings:
            return failed(f"neither ended nor answered: {wire.told()}")
        return passed()

    return play


def opened(stage, n, end=True):
    """A request on the n-th stream."""
    return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), 2 * n + 1, block(good(stage)))


def posted(stage):
    return frame(HEADERS, END_HEADERS, 1, block(good(stage, method="POST")))


add("rapid reset", "HEADERS and RST_STREAM", flood(lambda s, n: opened(s, n) + reset(2 * n + 1), 10_000, must_end=True))
add("rapid reset", "with a body that is begun", flood(lambda s, n: opened(s, n, end=False) + reset(2 * n + 1), 10_000, must_end=True))
add("MadeYouReset", "WINDOW_UPDATE of 0", flood(lambda s, n: opened(s, n) + window_update(2 * n + 1, 0), 5_000, must_end=True))
add(
    "MadeYouReset",
    "a window beyond 2^31",
    flood(lambda s, n: opened(s, n) + window_update(2 * n + 1, 0x7FFFFFFF), 5_000, must_end=True),
)
add("MadeYouReset", "DATA behind the end", flood(lambda s, n: opened(s, n) + frame(DATA, 0, 2 * n + 1, b"x"), 5_000, must_end=True))
add("MadeYouReset", "HEADERS behind the end", flood(lambda s, n: opened(s, n) + opened(s, n), 5_000, must_end=True))
add("MadeYouReset", "PRIORITY of a wrong length", flood(lambda s, n: opened(s, n) + frame(PRIORITY, 0, 2 * n + 1, b"1234"), 5_000, must_end=True))
add(
    "MadeYouReset",
    "a stream that depends on itself",
    flood(lambda s, n: opened(s, n) + frame(PRIORITY, 0, 2 * n + 1, (2 * n + 1).to_bytes(4) + b"\x10"), 5_000),
)
add(
    "MadeYouReset",
    "a malformed request each",
    flood(lambda s, n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, block(good(s, ("connection", "x")))), 5_000, must_end=True),
)
add(
    "MadeYouReset",
    "content-length that DATA contradicts",
    flood(
        lambda s, n: frame(HEADERS, END_HEADERS, 2 * n + 1, block(good(s, ("content-length", "1"), method="POST")))
        + frame(DATA, END_STREAM, 2 * n + 1, b"two"),
        5_000,
        must_end=True,
    ),
)
add("too many", "streams that are never ended", flood(lambda s, n: opened(s, n, end=False), 5_000))
add("too many", "requests that are never answered", flood(opened, 5_000))
add(
    "CONTINUATION",
    "4 KiB each",
    flood(
        lambda s, n: frame(CONTINUATION, 0, 1, b"\x00\x01a\x7f\xe1\x1e" + b"v" * 4064),
        10_000,
        head=lambda s: frame(HEADERS, END_STREAM, 1, block(good(s))),
        must_end=True,
    ),
)
add(
    "CONTINUATION",
    "empty ones",
    flood(lambda s, n: frame(CONTINUATION, 0, 1), 20_000, head=lambda s: frame(HEADERS, END_STREAM, 1, block(good(s))), must_end=True),
)
add(
    "CONTINUATION",
    "an octet each",
    flood(lambda s, n: frame(CONTINUATION, 0, 1, b"\x00"), 20_000, head=lambda s: frame(HEADERS, 0, 1), must_end=True),
)


def bomb(stage):
    """One entry of 4,000 octets in the table (RFC 7541 §6.2.1), then 12,000 references to it."""
    entry = b"\x40" + h2wire.octets("x") + h2wire.octets("v" * 4000)
    return block(good(stage)) + entry + b"\xbe" * 12_000


def bombed():
    async def play(stage):
        wire = await Wire.open(stage)
        for n in range(20):
            if not await wire.write(frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, bomb(stage))):
                break
        await wire.until(lambda: wire.goaway is not None or wire.answer(39).is_over())
        serves = await still_serves(stage)

        def judge():
            requests, faults = of_the_case(stage)
            if requests or faults:
                return failed(f"reached the origin: {requests}{faults or ''}")
            answered = [it for it in wire.answers.values() if it.status is not None and it.status < 400]
            if answered:
                return failed(f"answered: {wire.told()}")
            return passed() if serves else failed("others are not answered")

        return judge

    return play


add("HPACK", "a bomb: one entry, 12,000 times", bombed())
add(
    "HPACK",
    "the table's size changed again and again",
    flood(lambda s, n: settings((h2wire.HEADER_TABLE_SIZE, 4096 * (n % 2))), 10_000),
)
add(
    "HPACK",
    "an index that is not there",
    flood(lambda s, n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, b"\xff\xff\xff\x7f"), 100, must_end=True),
)
add(
    "HPACK",
    "an integer without end",
    flood(lambda s, n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, b"\x7f" + b"\xff" * 100), 100, must_end=True),
)
add("small frames", "SETTINGS", flood(lambda s, n: settings(), 20_000))
add("small frames", "PING", flood(lambda s, n: frame(PING, 0, 0, b"12345678"), 20_000))
add("small frames", "empty DATA", flood(lambda s, n: frame(DATA, 0, 1), 20_000, head=posted))
add("small frames", "padded empty DATA", flood(lambda s, n: frame(DATA, PADDED, 1, b"\xff" + b"\0" * 255), 5_000, head=posted))
add("small frames", "PRIORITY of streams that are not open", flood(lambda s, n: frame(PRIORITY, 0, 2 * n + 1, b"\0\0\0\0\x10"), 20_000))
add("small frames", "WINDOW_UPDATE of the connection", flood(lambda s, n: window_update(0, 1), 20_000))
add("small frames", "WINDOW_UPDATE of a stream", flood(lambda s, n: window_update(1, 1), 20_000, head=posted))
add("small frames", "RST_STREAM of a stream that is over", flood(lambda s, n: reset(1), 20_000, head=lambda s: opened(s, 0) + reset(1)))
add("small frames", "kinds that nobody knows", flood(lambda s, n: frame(0x42, 0, 0, b"what?"), 20_000))
add(
    "small frames",
    "HEADERS with priority and padding",
    flood(
        lambda s, n: frame(
            HEADERS, END_HEADERS | END_STREAM | PADDED | PRIORITISED, 2 * n + 1, b"\x10\0\0\0\0\x10" + block(good(s)) + b"\0" * 16
        )
        + reset(2 * n + 1),
        2_000,
    ),
)
add("framing", "SETTINGS of a wrong length", flood(lambda s, n: frame(SETTINGS, 0, 0, b"12345"), 1, must_end=True))
add("framing", "WINDOW_UPDATE of a wrong length", flood(lambda s, n: frame(WINDOW_UPDATE, 0, 0, b"123"), 1, must_end=True))
add("framing", "WINDOW_UPDATE of 0 for the connection", flood(lambda s, n: window_update(0, 0), 1, must_end=True))
add("framing", "RST_STREAM of a stream that never was", flood(lambda s, n: reset(7), 1, must_end=True))
add("framing", "DATA of a stream that never was", flood(lambda s, n: frame(DATA, 0, 7, b"x"), 1, must_end=True))
add("framing", "a frame of 32 KiB", flood(lambda s, n: frame(DATA, 0, 1, b"x" * 32_768), 1, head=posted, must_end=True))
add("framing", "an even stream", flood(lambda s, n: frame(HEADERS, END_HEADERS | END_STREAM, 2, block(good(s))), 1, must_end=True))
add("framing", "a stream that goes back", flood(lambda s, n: opened(s, 4 - 4 * n), 2, must_end=True))
add("framing", "PUSH_PROMISE by a client", flood(lambda s, n: frame(5, END_HEADERS, 1, b"\0\0\0\2"), 1, head=posted, must_end=True))
add("framing", "CONTINUATION of another stream", flood(lambda s, n: frame(CONTINUATION, 0, 3), 1, head=lambda s: frame(HEADERS, 0, 1), must_end=True))
add("framing", "DATA within a head", flood(lambda s, n: frame(DATA, 0, 1, b"x"), 1, head=lambda s: frame(HEADERS, 0, 1), must_end=True))
add("framing", "padding longer than the frame", flood(lambda s, n: frame(DATA, PADDED, 1, b"\xffx"), 1, head=posted, must_end=True))
add("framing", "a window beyond 2^31 of the connection", flood(lambda s, n: window_update(0, 0x7FFFFFFF), 2, must_end=True))
add("framing", "SETTINGS with a window beyond 2^31", flood(lambda s, n: settings((h2wire.INITIAL_WINDOW_SIZE, 1 << 31)), 1, must_end=True))


async def big(connection, request, _before):
    await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 4194304\r\n\r\n")
    for _ in range(64):
        await connection.send(b"x" * 65536)


add(
    "windows",
    "big answers without credit",
    flood(opened, 100, answers=big, pairs=((h2wire.INITIAL_WINDOW_SIZE, 0),), credit=False),
)
add(
    "windows",
    "opened octet by octet",
    flood(
        lambda s, n: window_update(2 * (n % 20) + 1, 1),
        20_000,
        head=lambda s: b"".join(opened(s, n) for n in range(20)),
        answers=big,
        pairs=((h2wire.INITIAL_WINDOW_SIZE, 1),),
        credit=False,
    ),
)
add(
    "windows",
    "SETTINGS that move all windows",
    flood(
        lambda s, n: settings((h2wire.INITIAL_WINDOW_SIZE, 1000 * (n % 2))),
        20_000,
        head=lambda s: b"".join(opened(s, n) for n in range(100)),
        answers=big,
        pairs=((h2wire.INITIAL_WINDOW_SIZE, 0),),
        credit=False,
    ),
)
