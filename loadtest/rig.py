"""The actors of a figure: forebay, nginx, pulse, and what the kernel tells about them."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Where another program is to be measured than what `cargo build --release` makes of this tree.
GIVEN = os.environ.get("FOREBAY_PROGRAM")
FOREBAY = Path(GIVEN).resolve() if GIVEN else ROOT / "target/release/forebay"
PULSE = ROOT / "target/pulse/release/pulse"
OUT = ROOT / "loadtest/out"
MARK = "FOREBAY_FIGURES"
# What is asked for: pulse makes it, and the origin has it as a file.
PATH = "/bytes/1024"
BODY = b"p" * 1024
# Set once this runs in a network namespace of its own.
INSIDE = "FOREBAY_INSIDE"
CONGESTION = Path("/proc/sys/net/ipv4/tcp_congestion_control")
TICKS = os.sysconf("SC_CLK_TCK")


def free_port():
    """A port that nobody has, below the range from which the kernel gives ports to clients."""
    while True:
        port = random.randrange(10_000, 30_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass


def listening(port):
    """Whether a connect succeeds, which costs the listener one connection."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def until(what, true, seconds=20.0):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited {seconds:.0f} s for {what}")
        await asyncio.sleep(0.005)


def build():
    """Makes forebay of this tree, unless another is to be measured."""
    if not GIVEN:
        subprocess.run(["cargo", "build", "--release", "--locked", "--quiet"], cwd=ROOT, check=True)


def go_inside():
    """Begins again in a network namespace of its own; does nothing where that is not allowed. Everything is installed before."""
    if os.environ.get(INSIDE) or subprocess.run(["unshare", "--net", "ip", "link", "set", "lo", "up"], capture_output=True).returncode:
        return
    steps = f'ip link set lo up; for control in cubic reno; do echo $control 2>/dev/null > {CONGESTION} && break; done; exec "$@"'
    os.execvpe("unshare", ["unshare", "--net", "sh", "-c", steps, "sh", sys.executable, *sys.argv], {**os.environ, INSIDE: "1"})


