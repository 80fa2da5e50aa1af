"""Many connections and floods with figures, by hand: `python3 tests/battery/many.py --forebay target/release/forebay`.

What a connection costs in memory, how ordinary clients fare meanwhile, and what an octet sent makes of memory and of octets
answered. `--connections` needs as many descriptors here and twice as many there. Nothing is asserted: read the table.
"""

import argparse
import asyncio
import http.client
import multiprocessing
import resource
import ssl
import statistics
import time
from concurrent.futures import ProcessPoolExecutor

import client
import h2wire
import http2
import proxies
from cases import Stage
from h2wire import DATA, END_HEADERS, END_STREAM, HEADERS, PING, Wire, frame, reset, settings, window_update
from origin import Origin

# Requests of ordinary clients while something goes on.
ORDINARY = 2_000


class Many(proxies.Forebay):
    """With room for as many as are asked for, and deadlines that leave time to look at them."""

    connections = 10_000
    more = ""

    def arguments(self):
        arguments = super().arguments()
        config = self.directory / "proxy.toml"
        text = config.read_text()
        text = text.replace("[limits]\n", f"[limits]\nconnections = {self.connections + 2000}\n{self.more}", 1)
        config.write_text(text.replace('"8s"', '"120s"').replace('handshake_timeout = "20s"', 'handshake_timeout = "120s"'))
        return arguments

    def resident(self):
        """KiB."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


class Table:
    observer = None
    """Runs what looks at the clock."""

    def __init__(self):
        self.rows = []

    def row(self, *cells):
        self.rows.append([str(cell) for cell in cells])
        print("| " + " | ".join(self.rows[-1]) + " |", flush=True)


async def ordinary(stage, wanted=ORDINARY):
    """Latencies of ordinary requests, from a process of their own: who makes a flood has no time to look at the clock."""
    loop = asyncio.get_running_loop()
    took = await loop.run_in_executor(Table.observer, measure, stage.proxy.port, stage.proxy.tls_port, stage.path("stored"), wanted)
    return f"{statistics.median(took):.1f} / {took[int(len(took) * 0.99) - 1]:.1f} / {took[-1]:.1f} ms"


def measure(port, tls_port, path, wanted):
    """Milliseconds of requests on one kept connection and on new ones over TLS in turn, sorted."""
    took = []
    tls = client.tls_context()
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for n in range(wanted):
        began = time.monotonic()
        asked = http.client.HTTPSConnection("127.0.0.1", tls_port, timeout=60, context=tls) if n % 2 else kept
        asked.request("GET", path, headers={"Host": "battery.test"})
        answer = asked.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        if asked is not kept:
            asked.close()
        took.append((time.monotonic() - began) * 1000)
    kept.close()
    return sorted(took)


async def connected(port, count, first=b"", tls=None, wait=0):
    """So many raw connections that have sent `first`, and read `wait` octets."""
    connections = []

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname="battery.test" if tls else None)
        if first:
            writer.write(first)
            await writer.drain()
        if wait:
            await reader.readuntil(b"\r\n\r\n")
        connections.append(writer)

    for begin in range(0, count, 200):
        await asyncio.gather(*(one() for _ in range(min(200, count - begin))))
    return connections


async def crowd(table, stage, name, count, **how):
    proxy = stage.proxy
    before = proxy.resident()
    connections = await connected(how.pop("port", proxy.port), count, **how)
    await asyncio.sleep(2)
    after = proxy.resident()
    latency = await ordinary(stage)
    table.row(name, count, f"{(after - before) / count:.2f} KiB each", latency)
    for writer in connections:
        writer.transport.abort()


async def flooded(table, stage, name, frames, rounds, head=None, pairs=()):
    """A flood on four connections at once, again and again until it was sent, and what it did."""
    proxy = stage.proxy
    before = proxy.resident()
    sent = ends = 0
    peak = before
    asked = stage.asked()
    over = asyncio.Event()

    async def one():
        nonlocal sent, ends, peak
        left = rounds
        while left > 0 and not over.is_set():
            wire = await Wire.open(stage, *pairs)
            if head:
                await wire.write(head(stage))
            first = 0
            while left > 0:
                data = b"".join(frames(stage, first + n) for n in range(100))
                first += 100
                left -= 100
                if not await wire.write(data):
                    break
                sent += len(data)
                peak = max(peak, proxy.resident())
            ends += await wire.ended()
            wire.connection.close()

    floods = asyncio.gather(*(one() for _ in range(4)))
    latency = await ordinary(stage)
    await floods
    peak = max(peak, proxy.resident())
    table.row(name, f"{sent / 1e6:.1f} MB sent", f"{ends} connections ended", f"RSS +{(peak - before) / 1024:.1f} MiB", f"origin {stage.asked() - asked}", latency)


async def amplified(table, stage, name, send, connections=50):
    """What `connections` clients send at once and hold, against what it makes of memory."""
    proxy = stage.proxy
    before = proxy.resident()
    held = await asyncio.gather(*(send() for _ in range(connections)))
    await asyncio.sleep(1)
    grown = (proxy.resident() - before) * 1024
    octets = sum(octets for octets, _ in held)
    back = sum(back() for _, back in held)
    table.row(name, f"{octets} octets in", f"RSS +{grown / 1024:.0f} KiB", f"x{grown / octets:.2f} in memory", f"x{back / octets:.2f} in answers")
    for connection in stage.connections:
        connection.close()
    stage.connections.clear()
    await asyncio.sleep(1)


async def amplifications(table, stage):
    path = stage.path("stored")
    head = f"GET {path} HTTP/1.1\r\nHost: battery.test\r\n".encode()

    def raw(data, methods=("GET",), responses=1):
        async def send():
            connection = await stage.connect(tls=False)
            await connection.send(data)
            heard = await connection.hear(methods, responses, patience=2)
            return len(data), lambda: len(heard.raw)

        return send

    await amplified(table, stage, "a head of 60 KiB that does not end", raw(head + b"X-A: " + b"a" * 60_000))
    await amplified(table, stage, "97 short fields", raw(head + b"".join(b"A%d:\r\n" % n for n in range(97)) + b"\r\n"))
    await amplified(table, stage, "a hit", raw(head + b"\r\n"))
    ranges = ",".join(f"{n}-{n}" for n in range(0, 400, 2))
    await amplified(table, stage, "200 ranges of an octet", raw(head + f"Range: bytes={ranges}\r\n\r\n".encode()))
    overlapping = ",".join("0-" for _ in range(200))
    await amplified(table, stage, "200 ranges that overlap", raw(head + f"Range: bytes={overlapping}\r\n\r\n".encode()))
    post = f"POST {stage.path()} HTTP/1.1\r\nHost: battery.test\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    await amplified(table, stage, "20,000 chunks of an octet, no end", raw(post + b"1\r\nx\r\n" * 20_000))
    await amplified(table, stage, "200 pipelined hits", raw((head + b"\r\n") * 200, ("GET",) * 200, 200))

    def http2_bytes(data, pairs=(), credit=True):
        async def send():
            wire = await Wire.open(stage, *pairs, credit=credit)
            await wire.write(data)
            await asyncio.sleep(2)
            return len(data), lambda: sum(answer.length for answer in wire.answers.values())

        return send

    opened = b"".join(http2.opened(stage, n, end=False) for n in range(100))
    await amplified(table, stage, "100 HTTP/2 streams without an end", http2_bytes(opened))
    await amplified(table, stage, "an HPACK bomb", http2_bytes(frame(HEADERS, END_HEADERS | END_STREAM, 1, http2.bomb(stage))))
    await amplified(table, stage, "5,000 PING", http2_bytes(frame(PING, 0, 0, b"12345678") * 5_000))
    await amplified(table, stage, "5,000 SETTINGS", http2_bytes(settings() * 5_000))


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--forebay", metavar="PATH", required=True)
    arguments.add_argument("--connections", type=int, default=10_000)
    arguments.add_argument("--per-client", type=int, default=0, help="`connections_per_client`")
    arguments.add_argument("--only", choices=["crowds", "floods", "amplification"])
    given = arguments.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    Many.path, Many.connections = given.forebay, given.connections
    if given.per_client:
        Many.more = f"connections_per_client = {given.per_client}\n"
    with proxies.Workplace() as directory, ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as Table.observer:
        origin = Origin()
        certified = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certified.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        await origin.start(certified)
        table = Table()
        print(f"{Many.version()}; ordinary clients: median / 99 % / longest, of {ORDINARY} hits\n")
        for kind, play in scenes(table, given.connections):
            if given.only in (None, kind):
                await with_fresh(origin, directory, play)


async def with_fresh(origin, directory, play):
    """Plays on a proxy of its own: memory that was freed is given back by and by, and would blur what comes next."""
    proxy = Many(origin, directory)
    try:
        await proxy.start()
        stage = Stage(proxy, origin, "q000000z", "tls", client.tls_context())
        await stage.store(stage.path("stored"))
        await ordinary(stage, 50)
        await play(stage)
        if not proxy.alive():
            print(f"THE PROXY ENDED: {proxy.last_words()}")
    finally:
        proxy.stop()


def scenes(table, count):
    """What is played, each with its kind."""

    def crowds(name, count, first=b"", wait=0, tls=None, handshake=False):
        async def play(stage):
            octets = stage.fill(first)
            port = stage.proxy.tls_port if tls or handshake else stage.proxy.port
            await crowd(table, stage, name, count, port=port, first=octets, wait=wait, tls=tls)

        return "crowds", play

    def floods(name, frames, rounds, head=None):
        async def play(stage):
            await flooded(table, stage, name, frames, rounds, head)

        return "floods", play

    async def alone(stage):
        table.row("nobody else", 0, f"RSS {stage.proxy.resident()} KiB", await ordinary(stage))

    async def amplification(stage):
        await amplifications(table, stage)

    host = "HTTP/1.1\r\nHost: battery.test\r\n\r\n"
    hit, miss = f"GET /stored/{{id}} {host}", f"GET /case/{{id}} {host}"
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
    yield "crowds", alone
    yield crowds("idle, nothing sent", count)
    yield crowds("idle behind a hit", count, first=hit, wait=1)
    yield crowds("idle behind a forwarded request", count, first=miss, wait=1)
    yield crowds("half a head", count, first=hit[:20])
    yield crowds("TLS, idle behind a hit", count // 5, first=hit, tls=client.tls_context(), wait=1)
    yield crowds("TLS hello that stops", count, first=hello, handshake=True)
    yield crowds("HTTP/2, idle", count // 2, first=h2wire.PREFACE + settings())
    for flood in [
        ("rapid reset", lambda s, n: http2.opened(s, n) + reset(2 * n + 1), 20_000),
        ("MadeYouReset", lambda s, n: http2.opened(s, n) + window_update(2 * n + 1, 0), 20_000),
        ("CONTINUATION of 4 KiB", lambda s, n: frame(9, 0, 1, b"\0" * 4096), 5_000, lambda s: frame(HEADERS, 0, 1)),
        ("SETTINGS", lambda s, n: settings(), 100_000),
        ("PING", lambda s, n: frame(PING, 0, 0, b"12345678"), 100_000),
        ("empty DATA", lambda s, n: frame(DATA, 0, 1), 100_000, http2.posted),
        ("PRIORITY", lambda s, n: frame(2, 0, 2 * n + 1, b"\0\0\0\0\x10"), 100_000),
        ("WINDOW_UPDATE", lambda s, n: window_update(0, 1), 100_000),
        ("HPACK bombs", lambda s, n: frame(HEADERS, END_HEADERS | END_STREAM, 2 * n + 1, http2.bomb(s)), 400),
    ]:
        yield floods(*flood)
    yield "amplification", amplification


if __name__ == "__main__":
    asyncio.run(main())
