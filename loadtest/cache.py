#!/usr/bin/env python3
"""Measures forebay's cache beside nginx's and Varnish's and prints a Markdown table; `make cache-figures` runs it.

    python3 loadtest/cache.py [--only a,e] [--proxies nginx,varnish] [--rounds 3] [--seconds 5] [--image-seconds 19]
        [--cgroup DIR]

(a) 500 clients want the list of images that takes 19 s to build
(b) how long after the origin's first octet each of 500 clients has its own
(c) memory after filling with ten times the budget while 200 clients read slowly what is evicted meanwhile
(d) what a small entry costs besides its octets
(e) processor time of a hit and of a miss
(f) 100 clients want what may not be stored

Installs and builds what it needs; FOREBAY_PROGRAM names another forebay than the one it would build. Writes
loadtest/out/cache.md and cache.json. Exits 1 when forebay misses a goal, 2 when something cannot be measured. Takes
ten minutes and both cores: (e) pins the proxy to one and the load to the other.
"""

import argparse
import asyncio
import json
import os
import platform
import random
import re
import shutil
import statistics
import subprocess
import sys
import time
import traceback
from collections import Counter

import cost
import figures
from caching import BUDGET_MIB, PROXIES, SIZES, Cgroup, Files, Images, NoCgroup, Slow, peak_kib, socket_kib, unmapped_kib
from crowd import SlowReaders, crowd, fetch_all
from rig import GIVEN, OUT, ROOT, build, cpu_seconds, free_port, resident_kib

CLIENTS, UNCACHEABLE_CLIENTS, SLOW_READERS, SMALL_ENTRIES = 500, 100, 200, 100_000
# A client's browser gives up about then.
PATIENCE = 120.0


def report(answers, begun):
    """What became of a crowd."""
    return {
        "failed": sum(answer.failure is not None for answer in answers),
        "failures": dict(Counter(answer.failure for answer in answers if answer.failure)),
        "last_s": round(max(answer.ended for answer in answers) - begun, 2),
    }


async def pair(directory, origin, make, cgroup=None, **settings):
    """The origin and a proxy in front of it, both running."""
    origin.start()
    await origin.ready()
    proxy = make(directory, free_port(), origin.port, **settings)
    proxy.cgroup = cgroup and cgroup.path
    proxy.start()
    await proxy.ready()
    return proxy


async def images(directory, make, options):
    """(a) 500 clients, a list of images that takes 19 s to build."""
    with Images(directory / "origin", free_port(), options.image_seconds) as origin:
        with await pair(directory, origin, make) as proxy:
            begun = time.time()
            answers = await crowd(proxy.port, "/images", CLIENTS, PATIENCE)
            figure = report(answers, begun) | {"fetches": origin.count()}
    return figure, figure["failed"] == 0 and figure["fetches"] == 1


