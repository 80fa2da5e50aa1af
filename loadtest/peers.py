#!/usr/bin/env python3
"""Measures forebay beside nginx, HAProxy, Apache Traffic Server and Varnish, and prints Markdown tables; `make peers` runs it.

    python3 loadtest/peers.py [--only hit-1k,miss] [--peers forebay,nginx] [--rounds 5] [--seconds 5] [--forebay PATH]
                              [--picture docs/peers.svg] [--from target/peers/peers.json] [--here]

All run at once on one core, and are loaded in turn, in alternating rounds, from another core, where the origin is too. A cell is the
median of the rounds. Before each row every proxy has to show that its answers are whole and come from its cache, or from the
origin where the row says so, and after each round the origin's counter has to agree; a peer that does not is "failed" in that row.

As root they run in a network namespace of their own, so that the machine's packet filter costs nobody anything, and with a congestion
control that does not pace: BBR, where it is the machine's, holds large bodies on loopback back to a third. `--here` stays outside.

Installs what it needs and builds forebay, unless --forebay names one. Writes peers.json, peers.md and peers.svg to target/peers. Exits
1 when forebay misses a goal, 2 when something cannot be measured. Takes forty minutes and two cores, and needs them to itself.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import cost
import figures
import rig
from rig import ROOT, free_port

from peers import loads, picture, tables
from peers.proxies import BUDGET_MIB, PEERS, Missing, Origin, certificate
from peers.rows import EVERYTHING, IDLE, LATENCY, ROWS

OUT = ROOT / "target/peers"
# Of the largest rate that a proxy made: the load under which its latency is looked at.
SHARE = 0.5
IDLE_CONNECTIONS = 5000


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(EVERYTHING), help="by comma: " + ", ".join(EVERYTHING))
    parser.add_argument("--peers", default=",".join(PEERS), help="by comma: " + ", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of each row")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each round")
    parser.add_argument("--forebay", type=Path, help="the program to measure, instead of building it")
    parser.add_argument("--picture", type=Path, help="where the picture goes besides target/peers")
    parser.add_argument("--here", action="store_true", help="in the machine's own network, with its packet filter and its congestion control")
    parser.add_argument("--from", dest="again", type=Path, help="prints and draws these figures again, measures nothing")
    chosen = parser.parse_args()
    chosen.only, chosen.peers = chosen.only.split(","), chosen.peers.split(",")
    for given, known in ((chosen.only, EVERYTHING), (chosen.peers, PEERS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    if chosen.rounds < 1 or chosen.seconds < 1:
        parser.error("rounds and seconds are 1 at least")
    return chosen


def cores():
    """The proxies' core and the load's; ends the program where there are no two."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        stop("one core only: proxy and load would take each other's time, and the figures would say nothing")
    for core in allowed[:2]:
        if not shutil.which("taskset") or subprocess.run(["taskset", "-c", str(core), "true"], capture_output=True).returncode:
            stop(f"no program can be pinned to core {core} here (taskset, package util-linux)")
    return allowed[0], allowed[1]


def stop(why):
    print(f"peers: {why}", file=sys.stderr)
    sys.exit(2)


def say(what):
    print(f"peers: {what}", file=sys.stderr, flush=True)


def prepare(chosen):
    """Installs the programs that are missing, and builds ours; gives why a peer cannot take part."""
    missing = [package for program, package in loads.PACKAGES.items() if not shutil.which(program, path=paths())]
    if missing and subprocess.run([ROOT / "scripts/apt-install", *missing]).returncode:
        stop(f"these packages are needed: {' '.join(missing)}")
    if chosen.forebay:
        rig.FOREBAY = chosen.forebay.resolve()
    elif "forebay" in chosen.peers:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)
    absent = {}
    for name in chosen.peers:
        try:
            PEERS[name].check()
        except Missing:
            if name != "forebay":
                subprocess.run([ROOT / "scripts/apt-install", PEERS[name].package], stdout=sys.stderr)
            try:
                PEERS[name].check()
            except Missing as why:
                say(f"{name} is left out: {why}")
                absent[name] = str(why)
    figures.allow_files()
    return absent


