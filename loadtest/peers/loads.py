"""The load on one proxy for one row, and the proof that what it got was whole, and came from where the row says."""

import http.client
import itertools
import json
import re
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from rig import TICKS

PACKAGES = {"wrk": "wrk", "h2load": "nghttp2-client", "nginx": "nginx-light", "taskset": "util-linux", "openssl": "openssl", "gcc": "gcc"}
FRESH = itertools.count()
# What wrk does at the end: says in figures what it prints rounded.
DONE = """
function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\\n{"requests":%d,"octets":%d,"micros":%d,"broken":%d,"refused":%d}\\n',
    summary.requests, summary.bytes, summary.duration, e.connect + e.read + e.write + e.timeout, e.status))
end
"""
UNIQUE = """
local n = 0
function request()
  n = n + 1
  return wrk.format("GET", "/o/%s-" .. n .. "/%d")
end
"""


@dataclass
class Run:
    """What a load of some seconds came to."""

    requests: int
    octets: int
    seconds: float


def url(row, port):
    return f"{'https' if row.tls else 'http'}://127.0.0.1:{port}{row.path}"


def wrk(row, port, seconds, core, directory, _tag=None):
    script = directory / "wrk.lua"
    token = f"{time.time_ns():x}-{next(FRESH)}"
    script.write_text(DONE + (UNIQUE % (token, row.size) if row.unique else ""))
    command = ["wrk", "-t1", f"-c{row.connections}", f"-d{seconds}", "--timeout", "30s", "-s", script, url(row, port)]
    said = on(core, command, seconds + 60)
    figures = json.loads(said.strip().splitlines()[-1])
    if figures["broken"] or figures["refused"]:
        raise RuntimeError(f"{figures['broken']} broken, {figures['refused']} refused of {figures['requests']}")
    return Run(figures["requests"], figures["octets"], figures["micros"] / 1e6)


def h2load(row, port, seconds, core, _directory, tag=None):
    """HTTP/2 over TLS, HTTP/1.1 without; unlike wrk it knows that a 304 with a Content-Length has no body."""
    old = [] if row.tls else ["--h1"]
    conditional = ["-H", f"If-None-Match: {tag}"] if row.status == 304 else []
    streams = ["-m", str(row.streams)]
    command = ["h2load", "-t1", f"-c{row.connections}", *streams, "-D", str(seconds), *old, *conditional, url(row, port)]
    said = on(core, command, seconds + 60)
    if row.tls and "Application protocol: h2" not in said:
        raise RuntimeError("no HTTP/2 was agreed on")
    number = lambda pattern: int(re.search(pattern, said).group(1))
    statuses = {kind: number(rf"(\d+) {kind}xx") for kind in (2, 3, 4, 5)}
    good = statuses.pop(row.status // 100)
    bad = {"failed": number(r"(\d+) failed"), "errored": number(r"(\d+) errored"), "timed out": number(r"(\d+) timeout")}
    bad |= {"other statuses": sum(statuses.values())}
    if any(bad.values()):
        raise RuntimeError(", ".join(f"{count} {what}" for what, count in bad.items() if count) + f" of {good}")
    return Run(number(r"(\d+) succeeded"), number(r"\((\d+)\) data"), float(re.search(r"finished in ([\d.]+)s", said).group(1)))


def on(core, command, timeout):
    """What the command says, run on this core."""
    try:
        done = subprocess.run(["taskset", "-c", str(core), *command], capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{command[0]} did not end") from None
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
    return done.stdout


def compiled(name, directory):
    """One of the programs in C beside this file."""
    program = directory / name
    if not program.exists():
        subprocess.run(["gcc", "-O2", "-o", program, Path(__file__).with_name(f"{name}.c")], check=True)
    return program


def open_loop(row, port, rate, seconds, core, directory):
    """Latencies in µs at a rate that does not wait for answers: each counts from when its request was due."""
    command = [compiled("paced", directory), port, row.connections, rate, seconds, row.path, row.size]
    return json.loads(on(core, list(map(str, command)), seconds + 60))


def trusting():
    """TLS as the loads speak it: nobody is verified."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """One kept connection, for looking closely at a few answers."""

    def __init__(self, port, tls):
        if tls:
            self.connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusting())
        else:
            self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def fetch(self, path, size, status=200, tag=None):
        """Fetches one whole answer; gives its fields."""
        self.connection.request("GET", path, headers={"If-None-Match": tag} if tag else {})
        answer = self.connection.getresponse()
        body = answer.read()
        if answer.status != status:
            raise RuntimeError(f"{answer.status} where {status} was due")
        if status == 200 and body != b"f" * size:
            raise RuntimeError(f"{len(body)} octets where {size} were due, or others")
        return answer.headers

    def cipher(self):
        sock = self.connection.sock
        return sock.cipher()[0] if isinstance(sock, ssl.SSLSocket) else None

    def close(self):
        self.connection.close()


def probe(row, proxy, origin):
    """Proves that the proxy answers this row whole and from where it should; gives the entity tag and the TLS cipher."""
    client = Client(proxy.port_for(row), row.tls)
    try:
        if origin is None:
            client.fetch(row.path, row.size, row.status)
            return None, None
        path = f"/o/probe-{next(FRESH)}-{time.time_ns():x}/{row.size}" if row.unique else row.path
        for _ in range(3):
            tag = client.fetch(path, row.size)["ETag"]
        cipher = client.cipher()
        before = origin.count()
        for _ in range(5):
            client.fetch(path, row.size, row.status, tag if row.status == 304 else None)
        fetches = origin.count() - before
    finally:
        client.close()
    if fetches and row.source != "pass":
        raise RuntimeError(f"not a hit: {fetches} fetches for 5 requests")
    if fetches != 5 and row.source == "pass":
        raise RuntimeError(f"not passed through: {fetches} fetches for 5 requests")
    return tag, cipher


def judge(row, run, fetches):
    """Refuses a run whose answers cannot have been those of its row."""
    if not run.requests and not (row.by_octets and run.octets):
        raise RuntimeError("no request was completed")
    if row.status == 304:
        if run.octets / run.requests >= row.size:
            raise RuntimeError("answers with a body where 304 was due")
    elif run.octets < run.requests * row.size:
        raise RuntimeError(f"{run.octets} octets in {run.requests} answers of {row.size}")
    if fetches is None:
        return
    if row.source == "hit" and fetches > max(3, run.requests // 1000):
        raise RuntimeError(f"{fetches} fetches for {run.requests} hits")
    if row.source != "hit" and fetches < 0.99 * run.requests:
        raise RuntimeError(f"{fetches} fetches for {run.requests} requests that need one each")


def busy_seconds(core):
    """What a core has done so far for programs, or was kept from doing; interrupts may or may not be in a program's time."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _wait, _interrupts, _soft, stolen = map(int, line.split()[1:9])
    return (user + nice + system + stolen) / TICKS
