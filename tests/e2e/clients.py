"""Clients that keep asking: so many requests a second whatever the answers do, each answer verified to its last byte.

They behave as browsers and balancers do, and no better. A request takes a kept connection or makes one. If a kept connection turns
out to be closed before a byte of the answer, the request is sent once more on a new one, since it is a GET (RFC 9110 §9.2.2). Where
the proxy has several addresses and one does not take the connection, the next is tried. Nothing else is tried twice: a status other
than 200, a cut answer, a refused connection, another service's answer, and no answer within PATIENCE are what the person saw.
"""

import asyncio
import time
from collections import Counter

PATIENCE = 130.0
"""Seconds after which a client gives up."""
CROWD = 1000
"""Requests open at once. More are not sent before one is answered: people who wait do not ask for the next page."""
CONNECT = 3.0
"""Seconds after which an address does not take the connection."""


class Cut(Exception):
    """The answer began and did not end."""


class Kept:
    """A connection and what is known of it."""

    def __init__(self, reader, writer):
        self.reader = reader
        self.writer = writer

    async def exchange(self, path):
        """Status and body, or nothing where the connection ended before a byte of an answer. Raises Cut."""
        begun = b""
        try:
            self.writer.write(f"GET {path} HTTP/1.1\r\nHost: shop.example\r\n\r\n".encode())
            begun = await self.reader.read(65536)
            if not begun:
                return None
            while b"\r\n\r\n" not in begun:
                begun += await self.more()
            head, body = begun.split(b"\r\n\r\n", 1)
            lines = head.lower().split(b"\r\n")
            (length,) = (int(line[15:]) for line in lines if line.startswith(b"content-length:"))
            while len(body) < length:
                body += await self.more()
        except OSError:
            if begun:
                raise Cut from None
            return None
        if b"connection: close" in lines:
            self.writer.close()
        return int(lines[0].split()[1]), body

    async def more(self):
        piece = await self.reader.read(65536)
        if not piece:
            raise Cut
        return piece

    @property
    def open(self):
        return not (self.reader.at_eof() or self.writer.is_closing())


class Clients:
    """`rate` requests a second, in turn for each of `pages`: a path, and what its answer begins with."""

    def __init__(self, addresses, pages, rate):
        self.addresses = addresses
        self.pages = list(pages.items())
        self.rate = rate
        self.idle = []
        self.asked = 0
        self.ok = 0
        self.failures = Counter()
        self.first_failures = []
        self.seconds = []
        self.again = 0
        """Requests sent once more because their kept connection was closed."""
        self.elsewhere = 0
        """Connections that one address did not take and another one did."""
        self.under_way = set()

    async def __aenter__(self):
        self.begun = time.monotonic()
        self.sending = asyncio.create_task(self.send())
        return self

    async def __aexit__(self, *_):
        """Asks nothing new, and waits for the answers to what was asked."""
        self.sending.cancel()
        await asyncio.gather(self.sending, *self.under_way, return_exceptions=True)
        for kept in self.idle:
            kept.writer.close()

    async def send(self):
        due = self.begun
        while True:
            # A process that got no time sends what was due meanwhile at once, as a crowd would.
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            if len(self.under_way) < CROWD:
                page, beginning = self.pages[self.asked % len(self.pages)]
                # Another URL each time: nothing is answered by a cache.
                task = asyncio.create_task(self.request(f"{page}{'&' if '?' in page else '?'}n={self.asked}", beginning, due))
                self.asked += 1
                self.under_way.add(task)
                task.add_done_callback(self.under_way.discard)
            due += 1 / self.rate

    async def request(self, path, beginning, due):
        try:
            failure = await asyncio.wait_for(self.ask(path, beginning), PATIENCE)
        except asyncio.TimeoutError:
            failure = "timed out"
        except Cut:
            failure = "cut"
        if failure is None:
            self.ok += 1
            self.seconds.append(time.monotonic() - due)
        else:
            self.failures[failure] += 1
            if len(self.first_failures) < 5:
                self.first_failures.append(f"{failure} at {time.monotonic() - self.begun:.1f} s, due at {due - self.begun:.1f} s: {path}")

    async def ask(self, path, beginning):
        """What was wrong with the answer, or None."""
        while self.idle:
            kept = self.idle.pop()
            if kept.open:
                answer = await kept.exchange(path)
                if answer:
                    return self.judge(kept, answer, beginning)
                self.again += 1
                break
        start = self.asked
        for n in range(len(self.addresses)):
            host, port = self.addresses[(start + n) % len(self.addresses)]
            try:
                kept = Kept(*await asyncio.wait_for(asyncio.open_connection(host, port), CONNECT))
            except (OSError, asyncio.TimeoutError):
                continue
            self.elsewhere += n
            answer = await kept.exchange(path)
            return self.judge(kept, answer, beginning) if answer else "closed"
        return "refused"

    def judge(self, kept, answer, beginning):
        status, body = answer
        if kept.open:
            self.idle.append(kept)
        if status != 200:
            return str(status)
        return None if body.startswith(beginning) else "another's answer"

    @property
    def failed(self):
        return sum(self.failures.values())

    def quantile(self, share):
        ordered = sorted(self.seconds)
        return ordered[int(share * (len(ordered) - 1))] if ordered else 0.0
