"""The proxy itself is reloaded, replaced, ended and killed under load: what clients saw of it, beside nginx."""

import asyncio
import os
import random
import signal
import time
from collections import Counter

import changes
import rig
from changes import Both
from rig import PROXIES, BODY, PATH, Forebay, Origin, descendants, free_port

from . import soak

RELOADS = 60
REPLACEMENTS = 10
KILLS = 50
ROUTES = 5_000
# What must never be among a client's failures, whatever was killed.
CORRUPT = {"wrong body", "bytes nobody asked for", "bytes after the answer", "no content-length"}


async def answer(port):
    """The whole answer to one request on a connection of its own, or nothing."""
    writer = None
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n".encode())
        return await asyncio.wait_for(reader.read(-1), 10)
    except (OSError, asyncio.TimeoutError, TimeoutError):
        return b""
    finally:
        if writer:
            writer.close()


async def since(begun, port, good, seconds=20.0):
    """Milliseconds from `begun` to the first answer that is good."""
    while not good(await answer(port)):
        if time.monotonic() - begun > seconds:
            raise RuntimeError(f"waited {seconds:.0f} s for an answer")
        await asyncio.sleep(0.002)
    return (time.monotonic() - begun) * 1000


async def reloads(directory, options):
    """60 reloads in 60 s, each with another rule, under load."""
    figures = {}
    for name, make in PROXIES:
        backend, place, late = free_port(), directory / f"reloads-{name}", []
        with Origin(place / "origin", backend) as origin, make(place, free_port(), backend) as proxy:
            origin.start()
            await origin.ready()
            proxy.start()
            await proxy.ready()
            async with Both(proxy.port, options.load) as load:
                await asyncio.sleep(1)
                for generation in range(1, RELOADS + 1):
                    begun = time.monotonic()
                    proxy.write(generation)
                    proxy.reload()
                    late.append(await since(begun, proxy.port, lambda it: f"x-generation: {generation}\r\n".encode() in it.lower()))
                    await asyncio.sleep(max(0.0, 1 - (time.monotonic() - begun)))
                report = await load.stop()
        figures[name] = report.plain() | {"late_ms": max(late), "late_median_ms": sorted(late)[len(late) // 2]}
    good = figures["forebay"]
    return figures, good["failed"] == 0 and good["closed_unannounced"] == 0 and good["late_ms"] < 1000


async def drains(directory, options):
    """10 times SIGTERM while a replica takes the new connections, under load."""
    return await changed(changes.drains, directory, options)


async def handovers(directory, options):
    """10 hand-overs of the sockets to a successor (SIGQUIT; nginx: USR2, QUIT), under load."""
    return await changed(changes.handovers, directory, options)


async def changed(play, directory, options):
    changes.REPLACEMENTS, changes.Pulse = REPLACEMENTS, Origin
    options.rate, kept = options.load, options.rate
    try:
        return await play(directory, options)
    finally:
        options.rate = kept


async def kills(directory, options):
    """50 times kill -9 and a new start, under load."""
    figures = {}
    for name, make in PROXIES:
        backend, place, took = free_port(), directory / f"kills-{name}", []
        with Origin(place / "origin", backend) as origin, make(place, free_port(), backend) as proxy:
            origin.start()
            await origin.ready()
            proxy.start()
            await proxy.ready()
            async with Both(proxy.port, options.load / 4) as load:
                for _ in range(KILLS):
                    await asyncio.sleep(0.3)
                    pid = proxy.pid
                    for each in [pid, *descendants(pid)]:
                        os.kill(each, signal.SIGKILL)
                    proxy.process.wait()
                    while rig.alive(pid):
                        await asyncio.sleep(0.002)
                    begun = time.monotonic()
                    proxy.start()
                    took.append(await since(begun, proxy.port, lambda it: it.endswith(BODY)))
                report = await load.stop()
        corrupt = sum(n for why, n in report.failures.items() if why in CORRUPT)
        figures[name] = report.plain() | {"start_ms": max(took), "start_median_ms": sorted(took)[len(took) // 2], "corrupt": corrupt}
    good = figures["forebay"]
    return figures, good["corrupt"] == 0 and good["start_ms"] < 2000


async def churn(directory, options):
    """40 s in which an app's three instances are killed, stopped, started, scaled and renamed without a pause, 200 GETs a second."""
    addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
    port = free_port()
    instances = {address: Instance(port, (address,)) for address in addresses}
    edge = soak.Edge(directory / "churn", {"named": instances[addresses[0]], **{n: instances[addresses[1]] for n in ("solo", "left", "right")}})
    if not edge.named:
        raise RuntimeError("no mount namespace here, so names cannot change")
    draw = random.Random(options.seed)
    clients, outcomes, asking = soak.Clients(edge.port, edge.tls, random.Random(options.seed)), Counter(), set()
    begun, slowest = time.monotonic(), 0.0

    async def ask(number):
        nonlocal slowest
        since = time.monotonic()
        outcome, _ = await clients.ask("miss", f"/named/miss/{number}")
        outcomes[outcome] += 1
        slowest = max(slowest, time.monotonic() - since)

    async def load():
        number = 0
        while True:
            number += 1
            task = asyncio.create_task(ask(number))
            asking.add(task)
            task.add_done_callback(asking.discard)
            await asyncio.sleep(max(0.0, begun + number / 200 - time.monotonic()))

    try:
        await instances[addresses[0]].begin()
        edge.start()
        await edge.ready()
        edge.hosts(addresses[0])
        loading = asyncio.create_task(load())
        await asyncio.sleep(1)
        while time.monotonic() < begun + 40:
            there = draw.sample(addresses, draw.choice([0, 1, 1, 1, 2, 3]))
            # As a deploy does it: some end at once, others come, and the name follows a little later.
            await asyncio.gather(*(one.finish() for address, one in instances.items() if address not in there))
            await asyncio.sleep(draw.uniform(0.0, 0.3))
            await asyncio.gather(*(instances[address].begin() for address in there))
            edge.hosts(*there)
            await asyncio.sleep(draw.uniform(0.3, 1.5))
        for one in instances.values():
            await one.begin()
        edge.hosts(*addresses)
        loading.cancel()
        await asyncio.gather(*asking)
    finally:
        edge.end()
        for one in instances.values():
            await one.finish()
    failed = sum(outcomes.values()) - outcomes["ok"]
    figure = {
        "requests": sum(outcomes.values()),
        "failed": failed,
        "failures": {what: n for what, n in outcomes.items() if what != "ok"},
        "closed_unannounced": 0,
        "slowest_ms": slowest * 1000,
    }
    return {"forebay": figure}, failed == 0


class Instance(soak.Origin):
    """An origin that takes its moment to answer, so that some requests are with it whenever it ends."""

    async def begin(self):
        if self.process is None or self.process.returncode is not None:
            await self.start()
            self.mode("brief")

    async def finish(self):
        if self.process and self.process.returncode is None:
            await self.kill()


async def large(directory, _):
    """the start with 5,000 routes and as many upstreams."""
    port, backend = free_port(), free_port()
    with Origin(directory / "large/origin", backend) as origin, Forebay(directory / "large", port, backend) as proxy:
        origin.start()
        await origin.ready()
        more = "".join(
            f'[upstream.u{n}]\nservers = ["http://127.0.0.1:{backend}"]\n[[route]]\nhost = "h{n}.test"\npath = "/p{n}/"\nto = "u{n}"\n'
            for n in range(ROUTES)
        )
        proxy.config.write_text(proxy.config.read_text() + more)
        begun = time.monotonic()
        proxy.start()
        took = await since(begun, port, lambda it: it.endswith(BODY))
    return {"forebay": {"start_ms": took}}, took < 2000


def say(figure):
    """A figure as a cell."""
    parts = []
    if "requests" in figure:
        reasons = ", ".join(f"{n} × {why}" for why, n in sorted(figure["failures"].items(), key=lambda f: -f[1])[:3])
        parts.append(f"{figure['failed']:,} failed of {figure['requests']:,}" + (f" ({reasons})" if reasons else ""))
        if "corrupt" not in figure:
            parts.append(f"{figure['closed_unannounced']} connections closed unannounced")
    if "corrupt" in figure:
        parts.append(f"{figure['corrupt']} wrong")
    if "slowest_ms" in figure and "corrupt" not in figure:
        parts.append(f"slowest {figure['slowest_ms']:.0f} ms")
    if "late_ms" in figure:
        parts.append(f"the new rule after {figure['late_median_ms']:.0f} ms, at most {figure['late_ms']:.0f} ms")
    if "start_median_ms" in figure:
        parts.append(f"answers {figure['start_median_ms']:.0f} ms after its start, at most {figure['start_ms']:.0f} ms")
    elif "start_ms" in figure:
        parts.append(f"answers {figure['start_ms']:.0f} ms after its start")
    return "; ".join(parts)


PLAYS = {
    "reloads": (reloads, "0 failed, 0 closed, the new rule within 1 s"),
    "drains": (drains, "0 failed"),
    "handovers": (handovers, "0 failed"),
    "kills": (kills, "nothing wrong, answers within 2 s"),
    "churn": (churn, "0 failed"),
    "large": (large, "answers within 2 s"),
}
