"""An origin whose answers follow from their targets, and that misbehaves when it is told so, by a line on its standard input.

    python3 origin.py PORT [ADDRESS…]

It ends with its standard input. Nothing of the proxy's is imported: what it says is what a client must see, or a fault.
"""

import asyncio
import base64
import hashlib
import os
import random
import socket
import struct
import sys
import threading

PIECES = 8
PAUSE = 0.2
WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Seconds after which it answers, at least and at most.
SLOW = {"brief": (0.02, 0.1), "slow": (0.2, 1.5)}
NONSENSE = [
    b"NONSENSE\r\n\r\n",
    b"HTTP/1.1 2OO OK\r\nContent-Length: 2\r\n\r\nhi",
    b"\x00\x01\x02\x03\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX Y: z\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 103 Early\r\n\r\n" * 40,
]


def kind_of(target):
    """`hit` of `/solo/hit/7?n=3`."""
    return target.split("/")[2].split("?")[0]


def size_of(target):
    number = int.from_bytes(hashlib.sha256(target.encode()).digest()[:4], "big")
    if kind_of(target) == "large":
        return (1 << 20) + number % (3 << 20)
    return 200 + number % 20_000


def body_of(target):
    """The whole body of what is asked for by this target."""
    size = PIECES * 1024 if kind_of(target) == "stream" else size_of(target)
    seed = hashlib.sha256(target.encode()).hexdigest().encode()
    return (seed * (size // len(seed) + 1))[:size]


def receipt_of(data):
    """What an upload is answered with."""
    return b"%d %s" % (len(data), hashlib.sha256(data).hexdigest().encode())


class Server(asyncio.Protocol):
    """One connection."""

    mode = "ok"

    def connection_made(self, transport):
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.inbox = b""
        self.head = None
        self.frames = False
        self.task = None

    def connection_lost(self, _):
        if self.task:
            self.task.cancel()

    def data_received(self, data):
        self.inbox += data
        if self.frames:
            self.echo()
        elif not self.task:
            self.read()

    def read(self):
        """Takes one request out of what has come."""
        if self.head is None:
            head, found, rest = self.inbox.partition(b"\r\n\r\n")
            if not found:
                return
            self.inbox = rest
            line, *fields = head.decode("latin-1").split("\r\n")
            self.method, self.target, _ = line.split(" ")
            self.head = dict((name.lower(), value.strip()) for name, _, value in (field.partition(":") for field in fields))
        if self.head.get("transfer-encoding") == "chunked":
            body = self.chunks()
            if body is None:
                return
        else:
            length = int(self.head.get("content-length", 0))
            if len(self.inbox) < length:
                return
            body, self.inbox = self.inbox[:length], self.inbox[length:]
        head, self.head = self.head, None
        self.task = asyncio.ensure_future(self.answer(self.method, self.target, head, body))

    def chunks(self):
        """The whole of a chunked body, once it is there."""
        # What is still to come would be looked at again with each piece; the last chunk is looked for first.
        if not self.inbox.endswith(b"\r\n0\r\n\r\n") and self.inbox != b"0\r\n\r\n":
            return None
        whole, at = b"", 0
        while True:
            end = self.inbox.index(b"\r\n", at)
            size = int(self.inbox[at:end], 16)
            if size == 0:
                self.inbox = self.inbox[end + 4 :]
                return whole
            whole += self.inbox[end + 2 : end + 2 + size]
            at = end + 2 + size + 2

    async def answer(self, method, target, head, body):
        mode = Server.mode
        if mode == "reset":
            linger = struct.pack("ii", 1, 0)
            self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.transport.abort()
            return
        if mode == "close":
            self.transport.close()
            return
        if mode == "garbage":
            self.transport.write(random.choice(NONSENSE))
            self.transport.close()
            return
        if mode in SLOW:
            await asyncio.sleep(random.uniform(*SLOW[mode]))
        if head.get("upgrade") == "websocket":
            accept = base64.b64encode(hashlib.sha1(head["sec-websocket-key"].encode() + WEBSOCKET).digest()).decode()
            self.say(101, f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n")
            self.frames = True
            self.echo()
            return
        kind = kind_of(target)
        if kind == "stream":
            await self.stream(target, mode)
        else:
            self.whole(kind, target, method, head, body, mode)
        if not self.transport.is_closing():
            self.task = None
            self.read()

    def whole(self, kind, target, method, head, body, mode):
        content = receipt_of(body) if method == "POST" else body_of(target)
        tag = '"%s"' % hashlib.sha256(target.encode()).hexdigest()[:16]
        age = {"hit": "max-age=3600", "short": "max-age=1", "large": "max-age=60"}.get(kind, "no-store")
        fields = f"Cache-Control: {age}\r\n"
        if kind in ("hit", "short"):
            fields += f"ETag: {tag}\r\n"
        if mode == "cut":
            self.say(200, f"{fields}Content-Length: {len(content)}\r\n", content[: len(content) // 2])
            self.transport.close()
        elif head.get("if-none-match") == tag and kind == "short":
            self.say(304, fields)
        else:
            # With the answer itself: of what comes later nobody can say which request it answers.
            unasked = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison" if mode == "extra" else b""
            self.say(200, f"{fields}Content-Length: {len(content)}\r\n", content + unasked)

    async def stream(self, target, mode):
        content = body_of(target)
        self.say(200, "Cache-Control: no-store\r\nTransfer-Encoding: chunked\r\n")
        for n in range(PIECES):
            if mode == "cut" and n == PIECES // 2:
                self.transport.close()
                return
            self.transport.write(b"400\r\n" + content[n * 1024 : (n + 1) * 1024] + b"\r\n")
            await asyncio.sleep(PAUSE)
        self.transport.write(b"0\r\n\r\n")

    def say(self, status, fields, body=b""):
        self.transport.write(f"HTTP/1.1 {status} -\r\n{fields}\r\n".encode() + body)

    def echo(self):
        """Small masked frames come back unmasked."""
        while len(self.inbox) >= 6:
            length = self.inbox[1] & 0x7F
            if len(self.inbox) < 6 + length:
                return
            if self.inbox[0] & 0x0F == 8:
                self.transport.write(b"\x88\x00")
                self.transport.close()
                return
            mask, masked = self.inbox[2:6], self.inbox[6 : 6 + length]
            self.inbox = self.inbox[6 + length :]
            plain = bytes(octet ^ mask[n % 4] for n, octet in enumerate(masked))
            self.transport.write(bytes([0x81, length]) + plain)


def obey():
    for line in sys.stdin:
        Server.mode = line.strip()
    # Whoever gave the orders is gone.
    os._exit(0)


async def main():
    port, addresses = int(sys.argv[1]), sys.argv[2:] or ["127.0.0.1"]
    loop = asyncio.get_running_loop()
    for address in addresses:
        await loop.create_server(Server, address, port, backlog=4096, reuse_address=True)
    threading.Thread(target=obey, daemon=True).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
