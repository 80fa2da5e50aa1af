"""The actors of a figure about caching: forebay, nginx and Varnish with a cache each, and origins worth caching for."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from rig import FOREBAY, ROOT, Forebay, Nginx, Process, children, listening, until

BUDGET_MIB = 256
PYTHON = ROOT / "target/venv/bin/python"
GUNICORN = ROOT / "target/venv/bin/gunicorn"
# The sizes that `Files` has: a ladder from 100 octets to 50 MiB.
SIZES = sorted({round(100 * (50 * 2**20 / 100) ** (step / 40)) for step in range(41)} | {1024})


class CachingForebay(Forebay):
    """forebay as it comes: it obeys its origin's fields."""

    def write(self, generation):
        threads = f"threads = {self.threads}" if self.threads else ""
        self.config.write_text(
            f"""[server]
{threads}
[[listen]]
addr = "127.0.0.1:{self.port}"
[limits]
idle_timeout = "300s"
[admin]
listen = "off"
[log]
access = "off"
[cache]
memory = "{BUDGET_MIB}MiB"
[[route]]
to = "http://127.0.0.1:{self.backend}"
"""
        )

    def version(self):
        return subprocess.run([FOREBAY, "--version"], capture_output=True, text=True).stdout.strip()


class CachingNginx(Nginx):
    """nginx with a cache as its documentation has it: one request fills, time-outs as they come.

    `open_files` keeps the files of hot entries open, which makes a hit cheaper. `files_mib` is what all files may take.
    """

    def __init__(self, *args, open_files=True, files_mib=BUDGET_MIB, **options):
        self.open_files = open_files
        self.files_mib = files_mib
        super().__init__(*args, **options)

    def write(self, generation):
        files = "open_file_cache max=20000 inactive=300s; open_file_cache_valid 300s;" if self.open_files else ""
        self.cache = self.directory / "cache"
        self.config.write_text(
            f"""worker_processes {self.workers};
worker_rlimit_nofile 20000;
user root;
pid {self.pid_file};
error_log {self.directory}/nginx-error.log;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  sendfile on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  {files}
  client_body_temp_path {self.directory}/t1; proxy_temp_path {self.directory}/t2; fastcgi_temp_path {self.directory}/t3;
  uwsgi_temp_path {self.directory}/t4; scgi_temp_path {self.directory}/t5;
  proxy_cache_path {self.cache} levels=1:2 keys_zone=c:64m max_size={self.files_mib}m inactive=1h use_temp_path=off;
  upstream backend {{ server 127.0.0.1:{self.backend}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=4096;
    location / {{
      proxy_pass http://backend;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache c;
      proxy_cache_lock on;
    }}
  }}
}}
"""
        )

    def version(self):
        said = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr
        return said.strip().removeprefix("nginx version: ")

    def end(self):
        super().end()
        # Gigabytes that nobody looks at.
        shutil.rmtree(self.cache, ignore_errors=True)

    def stored_kib(self):
        """What its files take."""
        # du complains of files that nginx removes meanwhile.
        said = subprocess.run(["du", "-sk", self.cache], capture_output=True, text=True).stdout
        return int(said.splitlines()[-1].split()[0])


class Varnish(Process):
    """Varnish with its built-in policy and its store in memory."""

    def __init__(self, directory, port, backend, threads=None, **_):
        super().__init__("varnish", directory)
        self.port = port
        self.backend = backend
        self.threads = threads

    def start(self, core=None):
        pools = ["-p", f"thread_pools={self.threads}"] if self.threads else []
        place = self.directory / "vsm"
        return self.spawn(
            *[shutil.which("varnishd"), "-F", "-j", "none", "-n", place, "-a", f"127.0.0.1:{self.port}"],
            *["-b", f"127.0.0.1:{self.backend}", "-s", f"malloc,{BUDGET_MIB}m", "-p", "listen_depth=4096", *pools],
            core=core,
        )

    async def ready(self):
        await until("varnish to listen", lambda: listening(self.port))

    def version(self):
        return subprocess.run(["varnishd", "-V"], capture_output=True, text=True).stderr.split("(", 1)[1].split(" ")[0]


