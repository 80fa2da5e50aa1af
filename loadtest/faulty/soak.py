"""A soak with faults: mixed traffic, every answer whole and right or explained by a fault in force, nothing grows."""

import asyncio
import json
import random
import subprocess
import time
from collections import Counter, deque
from statistics import fmean, median, pstdev

import rig
from rig import Process, free_port, until
from scenarios.watch import clients, memory_kib, open_files

from .clients import Clients
from .faults import CLASSES, Faults, Origin

# Of what is asked, by kind.
SHARES = {"hit": 34, "short": 14, "miss": 20, "h2": 14, "upload": 8, "stream": 4, "large": 3, "leaver": 3}
UPSTREAMS = ["solo", "pair", "named"]
WEBSOCKETS = 6
LATE = 3.0
"""Requests that are further behind than so many seconds are not sent: the client's machine stood still."""
MEMORY_MIB = 24
WARM_UP = 0.5
"""The share of a soak after which memory is to be flat: by then the allocator has met the largest crowd behind a stalled origin."""
KEPT_LINES = 20


class Edge(Process):
    """forebay with three upstreams, over HTTP and TLS, with a small cache and an access log in a file."""

    def __init__(self, directory, origins):
        super().__init__("forebay", directory)
        self.origins = origins
        self.port, self.tls = free_port(), free_port()
        self.config = directory / "proxy.toml"
        self.log = directory / "access.log"
        self.generation = 0
        self.address = "127.0.0.1"
        self.named = private_files()
        (directory / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        (directory / "hosts").write_text("")
        self.hosts(self.address)
        subject = ["-subj", "/CN=soak.test", "-days", "2"]
        key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        out = ["-keyout", directory / "key.pem", "-out", directory / "cert.pem"]
        subprocess.run(["openssl", "req", "-x509", *key, *out, *subject], check=True, capture_output=True)
        self.write_next()

    def hosts(self, *addresses):
        """What `app.test` stands for from now on. In place, for the file is mounted; in one write, for it is being read."""
        if addresses:
            self.address = addresses[0]
        text = "".join(f"{address} app.test\n" for address in addresses) or "# nobody\n"
        # Never shorter than before, so that nobody reads half a line.
        with open(self.directory / "hosts", "r+") as file:
            file.write(text.ljust(200) + "\n")

    def write(self, text):
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.config)

    def write_broken(self):
        broken = random.choice(["[[route]]\nto = \"nobody\"\n", "[cache]\nmemory = \"much\"\n", "[[route]\n"])
        self.write(self.config.read_text() + broken)

    def write_next(self):
        self.generation += 1
        ports = {name: origin.port for name, origin in self.origins.items()}
        named = f"app.test:{ports['named']}" if self.named else f"127.0.0.1:{ports['named']}"
        tunables = 'hold = "20s"\ntimeouts = { first_byte = "4s", between_bytes = "4s" }\ndns_ttl_max = "500ms"'
        upstreams = "".join(
            f"[upstream.{name}]\nservers = [{servers}]\n{tunables}\n"
            for name, servers in (
                ("solo", f'"http://127.0.0.1:{ports["solo"]}"'),
                ("pair", f'"http://127.0.0.1:{ports["left"]}", "http://127.0.0.1:{ports["right"]}"'),
                ("named", f'"http://{named}"'),
            )
        )
        routes = "".join(
            f'[[route]]\nname = "{name}"\npath = "/{name}/"\nto = "{name}"\n'
            f'response_headers = {{ set = {{ "X-Generation" = "{self.generation}" }} }}\n'
            for name in UPSTREAMS
        )
        self.write(
            f"""[server]
threads = 2
shutdown_grace = "20s"
[[listen]]
addr = "127.0.0.1:{self.port}"
[[listen]]
addr = "127.0.0.1:{self.tls}"
tls = {{ cert = "{self.directory}/cert.pem", key = "{self.directory}/key.pem" }}
[limits]
idle_timeout = "300s"
[admin]
listen = "unix:{self.directory}/admin.sock"
[log]
access = "{self.log}"
[cache]
memory = "{MEMORY_MIB}MiB"
{upstreams}{routes}"""
        )

    def start(self):
        command = [rig.FOREBAY, "run", "--config", self.config]
        if self.named:
            mounts = "mount --bind hosts /etc/hosts && mount --bind resolv.conf /etc/resolv.conf && exec \"$0\" \"$@\""
            command = ["unshare", "--map-root-user", "--mount", "sh", "-c", mounts, *command]
        return self.spawn(*command)

    async def ready(self):
        await until("forebay to be ready", lambda: "forebay is ready" in self.errors.read_text() or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError(f"forebay ended: {self.errors.read_text()}")

    def rotate(self):
        """As logrotate does it."""
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".log.1"))
        self.signal(rig.signal.SIGUSR1)

    def logged(self, target):
        """The access log's lines about a target, as far as they are there still."""
        found = []
        for path in (self.log.with_suffix(".log.1"), self.log):
            if path.exists():
                with open(path, errors="replace") as lines:
                    found += [line.strip() for line in lines if f'"{target}' in line]
        return found[-3:]


