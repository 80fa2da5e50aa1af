"""HTTP/2 towards the proxy under test: frames as they are meant to be, lawful or not, and what comes back."""

import asyncio
import ssl
import struct

import client
import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITISED = 0x1, 0x1, 0x4, 0x8, 0x20
# Settings.
HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 1, 4, 5
NO_ERROR, PROTOCOL_ERROR, CANCEL, ENHANCE_YOUR_CALM = 0, 1, 8, 11


def frame(kind, flags, stream, payload=b""):
    """A frame; `stream` may have its reserved bit set."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def number(value, bits, first=0):
    """An integer of HPACK (RFC 7541 §5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out = bytearray([first | most])
    value -= most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    out.append(value)
    return bytes(out)


def octets(text):
    text = text.encode("latin-1") if isinstance(text, str) else text
    return number(len(text), 7) + text


def block(fields):
    """Fields as literals that no table remembers: whatever they are, and always the same octets."""
    return b"".join(b"\x00" + octets(name) + octets(value) for name, value in fields)


def settings(*pairs):
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in pairs))


def window_update(stream, octets_more):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", octets_more))


def reset(stream, code=CANCEL):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", code))


class Answer:
    """What came on one stream."""

    def __init__(self):
        self.fields = []
        self.length = 0
        self.ended = False
        # The code that it was reset with.
        self.reset = None

    @property
    def status(self):
        return next((int(value) for name, value in self.fields if name == ":status"), None)

    def is_over(self):
        return self.ended or self.reset is not None

    def __repr__(self):
        how = "whole" if self.ended else f"reset {self.reset}" if self.reset is not None else "open"
        return f"{self.status} with {self.length} octets, {how}"


class Wire:
    """A connection: writes what it is told to, and reads all the time, so that nobody waits for the other."""

    def __init__(self, connection, credit):
        self.connection = connection
        # Whether DATA is paid for.
        self.credit = credit
        self.decoder = hpack.Decoder()
        self.answers = {}
        self.pings = 0
        self.frames = 0
        # The code of GOAWAY, and whether the connection is over.
        self.goaway = None
        self.over = False
        self.news = asyncio.Event()
        self.task = asyncio.create_task(self.read())

    @classmethod
    async def open(cls, stage, *pairs, credit=True):
        """Connects in the stage's way, and says what a client says first."""
        tls = stage.way == "tls"
        context = client.tls_context(("h2",)) if tls else None
        port = stage.proxy.tls_port if tls else stage.proxy.port
        connection = await client.connect(port, context)
        stage.connections.append(connection)
        wire = cls(connection, credit)
        await wire.write(PREFACE + settings(*pairs))
        if credit:
            await wire.write(window_update(0, 1 << 24))
        return wire

    async def write(self, data):
        """True where it could be written."""
        writer = self.connection.writer
        if self.over or writer.is_closing():
            return False
        try:
            writer.write(data)
            async with asyncio.timeout(client.PATIENCE):
                await writer.drain()
                # Draining is no pause while the kernel takes it all, and others are waiting.
                await asyncio.sleep(0)
            return not self.over
        except TimeoutError:
            # It takes nothing any more, and does not end: as good as bounded, and the caller will ask.
            return False
        except (ConnectionError, ssl.SSLError, OSError):
            return False

    async def request(self, stream, fields, end=True):
        flags = END_HEADERS | (END_STREAM if end else 0)
        return await self.write(frame(HEADERS, flags, stream, block(fields)))

    def answer(self, stream):
        return self.answers.setdefault(stream, Answer())

    async def read(self):
        reader = self.connection.reader
        pending = b""
        try:
            while True:
                head = await reader.readexactly(9)
                length, kind, flags = int.from_bytes(head[:3]), head[3], head[4]
                stream = int.from_bytes(head[5:]) & 0x7FFFFFFF
                payload = await reader.readexactly(length)
                self.frames += 1
                if kind in (HEADERS, CONTINUATION):
                    pending += payload
                    if flags & END_HEADERS:
                        self.answer(stream).fields += self.decoder.decode(pending)
                        pending = b""
                    if kind == HEADERS and flags & END_STREAM:
                        self.answer(stream).ended = True
                elif kind == DATA:
                    answer = self.answer(stream)
                    answer.length += length
                    answer.ended |= bool(flags & END_STREAM)
                    if self.credit and length:
                        await self.write(window_update(0, length) + window_update(stream, length))
                elif kind == RST_STREAM:
                    self.answer(stream).reset = int.from_bytes(payload)
                elif kind == PING and flags & ACK:
                    self.pings += 1
                elif kind == SETTINGS and not flags & ACK:
                    await self.write(frame(SETTINGS, ACK, 0))
                elif kind == GOAWAY:
                    self.goaway = int.from_bytes(payload[4:8])
                self.news.set()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, OSError):
            pass
        finally:
            self.over = True
            self.news.set()

    async def until(self, is_so):
        """Waits until it is so, or the connection is over. False where neither came within the client's patience."""
        try:
            async with asyncio.timeout(client.PATIENCE):
                while not is_so() and not self.over:
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return False
        return True

    async def ended(self):
        """Whether the proxy has ended it, or is about to: asked by a ping, which one that goes on answers."""
        before = self.pings
        await self.write(frame(PING, 0, 0, b"finally?"))
        await self.until(lambda: self.goaway is not None or self.pings > before)
        return self.over or self.goaway is not None

    def told(self):
        some = {stream: self.answers[stream] for stream in list(self.answers)[:3]}
        return f"goaway {self.goaway}, {'over' if self.over else 'open'}, {self.frames} frames, {some}"
