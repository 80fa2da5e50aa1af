"""What is done to the origins, the names and the proxy, when, and which answers each of it permits."""

import asyncio
import signal
import sys
import time
from pathlib import Path

from rig import free_port

ORIGIN = Path(__file__).with_name("origin.py")
# A request that ends so long behind a fault may still be its doing.
AFTER = 3.0

# By the kind of the fault: what may be answered to a GET that can be sent again, to one whose body takes long, to a POST, and to a
# WebSocket. What is not named must be whole and right. Nothing permits a wrong body, an answer that is not HTTP, or silence.
SOLO = {
    "killed": {"get": "", "long": "cut", "post": "502 cut", "ws": "502 cut"},
    "stopped": {"get": "", "long": "", "post": "", "ws": ""},
    "stalled": {"get": "504 cut", "long": "504 cut", "post": "504", "ws": "504 cut"},
    "reset": {"get": "502", "long": "502", "post": "502", "ws": "502 cut"},
    "close": {"get": "502", "long": "502", "post": "502", "ws": "502 cut"},
    "garbage": {"get": "502", "long": "502", "post": "502", "ws": "502 cut"},
    "cut": {"get": "502 cut", "long": "502 cut", "post": "502 cut", "ws": ""},
    "extra": {"get": "", "long": "", "post": "", "ws": ""},
    "slow": {"get": "", "long": "", "post": "", "ws": ""},
}
# One of two: the other one answers what can be sent again. A stall may use up the budget of retries.
PAIR = {
    **{kind: {**permits, "get": "", "long": ""} for kind, permits in SOLO.items()},
    "killed": SOLO["killed"],
    "stalled": SOLO["stalled"],
    "cut": SOLO["cut"],
}
NAMED = {
    "vanished": {"get": "", "long": "", "post": "", "ws": ""},
    "moved": {"get": "", "long": "", "post": "", "ws": ""},
    "recreated": SOLO["killed"],
}
CLASSES = {"hit": "get", "short": "get", "miss": "get", "h2": "get", "large": "long", "stream": "long", "upload": "post", "ws": "ws"}


class Origin:
    """One origin's process."""

    def __init__(self, port=None, addresses=("127.0.0.1",)):
        self.port = port or free_port()
        self.addresses = addresses
        self.process = None

    async def start(self, *addresses):
        if addresses:
            self.addresses = addresses
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(ORIGIN), str(self.port), *self.addresses, stdin=asyncio.subprocess.PIPE
        )

    def mode(self, name):
        self.process.stdin.write(f"{name}\n".encode())

    async def kill(self):
        self.process.kill()
        await self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)


class Window:
    """One fault in force."""

    def __init__(self, upstream, kind, permits):
        self.upstream, self.kind, self.permits = upstream, kind, permits
        self.begun, self.ended = time.monotonic(), None

    def explains(self, upstream, kind, outcome, begun, ended):
        over = self.ended is None or begun <= self.ended + AFTER
        return (
            upstream == self.upstream
            and over
            and ended >= self.begun
            and outcome in self.permits.get(CLASSES.get(kind, "get"), "").split()
        )


class Faults:
    """Everything that goes wrong on purpose, from `async with` to its end."""

    def __init__(self, edge, origins, draw, say):
        self.edge, self.origins, self.draw, self.say = edge, origins, draw, say
        self.windows = []
        self.tasks = []
        self.played = {}
        self.ending = False

    async def __aenter__(self):
        plays = [self.solo, self.pair, self.reloads, self.rotations]
        if self.edge.named:
            plays.append(self.names)
        self.tasks = [asyncio.create_task(self.again(play)) for play in plays]
        return self

    async def __aexit__(self, *_):
        # Each play ends by itself, within a quarter of a minute: cancelled in the middle of a start, one went on for ever.
        self.ending = True
        failed = [it for it in await asyncio.gather(*self.tasks, return_exceptions=True) if isinstance(it, Exception)]
        if failed:
            raise failed[0]

    async def again(self, play):
        while not self.ending:
            await asyncio.sleep(self.draw.uniform(1.0, 5.0))
            await play()

    def explained(self, upstream, kind, outcome, begun, ended):
        """The fault that permits this outcome, or None."""
        for window in reversed(self.windows):
            if window.explains(upstream, kind, outcome, begun, ended):
                return window.kind
        return None

    async def during(self, upstream, kind, permits, work):
        window = Window(upstream, kind, permits)
        self.windows.append(window)
        # Old ones explain nothing any more.
        del self.windows[:-400]
        self.played[f"{upstream}: {kind}"] = self.played.get(f"{upstream}: {kind}", 0) + 1
        try:
            await work
        finally:
            window.ended = time.monotonic()

    async def solo(self):
        kind = self.draw.choice(list(SOLO))
        await self.during("solo", kind, SOLO[kind], self.harm(self.origins["solo"], kind))

    async def pair(self):
        kind = self.draw.choice(list(PAIR))
        origin = self.origins[self.draw.choice(["left", "right"])]
        await self.during("pair", kind, PAIR[kind], self.harm(origin, kind))
        # Whoever was left out is asked again after 5 s (`eject`), and nobody may be harmed who is the last.
        await asyncio.sleep(5.5)

    async def harm(self, origin, kind):
        if kind == "killed":
            await origin.kill()
            await asyncio.sleep(self.draw.choice([0.0, 0.3, 2.0, 4.0]))
            await origin.start()
        elif kind in ("stopped", "stalled"):
            origin.signal(signal.SIGSTOP)
            # Below, and above, what the upstream's deadlines allow.
            await asyncio.sleep(self.draw.uniform(0.3, 1.5) if kind == "stopped" else 8.0)
            origin.signal(signal.SIGCONT)
        else:
            origin.mode(kind)
            await asyncio.sleep(self.draw.uniform(0.5, 3.0))
            origin.mode("ok")

    async def names(self):
        kind = self.draw.choice(list(NAMED))
        await self.during("named", kind, NAMED[kind], self.rename(kind))

    async def rename(self, kind):
        origin = self.origins["named"]
        if kind == "vanished":
            self.edge.hosts()
            await asyncio.sleep(self.draw.uniform(1.0, 4.0))
            self.edge.hosts(self.edge.address)
        elif kind == "moved":
            # It is at both addresses, as it is for a while in a careful deploy.
            self.edge.hosts(*self.draw.choice([["127.0.0.2"], ["127.0.0.1"], ["127.0.0.1", "127.0.0.2"]]))
            await asyncio.sleep(2.5)
        else:
            # As `docker compose up --force-recreate`: gone with its name, and back elsewhere.
            self.edge.hosts()
            await origin.kill()
            await asyncio.sleep(self.draw.uniform(0.2, 3.0))
            await origin.start("127.0.0.1", "127.0.0.2")
            self.edge.hosts(self.draw.choice(["127.0.0.1", "127.0.0.2"]))

    async def reloads(self):
        if self.draw.random() < 0.3:
            self.edge.write_broken()
            self.count("reloads of a bad file")
        else:
            self.edge.write_next()
            self.count("reloads")
        self.edge.signal(signal.SIGHUP)

    async def rotations(self):
        await asyncio.sleep(10)
        self.edge.rotate()
        self.count("rotations of the access log")

    def count(self, what):
        self.played[what] = self.played.get(what, 0) + 1
