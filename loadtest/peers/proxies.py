"""The proxies side by side: each with one thread, a cache in memory where it has one, and set up for hits as its manual advises."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import caching
import rig
from rig import Process, alive, children, cpu_seconds, free_port, listening, until

from peers.loads import compiled

BUDGET_MIB = 1024
# What is asked for in the rows; `/o/ANYTHING/SIZE` may be stored, `/p/ANYTHING/SIZE` may not.
SIZES = (1 << 10, 10 << 10, 100 << 10, 1 << 20, 64 << 20)
LARGEST = 96 << 20


class Missing(Exception):
    """The program is not on this machine."""


def certificate(directory):
    """A key and a certificate that signs itself, as one file and as two."""
    key, cert, both = (directory / name for name in ("key.pem", "cert.pem", "both.pem"))
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", "/CN=load.test", "-addext", "subjectAltName=DNS:load.test,IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    both.write_text(cert.read_text() + key.read_text())
    for path in (key, cert, both):
        path.chmod(0o644)
    return key, cert, both


class Origin(caching.Files):
    """nginx with a file of each of `SIZES`, that counts what it is asked."""

    def __init__(self, directory, port):
        pass_through = "location /p/ { rewrite ^/p/[^/]+/(\\d+)$ /$1 break; add_header Cache-Control no-store; }"
        super().__init__(directory, port, SIZES, f"location = /requests {{ stub_status; }} {pass_through}")

    def count(self):
        """Requests so far; the question is one of them, which is taken off."""
        self.asked = getattr(self, "asked", 0) + 1
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"GET /requests HTTP/1.0\r\n\r\n")
            said = b"".join(iter(lambda: connection.recv(4096), b""))
        return int(said.split(b"requests")[1].split()[2]) - self.asked


class Peer:
    """What all of them have: a port without and one with TLS, an access log or none, processes that cost."""

    tls = True
    only_for_upstreams = False

    def __init__(self, directory, origin, pem, log):
        self.key, self.cert, self.both = pem
        self.tls_port = free_port()
        self.log = directory / f"{self.name}-access.log" if log else None
        super().__init__(directory, free_port(), origin.port)

    @classmethod
    def check(cls):
        if not cls.program():
            raise Missing(f"not installed (package {cls.package})")

    @classmethod
    def program(cls):
        return shutil.which(cls.command) or shutil.which(cls.command, path="/usr/sbin:/sbin")

    def port_for(self, row):
        return self.tls_port if row.tls else self.port

    def pids(self):
        return [self.pid, *children(self.pid)]

    def cpu(self):
        return cpu_seconds(self.pid)

    def has_ended(self):
        return self.process.poll() is not None

    async def ready(self):
        def serves():
            if self.has_ended():
                raise RuntimeError(f"{self.name} ended: {self.last_words()}")
            return listening(self.port)

        await until(f"{self.name} to listen", serves, 60)

    def pin(self, core):
        """Holds every thread to this core: one that chose its own would have more time than the others."""
        for pid in self.pids():
            for thread in os.listdir(f"/proc/{pid}/task"):
                try:
                    os.sched_setaffinity(int(thread), {core})
                except ProcessLookupError:
                    pass

    def last_words(self):
        lines = self.errors.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "without a word"


class Listener(Process):
    """A program that listens on one port, before one backend."""

    def __init__(self, directory, port, backend):
        super().__init__(self.name, directory)
        self.port = port
        self.backend = backend


class Forebay(Peer, caching.CachingForebay):
    """forebay with the limits, deadlines and counters that it ships with; only the cache's size is set, as it is for all."""

    name, package = "forebay", "forebay"

    @classmethod
    def program(cls):
        return rig.FOREBAY if Path(rig.FOREBAY).exists() else None

    def write(self, _generation):
        self.config.write_text(
            f"""[server]
threads = 1
[[listen]]
addr = "127.0.0.1:{self.port}"
[[listen]]
addr = "127.0.0.1:{self.tls_port}"
tls = {{ cert = "{self.cert}", key = "{self.key}" }}
[admin]
listen = "off"
[log]
access = "{self.log or 'off'}"
format = "combined"
[cache]
memory = "{BUDGET_MIB}MiB"
object = "{LARGEST >> 20}MiB"
[[route]]
to = "http://127.0.0.1:{self.backend}"
[[route]]
path = "/p/"
to = "http://127.0.0.1:{self.backend}"
cache = false
"""
        )

    def start(self, core=None):
        return self.spawn(rig.FOREBAY, "run", "--config", self.config, core=core)

    @classmethod
    def version(cls):
        return subprocess.run([rig.FOREBAY, "--version"], capture_output=True, text=True).stdout.strip()


