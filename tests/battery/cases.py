"""What a case is, what is expected of it, and how it is judged: by the bytes at both ends and by the ends themselves."""

import re
from dataclasses import dataclass, field
from typing import Any, Callable

import client

PASS, WARN, FAIL = "pass", "warn", "FAIL"


@dataclass
class Verdict:
    """`warn` is what the RFCs permit and we would not do."""

    mark: str
    why: str = ""


def passed():
    return Verdict(PASS)


def warned(why):
    return Verdict(WARN, why)


def failed(why):
    return Verdict(FAIL, why)


@dataclass(eq=False)
class Case:
    """One line of the battery.

    Either `send` and `expect`: raw bytes, in which `{id}` becomes the case's token, sent in each of the `ways`. Or `play`: an
    async function of a `Stage` that returns a `Verdict`, or a function without arguments that gives one when all cases are over.
    """

    name: str
    # Which table and row of the specification: what the reports are grouped by.
    table: str
    send: Any = None
    expect: Any = None
    play: Callable = None
    # What is permitted besides `expect`, though not our choice.
    lenient: Any = None
    # Of WAYS, for raw cases; of http, tls, and to-tls (the origin's side is encrypted), for played ones.
    ways: tuple = ()
    # The methods of the requests in `send`, to know which answers have bodies.
    methods: tuple = ("GET",)
    # The proxies that it says anything about. None: all.
    only: tuple = None
    # What the origin answers, as `Origin.scripts` has it.
    origin: Any = None
    # Behind the raw bytes comes a request that must not be taken for a part of them.
    follow: bool = True


# How raw bytes arrive: in the clear; over TLS; octet by octet; behind a request that is answered from the cache, in one write
# with it (the express lane has just answered, and hands over).
WAYS = ("http", "tls", "octets", "behind-hit")
FOLLOW = b"GET /follow/{id} HTTP/1.1\r\nHost: battery.test\r\nConnection: close\r\n\r\n"


def size(text):
    """The octets of a template, its tokens in their places."""
    return len(text) + text.count("{id}") * 4


@dataclass(eq=False)
class Stage:
    """What a case plays on: the proxy, the origin, and its token, which stands in everything it sends."""

    proxy: Any
    origin: Any
    token: str
    way: str
    tls: Any
    heard: Any = None
    connections: list = field(default_factory=list)

    def path(self, name="case"):
        """A target of this case's own. What is asked below `/stored/` may be stored for ten minutes, all else never.

        Where the way is "to-tls", the proxy speaks TLS to the origin.
        """
        return f"{'/secure' if self.way == 'to-tls' else ''}/{name}/{self.token}"

    def fill(self, data):
        """`{id}` replaced, text made bytes."""
        data = data.encode("latin-1") if isinstance(data, str) else bytes(data)
        return data.replace(b"{id}", self.token.encode())

    async def connect(self, tls=None):
        """A connection to the proxy; over TLS where the case's way says so."""
        tls = self.way == "tls" if tls is None else tls
        port = self.proxy.tls_port if tls else self.proxy.port
        connection = await client.connect(port, self.tls if tls else None)
        self.connections.append(connection)
        return connection

    async def ask(self, data, methods=("GET",), responses=None, step=None, tls=None):
        """Sends on a connection of its own, and hears until the end or so many responses."""
        connection = await self.connect(tls)
        await connection.send(self.fill(data), step)
        heard = await connection.hear(methods, responses)
        connection.close()
        return heard

    async def get(self, path, lines="", method="GET"):
        """An ordinary request on a connection of its own, and its one response."""
        head = f"{method} {path} HTTP/1.1\r\nHost: battery.test\r\nConnection: close\r\n{lines}\r\n"
        heard = await self.ask(head, (method,))
        return heard.responses[0] if heard.responses else None

    async def store(self, path):
        """Has `path` stored, where the proxy stores anything."""
        return await self.get(path, "X-Warm: 1\r\n")

    def answers(self, script):
        """What the origin answers to this case; see `Origin.scripts`."""
        if isinstance(script, (str, bytes)):
            script = self.fill(script)
        self.origin.scripts[self.token.encode()] = script

    def reached(self):
        """The requests of this case at the origin, warming apart; and why bytes of its were none."""
        return self.origin.of(self.token.encode())

    def asked(self):
        """How many requests of this case the origin has been asked."""
        return len(self.reached()[0])


async def play_raw(stage, case):
    """Sends a raw case in its way. Returns the judge, to be asked when everything is over."""
    data = case.send(stage) if callable(case.send) else case.send
    data = stage.fill(data) + (stage.fill(FOLLOW) if case.follow else b"")
    methods = list(case.methods) + ["GET"]
    step = 1 if stage.way == "octets" else None
    if case.origin is not None:
        stage.answers(case.origin)
    hit = stage.path("stored")
    if stage.way == "behind-hit":
        await stage.store(hit)
        data = f"GET {hit} HTTP/1.1\r\nHost: battery.test\r\n\r\n".encode() + data
        methods.insert(0, "GET")
    stage.heard = await stage.ask(data, methods, step=step)
    return lambda: judge_raw(stage, case)


def judge_raw(stage, case):
    run = Run(stage)
    verdict = case.expect(run)
    if verdict.mark == FAIL and case.lenient:
        permitted = case.lenient(run)
        if permitted.mark == PASS:
            return warned(f"permitted: {verdict.why}")
    return verdict


