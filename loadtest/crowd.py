"""Clients that all ask at once, clients that read slowly, and clients that ask for one thing after the other."""

import asyncio
import socket
import time
from collections import Counter


class Failure(Exception):
    """An answer that is not what was asked for."""


class Answer:
    """What one client got, and when (Unix time)."""

    def __init__(self):
        self.status = None
        self.failure = None
        self.asked = self.first = self.ended = None


class Asking(asyncio.Protocol):
    """One GET on a connection of its own, its body counted and not kept."""

    def __init__(self, path, done):
        self.path = path
        self.done = done
        self.answer = Answer()
        self.head = b""
        self.left = None
        self.chunked = False
        self.tail = b""

    def connection_made(self, transport):
        self.transport = transport
        transport.write(f"GET {self.path} HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n".encode())
        self.answer.asked = time.time()

    def data_received(self, data):
        if self.left is None and not self.chunked:
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            data, self.head = self.head[end + 4 :], self.head[:end].lower()
            self.answer.status = int(self.head[9:12])
            self.chunked = b"\r\ntransfer-encoding: chunked" in self.head
            if not self.chunked:
                self.left = int(self.head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
        if data and self.answer.first is None:
            self.answer.first = time.time()
        if self.chunked:
            self.tail = (self.tail + data)[-5:]
        else:
            self.left -= len(data)

    def connection_lost(self, _error):
        self.answer.ended = time.time()
        whole = self.tail == b"0\r\n\r\n" if self.chunked else self.left == 0
        if self.answer.status is None:
            self.answer.failure = "no answer"
        elif self.answer.status != 200:
            self.answer.failure = f"status {self.answer.status}"
        elif not whole:
            self.answer.failure = "cut"
        if not self.done.done():
            self.done.set_result(self.answer)


async def crowd(port, path, count, patience):
    """`count` clients that ask for the same at once; their answers, in which `patience` is the time until all is lost."""
    loop = asyncio.get_running_loop()

    async def one():
        done = loop.create_future()
        try:
            transport, asking = await loop.create_connection(lambda: Asking(path, done), "127.0.0.1", port)
        except OSError as error:
            answer = Answer()
            answer.failure, answer.ended = type(error).__name__, time.time()
            return answer
        try:
            return await asyncio.wait_for(done, patience)
        except TimeoutError:
            transport.abort()
            asking.answer.failure, asking.answer.ended = f"nothing whole within {patience:.0f} s", time.time()
            return asking.answer

    return await asyncio.gather(*(one() for _ in range(count)))


async def fetch_all(port, targets, connections):
    """Asks for all targets in their order, so many at a time on kept connections; gives octets that came, and failures."""
    targets, octets, failures = iter(targets), 0, Counter()

    async def one(reader, writer, target):
        writer.write(f"GET {target} HTTP/1.1\r\nHost: load.test\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        if not head.startswith(b"http/1.1 200"):
            raise Failure(f"status {head[9:12].decode()}")
        if b"\r\ncontent-length:" in head:
            size = left = int(head.split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            while left:
                left -= len(await _some(reader, left))
        else:
            size = await _chunks(reader)
        return size, b"\r\nconnection: close" in head

    async def worker():
        nonlocal octets
        writer = None
        for target in targets:
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
            closes = True
            try:
                size, closes = await one(reader, writer, target)
                octets += size
            except Failure as failure:
                failures[str(failure)] += 1
            except (asyncio.IncompleteReadError, ConnectionError):
                failures["closed"] += 1
            if closes:
                writer.close()
                writer = None
        if writer:
            writer.close()

    await asyncio.gather(*(worker() for _ in range(connections)))
    return octets, failures


async def _some(reader, most):
    piece = await reader.read(min(most, 2**18))
    if not piece:
        raise Failure("cut")
    return piece


async def _chunks(reader):
    total = 0
    while True:
        size = int(await reader.readuntil(b"\r\n"), 16)
        left = size
        while left:
            left -= len(await _some(reader, left))
        await reader.readexactly(2)
        total += size
        if size == 0:
            return total


class SlowReaders:
    """Clients that take a sip of a body every second, until `finish`."""

    # Fast enough that the kernel of the server, which says nothing before a third of its buffer is free, says so within any
    # patience of the server.
    # Fast enough that the kernel of a server, which says nothing before a third of its buffer is free, says so within the
    # 30 s that forebay waits, and that what is left of 1 MiB lasts for the figure.
    SIP, PAUSE = 8192, 1.0

    def __init__(self, port):
        self.port = port
        self.open = []
        self.sipping = None

    async def begin(self, targets):
        loop = asyncio.get_running_loop()
        for target in targets:
            # Without a buffer of asyncio's: who sips from that leaves the socket alone for longer than a server waits.
            sock = socket.socket()
            # As over a real network. Over loopback's segments of 64 KiB the two kernels between us hold a megabyte or two, and
            # the server is done at once.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1448)
            sock.setblocking(False)
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            await loop.sock_sendall(sock, f"GET {target} HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n".encode())
            head = b""
            while b"\r\n\r\n" not in head:
                piece = await loop.sock_recv(sock, self.SIP)
                if not piece:
                    raise Failure("cut within the head")
                head += piece
            head, begun = head.split(b"\r\n\r\n", 1)
            length = int(head.lower().split(b"\r\ncontent-length:", 1)[1].split(b"\r\n", 1)[0])
            self.open.append([sock, length - len(begun)])
        self.sipping = asyncio.create_task(self.sip())

    async def sip(self):
        while True:
            for each in self.open:
                try:
                    each[1] -= len(each[0].recv(self.SIP))
                except (BlockingIOError, ConnectionError):
                    pass
            await asyncio.sleep(self.PAUSE)

    async def finish(self):
        """Reads on to the end; gives how many bodies were whole."""
        self.sipping.cancel()
        loop = asyncio.get_running_loop()

        async def one(sock, left):
            try:
                while left and (piece := await loop.sock_recv(sock, 2**16)):
                    left -= len(piece)
            except ConnectionError:
                pass
            sock.close()
            return left == 0

        return sum(await asyncio.gather(*(one(*each) for each in self.open)))
