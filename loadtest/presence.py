"""Backends that are not there: absent at the start, and restarted under load."""

import asyncio
import signal
import time

from load import Load
from rig import BODY, PATH, PROXIES, Pulse, free_port

ABSENT = 4.0
CLIENTS = 20
RESTARTS = 3
GAP = 0.5
"""How long the backend is away in a restart."""


async def one(port, results):
    """One GET on a connection of its own: its status, and when it was answered."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read(-1)
        writer.close()
        whole = answer.endswith(b"\r\n\r\n" + BODY)
        status = answer[9:12].decode() if whole or not answer.startswith(b"HTTP/1.1 200") else "200 cut"
        results.append((status or "closed", time.monotonic()))
    except OSError as error:
        results.append((type(error).__name__, time.monotonic()))


async def absent(directory, _options):
    """(a) The backend is absent for 4 s while 20 clients wait."""
    figures = {}
    for name, make in PROXIES:
        backend = free_port()
        with make(directory / f"absent-{name}", free_port(), backend) as proxy:
            proxy.start()
            await proxy.ready()
            results = []
            begun = time.monotonic()
            clients = [asyncio.create_task(one(proxy.port, results)) for _ in range(CLIENTS)]
            await asyncio.sleep(ABSENT)
            with Pulse(directory / f"absent-{name}-pulse", backend) as pulse:
                pulse.start()
                started = time.monotonic()
                await asyncio.wait(clients, timeout=30)
            statuses = [status for status, _ in results]
            figures[name] = {
                "statuses": {status: statuses.count(status) for status in sorted(set(statuses))},
                "answered": len(results),
                "slowest_after_backend_start_s": round(max(at for _, at in results) - started, 3),
                "times_after_backend_start_s": sorted(round(at - started, 3) for _, at in results),
                "waited_s": round(max(at for _, at in results) - begun, 3),
            }
    good = figures["forebay"]
    met = good["statuses"] == {"200": CLIENTS} and good["slowest_after_backend_start_s"] <= 0.5
    return figures, met


async def restarted(directory, options):
    """(b) The backend is restarted, by SIGTERM and by SIGKILL, under a trickle and under 2,000 requests a second."""
    figures = {}
    met = True
    for rate in (20, options.rate):
        for how in (signal.SIGTERM, signal.SIGKILL):
            row = figures[f"{rate}/s, {how.name}"] = {}
            for name, make in PROXIES:
                backend = free_port()
                place = directory / f"restarted-{name}-{rate}-{how.name}"
                with Pulse(place / "pulse", backend) as pulse, make(place, free_port(), backend) as proxy:
                    pulse.start()
                    await pulse.ready()
                    proxy.start()
                    await proxy.ready()
                    # Everybody who asks while the backend is away waits on a connection of their own.
                    async with Load(("127.0.0.1", proxy.port), rate, connections=4 * options.rate) as load:
                        await asyncio.sleep(1)
                        for _ in range(RESTARTS):
                            pulse.signal(how)
                            await pulse.ended()
                            await asyncio.sleep(GAP)
                            pulse.start()
                            await asyncio.sleep(2)
                        report = await load.stop()
                row[name] = report.plain()
            met = met and row["forebay"]["failed"] == 0
    return figures, met