class Nginx(Peer, caching.CachingNginx):
    """nginx with its cache's files in memory where that is possible, kept open, sent by sendfile."""

    name, package, command = "nginx", "nginx-light", "nginx"
    # What its manual advises for upstreams, and what is not there without being asked for.
    upstream_keeps = "keepalive 64; keepalive_requests 1000000000;"
    to_upstream = 'proxy_http_version 1.1; proxy_set_header Connection "";'

    def write(self, _generation):
        self.cache = self.directory / "cache"
        access = f"{self.log} combined buffer=64k flush=1s" if self.log else "off"
        self.config.write_text(
            f"""worker_processes 1;
worker_rlimit_nofile 20000;
user root;
pid {self.pid_file};
error_log {self.directory}/nginx-error.log;
events {{ worker_connections 9000; multi_accept on; }}
http {{
  access_log {access};
  sendfile on;
  sendfile_max_chunk 2m;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  open_file_cache max=20000 inactive=300s;
  open_file_cache_valid 300s;
  client_body_temp_path {self.directory}/t1; proxy_temp_path {self.directory}/t2; fastcgi_temp_path {self.directory}/t3;
  uwsgi_temp_path {self.directory}/t4; scgi_temp_path {self.directory}/t5;
  proxy_cache_path {self.cache} levels=1:2 keys_zone=c:256m max_size={BUDGET_MIB}m inactive=1d use_temp_path=off;
  upstream backend {{ server 127.0.0.1:{self.backend}; {self.upstream_keeps} }}
  ssl_certificate {self.cert};
  ssl_certificate_key {self.key};
  ssl_protocols TLSv1.2 TLSv1.3;
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=4096;
    listen 127.0.0.1:{self.tls_port} ssl http2 reuseport backlog=4096;
    {self.to_upstream}
    location / {{
      proxy_pass http://backend;
      proxy_cache c;
    }}
    location /p/ {{ proxy_pass http://backend; }}
  }}
}}
"""
        )

    def end(self):
        # Its cache goes with it, and a daemon that lives on would go on writing there.
        workers = self.pids() if self.pid_file.exists() and alive(self.pid) else []
        super().end()
        for pid in workers:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def has_ended(self):
        # The process that was started goes when its daemon is there.
        return self.process.poll() not in (None, 0) or self.pid_file.exists() and not alive(self.pid)

    def start(self, core=None):
        return self.spawn(self.program(), "-c", self.config, core=core)

    async def ready(self):
        await until("nginx's daemon", lambda: self.pid_file.exists() and self.pid_file.read_text().strip() or self.has_ended())
        await super().ready()

    @classmethod
    def version(cls):
        return caching.CachingNginx.version(None)


class PlainNginx(Nginx):
    """nginx as it is when nothing is said of upstreams: a connection for each request. Of interest where upstreams are asked."""

    name, upstream_keeps, to_upstream = "nginx-plain", "", ""
    only_for_upstreams = True


