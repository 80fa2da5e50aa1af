"""The proxy itself changes under load: reloads, drain beside a replica, hand-over to a successor."""

import asyncio

from load import Load
from rig import PROXIES, Pulse, free_port

RELOADS = 20
REPLACEMENTS = 5
FRESH = 0.1
"""The share of requests that open a connection of their own."""


class Both:
    """Requests on kept connections, and on new ones."""

    def __init__(self, port, rate):
        address = ("127.0.0.1", port)
        self.kept = Load(address, rate * (1 - FRESH))
        self.fresh = Load(address, rate * FRESH, keep_alive=False)

    async def __aenter__(self):
        await self.kept.__aenter__()
        await self.fresh.__aenter__()
        return self

    async def __aexit__(self, *_):
        await self.stop()

    def turn_to(self, port):
        """New connections go there from now on."""
        self.kept.address = self.fresh.address = ("127.0.0.1", port)

    async def stop(self):
        kept, fresh = await asyncio.gather(self.kept.stop(), self.fresh.stop())
        return kept + fresh


async def reloads(directory, options):
    """(c) 20 reloads, each with a changed file, under load."""
    figures = {}
    for name, make in PROXIES:
        backend = free_port()
        place = directory / f"reloads-{name}"
        with Pulse(place / "pulse", backend) as pulse, make(place, free_port(), backend) as proxy:
            pulse.start()
            await pulse.ready()
            proxy.start()
            await proxy.ready()
            async with Both(proxy.port, options.rate) as load:
                await asyncio.sleep(1)
                for generation in range(1, RELOADS + 1):
                    proxy.write(generation)
                    proxy.reload()
                    await asyncio.sleep(0.4)
                await asyncio.sleep(1)
                report = await load.stop()
        figures[name] = report.plain() | {"generations_seen": len(report.generations)}
    good = figures["forebay"]
    return figures, good["failed"] == 0 and good["closed_unannounced"] == 0 and good["generations_seen"] == RELOADS


async def drains(directory, options):
    """(d) The proxy is stopped gracefully, 5 times, while a replica takes the new connections.

    The client does what a balancer does: from the signal on it opens connections to the replica, and goes on with those
    it has until it is told otherwise.
    """
    figures = {}
    for name, make in PROXIES:
        backend = free_port()
        place = directory / f"drains-{name}"
        ended_well = []
        with Pulse(place / "pulse", backend) as pulse:
            pulse.start()
            await pulse.ready()
            proxies = [make(place / "0", free_port(), backend).start()]
            try:
                await proxies[0].ready()
                async with Both(proxies[0].port, options.rate) as load:
                    await asyncio.sleep(1)
                    for n in range(1, REPLACEMENTS + 1):
                        proxies.append(make(place / str(n), free_port(), backend).start())
                        await proxies[n].ready()
                        load.turn_to(proxies[n].port)
                        ended_well.append(await proxies[n - 1].drain())
                        await asyncio.sleep(0.5)
                    report = await load.stop()
            finally:
                for proxy in proxies:
                    proxy.end()
        figures[name] = report.plain() | {"ended_well": all(ended_well)}
    good = figures["forebay"]
    return figures, good["failed"] == 0 and good["ended_well"]


async def handovers(directory, options):
    """(d) The proxy hands its sockets to a successor, 5 times, under load (nginx: USR2, then QUIT)."""
    figures = {}
    for name, make in PROXIES:
        backend = free_port()
        place = directory / f"handover-{name}"
        with Pulse(place / "pulse", backend) as pulse, make(place / "proxy", free_port(), backend) as proxy:
            pulse.start()
            await pulse.ready()
            proxy.start()
            await proxy.ready()
            async with Both(proxy.port, options.rate) as load:
                await asyncio.sleep(1)
                ended_well = []
                for _ in range(REPLACEMENTS):
                    ended_well.append(await proxy.upgrade())
                    await asyncio.sleep(0.5)
                report = await load.stop()
        figures[name] = report.plain() | {"ended_well": all(ended_well)}
    good = figures["forebay"]
    return figures, good["failed"] == 0 and good["ended_well"]
