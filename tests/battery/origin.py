"""The origin that keeps every byte it was sent. What is in doubt about a proxy is what stands here."""

import asyncio
import re
import socket
import struct

from wire import RequestReader

TOKEN = re.compile(rb"q[0-9]{6}z")
# Something is sent again; it ends when somebody has had enough, or here.
FLOOD_MAX = 64 << 20


class Connection:
    """One connection of a proxy, with all that came over it."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.raw = bytearray()
        self.requests = RequestReader()
        self.open = True
        self.answered = 0
        # Octets that were written to it.
        self.sent = 0

    async def send(self, data):
        """Writes; a proxy that has had enough ends the script."""
        if self.writer.is_closing():
            raise ConnectionResetError
        self.writer.write(data)
        self.sent += len(data)
        await self.writer.drain()
        # That it is gone is heard in the loop only, which drain() need not go through.
        await asyncio.sleep(0)

    async def flood(self, piece, most=FLOOD_MAX):
        """Writes `piece` again and again, until the proxy closes or so much is out."""
        while self.sent < most:
            await self.send(piece)

    def reset(self):
        """Ends it by RST."""
        linger = struct.pack("ii", 1, 0)
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.open = False
        # What is still to be written is written first, as far as the proxy takes it.
        self.writer.transport.abort() if self.writer.get_extra_info("ssl_object") else self.writer.close()

    def close(self):
        """Ends it in order."""
        self.open = False
        self.writer.close()


def plain(request):
    """The ordinary answer: what was asked for, as far as the origin understood it."""
    body = request.method + b" " + request.target + b"\n"
    path = request.target.split(b"?")[0]
    control = b"max-age=600" if path.startswith(b"/stored/") else b"no-store"
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: " + control
        + b"\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n"
    )
    return head + (b"" if request.method == b"HEAD" else body)


class Origin:
    """Listens, and answers by the script of the case that a request belongs to, else with `plain`."""

    def __init__(self):
        self.connections = []
        # token: async function of (connection, request, how many requests of this case came before). It writes the answer;
        # the connection is kept unless it closes it. A script may also be bytes: the answer as it is.
        self.scripts = {}
        # token: async function of (connection, first bytes) that is called at the head's end instead, before any body.
        self.early = {}
        self.counts = {}
        # token: the requests that it stands in.
        self.requests = {}
        self.server = self.tls_server = None
        self.port = self.tls_port = None

    async def start(self, tls=None):
        """In the clear, and over TLS with this context."""
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 20, backlog=512)
        self.port = self.server.sockets[0].getsockname()[1]
        if tls:
            self.tls_server = await asyncio.start_server(self.serve, "127.0.0.1", 0, limit=1 << 20, backlog=512, ssl=tls)
            self.tls_port = self.tls_server.sockets[0].getsockname()[1]

    def stop(self):
        """Takes no more connections."""
        for server in (self.server, self.tls_server):
            if server:
                server.close()

    async def serve(self, reader, writer):
        connection = Connection(reader, writer)
        self.connections.append(connection)
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await self.converse(connection)
        except (ConnectionError, OSError, asyncio.CancelledError):
            # The proxy has had enough of it, or everything is over.
            pass
        finally:
            connection.open = False
            writer.close()

    async def converse(self, connection):
        requests = connection.requests
        begun = 0
        while connection.open:
            data = await connection.reader.read(65536)
            if not data:
                return
            connection.raw += data
            requests.feed(data)
            while begun < len(requests.messages):
                request = requests.messages[begun]
                begun += 1
                for token in set(TOKEN.findall(request.head)):
                    self.requests.setdefault(token, []).append(request)
                if early := self.script_of(self.early, request):
                    await early(connection, request)
            while connection.answered < len(requests.messages) and connection.open:
                request = requests.messages[connection.answered]
                if not request.complete:
                    break
                connection.answered += 1
                await self.answer(connection, request)
            if requests.fault:
                # Whoever sends such a thing is told so, and no more is read as requests.
                connection.writer.write(b"HTTP/1.1 400 Origin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                await connection.writer.drain()
                return

    def script_of(self, scripts, request):
        for token in TOKEN.findall(request.head):
            if token in scripts:
                return scripts[token]
        return None

    async def answer(self, connection, request):
        if request.get("x-warm") is None:
            script = self.script_of(self.scripts, request)
            if isinstance(script, (bytes, bytearray)):
                await connection.send(script)
                return
            if script:
                token = TOKEN.findall(request.head)[0]
                before = self.counts.get(token, 0)
                self.counts[token] = before + 1
                await script(connection, request, before)
                return
        await connection.send(plain(request))

    def of(self, token):
        """All requests of a case that arrived, those that only warmed a cache apart; and why bytes of its were none."""
        requests = [it for it in self.requests.get(token, []) if it.get("x-warm") is None]
        faults = [it.fault for it in requests if it.fault]
        for connection in self.connections:
            reader = connection.requests
            # What could not be read, or never became a head, is laid to all whose bytes it has.
            if reader.current is None and reader.buffer and token in reader.buffer:
                faults.append(reader.fault or "a head that never ended")
        return requests, faults

    def strays(self):
        """Bytes that could not be read on connections where no case can be told by them."""
        return [
            f"{it.requests.fault}: {bytes(it.requests.buffer[:80])!r}"
            for it in self.connections
            if it.requests.fault and not TOKEN.search(bytes(it.requests.buffer)) and not any(r.fault for r in it.requests.messages)
        ]
