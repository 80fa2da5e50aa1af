"""Clients that judge every answer to its last byte, and say in a word what was wrong with it.

`ok`, or a status such as `502`; `cut`, when the answer visibly did not end; `closed` and `refused`, when there was none; `wrong`, when
what came is not what the target stands for; `malformed`, when it is not HTTP; `silent`, when nothing came within PATIENCE.
"""

import asyncio
import base64
import os
import random
import ssl
import struct
import socket
import time

from . import h2client
from .origin import body_of, receipt_of

PATIENCE = 60.0
HOST = "soak.test"
KEPT_FOR = 100.0
"""Seconds after which a kept connection is not used again: the proxy may close it by then (`idle_timeout`)."""


class Failure(Exception):
    """What was wrong, in a word."""


class Wire:
    """An HTTP/1.1 connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.used = time.monotonic()
        self.keep = True

    @classmethod
    async def open(cls, port, tls):
        try:
            return cls(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 22))
        except (OSError, ssl.SSLError):
            raise Failure("refused") from None

    @property
    def usable(self):
        fresh = time.monotonic() - self.used < KEPT_FOR
        return self.keep and fresh and not self.reader.at_eof() and not self.writer.is_closing()

    def close(self):
        self.keep = False
        self.writer.close()

    async def head(self):
        """Status and fields of the final answer."""
        begun = False
        try:
            while True:
                line = await self.reader.readuntil(b"\r\n")
                begun = True
                version, status = line.split()[:2]
                if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(status) != 3:
                    raise Failure("malformed")
                fields = {}
                while (line := await self.reader.readuntil(b"\r\n")) != b"\r\n":
                    name, colon, value = line.partition(b":")
                    if not colon:
                        raise Failure("malformed")
                    fields[name.lower().decode("latin-1")] = value.strip().decode("latin-1")
                if status[:1] != b"1" or status == b"101":
                    return int(status), fields
        except asyncio.IncompleteReadError as rest:
            raise Failure("cut" if begun or rest.partial else "closed") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise Failure("malformed") from None
        except (OSError, ssl.SSLError):
            raise Failure("cut" if begun else "closed") from None

    async def body(self, status, fields):
        try:
            if status in (204, 304):
                return b""
            if fields.get("transfer-encoding") == "chunked":
                whole = b""
                while size := int(await self.reader.readuntil(b"\r\n"), 16):
                    whole += await self.reader.readexactly(size)
                    if await self.reader.readexactly(2) != b"\r\n":
                        raise Failure("malformed")
                if await self.reader.readuntil(b"\r\n") != b"\r\n":
                    raise Failure("malformed")
                return whole
            if "content-length" not in fields:
                # Nobody could tell a cut from the end.
                raise Failure("malformed")
            return await self.reader.readexactly(int(fields["content-length"]))
        except (asyncio.IncompleteReadError, OSError, ssl.SSLError):
            raise Failure("cut") from None
        except (ValueError, asyncio.LimitOverrunError):
            raise Failure("malformed") from None

    async def exchange(self, head, body=b""):
        """Status, fields, body."""
        self.used = time.monotonic()
        try:
            self.writer.write(head.encode() + body)
            await self.writer.drain()
        except (OSError, ssl.SSLError):
            # It may have answered before it closed.
            pass
        status, fields = await self.head()
        content = await self.body(status, fields)
        self.keep = self.keep and fields.get("connection", "").lower() != "close"
        return status, fields, content


class Clients:
    """All clients of one edge: `ask` makes one request of a kind and gives its outcome and what else is known of it."""

    def __init__(self, plain, tls, draw):
        self.plain, self.tls = plain, tls
        self.draw = draw
        self.trust = ssl.create_default_context()
        self.trust.check_hostname, self.trust.verify_mode = False, ssl.CERT_NONE
        self.trust_h2 = ssl.create_default_context()
        self.trust_h2.check_hostname, self.trust_h2.verify_mode = False, ssl.CERT_NONE
        self.trust_h2.set_alpn_protocols(["h2"])
        self.idle = {False: [], True: []}
        self.h2 = None
        self.number = 0
        self.closing = False

    async def ask(self, kind, target):
        """The outcome, and the fields of the answer where there was one."""
        ways = {"upload": self.upload, "h2": self.http2, "leaver": self.leave}
        way = ways.get(kind, self.get)
        try:
            return await asyncio.wait_for(way(target), PATIENCE)
        except Failure as failure:
            return str(failure), {}
        except (asyncio.TimeoutError, TimeoutError):
            return "silent", {}

    async def wire(self, over_tls):
        idle = self.idle[over_tls]
        while idle:
            wire = idle.pop()
            if wire.usable:
                return wire
            wire.close()
        return await Wire.open(self.tls if over_tls else self.plain, self.trust if over_tls else None)

    async def on_wire(self, head, body=b""):
        # Some come anew, as most clients of a front door do.
        over_tls = self.draw.random() < 0.3
        if self.draw.random() < 0.1:
            self.idle[over_tls] and self.idle[over_tls].pop().close()
        wire = await self.wire(over_tls)
        try:
            answer = await wire.exchange(head, body)
        except BaseException:
            wire.close()
            raise
        if wire.keep:
            self.idle[over_tls].append(wire)
        else:
            wire.close()
        return answer

    async def get(self, target):
        status, fields, body = await self.on_wire(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")
        return judge(status, body, body_of(target)), fields

    async def upload(self, target):
        size = self.draw.choice([0, 10, 3_000, 70_000, 300_000, 1_500_000])
        data = (b"%016d" % self.draw.randrange(10**15)) * (size // 16)
        head = f"POST {target} HTTP/1.1\r\nHost: {HOST}\r\n"
        if self.draw.random() < 0.5:
            head += f"Content-Length: {len(data)}\r\n\r\n"
            sent = data
        else:
            head += "Transfer-Encoding: chunked\r\n\r\n"
            sent = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in pieces(data)) + b"0\r\n\r\n"
        status, fields, body = await self.on_wire(head, sent)
        return judge(status, body, receipt_of(data)), fields

    async def http2(self, target):
        if self.h2 is None or self.h2.closed or self.draw.random() < 0.002:
            loop = asyncio.get_running_loop()
            try:
                _, self.h2 = await loop.create_connection(h2client.Connection, "127.0.0.1", self.tls, ssl=self.trust_h2)
            except OSError:
                raise Failure("refused") from None
        failure, status, body = await self.h2.request(target, HOST)
        if failure:
            raise Failure(failure)
        return judge(int(status), body, body_of(target)), {}

    async def leave(self, target):
        """Asks for something large, reads some of it, and is gone, half of the time without a word."""
        over_tls = self.draw.random() < 0.3
        wire = await Wire.open(self.tls if over_tls else self.plain, self.trust if over_tls else None)
        try:
            wire.writer.write(f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            await asyncio.sleep(self.draw.choice([0.0, 0.01, 0.3]))
            if self.draw.random() < 0.5:
                # None where the other end was faster.
                if (ours := wire.writer.get_extra_info("socket")) is not None:
                    ours.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                wire.writer.transport.abort()
        finally:
            wire.close()
        return "ok", {}

    async def websocket(self, target, report):
        """Says something each half second, and comes back when it was cut, until all is over. Reports each outcome and how long it took."""
        while not self.closing:
            begun = time.monotonic()
            wire = None
            try:
                wire = await Wire.open(self.plain, None)
                key = base64.b64encode(os.urandom(16)).decode()
                wire.writer.write(
                    f"GET {target} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                    f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
                )
                status, _ = await asyncio.wait_for(wire.head(), PATIENCE)
                if status != 101:
                    raise Failure(str(status))
                while not self.closing:
                    await asyncio.sleep(0.5)
                    begun = time.monotonic()
                    text = b"%010d" % self.draw.randrange(10**9)
                    mask = os.urandom(4)
                    masked = bytes(octet ^ mask[n % 4] for n, octet in enumerate(text))
                    wire.writer.write(bytes([0x81, 0x80 | len(text)]) + mask + masked)
                    echoed = await asyncio.wait_for(wire.reader.readexactly(2 + len(text)), PATIENCE)
                    if echoed[2:] != text:
                        raise Failure("wrong")
                    report("ws", target, begun, "ok", {})
            except Failure as failure:
                report("ws", target, begun, str(failure), {})
            except (asyncio.IncompleteReadError, OSError):
                report("ws", target, begun, "cut", {})
            except (asyncio.TimeoutError, TimeoutError):
                report("ws", target, begun, "silent", {})
            finally:
                if wire:
                    wire.close()
            await asyncio.sleep(random.uniform(0.2, 0.6))

    def close(self):
        for wire in self.idle[False] + self.idle[True]:
            wire.close()
        if self.h2:
            self.h2.transport.close()


def judge(status, body, expected):
    if status != 200:
        return str(status)
    return "ok" if body == expected else "wrong"


def pieces(data):
    for at in range(0, len(data), 50_000):
        yield data[at : at + 50_000]
