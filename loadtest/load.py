"""An open-loop HTTP/1.1 client: so many requests a second whatever the answers do, each answer verified to its last byte.

Open loop, because a client that waits for answers before it asks again hides every outage: it asks nothing while there is
nobody. Each request's time runs from the moment at which it was due. A request takes an idle connection, or a new one.

What counts as a failure is everything that a client would not have liked: a status other than 2xx, a refused or reset
connection, an answer that ends early or is not the expected one, none at all within `PATIENCE`. Nothing is tried twice.
"""

import asyncio
import time
from collections import Counter, deque

from rig import BODY, PATH

PATIENCE = 30.0
"""Seconds from the moment a request was due until it has failed."""
CONNECTIONS = 512
"""Connections at once unless told; more requests wait for one, on the clock."""
TICK = 0.002
STALL = 0.05
"""Seconds that the client may be late; by what it is later, its schedule moves."""


class Report:
    """What became of the requests."""

    def __init__(self):
        self.ok = 0
        self.failures = Counter()
        self.seconds = []
        self.unannounced = 0
        """Connections that the server closed without `Connection: close` in its last answer."""
        self.connections = 0
        self.stall = 0.0
        """Seconds in which this client itself did not get around to asking, in all: the noise in `seconds`."""
        self.generations = set()

    @property
    def failed(self):
        return sum(self.failures.values())

    @property
    def requests(self):
        return self.ok + self.failed

    def slowest(self):
        return max(self.seconds, default=0.0)

    def quantile(self, share):
        ordered = sorted(self.seconds)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0

    def plain(self):
        return {
            "requests": self.requests,
            "failed": self.failed,
            "failures": dict(self.failures),
            "connections": self.connections,
            "closed_unannounced": self.unannounced,
            "p50_ms": round(self.quantile(0.5) * 1000, 2),
            "p99_ms": round(self.quantile(0.99) * 1000, 1),
            "slowest_ms": round(self.slowest() * 1000, 1),
            "client_stalled_ms": round(self.stall * 1000),
        }

    def __add__(self, other):
        both = Report()
        both.ok = self.ok + other.ok
        both.failures = self.failures + other.failures
        both.seconds = self.seconds + other.seconds
        both.unannounced = self.unannounced + other.unannounced
        both.connections = self.connections + other.connections
        both.stall = max(self.stall, other.stall)  # they stall together
        both.generations = self.generations | other.generations
        return both


class Connection(asyncio.Protocol):
    """One connection: idle, or with one request on the way."""

    def __init__(self, load):
        self.load = load
        self.transport = None
        self.due = None
        self.served = 0
        self.closing = False
        self.buffer = b""
        self.left = -1

    def connection_made(self, transport):
        self.transport = transport

    def ask(self, due):
        self.due = due
        self.buffer = b""
        self.left = -1
        self.transport.write(self.load.request)

    def data_received(self, data):
        if self.due is None:
            self.load.report.failures["bytes nobody asked for"] += 1
            self.closing = True
            self.transport.abort()
            return
        self.buffer += data
        if self.left < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.head = self.buffer[:end].lower()
            at = self.head.find(b"\r\ncontent-length:")
            if at < 0:
                self.done("no content-length")
                return
            self.left = end + 4 + int(self.head[at + 17 :].split(b"\r\n", 1)[0])
            self.body_at = end + 4
        if len(self.buffer) < self.left:
            return
        if len(self.buffer) > self.left:
            self.done("bytes after the answer")
        elif not self.head.startswith(b"http/1.1 2"):
            self.done(f"status {self.head[9:12].decode(errors='replace')}")
        elif self.buffer[self.body_at :] != BODY:
            self.done("wrong body")
        else:
            self.done(None)

    def done(self, failure):
        due, self.due = self.due, None
        self.served += 1
        if failure is None:
            self.load.succeed(due, self.head)
        else:
            self.load.fail(failure)
        sound = failure is None or failure.startswith("status")
        if not sound or b"\r\nconnection: close" in self.head or not self.load.keep_alive:
            self.closing = True
            self.transport.close()
        else:
            self.load.take_back(self)

    def eof_received(self):
        return False

    def connection_lost(self, error):
        self.load.open.discard(self)
        self.load.replace()
        if not self.closing and not self.load.ended:
            self.load.report.unannounced += 1
        self.closing = True
        if self.due is not None:
            self.due = None
            how = "reset" if error is not None else "closed"
            if self.buffer:
                self.load.fail(f"{how} within the answer")
            elif self.served:
                self.load.fail(f"{how} before the answer, connection used before")
            else:
                self.load.fail(f"{how} before the answer, new connection")