async def first_octet(directory, make, _options):
    """(b) First octet behind the origin's: 500 clients, 1 s to the head, 2 s for the body of 100 kB."""
    with Slow(directory / "origin", free_port()) as origin:
        with await pair(directory, origin, make) as proxy:
            begun = time.time()
            answers = await crowd(proxy.port, "/list?head=1&body=2&size=100000", CLIENTS, PATIENCE)
            about = origin.about("/list")
            figure = report(answers, begun) | {"fetches": about["count"]}
            lags = sorted(answer.first - about["first"] for answer in answers if answer.first)
            if lags:
                at = lambda share: round(lags[int(share * (len(lags) - 1))] * 1000)
                figure |= {"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1)}
    return figure, figure["fetches"] == 1 and figure["failed"] == 0 and figure["max_ms"] < 300


async def uncacheable(directory, make, _options):
    """(f) 100 clients, `no-store`, 1 s to the head, 2 s for the body."""
    with Slow(directory / "origin", free_port()) as origin:
        with await pair(directory, origin, make) as proxy:
            begun = time.time()
            answers = await crowd(proxy.port, "/mine?head=1&body=2&cc=no-store", UNCACHEABLE_CLIENTS, PATIENCE)
            figure = report(answers, begun) | {"fetches": origin.about("/mine")["count"]}
    return figure, figure["failed"] == 0 and figure["last_s"] <= 4.5


def mixture():
    """Targets of all sizes: ten times the budget in octets, a tenth of it in bodies of at most 10 kB."""
    draw = random.Random(1)
    small = [size for size in SIZES if size <= 10_000]
    left = {"small": BUDGET_MIB << 20, "any": 9 * BUDGET_MIB << 20}
    number = 0
    while any(octets > 0 for octets in left.values()):
        kind = "small" if left["small"] > 0 and draw.random() < 0.99 or left["any"] <= 0 else "any"
        size = draw.choice(small if kind == "small" else SIZES)
        left[kind] -= size
        number += 1
        yield f"/o/{number}/{size}"


async def memory(directory, make, options):
    """(c) Memory after ten times the budget, with 200 slow readers of what is evicted meanwhile."""
    cgroup = Cgroup(options.cgroup, f"figures-{make.__name__}") if options.cgroup else None
    try:
        return await fill_and_read(directory, make, cgroup)
    finally:
        if cgroup:
            await cgroup.remove()


async def fill_and_read(directory, make, cgroup):
    megabyte = min(SIZES, key=lambda size: abs(size - 2**20))
    with Files(directory / "origin", free_port()) as origin:
        with await pair(directory, origin, make, cgroup) as proxy:
            empty, sockets = resident_kib(proxy.pid), socket_kib()
            readers = SlowReaders(proxy.port)
            targets = [f"/o/slow-{n}/{megabyte}" for n in range(SLOW_READERS)]
            await fetch_all(proxy.port, targets, 16)
            await readers.begin(targets)
            octets, failed = await fetch_all(proxy.port, mixture(), 32)
            # Those who tidy up in the background have done so then.
            await asyncio.sleep(12)
            figure = {
                "filled_mib": octets >> 20,
                "failures": dict(failed),
                "failed": sum(failed.values()),
                "empty_mib": empty >> 10,
                "resident_mib": resident_kib(proxy.pid) >> 10,
                "peak_mib": peak_kib(proxy.pid) >> 10,
                "unmapped_mib": unmapped_kib(proxy.pid) >> 10,
                "sockets_mib": max(0, socket_kib() - sockets) >> 10,
                **(cgroup.figure() if cgroup else {}),
                "files_mib": proxy.stored_kib() >> 10 if hasattr(proxy, "stored_kib") else None,
                "whole": await readers.finish(),
            }
    # What sockets hold is the kernel's to bound, and stands beside.
    held = max(figure["peak_mib"] + figure["unmapped_mib"], figure.get("cgroup_without_sockets_mib") or 0)
    return figure, held <= 1.3 * BUDGET_MIB and figure["whole"] == SLOW_READERS and not failed


async def overhead(directory, make, _options):
    """(d) What an entry of 100 octets costs besides its octets: 100,000 of them."""
    # Each file takes a block of the disk at least, which is more than the budget.
    settings = {"open_files": False, "files_mib": 1024} if make.__name__ == "CachingNginx" else {}
    with Files(directory / "origin", free_port()) as origin:
        with await pair(directory, origin, make, **settings) as proxy:
            head = f"GET /o/1/100 HTTP/1.1\r\nHost: load.test\r\nConnection: close\r\n\r\n".encode()
            reader, writer = await asyncio.open_connection("127.0.0.1", origin.port)
            writer.write(head)
            answer = await reader.read()
            writer.close()
            # What the first requests cost for good is not the entries'.
            await fetch_all(proxy.port, (f"/o/warm-{n}/100" for n in range(5000)), 32)
            before = resident_kib(proxy.pid) + unmapped_kib(proxy.pid)
            _, failed = await fetch_all(proxy.port, (f"/o/small-{n}/100" for n in range(SMALL_ENTRIES)), 32)
            if failed:
                raise RuntimeError(f"{failed} with small entries")
            growth = (resident_kib(proxy.pid) + unmapped_kib(proxy.pid) - before) * 1024 / SMALL_ENTRIES
            files = {"files_per_entry": round(proxy.stored_kib() * 1024 / SMALL_ENTRIES)} if hasattr(proxy, "stored_kib") else {}
    # The answer as the origin sent it, and the target.
    octets = len(answer) + len(f"/o/small-{SMALL_ENTRIES}/100")
    figure = {"bytes_per_entry": round(growth), "octets": octets, "overhead": round(growth - octets), **files}
    return figure, figure["overhead"] <= 250


UNIQUE = """
local n = 0
local run = os.time() * 1000
function request()
  n = n + 1
  return wrk.format("GET", "/o/" .. run .. "-" .. n .. "/1024")
end
"""


def wrk(port, seconds, script=None):
    """Requests that wrk completed, all of them 2xx and whole."""
    arguments = ["-s", script] if script else []
    command = ["taskset", "-c", str(cost.LOAD_CORE), "wrk", "-t1", f"-c{cost.CONNECTIONS}", f"-d{seconds}", "--timeout", "20s", *arguments]
    said = subprocess.run([*command, f"http://127.0.0.1:{port}/o/hot/1024"], capture_output=True, text=True, check=True).stdout
    if "Socket errors" in said or "Non-2xx" in said:
        raise RuntimeError(f"wrk saw errors: {said}")
    return int(re.search(r"(\d+) requests in", said).group(1))


async def cpu(directory, makes, options):
    """(e) Processor time a request: 1 KiB, 64 kept connections, each proxy on one core; hits, then misses."""
    script = directory / "unique.lua"
    directory.mkdir(parents=True, exist_ok=True)
    script.write_text(UNIQUE)
    micros = {name: {"hit": [], "miss": []} for name in makes}
    with Files(directory / "origin", free_port()) as origin:
        origin.start(core=cost.LOAD_CORE)
        await origin.ready()
        threads = {"forebay": {"threads": 1}, "nginx": {"workers": 1}, "varnish": {"threads": 1}}
        proxies = [make(directory / name, free_port(), origin.port, **threads[name]) for name, make in makes.items()]
        try:
            for proxy in proxies:
                proxy.start(core=cost.PROXY_CORE)
                await proxy.ready()
                wrk(proxy.port, 1)
            for _ in range(options.rounds):
                for kind, lua in (("hit", None), ("miss", script)):
                    for proxy in proxies:
                        micros[proxy.name][kind].append(micros_each(proxy, kind, options.seconds, lua))
        finally:
            for proxy in proxies:
                proxy.end()
    results = {}
    for name, kinds in micros.items():
        # A median of the rounds that went well would hide that one did not.
        figure = {f"{kind}_micros": None if None in rounds else round(statistics.median(rounds), 1) for kind, rounds in kinds.items()}
        results[name] = figure | {"rounds": {kind: [v and round(v, 1) for v in rounds] for kind, rounds in kinds.items()}}
    return results


def micros_each(proxy, kind, seconds, script):
    """Processor time of each request of a round; None where the proxy served nothing in it, nor when asked once more."""
    for remedy in ("asking once more", "giving this up"):
        before = cpu_seconds(proxy.pid)
        requests = wrk(proxy.port, seconds, script)
        if requests:
            return (cpu_seconds(proxy.pid) - before) * 1e6 / requests
        print(f"    {proxy.name} served nothing in {seconds} s of {kind}: {remedy}", file=sys.stderr, flush=True)
    return None


def beaten(results):
    """Whether forebay's times are no longer than the others'; None where there is nothing to compare."""
    ours = results.get("forebay")
    others = [figure for name, figure in results.items() if name != "forebay"]
    if not ours or not others:
        return None
    if None in (ours["hit_micros"], ours["miss_micros"]):
        return False
    for kind in ("hit_micros", "miss_micros"):
        if ours[kind] > min((figure[kind] for figure in others if figure[kind] is not None), default=ours[kind]):
            return False
    return True


def say_micros(figure):
    def say(micros):
        return "**failed**: nothing served" if micros is None else f"{micros} µs"

    return f"hit {say(figure['hit_micros'])}, miss {say(figure['miss_micros'])}"


def failures(figure):
    why = "".join(f"; {count} × {what}" for what, count in sorted(figure["failures"].items(), key=lambda f: -f[1])[:3])
    return f"{figure['failed']} failed{why}"


def fetches(figure):
    return f"{figure['fetches']} fetch{'es' if figure['fetches'] != 1 else ''}"


def say_memory(f):
    besides = f", {f['unmapped_mib']} MiB memfd" if f["unmapped_mib"] else ""
    besides += f", files {f['files_mib']} MiB" if f["files_mib"] is not None else ""
    if "cgroup_mib" in f:
        parts = {"peak": "cgroup_peak_mib", "kernel": "cgroup_kernel_mib", "sockets": "cgroup_sockets_mib"}
        told = [f"{part} {f[key]}" for part, key in parts.items() if f[key] is not None]
        besides += f", cgroup {f['cgroup_mib']} MiB ({', '.join(told)})"
    return (
        f"{f['resident_mib']} MiB resident (peak {f['peak_mib']}){besides}, sockets {f['sockets_mib']} MiB; "
        f"{f['whole']} of {SLOW_READERS} slow readers whole; {failures(f)}"
    )


def say_overhead(f):
    files = f", and {f['files_per_entry']} in files" if "files_per_entry" in f else ""
    return f"{f['overhead']} bytes ({f['bytes_per_entry']} with its {f['octets']} octets){files}"


FIGURES = {
    "a": (images, "1 fetch, 0 failed", lambda f: f"{fetches(f)}; {failures(f)}; last after {f['last_s']} s"),
    "b": (
        first_octet,
        "1 fetch, all within 300 ms",
        lambda f: f"p50 {f.get('p50_ms')} ms, p99 {f.get('p99_ms')} ms, max {f.get('max_ms')} ms; {fetches(f)}; {failures(f)}",
    ),
    "c": (memory, f"at most {round(1.3 * BUDGET_MIB)} MiB, all whole", say_memory),
    "d": (overhead, "at most 250 bytes", say_overhead),
    "e": (cpu, "at most 1.0 of the better", say_micros),
    "f": (uncacheable, "0 failed, last within 4.5 s", lambda f: f"last after {f['last_s']} s; {failures(f)}; {fetches(f)}"),
}


async def measure(letter, directory, names, options):
    """A figure for each proxy, and whether forebay's is good enough; None where forebay is not measured."""
    what = FIGURES[letter][0]
    if letter == "e":
        results = await cpu(directory, {name: PROXIES[name] for name in names}, options)
        return results, beaten(results)
    results, good = {}, None
    for name in names:
        results[name], met = await what(directory / f"{letter}-{name}", PROXIES[name], options)
        print(f"    {name}: {FIGURES[letter][2](results[name])}", file=sys.stderr, flush=True)
        if name == "forebay":
            good = met
    return results, good


def table(results, names):
    lines = [f"| figure | {' | '.join(names)} | goal | met |", "|---" * (len(names) + 3) + "|"]
    for letter, (row, good) in results.items():
        measure_one, goal, say = FIGURES[letter]
        cells = " | ".join(say(row[name]) for name in names)
        met = {None: "–", True: "yes", False: "**no**"}[good]
        lines.append(f"| {measure_one.__doc__.splitlines()[0]} | {cells} | {goal} | {met} |")
    return "\n".join(lines)


def prepare(names):
    packages = {"wrk": "wrk", "nginx": "nginx-light", "varnishd": "varnish", "taskset": "util-linux", "cc": "gcc"}
    missing = [package for program, package in packages.items() if not shutil.which(program)]
    if missing:
        subprocess.run([ROOT / "scripts/apt-install", *missing], check=True)
    subprocess.run([ROOT / "scripts/venv"], check=True)
    if "forebay" in names:
        build()
    figures.allow_files()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(FIGURES), help="letters, by comma: " + ", ".join(FIGURES))
    parser.add_argument("--proxies", default=",".join(PROXIES), help="by comma: " + ", ".join(PROXIES))
    parser.add_argument("--rounds", type=int, default=3, help="alternating rounds of (e)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each round of (e)")
    parser.add_argument("--image-seconds", type=float, default=19, help="how long a list of images takes in (a)")
    parser.add_argument(
        "--cgroup", metavar="DIR", help="count the memory of (c) by a control group made in DIR: /sys/fs/cgroup/memory (v1), /sys/fs/cgroup (v2)"
    )
    options = parser.parse_args()
    names = options.proxies.split(",")
    prepare(names)
    figures.prefer()
    directory = OUT / time.strftime("cache-%Y%m%d-%H%M%S")
    results, broken = {}, []
    for letter in options.only.split(","):
        print(f"figures: {FIGURES[letter][0].__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            results[letter] = asyncio.run(measure(letter, directory / letter, names, options))
        except NoCgroup as error:
            print(f"figures: --cgroup: {error}", file=sys.stderr)
            broken.append(letter)
        except Exception:
            traceback.print_exc()
            broken.append(letter)
        if letter == "e" and letter in results and any(None in figure.values() for figure in results["e"][0].values()):
            broken.append(letter)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    versions = {name: PROXIES[name].version(None) for name in names}
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": GIVEN or commit,
        "versions": versions,
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }
    text = f"{table(results, names)}\n\n{', '.join(versions.values())}, at {about['commit']}, Linux {about['kernel']}, {about['cores']} cores, {about['date']}.\n"
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / "cache.md").write_text(text)
    plain = {letter: {"met": good, **row} for letter, (row, good) in results.items()}
    (OUT / "cache.json").write_text(json.dumps({"about": about, "figures": plain}, indent=2) + "\n")
    print(text)
    if broken:
        sys.exit(2)
    sys.exit(1 if any(good is False for _, good in results.values()) else 0)


if __name__ == "__main__":
    main()
