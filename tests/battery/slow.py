"""Table 6, slow and many: who sends or reads a little now and then is cut at a deadline, and nobody else waits for him.

Each case holds some dozens of connections and sends an octet on each whenever the ordinary clients have had their turn. That is
judged by ends: a connection that is still open when the client's patience is over, several times the proxy's, is never cut.
"""

import asyncio

import client
import h2wire
from cases import Case, failed, passed
from h2wire import Wire, frame

CASES = []
# Connections of a case.
MANY = 40
# Between two octets. Short against every deadline.
PAUSE = 0.25


def add(name, play, ways=("http", "tls"), only=None):
    CASES.append(Case(name, "6 slow and many", play=play, ways=ways, only=only))


class Serving:
    """Ordinary clients, one after the other, for as long as something slow goes on."""

    def __init__(self, stage):
        self.stage = stage
        self.wrong = []
        self.answered = 0
        self.over = False

    async def go_on(self):
        while not self.over:
            answer = await self.stage.get(self.stage.path("ordinary"))
            if answer is None or answer.status != 200 or not answer.complete:
                self.wrong.append(repr(answer))
            self.answered += 1
            await asyncio.sleep(PAUSE)


async def beside(stage, slow):
    """Runs `slow(stage)` on many connections beside ordinary clients; each says how it ended, or None where it was not."""
    serving = Serving(stage)
    task = asyncio.create_task(serving.go_on())
    ends = await asyncio.gather(*(slow(stage) for _ in range(MANY)))
    serving.over = True
    await task
    return ends, serving


async def dripped(connection, octets):
    """Sends one of `octets` after the other until the connection ends. What was heard, or None where it did not end."""
    # Less than the drip lasts: when that is over, the silence behind it would be cut.
    hearing = asyncio.create_task(connection.hear(("POST",), patience=1.2 * client.PATIENCE))
    for octet in octets:
        if hearing.done():
            break
        await connection.send(octet)
        await asyncio.wait((hearing,), timeout=PAUSE)
    heard = await hearing
    return None if heard.end == "open" else heard


def endless(octet):
    """As many as last longer than the patience."""
    return [octet] * int(1.5 * client.PATIENCE / PAUSE)


def drip(head, octet, statuses=(408,), lenient=()):
    """Sends `head` at once and then `octet` again and again. It must be cut; told why, or not."""

    async def play(stage):
        async def slow(stage):
            connection = await stage.connect()
            await connection.send(stage.fill(head))
            return await dripped(connection, endless(octet))

        ends, serving = await beside(stage, slow)

        def judge():
            if serving.wrong:
                return failed(f"ordinary clients: {serving.wrong[:3]} of {serving.answered}")
            if None in ends:
                return failed(f"{ends.count(None)} of {MANY} are never cut")
            requests, _ = stage.reached()
            if any(it.complete for it in requests if not it.target.startswith(b"/ordinary/")):
                return failed("looked whole to the origin")
            other = [it.told() for it in ends if it.responses and it.responses[0].status not in (*statuses, *lenient)]
            return failed(other[0]) if other else passed()

        return judge

    return play


POST = "POST /case/{id} HTTP/1.1\r\nHost: battery.test\r\n"
add("a request line that drips", drip("", b"G", statuses=(400, 408)))
add("a head that drips", drip("GET /case/{id} HTTP/1.1\r\nHost: battery.test\r\nX-A: ", b"a"))
add("a head of lines that drip", drip("GET /case/{id} HTTP/1.1\r\nHost: battery.test\r\n", b"X-A: b\r\n", lenient=(431,)))
add("a body that drips", drip(POST + "Content-Length: 100000\r\n\r\n", b"x"))
add("a body that stops", drip(POST + "Content-Length: 100000\r\n\r\nx", b""))
add("a chunked body that drips", drip(POST + "Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"))
add("a chunk size that drips", drip(POST + "Transfer-Encoding: chunked\r\n\r\n", b"0", statuses=(400, 408)))
add("a chunk extension that drips", drip(POST + "Transfer-Encoding: chunked\r\n\r\n1;", b"e", statuses=(400, 408)))
add("trailers that drip", drip(POST + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: ", b"a", statuses=(400, 408)))


async def hand_shakes(stage):
    """A hello that stops, or drips."""

    async def slow(stage):
        connection = await stage.connect(tls=False)
        connection.close()
        connection = await client.connect(stage.proxy.tls_port)
        stage.connections.append(connection)
        await connection.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        return await dripped(connection, endless(b"\0"))

    ends, serving = await beside(stage, slow)
    if serving.wrong:
        return failed(f"ordinary clients: {serving.wrong[:3]}")
    return failed(f"{ends.count(None)} hand-shakes are never cut") if None in ends else passed()


add("a TLS hello that drips", hand_shakes, ways=("tls",))


async def unread(stage):
    """Asks for much, and reads nothing of it."""

    async def much(connection, request, _before):
        if request.target.startswith(b"/ordinary/"):
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            return
        await connection.send(b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 67108864\r\n\r\n")
        for _ in range(1024):
            await connection.send(b"x" * 65536)

    stage.answers(much)

    async def slow(stage):
        connection = await stage.connect()
        connection.reader._transport.pause_reading()
        await connection.send(stage.fill("GET /case/{id} HTTP/1.1\r\nHost: battery.test\r\n\r\n"))
        # The end of what is not read is seen by reading it: late enough that only a deadline can have cut it.
        await asyncio.sleep(0.6 * client.PATIENCE)
        connection.reader._transport.resume_reading()
        heard = await connection.hear(("GET",))
        return heard.responses[0] if heard.responses else None

    serving = Serving(stage)
    task = asyncio.create_task(serving.go_on())
    answers = await asyncio.gather(*(slow(stage) for _ in range(8)))
    serving.over = True
    await task
    if serving.wrong:
        return failed(f"ordinary clients: {serving.wrong[:3]}")
    whole = [it for it in answers if it is not None and it.complete]
    return failed(f"{len(whole)} answers waited for their readers") if whole else passed()


add("readers that take nothing", unread, ways=("http",))


async def h2_body(stage):
    """HTTP/2 bodies, an octet a frame, on several streams of a connection."""

    async def slow(stage):
        wire = await Wire.open(stage)
        head = [(":method", "POST"), (":scheme", "https"), (":authority", "battery.test"), (":path", stage.path())]
        streams = range(1, 9, 2)
        for stream in streams:
            await wire.request(stream, head + [("content-length", "100000")], end=False)
        for _ in endless(b""):
            if wire.over or all(wire.answer(stream).is_over() for stream in streams):
                return wire
            await wire.write(b"".join(frame(h2wire.DATA, 0, stream, b"x") for stream in streams))
            await asyncio.sleep(PAUSE)
        return None

    ends, serving = await beside(stage, slow)
    if serving.wrong:
        return failed(f"ordinary clients: {serving.wrong[:3]}")
    return failed(f"{ends.count(None)} of {MANY} are never cut") if None in ends else passed()


add("HTTP/2 bodies that drip", h2_body, ways=("tls",))


async def idle(stage):
    """Many connections that say nothing, and go as they came."""
    connections = [await stage.connect() for _ in range(5 * MANY)]
    served = [await stage.get(stage.path("ordinary")) for _ in range(10)]
    for connection in connections:
        connection.close()
    served.append(await stage.get(stage.path("ordinary")))
    wrong = [it for it in served if it is None or it.status != 200]
    return failed(f"ordinary clients: {wrong}") if wrong else passed()


add("idle connections", idle)