class Load:
    """`rate` requests a second to `address`, from `start` to `stop`."""

    def __init__(self, address, rate, keep_alive=True, connections=CONNECTIONS):
        self.address = address
        self.rate = rate
        self.keep_alive = keep_alive
        self.connections = connections
        close = "" if keep_alive else "Connection: close\r\n"
        self.request = f"GET {PATH} HTTP/1.1\r\nHost: load.test\r\n{close}\r\n".encode()
        self.report = Report()
        self.open = set()
        self.idle = []
        self.waiting = deque()
        self.ended = False
        self.in_flight = 0
        self.connecting = set()

    async def __aenter__(self):
        self.sending = True
        self.loop = asyncio.get_running_loop()
        self.task = asyncio.create_task(self.run())
        return self

    async def __aexit__(self, *_):
        await self.stop()

    async def stop(self):
        """Asks nothing new, waits for what was asked, and gives the report."""
        self.sending = False
        await self.task
        latest = time.monotonic() + PATIENCE
        while self.in_flight > 0 and time.monotonic() < latest:
            await asyncio.sleep(0.01)
        if self.in_flight > 0:
            self.report.failures[f"no answer within {PATIENCE:.0f} s"] += self.in_flight
        self.ended = True
        for connection in list(self.open):
            connection.transport.abort()
        return self.report

    async def run(self):
        begun = time.monotonic()
        asked = 0
        while self.sending:
            due = int((time.monotonic() - begun) * self.rate) + 1
            for n in range(asked, due):
                self.in_flight += 1
                self.ask(begun + n / self.rate)
            asked = due
            self.expire()
            before = time.monotonic()
            await asyncio.sleep(TICK)
            late = time.monotonic() - before - TICK
            if late > STALL:
                # A machine too busy for us. To catch up would be a burst that no proxy was promised, so we do not.
                self.report.stall += late
                begun += late

    def ask(self, due):
        while self.idle:
            connection = self.idle.pop()
            if not connection.closing and not connection.transport.is_closing():
                connection.ask(due)
                return
        if len(self.open) + len(self.connecting) < self.connections:
            task = asyncio.create_task(self.connect(due))
            self.connecting.add(task)
            task.add_done_callback(self.connecting.discard)
        else:
            self.waiting.append(due)

    async def connect(self, due):
        try:
            _, connection = await self.loop.create_connection(lambda: Connection(self), *self.address)
        except OSError as error:
            self.fail(type(error).__name__)
            self.loop.call_soon(self.replace)
            return
        self.report.connections += 1
        self.open.add(connection)
        connection.ask(due)

    def take_back(self, connection):
        if self.waiting:
            connection.ask(self.waiting.popleft())
        else:
            self.idle.append(connection)

    def replace(self):
        """A connection has ended: there is room for another."""
        if self.waiting and not self.ended:
            self.ask(self.waiting.popleft())

    def expire(self):
        """Gives up what has waited too long. Looked at once in a while: at this age milliseconds do not matter."""
        now = time.monotonic()
        if now < getattr(self, "next_look", 0):
            return
        self.next_look = now + 1
        for connection in list(self.open):
            if connection.due is not None and now - connection.due > PATIENCE:
                connection.due = None
                connection.closing = True
                self.fail(f"no answer within {PATIENCE:.0f} s")
                connection.transport.abort()

    def succeed(self, due, head):
        self.in_flight -= 1
        self.report.ok += 1
        self.report.seconds.append(time.monotonic() - due)
        at = head.find(b"\r\nx-generation: ")
        if at >= 0:
            self.report.generations.add(head[at + 16 :].split(b"\r\n", 1)[0])

    def fail(self, why):
        self.in_flight -= 1
        self.report.failures[why] += 1
