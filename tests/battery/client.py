"""The client: raw bytes out, and what came back read strictly."""

import asyncio
import ssl

from wire import ResponseReader

# Long enough that only what hangs is cut off by it. Nothing is judged by time that passed.
PATIENCE = 60


def tls_context(alpn=("http/1.1",)):
    """One that believes anybody: certificates are judged elsewhere."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


class Heard:
    """What a client heard on one connection."""

    def __init__(self, methods):
        self.reader = ResponseReader(methods)
        self.raw = bytearray()
        # How it ended: "closed", "reset", or "open" where nothing more came within PATIENCE.
        self.end = "open"

    @property
    def responses(self):
        return self.reader.messages

    @property
    def fault(self):
        return self.reader.fault

    def statuses(self):
        return [it.status for it in self.responses]

    def told(self):
        """For a person: what came, in a line."""
        said = ", ".join(map(repr, self.responses)) or "no answer"
        fault = f"; malformed: {self.fault}" if self.fault else ""
        return f"{said}; {self.end}{fault}"


class Connection:
    """A connection to the proxy under test."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data, step=None):
        """Writes all of `data`, or `step` octets at a time. A proxy that has closed meanwhile is no error: what it said counts."""
        try:
            if step is None:
                self.writer.write(data)
                await self.writer.drain()
                return
            for at in range(0, len(data), step):
                self.writer.write(data[at : at + step])
                await self.writer.drain()
                await asyncio.sleep(0)
        except (ConnectionError, OSError):
            pass

    async def hear(self, methods=(), responses=None, patience=PATIENCE, heard=None):
        """Reads until the end, or until so many responses are whole."""
        heard = heard or Heard(methods)
        try:
            async with asyncio.timeout(patience):
                while responses is None or not is_served(heard, responses):
                    data = await self.reader.read(65536)
                    if not data:
                        heard.end = "closed"
                        break
                    heard.raw += data
                    heard.reader.feed(data)
        except TimeoutError:
            pass
        except (ConnectionError, ssl.SSLError, OSError):
            heard.end = "reset"
            # What had come before the reset was heard, though asyncio has only the reset to tell.
            rest = bytes(getattr(self.reader, "_buffer", b""))
            heard.raw += rest
            heard.reader.feed(rest)
        if heard.end != "open":
            heard.reader.closed(heard.end == "reset")
        return heard

    def half_close(self):
        self.writer.write_eof()

    def close(self):
        self.writer.close()


def is_served(heard, responses):
    return heard.fault or len([it for it in heard.responses if it.complete]) >= responses


async def connect(port, tls=None):
    """A connection; `tls` is a context."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=tls, server_hostname="battery.test" if tls else None, limit=1 << 20
        )
    return Connection(reader, writer)
