#!/usr/bin/env python3
"""Measures forebay beside nginx and prints a Markdown table; `make figures` runs it.

    python3 loadtest/figures.py [--only a,e] [--rounds 5] [--seconds 5] [--rate 2000]

Installs and builds what it needs. Writes loadtest/out/figures.md and figures.json. Exits 1 when a goal is missed, 2 when
something cannot be measured. Takes five minutes and both cores: (e) pins the proxy to one and the load to the other.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
import traceback

import changes
import cost
import presence
from rig import OUT, ROOT, build

FIGURES = {
    "a": (presence.absent, "all 200, each within 0.5 s of the backend's start"),
    "b": (presence.restarted, "0 failed"),
    "c": (changes.reloads, "0 failed, 0 connections closed unannounced"),
    "d": (changes.drains, "0 failed"),
    "h": (changes.handovers, "0 failed"),
    "e": (cost.cpu, "at most 0.7 of nginx"),
    "f": (cost.memory, "at most 4 KiB, 2 as the aim"),
}


def options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(FIGURES), help="letters, by comma: " + ", ".join(FIGURES))
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds of (e)")
    parser.add_argument("--seconds", type=int, default=5, help="seconds of each round of (e)")
    parser.add_argument("--rate", type=int, default=2000, help="requests a second in (b), (c), (d)")
    return parser.parse_args()


def prepare():
    """Installs the programs that are missing, and builds ours."""
    packages = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux"}
    missing = [package for program, package in packages.items() if not shutil.which(program)]
    if missing:
        subprocess.run([ROOT / "scripts/apt-install", *missing], check=True)
    build()
    command = ["cargo", "build", "--release", "--locked", "--quiet"]
    subprocess.run([*command, "--target-dir", ROOT / "target/pulse"], cwd=ROOT / "docker/apps/pulse", check=True)
    allow_files()


def allow_files():
    """Lets us and our children have the open files that thousands of connections are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 20_000
    if soft < wanted:
        if hard < wanted:
            sys.exit(f"figures: {wanted} open files are needed and {hard} allowed; see `ulimit -Hn`")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def prefer():
    """Asks the kernel to run us before our neighbours: a client that comes late measures itself. Children inherit it."""
    try:
        os.nice(-10)
    except PermissionError:
        print("figures: not root, so other work on this machine shows in the times", file=sys.stderr)


def rows(letter, result):
    """A figure's rows of the table: what, forebay, nginx."""
    if letter == "a":
        say = lambda f: f"{statuses(f['statuses'])}; last {f['slowest_after_backend_start_s']:+.3f} s after the backend's start"
        yield "backend absent 4 s, 20 clients", say(result["forebay"]), say(result["nginx"])
    elif letter == "b":
        for what, row in result.items():
            yield f"backend restarted {presence.RESTARTS} times, {what}", load(row["forebay"]), load(row["nginx"])
    elif letter in "cdh":
        what = {
            "c": f"{changes.RELOADS} reloads under load",
            "d": f"{changes.REPLACEMENTS} drains under load, a replica taking over",
            "h": f"{changes.REPLACEMENTS} hand-overs to a successor under load",
        }[letter]
        yield what, load(result["forebay"]), load(result["nginx"])
    elif letter == "e":
        for log, row in result.items():
            say = lambda f: f"{f['micros_per_request']} µs"
            yield f"CPU a request, {log}", f"{say(row['forebay'])} (ratio {row['ratio']})", say(row["nginx"])
    elif letter == "f":
        say = lambda f: f"{f['kib_per_connection']} KiB"
        yield f"memory an idle connection, {cost.IDLE}", say(result["forebay"]), say(result["nginx"])


def statuses(counts):
    return ", ".join(f"{count} × {status}" for status, count in counts.items())


def load(figure):
    reasons = "".join(f"; {count} × {why}" for why, count in sorted(figure["failures"].items(), key=lambda f: -f[1])[:3])
    closed = f", {figure['closed_unannounced']} connections closed unannounced" if figure["closed_unannounced"] else ""
    late = f" (the client stalled {figure['client_stalled_ms']} ms)" if figure["client_stalled_ms"] > 200 else ""
    return f"{figure['failed']} failed of {figure['requests']}{reasons}{closed}; slowest {figure['slowest_ms']:.0f} ms{late}"


def table(results):
    lines = ["| figure | forebay | nginx | goal | met |", "|---|---|---|---|---|"]
    for letter, (result, met) in results.items():
        for what, forebay, nginx in rows(letter, result):
            lines.append(f"| {what} | {forebay} | {nginx} | {FIGURES[letter][1]} | {'yes' if met else '**no**'} |")
    return "\n".join(lines)


def main():
    chosen = options()
    prepare()
    prefer()
    OUT.mkdir(parents=True, exist_ok=True)
    directory = OUT / time.strftime("run-%Y%m%d-%H%M%S")
    results, broken = {}, []
    for letter in chosen.only.split(","):
        measure = FIGURES[letter][0]
        print(f"figures: {measure.__doc__.splitlines()[0]}", file=sys.stderr, flush=True)
        try:
            results[letter] = asyncio.run(measure(directory, chosen))
            print("\n".join(f"    {row}" for row in rows(letter, results[letter][0])), file=sys.stderr, flush=True)
        except Exception:
            traceback.print_exc()
            broken.append(letter)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip().removeprefix("nginx version: ")
    about = {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit,
        "nginx": version,
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load_average": os.getloadavg()[0],
    }
    text = f"{table(results)}\n\nforebay {commit}, {version}, Linux {about['kernel']}, {about['cores']} cores, {about['date']}.\n"
    (OUT / "figures.md").write_text(text)
    figures = {letter: {"met": met, **result} for letter, (result, met) in results.items()}
    (OUT / "figures.json").write_text(json.dumps({"about": about, "figures": figures}, indent=2) + "\n")
    print(text)
    if broken:
        sys.exit(2)
    sys.exit(0 if all(met for _, met in results.values()) else 1)


if __name__ == "__main__":
    main()