def paths():
    return os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


class Fleet:
    """The origin and all proxies, running; those that do not are in `broken`, with the reason."""

    def __init__(self, directory, names, cores, log=False):
        self.directory, self.names, self.cores, self.log = directory, names, cores, log
        self.proxies, self.broken, self.started = {}, {}, []
        directory.mkdir(parents=True)

    async def __aenter__(self):
        try:
            self.origin = Origin(self.directory / "origin", free_port())
            self.started.append(self.origin)
            self.origin.start(core=self.cores[1])
            await self.origin.ready()
            pem = certificate(self.directory)
            for name in self.names:
                await self.add(name, pem)
        except BaseException:
            self.end()
            raise
        return self

    async def add(self, name, pem):
        try:
            proxy = PEERS[name](self.directory / name, self.origin, pem, self.log)
            self.started.append(proxy)
            proxy.start(core=self.cores[0])
            await proxy.ready()
            proxy.pin(self.cores[0])
            self.proxies[name] = proxy
        except Exception as why:
            say(f"{name} does not run: {why}")
            self.broken[name] = str(why)

    async def __aexit__(self, *_):
        self.end()

    def end(self):
        for one in reversed(self.started):
            try:
                one.end()
            except Exception:
                traceback.print_exc()
        shutil.rmtree(self.directory, ignore_errors=True)


class Log:
    """How many lines an access log has got since it was last asked."""

    def __init__(self, path):
        self.path = path

    def lines(self):
        """Counts what is there, and makes room."""
        if not self.path or not self.path.exists():
            return 0
        with open(self.path, "rb") as file:
            count = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
        os.truncate(self.path, 0)
        return count


async def one_run(row, proxy, origin, seconds, core, tag, proxy_core):
    """Loads a proxy for some seconds; gives what a request of it cost."""
    if proxy.has_ended():
        raise RuntimeError(f"{proxy.name} ended: {proxy.last_words()}")
    log = Log(proxy.log)
    if row.logged:
        await asyncio.sleep(1.5)
        log.lines()
    fetched = origin.count() if proxy.name != "floor" else None
    spent, busy, begun = proxy.cpu(), loads.busy_seconds(proxy_core), time.monotonic()
    run = row.load(row, proxy.port_for(row), seconds, core, proxy.directory, tag)
    spent, busy, took = proxy.cpu() - spent, loads.busy_seconds(proxy_core) - busy, time.monotonic() - begun
    loads.judge(row, run, None if fetched is None else origin.count() - fetched)
    count = run.octets / (1 << 20) if row.by_octets else run.requests
    figure = {
        "micros": spent * 1e6 / count,
        "per_second": count / run.seconds,
        "octets_per_second": run.octets / run.seconds,
        "busy": spent / run.seconds,
        "others": max(0.0, busy - spent) / took,
    }
    if row.logged:
        # Those who write in the background, and once a second, have done so then.
        await asyncio.sleep(3)
        figure["logged"] = min(1.0, log.lines() / run.requests)
        if figure["logged"] < 0.5:
            raise RuntimeError(f"{figure['logged']:.0%} of the requests are in the access log")
    return figure


