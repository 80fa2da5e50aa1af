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
    """nginx with a file of each of `sizes`: `/o/ANYTHING/SIZE` is as many targets as anybody wants; `more` is for its server block."""

    def __init__(self, directory, port, sizes=SIZES, more=""):
        super().__init__("files", directory)
        self.port = port
        www = directory / "www"
        www.mkdir(parents=True, exist_ok=True)
        for size in sizes:
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
    {more}
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


class NoCgroup(Exception):
    """No memory control group can be had there."""


class Cgroup:
    """A memory control group (v1 or v2) of one proxy's own, so that the kernel counts what it holds.

    `given` is the group in which this one is made, or the name of one that is not there yet. It is removed at the end.
    """

    def __init__(self, given, name):
        given = Path(given)
        self.path = given / f"{name}-{os.getpid()}" if given.is_dir() else given
        parent = self.path.parent
        if not (parent / "cgroup.procs").exists():
            raise NoCgroup(f"{parent} is no control group; give one such as /sys/fs/cgroup/memory (v1) or /sys/fs/cgroup (v2)")
        try:
            self.path.mkdir()
        except OSError as error:
            raise NoCgroup(f"cannot make the control group {self.path}: {error.strerror}; give one in which this user may") from error
        try:
            if self._usage() is None:
                # v2 counts in a group what its parent hands on.
                (parent / "cgroup.subtree_control").write_text("+memory")
            if self._usage() is None:
                raise FileNotFoundError(0, "nothing is counted")
        except OSError as error:
            self.path.rmdir()
            why = f"{parent} has no memory controller to hand on ({error.strerror})"
            raise NoCgroup(f"{why}; give one such as /sys/fs/cgroup/memory (v1) or /sys/fs/cgroup (v2)") from error
        # v1 counts what sockets hold where that has a limit. This one is never reached.
        limit = self.path / "memory.kmem.tcp.limit_in_bytes"
        if limit.exists():
            limit.write_text(str(1 << 40))

    def figure(self):
        """What the group holds and held at most, and of that the kernel's part and the sockets', where the controller tells."""
        if (self.path / "memory.current").exists():
            stat = dict(line.split() for line in (self.path / "memory.stat").read_text().splitlines())
            kernel, sockets = (int(stat[key]) if key in stat else None for key in ("kernel", "sock"))
            besides = sockets or 0
        else:
            kernel, sockets = self._read("memory.kmem.usage_in_bytes"), self._read("memory.kmem.tcp.usage_in_bytes")
            # v1 has them on an account of their own.
            besides = 0
        octets = {
            "cgroup": self._usage(),
            "cgroup_peak": self._read("memory.peak", "memory.max_usage_in_bytes"),
            "cgroup_kernel": kernel,
            "cgroup_sockets": sockets,
            "cgroup_without_sockets": self._usage() - besides,
        }
        return {f"{name}_mib": None if value is None else value >> 20 for name, value in octets.items()}

    def _usage(self):
        return self._read("memory.current", "memory.usage_in_bytes")

    def _read(self, *names):
        """The number in the first of these files that is there."""
        return next((int((self.path / name).read_text()) for name in names if (self.path / name).exists()), None)

    async def remove(self):
        """Once the proxy has ended: a group with processes in it cannot be removed, and these take a moment to be gone."""

        def removed():
            try:
                self.path.rmdir()
            except OSError:
                return False
            return True

        await until(f"the control group {self.path} to be empty", removed)