class Run:
    """One raw case that was sent, from both ends."""

    def __init__(self, stage):
        self.heard = stage.heard
        self.responses = list(stage.heard.responses)
        requests, self.faults = stage.reached()
        hit = stage.path("stored").encode()
        self.hit = None
        if stage.way == "behind-hit":
            self.hit = self.responses.pop(0) if self.responses else None
            # A proxy that has not stored it asks again.
            requests = [it for it in requests if it.target != hit]
        self.followed = any(it.target.startswith(b"/follow/") for it in requests)
        self.requests = [it for it in requests if not it.target.startswith(b"/follow/")]

    def told(self):
        reached = f"; reached: {self.requests}{self.faults or ''}" if self.requests or self.faults else ""
        return self.heard.told() + reached + ("; the next request was answered" if self.followed else "")


def refused(*statuses):
    """One answer of the proxy's own with one of `statuses`, the connection closed, and nothing at the origin."""
    statuses = statuses or (400,)

    def judge(run):
        if run.heard.fault:
            return failed(f"malformed to the client: {run.told()}")
        if run.requests or run.faults or run.followed:
            return failed(f"not refused: {run.told()}")
        if len(run.responses) > 1:
            return failed(f"answered more than once: {run.told()}")
        if not run.responses:
            # Nobody was misled, and nobody told.
            return warned(f"no answer: {run.told()}")
        status = run.responses[0].status
        if run.heard.end == "open":
            return (failed if status < 400 else warned)(f"not closed: {run.told()}")
        if status in statuses:
            return passed()
        return (warned if status >= 400 else failed)(f"answered {status}")

    return judge


def silent_or_refused(*statuses):
    """As `refused`, where closing without a word is as good."""
    strict = refused(*statuses)
    return lambda run: passed() if not run.responses and run.heard.end != "open" and strict(run).mark == WARN else strict(run)


def normalised(method=b"GET", target=None, has=None, hasnt=(), body=b"", closes=False, status=200, check=None, reached=1,
               controls=False):
    """Answered, and what reached the origin is one request in one reading: `has` its fields, none of `hasnt`, this body.

    `closes`: the connection may not be used any more. `controls`: control bytes may go on in fields. `check` is a function of the request for what else is to be seen: it
    returns a complaint or nothing.
    """

    def judge(run):
        wrong = complaint(run)
        if wrong and closes and run.heard.end == "reset" and not run.responses and not run.faults and len(run.requests) == reached:
            # RFC 9112 §9.6: who closes with bytes unread takes the answer back.
            return warned(f"the answer was lost in the reset: {run.told()}")
        return failed(f"{wrong}: {run.told()}") if wrong else passed()

    def complaint(run):
        if run.heard.fault:
            return f"malformed to the client: {run.heard.fault}"
        if run.faults:
            return f"malformed to the origin: {run.faults}"
        if len(run.requests) != reached:
            return f"{len(run.requests)} requests in the place of {reached}"
        if not run.responses or run.responses[0].status != status or not run.responses[0].complete:
            return f"not answered {status}"
        if closes and (run.followed or run.heard.end == "open"):
            return "not closed"
        if not closes and not run.followed and run.heard.end == "open":
            return "the next request was lost"
        for request in run.requests[:1]:
            if request.method != method:
                return f"method {request.method!r}"
            if target is not None and not re.fullmatch(target, request.target):
                return f"target {request.target!r}"
            if not request.complete or request.body != body:
                return f"body {request.body[:40]!r}"
            if request.controls and not controls:
                return "control bytes in a field"
            for name in hasnt:
                if request.all(name):
                    return f"{name}: {request.all(name)}"
            for name, value in (has or {}).items():
                if [it.lstrip(b"0") or it for it in request.all(name)] != [value.lstrip(b"0") or value]:
                    return f"{name}: {request.all(name)}"
            if check and (why := check(request)):
                return why
        return None

    return judge


def either(*expected):
    """What passes one of them."""

    def judge(run):
        verdicts = [one(run) for one in expected]
        return min(verdicts, key=lambda it: (PASS, WARN, FAIL).index(it.mark))

    return judge


def one_reading(run):
    """Whatever became of it, both ends could read it, and what followed was not taken for something else."""
    inner = [it for it in run.requests if b"/inner/" in it.target]
    return failed(run.told()) if run.heard.fault or run.faults or inner else passed()


def answered_here(*statuses):
    """Answered by the proxy with one of `statuses`, nothing of it at the origin; the connection may go on."""

    def judge(run):
        if run.heard.fault or run.faults or run.requests:
            return failed(run.told())
        if run.responses and run.responses[0].status in statuses and run.responses[0].complete:
            return passed()
        return failed(run.told())

    return judge


def never_complete(*statuses):
    """A broken upload: refused or cut, and whatever of it went on never looked whole to the origin."""
    statuses = statuses or (400,)

    def judge(run):
        whole = [it for it in run.requests if it.complete]
        if run.heard.fault or whole or run.followed:
            return failed(f"looked whole: {run.told()}")
        if len(run.responses) > 1 or any(it.status < 400 for it in run.responses):
            return failed(f"answered: {run.told()}")
        if run.heard.end == "open":
            return warned(f"waits for more: {run.told()}")
        if run.responses and run.responses[0].status in statuses:
            return passed()
        return warned(f"not told why: {run.told()}")

    return judge