async def measure(key, fleet, chosen):
    """A row: for each proxy the medians of its rounds, or why there are none."""
    row = ROWS[key]
    say(row.title)
    cells = {name: {"failed": why} for name, why in fleet.broken.items()}
    tags, rounds, ciphers = {}, {}, {}
    for name, proxy in fleet.proxies.items():
        if not row.is_for(proxy):
            continue
        try:
            tags[name], ciphers[name] = loads.probe(row, proxy, None if name == "floor" else fleet.origin)
            await one_run(row, proxy, fleet.origin, 1, fleet.cores[1], tags[name], fleet.cores[0])
            rounds[name] = []
        except Exception as why:
            fail(cells, name, why)
    for number in range(chosen.rounds):
        # Every other round goes backwards, so that nobody always comes after the same neighbour.
        for name in sorted(rounds, key=list(rounds).index, reverse=bool(number % 2)):
            if name in cells:
                continue
            try:
                figure = await one_run(row, fleet.proxies[name], fleet.origin, chosen.seconds, fleet.cores[1], tags[name], fleet.cores[0])
                rounds[name].append(figure)
            except Exception as why:
                fail(cells, name, why)
    for name, all_rounds in rounds.items():
        if name not in cells:
            keys = all_rounds[0]
            cells[name] = {key: round(statistics.median(figure[key] for figure in all_rounds), 3) for key in keys}
            cells[name]["rounds"] = [{key: round(value, 3) for key, value in figure.items()} for figure in all_rounds]
            cells[name] |= {"cipher": ciphers[name]} if row.tls else {}
            figure = cells[name]
            say(f"    {name}: {figure['micros']:.1f} µs, {figure['per_second']:.0f}/s, core {figure['busy']:.0%} busy with it")
    return cells


def fail(cells, name, why):
    say(f"    {name} failed: {why}")
    cells[name] = {"failed": str(why)}


async def latency(fleet, chosen, known):
    """p99 and p99.9 at half of each proxy's own largest rate, as an open loop."""
    row = ROWS["hit-1k"]
    say("latency at half of each proxy's largest rate")
    cells = {name: {"failed": why} for name, why in fleet.broken.items()}
    rates, rounds = {}, {}
    for name, proxy in fleet.proxies.items():
        if not row.is_for(proxy):
            continue
        try:
            loads.probe(row, proxy, None if name == "floor" else fleet.origin)
            most = known.get(name, {}).get("per_second")
            if not most:
                most = (await one_run(row, proxy, fleet.origin, chosen.seconds, fleet.cores[1], None, fleet.cores[0]))["per_second"]
            rates[name], rounds[name] = int(most * SHARE), []
        except Exception as why:
            fail(cells, name, why)
    for number in range(chosen.rounds):
        for name in sorted(rates, key=list(rates).index, reverse=bool(number % 2)):
            if name in cells:
                continue
            try:
                proxy = fleet.proxies[name]
                rounds[name].append(loads.open_loop(row, proxy.port, rates[name], chosen.seconds, fleet.cores[1], fleet.directory))
            except Exception as why:
                fail(cells, name, why)
    for name, all_rounds in rounds.items():
        if name not in cells:
            cells[name] = {key: round(statistics.median(figure[key] for figure in all_rounds)) for key in all_rounds[0]}
            cells[name] |= {"rate": rates[name], "rounds": all_rounds}
            say(f"    {name}: p99 {cells[name]['p99']} µs, p99.9 {cells[name]['p99.9']} µs at {rates[name]}/s")
    return cells


async def idle(directory, names, cores):
    """Resident memory of an idle connection, each after one request of plain HTTP/1.1, of a proxy that did nothing else."""
    say(f"memory of {IDLE_CONNECTIONS} idle connections")
    cells, path = {}, ROWS["hit-1k"].path
    for name in names:
        if not ROWS["hit-1k"].is_for(PEERS[name]) or name == "floor":
            continue
        async with Fleet(directory / name, [name], cores) as fleet:
            if name in fleet.broken:
                cells[name] = {"failed": fleet.broken[name]}
                continue
            proxy, kept = fleet.proxies[name], []
            memory = lambda: sum(own_kib(pid) for pid in proxy.pids())
            try:
                # What the first requests cost for good is not the connections'.
                for writer in await cost.visits(proxy.port, 200, path):
                    writer.close()
                await asyncio.sleep(3)
                before = memory()
                kept = await cost.visits(proxy.port, IDLE_CONNECTIONS, path)
                await asyncio.sleep(3)
                after = memory()
                if gone := sum(writer.transport.is_closing() for writer in kept):
                    raise RuntimeError(f"{gone} of {IDLE_CONNECTIONS} idle connections were closed")
                cells[name] = {"kib": round((after - before) / IDLE_CONNECTIONS, 2), "before_kib": before, "after_kib": after}
                say(f"    {name}: {cells[name]['kib']} KiB")
            except Exception as why:
                fail(cells, name, why)
            finally:
                for writer in kept:
                    writer.close()
    return cells