class Process:
    """A program that is ended with the figure."""

    def __init__(self, name, directory):
        self.name = name
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.process = None
        # The control group that it is to begin in, so that all its memory is counted there.
        self.cgroup = None

    def spawn(self, *command, core=None):
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        if self.cgroup:
            pinned = ["sh", "-c", 'echo $$ > "$0" && exec "$@"', str(self.cgroup / "cgroup.procs"), *pinned]
        self.errors = self.directory / f"{self.name}.err"
        with open(self.errors, "ab") as errors:
            self.process = subprocess.Popen(
                [*pinned, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env={**os.environ, MARK: str(self.directory)},
                cwd=self.directory,
            )
        return self

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        os.kill(self.pid, number)

    async def ended(self, seconds=30.0):
        """Waits for the end of the program that was spawned; gives its exit code."""
        await until(f"{self.name} to end", lambda: self.process.poll() is not None, seconds)
        return self.process.returncode

    def end(self):
        below = []
        if self.process and self.process.poll() is None:
            # nginx's workers write their title over the environment by which others are found.
            below = descendants(self.process.pid)
            self.process.kill()
            self.process.wait()
        for pid in [*below, *marked(self.directory)]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


def marked(directory):
    """Processes that this run started in `directory`, theirs included."""
    mark = f"{MARK}={directory}".encode()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in Path(entry.path, "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                pass


def alive(pid):
    """Whether the process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def children(pid):
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def descendants(pid):
    """Its children, theirs, and so on."""
    found = []
    for child in children(pid):
        found += [child, *descendants(child)]
    return found


def cpu_seconds(pid):
    """User and system time of a process and its children so far."""
    total = 0
    for each in [pid, *children(pid)]:
        fields = Path(f"/proc/{each}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def resident_kib(pid):
    """Resident memory of a process and its children."""
    total = 0
    for each in [pid, *children(pid)]:
        for line in Path(f"/proc/{each}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                total += int(line.split()[1])
    return total


class Pulse(Process):
    """The Rust service that is the backend."""

    def __init__(self, directory, port):
        super().__init__("pulse", directory)
        self.port = port

    def start(self):
        return self.spawn(PULSE, f"127.0.0.1:{self.port}")

    async def ready(self):
        await until("pulse to listen", lambda: listening(self.port))


class Forebay(Process):
    """The edge, with one route to `backend`."""

    def __init__(self, directory, port, backend, threads=None, access="off"):
        super().__init__("forebay", directory)
        self.port = port
        self.backend = backend
        self.threads = threads
        self.access = access
        self.config = directory / "proxy.toml"
        self.successor = None
        self.write(0)

    @property
    def pid(self):
        return self.successor or self.process.pid

    def write(self, generation):
        threads = f"threads = {self.threads}" if self.threads else ""
        header = f'response_headers = {{ set = {{ "X-Generation" = "{generation}" }} }}' if generation else ""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(
            f"""[server]
{threads}
shutdown_grace = "20s"
[[listen]]
addr = "127.0.0.1:{self.port}"
[limits]
idle_timeout = "300s"
[admin]
listen = "off"
[log]
access = "{self.access}"
[[route]]
to = "http://127.0.0.1:{self.backend}"
{header}
"""
        )
        fresh.replace(self.config)

    def start(self, core=None):
        return self.spawn(FOREBAY, "run", "--config", self.config, core=core)

    async def ready(self):
        def is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"forebay ended: {self.errors.read_text()}")
            return "forebay is ready" in self.errors.read_text()

        await until("forebay to be ready", is_ready)

    def reload(self):
        self.signal(signal.SIGHUP)

    async def drain(self):
        """Stops it gracefully; gives whether it ended well."""
        self.signal(signal.SIGTERM)
        return await self.ended() == 0

    async def upgrade(self):
        """Hands the sockets to a successor; gives whether that went well."""
        old = self.pid
        self.signal(signal.SIGQUIT)
        await until("the old process to end", lambda: self.process.poll() is not None and not alive(old), 40)
        (self.successor,) = (pid for pid in marked(self.directory) if alive(pid))
        return self.process.returncode == 0


class Nginx(Process):
    """nginx as a careful administrator sets it up: connections to the backend are kept.

    With `kept=False` it is nginx as a bare `proxy_pass` makes it: HTTP/1.0, a connection for each request.
    """

    def __init__(self, directory, port, backend, workers="auto", access="off", kept=True):
        super().__init__("nginx", directory)
        self.port = port
        self.backend = backend
        self.workers = workers
        self.access = access
        self.kept = kept
        self.config = directory / "nginx.conf"
        self.pid_file = directory / "nginx.pid"
        self.write(0)

    def write(self, generation):
        header = f"add_header X-Generation {generation};" if generation else ""
        keepalive = "keepalive 64; keepalive_requests 1000000000;" if self.kept else ""
        version = 'proxy_http_version 1.1; proxy_set_header Connection "";' if self.kept else ""
        fresh = self.config.with_suffix(".new")
        fresh.write_text(
            f"""worker_processes {self.workers};
worker_rlimit_nofile 20000;
pid {self.pid_file};
error_log {self.directory}/nginx-error.log;
events {{ worker_connections 9000; }}
http {{
  access_log {self.access};
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  client_body_temp_path {self.directory}/t1; proxy_temp_path {self.directory}/t2; fastcgi_temp_path {self.directory}/t3;
  uwsgi_temp_path {self.directory}/t4; scgi_temp_path {self.directory}/t5;
  upstream backend {{ server 127.0.0.1:{self.backend}; {keepalive} }}
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=4096;
    location / {{
      proxy_pass http://backend;
      {version}
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {header}
    }}
  }}
}}
"""
        )
        fresh.replace(self.config)

    def start(self, core=None):
        # As a daemon and by its full path: else nginx cannot start its successor.
        return self.spawn(shutil.which("nginx"), "-c", self.config, core=core)

    @property
    def pid(self):
        return int(self.pid_file.read_text())

    def end(self):
        # A daemon is nobody's child, and nginx writes its title over the environment by which others are found.
        if self.pid_file.exists():
            try:
                self.signal(signal.SIGTERM)
            except ProcessLookupError:
                pass
        super().end()

    async def ready(self):
        await until("nginx to listen", lambda: self.pid_file.exists() and listening(self.port))

    def reload(self):
        self.signal(signal.SIGHUP)

    async def retired(self, pid):
        await until("the old nginx to end", lambda: not alive(pid), 40)
        return True

    async def drain(self):
        pid = self.pid
        os.kill(pid, signal.SIGQUIT)
        return await self.retired(pid)

    async def upgrade(self):
        old = self.pid
        os.kill(old, signal.SIGUSR2)

        def taken_over():
            return self.pid_file.exists() and self.pid_file.read_text().strip() not in ("", str(old))

        await until("nginx's successor", taken_over)
        os.kill(old, signal.SIGQUIT)
        return await self.retired(old)


class Origin(Process):
    """nginx serving one file of 1 KiB: the cheapest backend there is."""

    def __init__(self, directory, port):
        super().__init__("origin", directory)
        self.port = port
        www = directory / "www"
        www.mkdir(parents=True, exist_ok=True)
        (www / PATH.lstrip("/")).parent.mkdir(exist_ok=True)
        (www / PATH.lstrip("/")).write_bytes(BODY)
        self.config = directory / "origin.conf"
        self.config.write_text(
            f"""worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/origin.pid;
error_log {directory}/origin-error.log;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  open_file_cache max=10;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{ listen 127.0.0.1:{port} backlog=4096; root {www}; }}
}}
"""
        )

    def start(self, core=None):
        return self.spawn("nginx", "-c", self.config, "-g", "daemon off;", core=core)

    async def ready(self):
        await until("the origin to listen", lambda: listening(self.port))


PROXIES = (("forebay", Forebay), ("nginx", Nginx))
