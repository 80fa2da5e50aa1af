#!/usr/bin/env python3
"""What the front door promises, in figures, with nginx beside it in the same run.

    python3 loadtest/front_door.py            all of it (about five minutes), as a Markdown table
    python3 loadtest/front_door.py cpu idle   only these

Each part writes loadtest/out/PART.json. It wants the release build (target/release/forebay, or $FOREBAY), nginx and wrk,
and builds the `pulse` service and the `knock` load generator when they are missing. Everything stays on this machine.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "loadtest" / "out"
FOREBAY = Path(os.environ.get("FOREBAY", ROOT / "target" / "release" / "forebay"))
TICKS = os.sysconf("SC_CLK_TCK")

# Load while backends come and go: what one small service on this machine takes with ease.
RATE = 2_000
# Idle connections held at once.
IDLE = 5_000


def main():
    parts = {f.__name__: f for f in (absent, restart, reload, drain, cpu, idle)}
    chosen = sys.argv[1:] or list(parts)
    if unknown := [name for name in chosen if name not in parts]:
        sys.exit(f"unknown part {unknown}; there are: {', '.join(parts)}")
    # Descriptors for thousands of connections on both sides; children inherit it.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if not FOREBAY.exists():
        sys.exit(f"{FOREBAY} is missing: cargo build --release, or set FOREBAY")
    OUT.mkdir(exist_ok=True)
    build("loadtest/knock", "knock")
    build("docker/apps/pulse", "pulse")
    rows = []
    for name in chosen:
        with tempfile.TemporaryDirectory(prefix="forebay-load-") as directory:
            print(f"… {name}", file=sys.stderr)
            result = parts[name](Path(directory), rows)
        result["when"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        (OUT / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    print("| figure | forebay | nginx | goal |\n|---|---:|---:|---|")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


# --- the parts -------------------------------------------------------------------------------------------------------


def absent(directory, rows):
    """No backend for 4 s, and 20 clients: what each is told, and how long after the start."""
    result = {}
    for proxy in (Forebay, Nginx):
        backend = free_port()
        with proxy(directory, backend) as edge:
            result[proxy.name] = asyncio.run(waiting(edge.port, backend))
    ours, theirs = result["forebay"], result["nginx"]
    rows.append(("backend absent 4 s, 20 clients: answered 200", ours["ok"], theirs["ok"], "20"))
    rows.append(("… the last one after the backend's start, s", ours["last_s"], theirs["last_s"], "≤ 0.5"))
    return result


async def waiting(port, backend):
    clients = [asyncio.create_task(timed_get(port)) for _ in range(20)]
    await asyncio.sleep(4)
    with Pulse(backend) as pulse:
        # Off this thread, so that answers are not timed by our own waiting.
        await asyncio.to_thread(pulse.wait)
        answers = [await client for client in clients]
    after = [round(when - pulse.listening, 3) for status, when in answers if status == 200]
    statuses = [status for status, _ in answers]
    counts = {str(status): statuses.count(status) for status in set(statuses)}
    return {"ok": len(after), "statuses": counts, "after_s": after, "last_s": max(after, default="—")}


async def timed_get(port):
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /json HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 30)
        writer.close()
        return int(answer[9:12] or 0), time.monotonic()
    except (OSError, asyncio.TimeoutError, ValueError):
        return 0, time.monotonic()


def restart(directory, rows):
    """The backend is stopped and started again, under a trickle and under load."""
    result = {}
    for rate in (10, RATE):
        for proxy in (Forebay, Nginx):
            backend = free_port()
            with Pulse(backend) as pulse, proxy(directory, backend) as edge:
                pulse.wait()
                load = Knock.open(edge.port, "/bytes/1024", rate, 12)
                for _ in range(3):
                    time.sleep(2)
                    pulse.stop()
                    time.sleep(1)
                    pulse.start()
                result[f"{proxy.name} at {rate}/s"] = load.result()
        ours, theirs = result[f"forebay at {rate}/s"], result[f"nginx at {rate}/s"]
        what = f"backend restarted 3 times under {rate:,} req/s: failed"
        rows.append((what, share(ours), share(theirs), "0"))
    return result


def reload(directory, rows):
    """Twenty reloads under load."""
    result = {}
    for proxy in (Forebay, Nginx):
        backend = free_port()
        with Pulse(backend) as pulse, proxy(directory, backend) as edge:
            pulse.wait()
            load = Knock.open(edge.port, "/bytes/1024", RATE, 12)
            time.sleep(1)
            for n in range(20):
                edge.reload(n)
                time.sleep(0.5)
            result[proxy.name] = load.result()
    ours, theirs = result["forebay"], result["nginx"]
    rows.append((f"20 reloads under {RATE:,} req/s: failed", share(ours), share(theirs), "0"))
    broken = [r["closed_while_idle"] for r in (ours, theirs)]
    rows.append(("… connections closed by it", *broken, "0"))
    return result


def drain(directory, rows):
    """Two replicas; one is told to end under load."""
    result = {}
    for proxy in (Forebay, Nginx):
        backend = free_port()
        (one := directory / f"{proxy.name}-1").mkdir()
        (two := directory / f"{proxy.name}-2").mkdir()
        with Pulse(backend) as pulse, proxy(one, backend) as first, proxy(two, backend) as second:
            pulse.wait()
            load = Knock.open([first.port, second.port], "/bytes/1024", RATE, 8)
            time.sleep(3)
            began = time.monotonic()
            code = first.drain()
            took = round(time.monotonic() - began, 2)
            result[proxy.name] = load.result() | {"exit": code, "took_s": took}
    ours, theirs = result["forebay"], result["nginx"]
    rows.append((f"drain under {RATE:,} req/s, a second replica beside: failed", share(ours), share(theirs), "0"))
    rows.append(("… exit code, and after s", f"{ours['exit']}, {ours['took_s']}", f"{theirs['exit']}, {theirs['took_s']}", "0, in grace"))
    return result


def cpu(directory, rows):
    """CPU a request of passing 1 KiB through, each proxy alone on core 0, the origin and the load on the others."""
    others = ",".join(str(core) for core in range(1, os.cpu_count())) or "0"
    rounds = {}
    with Origin(directory, free_port(), ["taskset", "-c", others]) as origin, contextlib.ExitStack() as stack:
        pinned = {"prefix": ["taskset", "-c", "0"], "threads": 1}
        edges = {}
        for proxy in (Forebay, Nginx, PlainNginx):
            edges[proxy.name] = stack.enter_context(proxy(directory, origin.port, **pinned))
            wrk(edges[proxy.name].port, others, 1)
        for _ in range(5):
            for name, edge in edges.items():
                before = edge.cpu_s()
                requests, errors = wrk(edge.port, others, 4)
                micros = (edge.cpu_s() - before) / requests * 1e6
                rounds.setdefault(name, []).append({"us": round(micros, 2), "requests": requests, "errors": errors})
    medians = {name: statistics.median(r["us"] for r in each) for name, each in rounds.items()}
    ours = medians["forebay"]
    for name, what in (("nginx", "kept upstream connections"), ("plain nginx", "proxy_pass alone")):
        rows.append((f"CPU a request passed through, µs (1 KiB, 64 clients; nginx with {what})", ours, medians[name], "—"))
        rows.append(("… ratio", f"{ours / medians[name]:.2f}", "1", "≤ 0.7"))
    return {"rounds": rounds, "medians_us": medians}


def idle(directory, rows):
    """Resident memory of an idle kept connection."""
    result = {}
    for proxy in (Forebay, Nginx):
        with Origin(directory, free_port()) as origin, proxy(directory, origin.port) as edge:
            # Warm: pools, arenas and code are in memory before it is measured.
            with Knock.idle(edge.port, "/", 200):
                pass
            time.sleep(1)
            before = edge.resident_kib()
            with Knock.idle(edge.port, "/", IDLE):
                # Buffers of the requests just answered are given back.
                time.sleep(2)
                held = edge.resident_kib()
            result[proxy.name] = {"before_kib": before, "held_kib": held, "each_kib": round((held - before) / IDLE, 2)}
    ours, theirs = result["forebay"]["each_kib"], result["nginx"]["each_kib"]
    rows.append((f"{IDLE:,} idle kept connections: KiB each", ours, theirs, "≤ 4, better 2"))
    return result


# --- who takes part --------------------------------------------------------------------------------------------------


class Process:
    """A child process that ends with its `with`."""

    name = "process"

    def __init__(self, command, **popen):
        self.command, self.popen, self.child = [str(part) for part in command], popen, None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(15)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def start(self):
        self.child = subprocess.Popen(self.command, **self.popen)

    def stop(self):
        self.child.terminate()
        return self.child.wait(30)

    def pids(self):
        """The process and its children."""
        children = Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()
        return [self.child.pid, *(int(pid) for pid in children)]

    def cpu_s(self):
        total = 0
        for pid in self.pids():
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / TICKS

    def resident_kib(self):
        status = [Path(f"/proc/{pid}/status").read_text() for pid in self.pids()]
        return sum(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) for text in status)


class Pulse(Process):
    def __init__(self, port):
        super().__init__([ROOT / "target/pulse/release/pulse", f"127.0.0.1:{port}"], stdout=subprocess.DEVNULL)
        self.port = port

    def wait(self):
        wait_for(self.port)
        self.listening = time.monotonic()


class Forebay(Process):
    name = "forebay"

    def __init__(self, directory, backend, prefix=(), threads=2):
        self.port, self.backend, self.threads = free_port(), backend, threads
        self.file = directory / "proxy.toml"
        self.write("10s")
        super().__init__([*prefix, FOREBAY, "run", "--config", self.file], stderr=(directory / "forebay.log").open("a"))

    def write(self, keepalive):
        self.file.write_text(
            f'[server]\nname = "edge-{self.port}"\nthreads = {self.threads}\n[admin]\nlisten = "off"\n[log]\naccess = "off"\n'
            f'[[listen]]\naddr = "127.0.0.1:{self.port}"\n'
            f'[upstream.backend]\nservers = ["http://127.0.0.1:{self.backend}"]\nhold = "{keepalive}"\n'
            '[[route]]\nto = "backend"\n'
        )

    def start(self):
        super().start()
        wait_for(self.port)

    def reload(self, n):
        # A change each time, so that there is something to do.
        self.write(f"{10 + n % 2}s")
        self.child.send_signal(signal.SIGHUP)

    def drain(self):
        return self.stop()


class Nginx(Process):
    """nginx as a careful operator sets it up: kept connections to the backend, and the next try on an error."""

    name = "nginx"
    location = "proxy_pass http://backend; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_set_header Host $host;"

    def __init__(self, directory, backend, prefix=(), threads=2):
        self.port, self.directory, self.threads = free_port(), directory / f"nginx-{free_port()}", threads
        self.backend = backend
        self.directory.mkdir()
        self.write(64)
        command = [*prefix, "nginx", "-p", self.directory, "-c", "nginx.conf", "-e", "error.log"]
        super().__init__(command, stderr=subprocess.DEVNULL)

    def write(self, keepalive):
        (self.directory / "nginx.conf").write_text(f"""
            daemon off; pid nginx.pid; worker_processes {self.threads}; worker_rlimit_nofile 30000;
            error_log error.log crit;
            events {{ worker_connections 14000; }}
            http {{
                access_log off; keepalive_requests 100000000; keepalive_timeout 75s;
                client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
                upstream backend {{ server 127.0.0.1:{self.backend}; keepalive {keepalive}; }}
                server {{ listen 127.0.0.1:{self.port} backlog=4096; location / {{ {self.location} }} }}
            }}
        """)

    def start(self):
        super().start()
        wait_for(self.port)

    def reload(self, n):
        self.write(64 + n % 2)
        self.child.send_signal(signal.SIGHUP)

    def drain(self):
        self.child.send_signal(signal.SIGQUIT)
        return self.child.wait(30)


class PlainNginx(Nginx):
    """nginx as most configurations have it: a new connection to the backend for each request, its default."""

    name = "plain nginx"
    location = "proxy_pass http://backend;"


class Origin(Nginx):
    """A fast origin of 1 KiB answers."""

    name = "origin"
    location = f"return 200 '{'o' * 1024}';"

    def __init__(self, directory, port, prefix=()):
        super().__init__(directory, 1, prefix, threads=1)


class Knock(Process):
    """The load generator of loadtest/knock."""

    program = ROOT / "target/knock/release/knock"

    @classmethod
    @contextlib.contextmanager
    def idle(cls, port, path, connections):
        pipe = subprocess.PIPE
        with cls([cls.program, "idle", f"127.0.0.1:{port}", path, connections], stdin=pipe, stdout=pipe, text=True) as knock:
            if knock.child.stdout.readline() != "idle\n":
                sys.exit(f"{connections} idle connections could not be made")
            yield knock
            knock.child.stdin.close()

    @classmethod
    def open(cls, ports, path, rate, seconds):
        addresses = ",".join(f"127.0.0.1:{port}" for port in ([ports] if isinstance(ports, int) else ports))
        knock = cls([cls.program, "open", addresses, path, rate, seconds], stdout=subprocess.PIPE, text=True)
        knock.start()
        return knock

    def result(self):
        return json.loads(self.child.communicate(timeout=120)[0])


# --- helpers ---------------------------------------------------------------------------------------------------------


def build(package, name):
    """Builds a Rust package of this repository, optimised, unless cargo finds it up to date."""
    command = ["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", ROOT / "target" / name]
    subprocess.run(command, cwd=ROOT / package, check=True)


def wrk(port, cores, seconds):
    command = ["taskset", "-c", cores, "wrk", "-t1", "-c64", f"-d{seconds}s", f"http://127.0.0.1:{port}/"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return int(re.search(r"(\d+) requests in", text)[1]), int(errors[1]) if errors else 0


_given = set()


def free_port():
    """A port outside the range that the kernel gives to clients, so that it stays free until it is bound."""
    while True:
        port = 10_000 + int.from_bytes(os.urandom(2), "big") % 20_000
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.add(port)
                return port


def wait_for(port):
    """Waits until somebody listens."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.002)
    sys.exit(f"nobody listens on port {port}")


def share(result):
    failures = {k: n for k, n in result["outcomes"].items() if k != "200"}
    words = "; ".join(f"{n:,} × {k}" for k, n in failures.items())
    return f"{result['failed']:,} of {result['sent']:,}" + (f" ({words})" if words else "")


if __name__ == "__main__":
    main()
