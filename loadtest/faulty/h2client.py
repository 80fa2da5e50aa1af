"""HTTP/2 over TLS, as many streams as are asked for on one connection, with PyPI's h2."""

import asyncio
import subprocess
import sys

from rig import ROOT

PACKAGES = ROOT / "target/faults-python"


def install():
    """Brings h2 to target/ where this Python has none."""
    try:
        import h2  # noqa: F401
    except ImportError:
        if not PACKAGES.exists():
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
            subprocess.run([*pip, "--target", PACKAGES, "h2==4.1.0"], check=True)
        sys.path.insert(0, str(PACKAGES))


class Connection(asyncio.Protocol):
    """One connection; `request` may be called many times."""

    def __init__(self):
        from h2.config import H2Configuration
        from h2.connection import H2Connection

        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.streams = {}
        self.closed = False

    def connection_made(self, transport):
        self.transport = transport
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()

    def connection_lost(self, _):
        self.closed = True
        for stream in list(self.streams):
            self.end(stream, "cut" if self.streams[stream][1] else "closed")

    def data_received(self, data):
        import h2.events as events
        from h2.exceptions import ProtocolError

        try:
            happened = self.h2.receive_data(data)
        except ProtocolError:
            for stream in list(self.streams):
                self.end(stream, "malformed")
            self.closed = True
            self.transport.abort()
            return
        for event in happened:
            stream = self.streams.get(getattr(event, "stream_id", None))
            if isinstance(event, events.ResponseReceived) and stream:
                stream[1] = dict(event.headers)[":status"]
            elif isinstance(event, events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if stream:
                    stream[2] += event.data
            elif isinstance(event, events.StreamEnded):
                self.end(event.stream_id, None)
            elif isinstance(event, events.StreamReset):
                # A head that was still queued is dropped with the stream: what the client sees is a cut all the same.
                self.end(event.stream_id, "cut")
            elif isinstance(event, events.ConnectionTerminated):
                self.closed = True
        self.flush()

    def end(self, stream, failure):
        found = self.streams.pop(stream, None)
        if found and not found[0].done():
            found[0].set_result((failure, found[1], bytes(found[2])))

    async def request(self, target, host):
        """A failure or None, the status, and the body."""
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", "GET"), (":scheme", "https"), (":authority", host), (":path", target)]
        future = asyncio.get_running_loop().create_future()
        self.streams[stream] = [future, None, bytearray()]
        self.h2.send_headers(stream, fields, end_stream=True)
        self.flush()
        return await future

    def flush(self):
        if not self.transport.is_closing():
            self.transport.write(self.h2.data_to_send())
