"""The proxies: Forebay as it comes, nginx with what its manual advises, and Forebay broken on purpose."""

import subprocess

import rig
from caching import CachingForebay, CachingNginx
from rig import until

BUDGET_MIB = 64


class Edge(CachingForebay):
    """forebay with a small cache; what is below /loose/ may be served stale while it is renewed."""

    upstream = ""
    target = 'to = "origin"'

    def write(self, generation):
        self.config.write_text(
            f"""[[listen]]
addr = "127.0.0.1:{self.port}"
[limits]
idle_timeout = "300s"
[admin]
listen = "off"
[log]
access = "off"
[cache]
memory = "{BUDGET_MIB}MiB"
[upstream.origin]
servers = ["http://127.0.0.1:{self.backend}"]
{self.upstream}
[[route]]
{self.target}
[[route]]
path = "/loose/"
{self.target}
{'cache = { stale_while_revalidate = "1h" }' if self.target.startswith("to") else ""}
"""
        )

    @classmethod
    def version(cls):
        return subprocess.run([rig.FOREBAY, "--version"], capture_output=True, text=True).stdout.strip()


class Refusing(Edge):
    """forebay that answers 502 to all: what a broken proxy must look like in the report."""

    target = 'respond = { status = 502, body = "broken on purpose" }'


class Impatient(Edge):
    """forebay that neither waits nor tries again: a deploy must show."""

    upstream = 'hold = "0s"\nretry = { tries = 1 }'


class NginxEdge(CachingNginx):
    """nginx that keeps connections, lets one request fill, however long that takes, and validates what is stale."""

    def write(self, generation):
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
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 300s;
  keepalive_requests 1000000000;
  open_file_cache max=2000 inactive=300s;
  open_file_cache_valid 300s;
  client_body_temp_path {self.directory}/t1; proxy_temp_path {self.directory}/t2; fastcgi_temp_path {self.directory}/t3;
  uwsgi_temp_path {self.directory}/t4; scgi_temp_path {self.directory}/t5;
  proxy_cache_path {self.cache} levels=1:2 keys_zone=c:64m max_size={BUDGET_MIB}m inactive=1h use_temp_path=off;
  upstream backend {{ server 127.0.0.1:{self.backend}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{self.port} reuseport backlog=4096;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_cache c;
    proxy_cache_lock on;
    proxy_cache_lock_timeout 60s;
    proxy_cache_lock_age 60s;
    proxy_cache_revalidate on;
    add_header X-Cache-Status $upstream_cache_status;
    location / {{ proxy_pass http://backend; }}
    location /loose/ {{
      proxy_pass http://backend;
      proxy_cache_use_stale updating;
      proxy_cache_background_update on;
    }}
  }}
}}
"""
        )

    async def ready(self):
        # The file is there before the number is in it.
        await until("nginx's daemon", lambda: self.pid_file.exists() and self.pid_file.read_text().strip())
        await super().ready()

    @classmethod
    def version(cls):
        return CachingNginx.version(None)


PROXIES = {"forebay": Edge, "nginx": NginxEdge, "forebay-502": Refusing, "forebay-no-hold": Impatient}
USUAL = ("forebay", "nginx")


def ours(name):
    """Whether the run fails with this proxy: the broken ones do as forebay does."""
    return name.startswith("forebay")