class Haproxy(Peer, Listener):
    """HAProxy with its cache of small objects made large enough for all rows."""

    name, package, command = "haproxy", "haproxy", "haproxy"

    def start(self, core=None):
        # It writes no files: the log is a syslog, or a descriptor it was given.
        log = "log stderr format raw local0" if self.log else ""
        config = self.directory / "haproxy.cfg"
        config.write_text(
            f"""global
  nbthread 1
  maxconn 9000
  {log}
defaults
  mode http
  timeout connect 5s
  timeout client 300s
  timeout server 60s
  timeout http-keep-alive 300s
  option http-keep-alive
  http-reuse always
  {"log global" if log else ""}
  {"option httplog" if log else ""}
cache store
  total-max-size {BUDGET_MIB}
  max-object-size {LARGEST}
  max-age 86400
frontend front
  bind 127.0.0.1:{self.port} backlog 4096
  bind 127.0.0.1:{self.tls_port} backlog 4096 ssl crt {self.both} alpn h2,http/1.1
  use_backend passed if {{ path_beg /p/ }}
  default_backend cached
backend cached
  http-request cache-use store
  http-response cache-store store
  server origin 127.0.0.1:{self.backend}
backend passed
  server origin 127.0.0.1:{self.backend}
"""
        )
        self.spawn(self.program(), "-db", "-f", config, core=core)
        if self.log:
            self.log = self.errors
        return self

    @classmethod
    def version(cls):
        return "HAProxy " + subprocess.run([cls.program(), "-v"], capture_output=True, text=True).stdout.split()[2].split("-")[0]


class Varnish(Peer, caching.Varnish):
    """Varnish with its store in memory; it has no TLS, and its log is another program's business, whose time counts."""

    name, package, command = "varnish", "varnish", "varnishd"
    tls = False

    def start(self, core=None):
        policy = self.directory / "policy.vcl"
        policy.write_text(
            f"""vcl 4.1;
backend default {{ .host = "127.0.0.1"; .port = "{self.backend}"; }}
sub vcl_recv {{ if (req.url ~ "^/p/") {{ return (pass); }} }}
"""
        )
        place = self.directory / "vsm"
        parameters = {"thread_pools": 1, "listen_depth": 4096, "timeout_idle": 300, "nuke_limit": 1000}
        flags = [flag for key, value in parameters.items() for flag in ("-p", f"{key}={value}")]
        self.spawn(
            *[self.program(), "-F", "-j", "none", "-n", place, "-a", f"127.0.0.1:{self.port}", "-f", policy],
            *["-s", f"malloc,{BUDGET_MIB}m", *flags],
            core=core,
        )
        self.logger = None
        self.core = core
        return self

    async def ready(self):
        await super().ready()
        if self.log:
            self.logger = Process("varnishncsa", self.directory)
            program = shutil.which("varnishncsa")
            self.logger.spawn(program, "-n", self.directory / "vsm", "-a", "-w", self.log, core=self.core)

    def pids(self):
        return super().pids() + ([self.logger.pid] if self.logger else [])

    def cpu(self):
        return super().cpu() + (cpu_seconds(self.logger.pid) if self.logger else 0)

    def end(self):
        if getattr(self, "logger", None):
            self.logger.end()
        super().end()

    @classmethod
    def version(cls):
        return "Varnish " + caching.Varnish.version(None).removeprefix("varnish-")


