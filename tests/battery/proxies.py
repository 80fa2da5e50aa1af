"""The proxies under test: each in front of the recording origin, with a cache, as its manual advises and no more."""

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Missing(Exception):
    """The program is not on this machine."""


def free_port():
    """A port that is free now. What listens there soon asks for no other's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def certificate(directory):
    """A key and a certificate that signs itself; both in one file for those who want that."""
    key, cert = directory / "key.pem", directory / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        + ["-subj", "/CN=battery.test", "-addext", "subjectAltName=DNS:battery.test", "-keyout", key, "-out", cert],
        check=True,
        capture_output=True,
    )
    both = directory / "both.pem"
    both.write_text(cert.read_text() + key.read_text())
    for path in (key, cert, both):
        path.chmod(0o644)


class Workplace:
    """A directory with a certificate, which goes with its user."""

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="battery-"))
        self.directory.chmod(0o755)
        certificate(self.directory)
        return self.directory

    def __exit__(self, *_):
        shutil.rmtree(self.directory, ignore_errors=True)


class Proxy:
    """One that was started in a directory where a certificate is."""

    name = package = command = None

    def __init__(self, origin, directory):
        self.origin_port, self.secure_port = origin.port, origin.tls_port
        self.port, self.tls_port = free_port(), free_port()
        # Nobody listens here: bound, never listening, so that nobody else does either.
        self.dead = socket.socket()
        self.dead.bind(("127.0.0.1", 0))
        self.dead_port = self.dead.getsockname()[1]
        self.directory = directory
        self.process = None

    @classmethod
    def program(cls):
        found = shutil.which(cls.command) or shutil.which(cls.command, path="/usr/sbin:/sbin")
        if not found:
            raise Missing(f"{cls.name} is not installed (package {cls.package})")
        return found

    async def start(self):
        errors = open(self.directory / "stderr", "wb")
        self.process = subprocess.Popen(
            self.arguments(), stdout=errors, stderr=errors, stdin=subprocess.DEVNULL, start_new_session=True
        )
        for port in (self.port, self.tls_port):
            while not listens(port):
                if self.process.poll() is not None:
                    raise Missing(f"{self.name} ended: {self.last_words()}")
                await asyncio.sleep(0.05)

    def alive(self):
        return self.process.poll() is None

    def last_words(self):
        return (self.directory / "stderr").read_text(errors="replace")[-2000:]

    def stop(self):
        """Ends it and what it started."""
        try:
            os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait(10)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            self.process.kill()
        self.dead.close()


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Forebay(Proxy):
    """With its defaults, but for deadlines: no machine is too busy for one, and what hangs is seen before long."""

    name = "forebay"
    path = None

    def __init__(self, origin, directory):
        super().__init__(origin, directory)
        self.admin_port = free_port()

    @classmethod
    def program(cls):
        candidates = [cls.path] if cls.path else [ROOT / "target/debug/forebay", ROOT / "target/release/forebay"]
        for path in candidates:
            if Path(path).exists():
                return path
        raise Missing("no forebay is built; give one with --forebay PATH")

    def arguments(self):
        config = self.directory / "proxy.toml"
        config.write_text(
            f"""[server]
name = "battery"
threads = 2
[[listen]]
addr = "127.0.0.1:{self.port}"
[[listen]]
addr = "127.0.0.1:{self.tls_port}"
tls = {{ cert = "{self.directory}/cert.pem", key = "{self.directory}/key.pem" }}
[admin]
listen = "127.0.0.1:{self.admin_port}"
[log]
access = "{self.directory}/access.log"
[limits]
head_timeout = "30s"
body_timeout = "20s"
write_timeout = "20s"
handshake_timeout = "20s"
[upstream.origin]
servers = ["http://127.0.0.1:{self.origin_port}"]
hold = "1s"
[upstream.secure]
servers = ["https://127.0.0.1:{self.secure_port}"]
tls = {{ insecure = true }}
hold = "1s"
[upstream.dead]
servers = ["http://127.0.0.1:{self.dead_port}"]
hold = "0s"
[[route]]
to = "origin"
[[route]]
path = "/ruled/"
to = "origin"
cache = {{ ttl = "10m" }}
[[route]]
path = "/secure/"
to = "secure"
[[route]]
path = "/dead/"
to = "dead"
"""
        )
        return [self.program(), "run", "--config", config]

    @classmethod
    def version(cls):
        said = subprocess.run([cls.program(), "--version"], capture_output=True, text=True).stdout
        return said.strip().split(" (")[0]


class Nginx(Proxy):
    """nginx with its cache and kept connections to the origin."""

    name, package, command = "nginx", "nginx-light", "nginx"

    def arguments(self):
        here = self.directory
        config = here / "nginx.conf"
        config.write_text(
            f"""daemon off;
