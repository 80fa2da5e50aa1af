"""The origins: shelves of files that count what they are asked, a greeting under gunicorn, and a slow page."""

import os

from caching import GUNICORN, SIZES, Files, Slow
from peers.proxies import Origin
from rig import ROOT, Process, listening, until

WORKERS = 4


class Shelves(Origin):
    """nginx with a file of each size, fresh for two minutes, so that some of what is stored is validated again and again."""

    def __init__(self, directory, port):
        counter = "location = /requests { stub_status; }"
        passed = "location /p/ { rewrite ^/p/[^/]+/(\\d+)$ /$1 break; add_header Cache-Control no-store; }"
        stored = "location ~ ^/\\d+$ { add_header Cache-Control max-age=120; }"
        Files.__init__(self, directory, port, SIZES, f"{counter} {passed} {stored}")


class Greeting(Process):
    """The Flask application of docker/apps/greeting under gunicorn, as its Dockerfile starts it."""

    def __init__(self, directory, port):
        super().__init__("greeting", directory)
        self.port = port
        self.access = directory / "access.log"

    def start(self):
        os.environ["GREETING_FILE"] = str(self.directory / "greeting.txt")
        log = ["--access-logfile", self.access, "--access-logformat", "%(r)s"]
        app = ["--chdir", ROOT / "docker/apps/greeting", "app:app"]
        return self.spawn(GUNICORN, "--bind", f"127.0.0.1:{self.port}", "--workers", str(WORKERS), *log, *app)

    async def ready(self):
        await until("gunicorn to listen", lambda: listening(self.port), 60)

    def count(self):
        return self.access.read_bytes().count(b"\n") if self.access.exists() else 0


class SlowPage(Slow):
    """tests/apps/slow.py, whose page takes as long as its query says."""

    async def ready(self):
        await until("the slow origin to listen", lambda: listening(self.port), 60)

    def count(self):
        return sum(self.about(path)["count"] for path in ("/strict/expired", "/loose/stale", "/strict/absent"))