def private_files():
    """Whether this user may give a process files of its own in the place of /etc/hosts."""
    command = ["unshare", "--map-root-user", "--mount", "mount", "--bind", "/dev/null", "/etc/hosts"]
    return subprocess.run(command, capture_output=True).returncode == 0


class Soak:
    """One run: asks, judges, watches."""

    def __init__(self, edge, origins, options, say):
        self.edge, self.say = edge, say
        self.rate, self.seconds = options.rate, options.seconds
        self.draw = random.Random(options.seed)
        self.clients = Clients(edge.port, edge.tls, random.Random(options.seed + 1))
        self.faults = Faults(edge, origins, random.Random(options.seed + 2), say)
        self.outcomes = {kind: Counter() for kind in [*SHARES, "ws"]}
        self.explained = Counter()
        self.took = {kind: deque(maxlen=200_000) for kind in [*SHARES, "ws"]}
        self.unexplained = []
        self.unexplained_count = 0
        self.late = 0
        self.samples = []
        self.under_way = set()

    def target(self, kind):
        upstream = self.draw.choice(UPSTREAMS)
        number = self.draw.randrange
        path = {
            "hit": lambda: f"hit/{number(300)}",
            "short": lambda: f"short/{number(40)}",
            "large": lambda: f"large/{number(60)}",
            "leaver": lambda: f"large/{number(300)}",
            "h2": lambda: self.draw.choice([f"hit/{number(300)}", f"short/{number(40)}", f"miss/{number(5_000)}"]),
        }.get(kind, lambda: f"{kind}/{number(5_000)}")()
        return f"/{upstream}/{path}"

    def report(self, kind, target, begun, outcome, fields):
        ended = time.monotonic()
        self.outcomes[kind][outcome] += 1
        if outcome == "ok":
            self.took[kind].append(ended - begun)
            return
        by = self.faults.explained(target.split("/")[1], kind, outcome, begun, ended)
        if by:
            self.explained[(by, CLASSES[kind], outcome)] += 1
            return
        self.unexplained_count += 1
        if len(self.unexplained) < KEPT_LINES:
            about = f"{outcome}: {kind} {target}, asked at {begun - self.begun:.2f} s, ended at {ended - self.begun:.2f} s"
            near = [f"{w.kind} of {w.upstream} from {w.begun - self.begun:.2f} to {(w.ended or ended) - self.begun:.2f} s" for w in self.faults.windows[-6:]]
            self.unexplained.append([about, fields.get("x-request-id", ""), "; ".join(near), target])
            self.say(f"soak: UNEXPLAINED {about}")

    async def one(self, kind, target, due):
        outcome, fields = await self.clients.ask(kind, target)
        self.report(kind, target, due, outcome, fields)

    async def crowd(self):
        """Many at once for what nobody has asked for yet."""
        kind, number = "hit", self.draw.randrange(10**9)
        target = f"/{self.draw.choice(UPSTREAMS)}/hit/crowd-{number}"
        begun = time.monotonic()
        await asyncio.gather(*(self.one(kind, target, begun) for _ in range(200)))

    def spawn(self, work):
        task = asyncio.create_task(work)
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)

    async def send(self):
        kinds, weights = list(SHARES), list(SHARES.values())
        due, crowds = self.begun, self.begun + 20
        while due < self.begun + self.seconds:
            now = time.monotonic()
            await asyncio.sleep(max(0.0, due - now))
            if now - due > LATE:
                self.late += 1
                due = now
            (kind,) = self.draw.choices(kinds, weights)
            self.spawn(self.one(kind, self.target(kind), time.monotonic()))
            if now > crowds:
                self.spawn(self.crowd())
                crowds = now + 30
            due += 1 / self.rate

    async def watch(self):
        told = 0.0
        while True:
            pid = self.edge.pid
            at = time.monotonic() - self.begun
            files = open_files(pid) - clients(self.edge.port) - clients(self.edge.tls)
            self.samples.append({"at": at, "kib": memory_kib(pid), "files": files})
            if at - told > 60:
                told = at
                asked = sum(sum(counts.values()) for counts in self.outcomes.values())
                self.say(f"soak: {at:.0f} s, {asked:,} answers, {self.unexplained_count} unexplained, {self.samples[-1]['kib'] / 1024:.0f} MiB")
            await asyncio.sleep(1)

    async def run(self):
        self.begun = time.monotonic()
        watch = asyncio.create_task(self.watch())
        sockets = [
            asyncio.create_task(self.clients.websocket(f"/{UPSTREAMS[n % 3]}/ws/{n}", self.report)) for n in range(WEBSOCKETS)
        ]
        async with self.faults:
            await self.send()
        self.clients.closing = True
        await asyncio.gather(*sockets, return_exceptions=True)
        # What was interrupted stays as it was: the origins are well again before the last answers are waited for.
        for origin in self.faults.origins.values():
            await heal(origin)
        self.edge.hosts("127.0.0.1")
        await asyncio.gather(*self.under_way, return_exceptions=True)
        self.ran = time.monotonic() - self.begun
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        self.clients.close()
        await asyncio.sleep(3)
        self.left_files = open_files(self.edge.pid)


