"""What a request costs in processor time, and what an idle connection costs in memory."""

import asyncio
import re
import statistics
import subprocess

from rig import PATH, PROXIES, Forebay, Nginx, Origin, cpu_seconds, free_port, resident_kib

PROXY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = 64
IDLE = 5000


def wrk(port, seconds):
    """Requests that wrk completed, all of them 2xx and whole."""
    command = ["taskset", "-c", str(LOAD_CORE), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}", f"http://127.0.0.1:{port}{PATH}"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Socket errors" in said or "Non-2xx" in said:
        raise RuntimeError(f"wrk saw errors: {said}")
    return int(re.search(r"(\d+) requests in", said).group(1))


async def cpu(directory, options):
    """(e) CPU a request, passed through: 1 KiB, 64 kept connections, each proxy with one thread on one core."""
    figures = {}
    conditions = {
        "access log off": ("off", True),
        "access log to a file": ("file", True),
        "access log off, nginx with a bare proxy_pass": ("off", False),
    }
    for number, (condition, (log, kept)) in enumerate(conditions.items()):
        place = directory / f"cpu-{number}"
        origin_port = free_port()
        access = {name: str(place / f"{name}.log") if log == "file" else "off" for name in ("forebay", "nginx")}
        with (
            Origin(place / "origin", origin_port) as origin,
            Forebay(place / "forebay", free_port(), origin_port, threads=1, access=access["forebay"]) as forebay,
            Nginx(place / "nginx", free_port(), origin_port, workers=1, access=access["nginx"], kept=kept) as nginx,
        ):
            origin.start(core=LOAD_CORE)
            await origin.ready()
            for proxy in (forebay, nginx):
                proxy.start(core=PROXY_CORE)
                await proxy.ready()
                wrk(proxy.port, 2)
            micros = {"forebay": [], "nginx": []}
            for _ in range(options.rounds):
                for proxy in (nginx, forebay):
                    before = cpu_seconds(proxy.pid)
                    requests = wrk(proxy.port, options.seconds)
                    micros[proxy.name].append((cpu_seconds(proxy.pid) - before) * 1e6 / requests)
        medians = {name: statistics.median(values) for name, values in micros.items()}
        figures[condition] = {
            name: {"micros_per_request": round(medians[name], 1), "rounds": [round(v, 1) for v in micros[name]]} for name in micros
        } | {"ratio": round(medians["forebay"] / medians["nginx"], 2)}
    return figures, figures["access log off"]["ratio"] <= 0.7


async def visit(port, kept, turns, path):
    """A connection that has had one request and then idles."""
    async with turns:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=4096)
        writer.write(f"GET {path} HTTP/1.1\r\nHost: load.test\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head)
        await reader.readexactly(1024)
        kept.append(writer)


async def visits(port, count, path=PATH):
    kept, turns = [], asyncio.Semaphore(64)
    await asyncio.gather(*(visit(port, kept, turns, path) for _ in range(count)))
    return kept


async def memory(directory, _options):
    """(f) Resident memory an idle connection: 5,000 of plain HTTP/1.1, each after one request."""
    figures = {}
    for name, make in PROXIES:
        place = directory / f"memory-{name}"
        origin_port = free_port()
        with Origin(place / "origin", origin_port) as origin, make(place, free_port(), origin_port) as proxy:
            origin.start()
            await origin.ready()
            proxy.start()
            await proxy.ready()
            # What the first requests cost for good is not the connections'.
            for writer in await visits(proxy.port, 200):
                writer.close()
            await asyncio.sleep(3)
            before = resident_kib(proxy.pid)
            kept = await visits(proxy.port, IDLE)
            await asyncio.sleep(3)
            after = resident_kib(proxy.pid)
            gone = sum(writer.is_closing() or writer.transport.get_extra_info("socket").fileno() < 0 for writer in kept)
            for writer in kept:
                writer.close()
        figures[name] = {
            "kib_per_connection": round((after - before) / IDLE, 2),
            "before_kib": before,
            "after_kib": after,
            "closed_meanwhile": gone,
        }
    good = figures["forebay"]
    return figures, good["kib_per_connection"] <= 4 and good["closed_meanwhile"] == 0