PROXIES = {"forebay": CachingForebay, "nginx": CachingNginx, "varnish": Varnish}


class Files(Process):
    """nginx with a file of each of `SIZES`: `/o/ANYTHING/SIZE` is as many targets as anybody wants."""

    def __init__(self, directory, port):
        super().__init__("files", directory)
        self.port = port
        www = directory / "www"
        www.mkdir(parents=True, exist_ok=True)
        for size in SIZES:
            (www / str(size)).write_bytes(b"f" * size)
        self.config = directory / "files.conf"
        self.config.write_text(
            f"""worker_processes 1;
worker_rlimit_nofile 20000;
pid {directory}/files.pid;
error_log {directory}/files-error.log;
events {{ worker_connections 9000; }}
http {{
  access_log off;
  sendfile on;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  open_file_cache max=100;
  client_body_temp_path {directory}/t1; proxy_temp_path {directory}/t2; fastcgi_temp_path {directory}/t3;
  uwsgi_temp_path {directory}/t4; scgi_temp_path {directory}/t5;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {www};
    rewrite ^/o/[^/]+/(\\d+)$ /$1;
    add_header Cache-Control max-age=86400;
  }}
}}
"""
        )

    def start(self, core=None):
        return self.spawn("nginx", "-c", self.config, "-g", "daemon off; user root;", core=core)

    async def ready(self):
        await until("the files to be served", lambda: listening(self.port))


class Images(Process):
    """The list of images, under gunicorn with four workers, as its authors run it."""

    def __init__(self, directory, port, seconds):
        super().__init__("images", directory)
        self.port = port
        self.seconds = seconds
        self.builds = directory / "builds"

    def start(self):
        self.builds.write_text("")
        os.environ.update(IMAGES_SECONDS=str(self.seconds), IMAGES_BUILDS=str(self.builds))
        return self.spawn(GUNICORN, "--chdir", ROOT / "tests/apps", "--workers", "4", "--bind", f"127.0.0.1:{self.port}", "images:app")

    async def ready(self):
        await until("gunicorn to listen", lambda: listening(self.port))

    def count(self):
        return len(self.builds.read_text().splitlines())


class Slow(Process):
    """The origin that takes its time and any number of requests at once."""

    def __init__(self, directory, port):
        super().__init__("slow", directory)
        self.port = port

    def start(self):
        return self.spawn(sys.executable, ROOT / "tests/apps/slow.py", self.port)

    async def ready(self):
        await until("the slow origin to listen", lambda: listening(self.port))

    def about(self, path):
        """How often it was asked, and when its first octet left."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/count?path={path}") as answer:
            return json.load(answer)


def pids(pid):
    return [pid, *children(pid)]


def peak_kib(pid):
    """The most memory that the processes ever had resident."""
    return sum(_status(each, "VmHWM:") for each in pids(pid))


def _status(pid, key):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def unmapped_kib(pid):
    """Memory that the processes hold by a descriptor only (memfd), which is in nobody's resident memory."""
    total = 0
    for each in pids(pid):
        for entry in os.scandir(f"/proc/{each}/fd"):
            try:
                if os.readlink(entry.path).startswith("/memfd:"):
                    total += os.stat(entry.path).st_blocks // 2
            except OSError:
                pass
    return total


def socket_kib():
    """What all TCP sockets of this machine hold in the kernel."""
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            return int(line.rsplit(" ", 1)[1]) * os.sysconf("SC_PAGE_SIZE") // 1024
    return 0


class Cgroup:
    """A memory control group that the operator has made for this (`--cgroup`), so that the kernel counts for us."""

    def __init__(self, path):
        self.path = Path(path) if path else None

    def adopt(self, pid):
        for each in pids(pid) if self.path else []:
            (self.path / "cgroup.procs").write_text(str(each))

    def kib(self):
        if not self.path:
            return None
        for name in ("memory.current", "memory.usage_in_bytes"):
            if (self.path / name).exists():
                return int((self.path / name).read_text()) // 1024
        return None