async def heal(origin):
    if origin.process.returncode is not None:
        await origin.start()
    else:
        origin.signal(rig.signal.SIGCONT)
        origin.mode("ok")


def slope(points):
    """MiB an hour, by the medians of the first and the last third: one sample that is off moves nothing."""
    third = len(points) // 3
    first, last = points[:third], points[-third:]
    hours = (median(p["at"] for p in last) - median(p["at"] for p in first)) / 3600
    grown = (median(p["kib"] for p in last) - median(p["kib"] for p in first)) / 1024
    return grown, grown / hours if hours else 0.0


async def play(directory, options, say):
    """Gives the report as Markdown, and whether all promises were kept."""
    origins = {name: Origin() for name in ("solo", "left", "right", "named")}
    for name, origin in origins.items():
        await (origin.start("127.0.0.1", "127.0.0.2") if name == "named" else origin.start())
    edge = Edge(directory, origins)
    try:
        for origin in origins.values():
            await until("an origin to listen", lambda: rig.listening(origin.port))
        edge.start()
        await edge.ready()
        if not edge.named:
            say("soak: no mount namespace here, so names do not change")
        soak = Soak(edge, origins, options, say)
        before = open_files(edge.pid)
        await soak.run()
        (directory / "samples.json").write_text(json.dumps(soak.samples))
        edge.signal(rig.signal.SIGTERM)
        code = await edge.ended(40)
        return written(soak, edge, before, code)
    finally:
        edge.end()
        for origin in origins.values():
            if origin.process.returncode is None:
                await origin.kill()


def written(soak, edge, before, code):
    lines = ["| kind | asked | whole and right | otherwise | p50 | p99 | slowest |", "|---|---:|---:|---:|---:|---:|---:|"]
    for kind, counts in soak.outcomes.items():
        others = ", ".join(f"{n} × {what}" for what, n in counts.most_common() if what != "ok") or "0"
        took = sorted(soak.took[kind]) or [0.0]
        p50, p99, most = (took[int(share * (len(took) - 1))] * 1000 for share in (0.5, 0.99, 1))
        lines.append(f"| {kind} | {sum(counts.values()):,} | {counts['ok']:,} | {others} | {p50:.1f} ms | {p99:.0f} ms | {most:.0f} ms |")
    lines += ["", "| what was permitted | of | answers |", "|---|---|---:|"]
    lines += [f"| {by}: {outcome} | {of} | {n:,} |" for (by, of, outcome), n in sorted(soak.explained.items())]
    lines += ["", "Played: " + ", ".join(f"{what} {n}" for what, n in sorted(soak.faults.played.items())) + "."]

    warm = [sample for sample in soak.samples if sample["at"] > max(20.0, WARM_UP * soak.seconds)]
    grown, hourly = slope(warm) if len(warm) >= 6 else (0.0, 0.0)
    # The fewest of each minute: a stall piles up requests, which is no leak.
    files = [min(s["files"] for s in warm[at : at + 60]) for at in range(0, len(warm), 60)] or [0]
    third = max(1, len(files) // 3)
    errors = edge.errors.read_text(errors="replace").splitlines()
    bad = [line for line in errors if "panic" in line or " ERROR " in line and "configuration" not in line and "proxy.toml" not in line]
    # What minutes differ by is no growth; that of a steady leak is more than twice what it makes minutes differ by.
    minutes = [fmean(p["kib"] for p in warm[at : at + 60]) / 1024 for at in range(0, len(warm), 60)] or [0.0]
    allowed = max(2.0, 2 * pstdev(minutes)) if soak.seconds >= 600 else 32.0
    asked = sum(sum(counts.values()) for counts in soak.outcomes.values())
    promises = [
        (f"every answer whole and right or explained: {soak.unexplained_count} of {asked:,} are not", soak.unexplained_count == 0),
        (f"memory, first to last third after the warm-up: {grown:+.2f} MiB ({hourly:+.1f} MiB/h), at most {allowed:.1f} MiB", grown <= allowed),
        (f"peak memory {max(s['kib'] for s in soak.samples) / 1024:.0f} MiB with a cache of {MEMORY_MIB} MiB", True),
        (f"open files besides clients' connections, the fewest of each minute: median {median(files[:third]):.0f}, then {median(files[-third:]):.0f}", median(files[-third:]) <= median(files[:third]) * 1.25 + 16),
        (f"open files before {before}, 3 s after {soak.left_files}", soak.left_files <= before + 40),
        (f"exit code {code} on SIGTERM", code == 0),
        (f"lines of the program's log that say panic or ERROR: {len(bad)}", not bad),
        (f"the client stood still {soak.late} times", True),
    ]
    lines += ["", *(f"- {'' if met else '**MISSED** '}{what}" for what, met in promises), ""]
    for about, request, near, target in soak.unexplained:
        lines += [f"- unexplained: {about}; id {request or '?'}; {near}", *(f"  - `{line}`" for line in edge.logged(target))]
    lines += [f"- log: `{line}`" for line in bad[:10]]
    return "\n".join(lines) + "\n", all(met for _, met in promises)