def own_kib(pid):
    """Resident memory of one process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def everything(chosen, directory, absent, cores):
    results = {}
    names = [name for name in chosen.peers if name not in absent]
    plain = [key for key in chosen.only if key in ROWS and not ROWS[key].logged]
    logged = [key for key in chosen.only if key in ROWS and ROWS[key].logged]
    if plain or LATENCY in chosen.only:
        async with Fleet(directory / "plain", names, cores) as fleet:
            for key in sorted(plain, key=list(ROWS).index):
                results[key] = await measure(key, fleet, chosen)
            if LATENCY in chosen.only:
                results[LATENCY] = await latency(fleet, chosen, results.get("hit-1k", {}))
    if logged:
        async with Fleet(directory / "logged", [name for name in names if name != "floor"], cores, log=True) as fleet:
            for key in logged:
                results[key] = await measure(key, fleet, chosen)
    if IDLE in chosen.only:
        results[IDLE] = await idle(directory / "idle", names, cores)
    for cells in results.values():
        cells.update({name: {"failed": why} for name, why in absent.items()})
    return results


def about(chosen, absent, cores, load):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    siblings = Path(f"/sys/devices/system/cpu/cpu{cores[0]}/topology/thread_siblings_list")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "forebay": str(chosen.forebay or "built here"),
        "versions": {name: PEERS[name].version() for name in chosen.peers if name not in absent},
        "kernel": platform.release(),
        "processor": next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine()),
        "cores": os.cpu_count(),
        "proxy_core": cores[0],
        "load_core": cores[1],
        "siblings_of_proxy_core": siblings.read_text().strip() if siblings.exists() else None,
        "load_average_before": load,
        "congestion_control": rig.CONGESTION.read_text().strip(),
        "rounds": chosen.rounds,
        "seconds": chosen.seconds,
    }


def work_directory():
    """Where the proxies keep what they keep: in memory, if there is enough of it."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 6 * BUDGET_MIB << 20
    place = Path(tempfile.mkdtemp(prefix="forebay-peers-", dir=memory if roomy else OUT))
    # Traffic Server becomes another user, who has to get in.
    place.chmod(0o755)
    return place


def publish(results, facts, chosen):
    """Writes what was measured, and prints it."""
    text = tables.markdown(results, facts)
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "peers.json").write_text(json.dumps({"about": facts, "results": results}, indent=2) + "\n")
    (OUT / "peers.md").write_text(text)
    for path in filter(None, (OUT / "peers.svg", chosen.picture)):
        path.write_text(picture.draw(results, facts))
    print(text)


def main():
    chosen = options()
    if chosen.again:
        kept = json.loads(chosen.again.read_text())
        publish(kept["results"], kept["about"], chosen)
        return
    pinned = cores()
    # So that an end from outside tidies up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    absent = prepare(chosen)
    if not chosen.here:
        rig.go_inside()
    if load > 0.5:
        say(f"the load average is {load:.1f}: others work on this machine, and the figures will show it")
    available = next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemAvailable:")) >> 10
    if available < 2 * len(chosen.peers) * BUDGET_MIB:
        say(f"{available} MiB of memory are free, and each proxy may fill a cache of {BUDGET_MIB}: the machine may swap")
    OUT.mkdir(parents=True, exist_ok=True)
    directory = work_directory()
    figures.prefer()
    try:
        results = asyncio.run(everything(chosen, directory, absent, pinned))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    publish(results, about(chosen, absent, pinned, load), chosen)
    sys.exit(tables.verdict(results))


if __name__ == "__main__":
    main()
