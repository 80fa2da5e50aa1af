"""What a proxy takes while it is loaded: processor time, memory, open files and fetches, each second."""

import asyncio
import os
import time
from pathlib import Path

from caching import peak_kib, pids, unmapped_kib
from rig import cpu_seconds, resident_kib

EVERY = 1.0
# As /proc/net/tcp writes it.
ESTABLISHED = "01"


def open_files(pid):
    return sum(len(os.listdir(f"/proc/{each}/fd")) for each in pids(pid))


def clients(port):
    """Connections to this port that both ends hold open. One that only the proxy still holds is none of these: it leaks."""
    wanted = f":{port:04X}"
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(row[1].endswith(wanted) and row[3] == ESTABLISHED for row in rows)


def memory_kib(pid):
    """Resident, and what is held by a descriptor only."""
    return resident_kib(pid) + unmapped_kib(pid)


class Watch:
    """Looks at the proxy from `async with` to its end."""

    def __init__(self, proxy, origin):
        self.proxy, self.origin = proxy, origin
        self.samples = []

    async def __aenter__(self):
        self.begun = time.monotonic()
        self.cpu_before, self.fetched_before = cpu_seconds(self.proxy.pid), self.origin.count()
        self.task = asyncio.create_task(self.look())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        self.seconds = time.monotonic() - self.begun
        if self.proxy.process.poll() not in (None, 0):
            raise RuntimeError(f"{self.proxy.name} ended: {self.proxy.errors.read_text(errors='replace')[-300:]}")
        self.cpu = cpu_seconds(self.proxy.pid) - self.cpu_before
        self.fetches = self.origin.count() - self.fetched_before
        besides = max((sample["unmapped_kib"] for sample in self.samples), default=0)
        self.peak_kib = peak_kib(self.proxy.pid) + besides

    async def look(self):
        while True:
            try:
                pid = self.proxy.pid
                self.samples.append(
                    {
                        "at": time.monotonic() - self.begun,
                        "memory_kib": memory_kib(pid),
                        "unmapped_kib": unmapped_kib(pid),
                        "files": max(0, open_files(pid) - clients(self.proxy.port)),
                        "cpu": cpu_seconds(pid) - self.cpu_before,
                    }
                )
            except OSError:
                # A worker that ended while it was looked at: the next look shows what is there then.
                pass
            await asyncio.sleep(EVERY)

    def figure(self, requests):
        """The costs of so many requests."""
        return {
            "fetches": self.fetches,
            "cpu_micros": round(self.cpu * 1e6 / max(1, requests), 1),
            "cpu_cores": round(self.cpu / self.seconds, 2),
            "peak_mib": round(self.peak_kib / 1024, 1),
        }