worker_processes 2;
user {pwd.getpwuid(os.getuid()).pw_name};
pid {here}/pid;
error_log {here}/error.log;
events {{ worker_connections 4000; }}
http {{
  access_log off;
  client_header_timeout 30s;
  client_body_timeout 20s;
  lingering_timeout 1s;
  proxy_read_timeout 8s;
  client_body_temp_path {here}/t1; proxy_temp_path {here}/t2; fastcgi_temp_path {here}/t3;
  uwsgi_temp_path {here}/t4; scgi_temp_path {here}/t5;
  proxy_cache_path {here}/cache levels=1:2 keys_zone=c:16m max_size=64m use_temp_path=off;
  upstream origin {{ server 127.0.0.1:{self.origin_port} max_fails=0; keepalive 64; }}
  upstream secure {{ server 127.0.0.1:{self.secure_port} max_fails=0; keepalive 64; }}
  upstream dead {{ server 127.0.0.1:{self.dead_port}; }}
  ssl_certificate {here}/cert.pem;
  ssl_certificate_key {here}/key.pem;
  server {{
    listen 127.0.0.1:{self.port} backlog=1024;
    listen 127.0.0.1:{self.tls_port} ssl http2 backlog=1024;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Forwarded-Proto $scheme;
    location / {{ proxy_pass http://origin; proxy_cache c; }}
    location /ruled/ {{ proxy_pass http://origin; proxy_cache c; proxy_cache_valid 200 301 302 404 10m; }}
    location /secure/ {{ proxy_pass https://secure; proxy_cache c; }}
    location /dead/ {{ proxy_pass http://dead; }}
  }}
}}
"""
        )
        return [self.program(), "-e", f"{here}/error.log", "-c", config]

    @classmethod
    def version(cls):
        said = subprocess.run([cls.program(), "-v"], capture_output=True, text=True).stderr
        return "nginx " + said.strip().split("/")[-1]


class Haproxy(Proxy):
    """HAProxy with its cache, connections reused where that is safe, and the defaults of its parser."""

    name, package, command = "haproxy", "haproxy", "haproxy"

    def arguments(self):
        config = self.directory / "haproxy.cfg"
        config.write_text(
            f"""global
  nbthread 2
  maxconn 4000
defaults
  mode http
  timeout connect 5s
  timeout client 20s
  timeout http-request 30s
  timeout server 8s
  timeout http-keep-alive 8s
  option forwardfor
cache store
  total-max-size 64
  max-object-size 1000000
frontend front
  bind 127.0.0.1:{self.port} backlog 1024
  bind 127.0.0.1:{self.tls_port} backlog 1024 ssl crt {self.directory}/both.pem alpn h2,http/1.1
  use_backend secure if {{ path_beg /secure/ }}
  use_backend dead if {{ path_beg /dead/ }}
  default_backend origin
backend origin
  http-request cache-use store
  http-response cache-store store
  server origin 127.0.0.1:{self.origin_port}
backend secure
  http-request cache-use store
  http-response cache-store store
  server secure 127.0.0.1:{self.secure_port} ssl verify none
backend dead
  server dead 127.0.0.1:{self.dead_port}
"""
        )
        return [self.program(), "-db", "-f", config]

    @classmethod
    def version(cls):
        said = subprocess.run([cls.program(), "-v"], capture_output=True, text=True).stdout
        return "HAProxy " + said.split()[2].split("-")[0]


ALL = {kind.name: kind for kind in (Forebay, Nginx, Haproxy)}
