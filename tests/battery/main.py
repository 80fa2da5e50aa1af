"""The battery: hostile bytes at both ends of a proxy, judged by what reaches the other end.

`python3 tests/battery/main.py` plays Forebay's column; `--proxy nginx,haproxy --report md` prints the peers' table. See
docs/hostile-input.md.
"""

import argparse
import asyncio
import resource
import ssl
import sys
import time
from collections import Counter, defaultdict

import answers
import http2
import normalise
import poisoning
import proxies
import requests
import slow
from cases import FAIL, FOLLOW, PASS, WARN, WAYS, Stage, failed, play_raw
from client import tls_context
from origin import Origin

# The modules of cases, in the order of the tables. Each has a list `CASES`.
MODULES = (requests, normalise, answers, poisoning, http2, slow)
# Cases at once. Nothing is judged by time, so this is about descriptors and patience only.
AT_ONCE = 48
# A case that is not over by then hangs.
CASE_MAX = 180


class Column:
    """One proxy's verdicts."""

    def __init__(self, kind):
        self.kind = kind
        # (case, way): Verdict
        self.verdicts = {}
        self.seconds = 0

    async def play(self, cases):
        began = time.monotonic()
        with proxies.Workplace() as directory:
            await self.play_in(directory, cases)
        self.seconds = time.monotonic() - began

    async def play_in(self, directory, cases):
        origin = Origin()
        certified = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certified.load_cert_chain(directory / "cert.pem", directory / "key.pem")
        await origin.start(certified)
        proxy = self.kind(origin, directory)
        try:
            await proxy.start()
            tls = tls_context()
            turns = asyncio.Semaphore(AT_ONCE)
            runs = []
            for case in cases:
                if case.only and proxy.name not in case.only:
                    continue
                for way in case.ways or (WAYS if case.play is None else ("http",)):
                    stage = Stage(proxy, origin, f"q{len(runs):06}z", way, tls)
                    runs.append((case, stage))
            judges = await asyncio.gather(*(self.turn(turns, case, stage) for case, stage in runs))
            # A request that was answered may still have consequences: everything is judged behind the last of them.
            for (case, stage), judge in zip(runs, judges):
                verdict = judge() if callable(judge) else judge
                self.verdicts[case, stage.way] = verdict
            if not proxy.alive():
                self.aside("the process lives", failed(f"it ended: {proxy.last_words()}"))
            for stray in origin.strays():
                self.aside("bytes of nobody", failed(stray))
        finally:
            proxy.stop()
            origin.stop()

    def aside(self, name, verdict):
        case = type("Aside", (), {"name": name, "table": "all of it"})()
        self.verdicts[case, "http"] = verdict

    async def turn(self, turns, case, stage):
        async with turns:
            try:
                async with asyncio.timeout(CASE_MAX):
                    if case.play is None:
                        return await play_raw(stage, case)
                    return await case.play(stage)
            except TimeoutError:
                return failed("hangs")
            except (ConnectionError, OSError) as error:
                return failed(f"no connection: {error!r}")
            finally:
                for connection in stage.connections:
                    connection.close()

    def count(self, mark, table=None):
        return sum(v.mark == mark for (case, _), v in self.verdicts.items() if table in (None, case.table))

    def news(self):
        """Whether something is not as it should be."""
        return any(v.mark != PASS for v in self.verdicts.values())

    def told(self, mark):
        """Each case of this mark once, with the ways it came by."""
        ways = defaultdict(list)
        for (case, way), verdict in self.verdicts.items():
            if verdict.mark == mark:
                ways[case].append((way, verdict))
        for case, found in ways.items():
            yield f"{mark} {case.table} / {case.name} ({', '.join(way for way, _ in found)}): {found[0][1].why}"


def shown(name):
    """A case's name as a short piece of code."""
    name = name if len(name) <= 50 else name[:47] + "..."
    return "`` " + name.strip() + " ``" if "`" in name or not name.strip() else "`" + name.strip() + "`"


def markdown(columns, tables):
    lines = ["| cases: pass, warn, **fail** | " + " | ".join(it.kind.version() for it in columns) + " |"]
    lines.append("|---" * (len(columns) + 1) + "|")
    for table in [*tables, None]:
        cells = []
        for column in columns:
            good, soft, bad = (column.count(mark, table) for mark in (PASS, WARN, FAIL))
            cells.append(f"{good}, {soft}, **{bad}**" if bad else f"{good}, {soft}, 0")
        lines.append(f"| {table or 'all'} | {' | '.join(cells)} |")
    for column in columns:
        lines.append(f"\n{column.kind.version()} fails:\n")
        named = defaultdict(Counter)
        for (case, _way), verdict in column.verdicts.items():
            if verdict.mark == FAIL:
                named[case.table][case.name] += 1
        lines += [f"- {table}: {', '.join(map(shown, names))}" for table, names in named.items()] or ["- nothing"]
    return "\n".join(lines)


def chosen(only):
    wanted = only.split(",") if only else []
    every = [(module, case) for module in MODULES for case in module.CASES]
    names = Counter((case.table, case.name) for _, case in every)
    twice = [name for name, n in names.items() if n > 1]
    if twice:
        sys.exit(f"battery: two cases of one name: {twice}")
    return [
        case
        for module, case in every
        if not wanted or any(w == module.__name__ or w in f"{case.table} / {case.name}" for w in wanted)
    ]


def dumped(cases):
    """What raw cases send, for others to read: those that are about size apart."""
    for number, case in enumerate(cases):
        if isinstance(case.send, bytes) and len(case.send) < 5000:
            token = f"q{number:06}z".encode()
            yield (case.send + (FOLLOW if case.follow else b"")).replace(b"{id}", token)


async def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--proxy", default="forebay", help="some of: " + ",".join(proxies.ALL))
    arguments.add_argument("--only", help="modules, or parts of the names of tables and cases, separated by commas")
    arguments.add_argument("--forebay", metavar="PATH", help="the program; else target/debug/forebay, then target/release/forebay")
    arguments.add_argument("--report", choices=["md"], help="print a table")
    arguments.add_argument("--dump", action="store_true", help="print the raw requests in hexadecimal, a line each, and play nothing")
    arguments.add_argument("--verbose", action="store_true", help="also what was only warned of")
    given = arguments.parse_args()
    proxies.Forebay.path = given.forebay
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))

    cases = chosen(given.only)
    if given.dump:
        for data in dumped(cases):
            print(data.hex())
        return 0
    columns = []
    for name in given.proxy.split(","):
        column = Column(proxies.ALL[name])
        try:
            await column.play(cases)
        except proxies.Missing as missing:
            print(f"battery: {name}: {missing}", file=sys.stderr)
            return 1
        columns.append(column)
        marks = ", ".join(f"{column.count(mark)} {mark}" for mark in (PASS, WARN, FAIL))
        print(f"battery: {column.kind.version()}: {len(cases)} cases, {marks} ({column.seconds:.0f} s)", flush=True)
        # Of Forebay a warning is news, too: each of its cases states what it does.
        own = column.kind is proxies.Forebay
        for mark in (FAIL, WARN):
            if mark == FAIL or own or given.verbose:
                for line in column.told(mark):
                    print(f"battery:   {line[:600]}")
    if given.report:
        print(markdown(columns, list(dict.fromkeys(case.table for case in cases))))
    bad = [it for it in columns if it.kind is proxies.Forebay and it.news()]
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
