#!/usr/bin/env python3
"""What clients see of reloads, replacements, kills and broken origins, as Markdown; `make faults` runs it.

    python3 loadtest/faults.py [--only reloads,soak] [--seconds 1800] [--rate 150] [--forebay PATH] [--seed 1]

`soak` is mixed traffic (hits, misses, validations, streams, uploads, HTTP/2, TLS, WebSockets, clients that leave) while origins are killed,
stopped, reset and lie, names vanish and move, and the configuration is loaded anew, good and bad. Every answer must be whole and right, or be one
that a fault in force permits (`faulty/faults.py` has the table). The other plays have nginx beside them.

As root it runs in a network namespace of its own, where nobody else listens on the port of an origin that is down.

Writes loadtest/out/faults.md. Exits 1 when a promise is broken, 2 when something cannot be measured.
"""

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rig
from faulty import h2client, plays, soak
from figures import allow_files, prefer
from rig import OUT, ROOT


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*plays.PLAYS, "soak"]
    parser.add_argument("--only", default=",".join(names), help="some of: " + ",".join(names))
    parser.add_argument("--seconds", type=float, default=1800, help="length of the soak")
    parser.add_argument("--rate", type=float, default=150, help="requests a second of the soak")
    parser.add_argument("--load", type=float, default=1000, help="requests a second of the other plays")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what is asked, and what goes wrong")
    parser.add_argument("--forebay", help="the program, instead of a build of this tree")
    given = parser.parse_args()
    if unknown := set(given.only.split(",")) - set(names):
        parser.error(f"no such play: {', '.join(unknown)}")
    return given


def prepare(given, wanted):
    if given.forebay:
        rig.FOREBAY = Path(given.forebay).resolve()
    else:
        rig.build()
    programs = {"openssl": "openssl", "unshare": "util-linux"} if "soak" in wanted else {}
    if set(wanted) - {"soak"}:
        programs["nginx"] = "nginx-light"
    if missing := [package for program, package in programs.items() if not shutil.which(program)]:
        subprocess.run([ROOT / "scripts/apt-install", *missing], check=True)
    if "soak" in wanted:
        h2client.install()
    allow_files()
    rig.go_inside()


def main():
    given = options()
    wanted = given.only.split(",")
    prepare(given, wanted)
    if os.nice(0) <= 0:
        prefer()
    say = lambda line: print(line, file=sys.stderr, flush=True)
    directory = OUT / time.strftime("faults-%Y%m%d-%H%M%S")
    rows, texts, met, broken = [], [], True, False
    for name in wanted:
        try:
            if name == "soak":
                say(f"faults: a soak of {given.seconds:.0f} s at {given.rate:.0f} requests a second, seed {given.seed}; files in {directory}")
                text, good = asyncio.run(soak.play(directory / "soak", given, say))
                texts.append(f"## A soak of {given.seconds:.0f} s with faults, {given.rate:.0f} requests a second, seed {given.seed}\n\n{text}")
                say(text)
            else:
                play, goal = plays.PLAYS[name]
                say(f"faults: {play.__doc__.strip()}")
                figures, good = asyncio.run(play(directory, given))
                cells = [plays.say(figures[proxy]) if proxy in figures else "" for proxy in ("forebay", "nginx")]
                rows.append(f"| {play.__doc__.strip().rstrip('.')} | {cells[0]} | {cells[1]} | {goal} | {'yes' if good else '**no**'} |")
                say(rows[-1])
            met = met and good
        except Exception:
            traceback.print_exc()
            broken = True
    table = ["| what happens | forebay | nginx | promised | kept |", "|---|---|---|---|---|", *rows, ""] if rows else []
    version = subprocess.run([rig.FOREBAY, "--version"], capture_output=True, text=True).stdout.strip()
    text = "\n".join([*table, *texts, f"{version}, {time.strftime('%Y-%m-%d %H:%M')}.", ""])
    (OUT / "faults.md").write_text(text)
    print(text)
    sys.exit(2 if broken else 0 if met else 1)


if __name__ == "__main__":
    main()