class TrafficServer(Peer, Listener):
    """Apache Traffic Server with everything in its memory cache, which lies before a disk cache that it must have."""

    name, package, command = "ats", "trafficserver", "traffic_server"

    def start(self, core=None):
        places = {name: self.directory / name for name in ("etc", "var", "run", "log", "cache")}
        for place in places.values():
            place.mkdir()
        system = {"prefix": "/usr", "exec_prefix": "/usr", "bindir": "/usr/bin", "sbindir": "/usr/bin"}
        system |= {"datadir": "/usr/share/trafficserver"}
        own = {"sysconfdir": "etc", "localstatedir": "var", "runtimedir": "run", "logdir": "log", "cachedir": "cache"}
        library = next(path for path in ("/usr/lib/trafficserver", "/usr/libexec/trafficserver", "/usr/lib") if Path(path).is_dir())
        system |= {"libdir": library, "libexecdir": f"{library}/modules", "includedir": "/usr/include"}
        lines = [f"{key}: {value}" for key, value in (system | {key: places[name] for key, name in own.items()}).items()]
        (self.directory / "runroot.yaml").write_text("\n".join(lines) + "\n")
        records = {
            "admin.user_id": self.user(),
            # It would choose cores for itself.
            "exec_thread.affinity": 0,
            "exec_thread.autoconfig": 0,
            "exec_thread.limit": 1,
            "accept_threads": 0,
            "task_threads": 1,
            "cache.threads_per_disk": 4,
            "http.server_ports": f"{self.port} {self.tls_port}:ssl",
            "http.insert_response_via_str": 0,
            "http.cache.required_headers": 0,
            "http.keep_alive_no_activity_timeout_in": 300,
            "http.keep_alive_no_activity_timeout_out": 300,
            "http.server_session_sharing.match": "both",
            "url_remap.pristine_host_hdr": 1,
            "net.connections_throttle": 19000,
            "net.listen_backlog": 4096,
            "cache.ram_cache.size": BUDGET_MIB << 20,
            "cache.ram_cache_cutoff": LARGEST,
            "log.logging_enabled": 2 if self.log else 0,
            "log.max_secs_per_buffer": 1,
            "log.rolling_enabled": 0,
            "log.max_space_mb_for_logs": 100_000,
            "log.max_space_mb_headroom": 10,
            "ssl.server.cert.path": self.cert.parent,
            "ssl.server.private_key.path": self.key.parent,
        }
        kind = lambda value: "INT" if isinstance(value, int) else "STRING"
        etc = places["etc"]
        (etc / "records.config").write_text("".join(f"CONFIG proxy.config.{k} {kind(v)} {v}\n" for k, v in records.items()))
        (etc / "remap.config").write_text(f"map / http://127.0.0.1:{self.backend}/\n")
        (etc / "storage.config").write_text(f"{places['cache']} {2 * BUDGET_MIB}M\n")
        (etc / "ssl_multicert.config").write_text(f"dest_ip=* ssl_cert_name={self.cert.name} ssl_key_name={self.key.name}\n")
        (etc / "plugin.config").write_text("")
        shutil.copy("/etc/trafficserver/ip_allow.yaml", etc)
        if self.log:
            self.log = places["log"] / "access.log"
            combined = "%<chi> - %<caun> [%<cqtn>] \"%<cqtx>\" %<pssc> %<pscl> \"%<{Referer}cqh>\" \"%<{User-Agent}cqh>\""
            (etc / "logging.yaml").write_text(
                f"logging:\n  formats:\n    - name: combined\n      format: '{combined}'\n"
                "  logs:\n    - filename: access\n      format: combined\n      mode: ascii\n"
            )
        if os.getuid() == 0:
            user = pwd.getpwnam(self.user())
            for place in places.values():
                os.chown(place, user.pw_uid, user.pw_gid)
        return self.spawn(self.program(), f"--run-root={self.directory}", core=core)

    def user(self):
        """Who it becomes, which must not be root, and whose its directories must be."""
        return "trafficserver" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name

    async def ready(self):
        await super().ready()
        # It listens before its cache is there.
        log = self.directory / "log" / "diags.log"
        await until("ats's cache", lambda: log.exists() and "cache enabled" in log.read_text(errors="replace"), 60)

    @classmethod
    def version(cls):
        said = subprocess.run([cls.program(), "-V"], capture_output=True, text=True)
        words = (said.stdout + said.stderr).split()
        return "ATS " + next(word for word in words if word[0].isdigit())


class Floor(Peer, Process):
    """No proxy: what reading and writing alone costs."""

    name, package, command, tls, log = "floor", "gcc", "gcc", False, None

    def __init__(self, directory, _origin, _pem, _log):
        Process.__init__(self, "floor", directory)
        self.ports = {size: free_port() for size in (0, *SIZES)}
        self.port = self.ports[1 << 10]

    def start(self, core=None):
        return self.spawn(compiled("floor", self.directory), *(f"{port}:{size}" for size, port in self.ports.items()), core=core)

    def port_for(self, row):
        return self.ports[0 if row.status == 304 else row.size]

    @classmethod
    def version(cls):
        return ""


PEERS = {peer.name: peer for peer in (Floor, Forebay, Nginx, PlainNginx, Haproxy, TrafficServer, Varnish)}
