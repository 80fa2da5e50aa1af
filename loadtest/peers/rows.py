"""The rows of the table: what each asks for, how often at once, and what forebay shall need of the others' time."""

from dataclasses import dataclass, field

from peers import loads

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Row:
    """One kind of request, which all the proxies get in turn."""

    title: str
    size: int
    # Where the answer comes from: a "hit", a "miss" that is stored, or "pass".
    source: str = "hit"
    load: object = loads.wrk
    tls: bool = False
    status: int = 200
    connections: int = 64
    # Of each connection, with HTTP/2.
    streams: int = 1
    logged: bool = False
    # Large answers are counted by their octets: those that the end of the run cut are not requests.
    by_octets: bool = False
    # The share of a peer's time that forebay may take.
    goals: dict = field(default_factory=dict)
    # Whether forebay shall also send more a second than any of these.
    outruns: tuple = ()

    @property
    def unique(self):
        return self.source == "miss"

    @property
    def path(self):
        return f"/{'p' if self.source == 'pass' else 'o'}/hot/{self.size}"

    def is_for(self, peer):
        """Whether this tells something of a peer: of the kernel's floor nothing but plain hits, of nginx as it is no hits."""
        if peer.name == "floor":
            return not self.tls and not self.logged and self.source == "hit"
        if peer.only_for_upstreams and self.source == "hit":
            return False
        return peer.tls or not self.tls


H2 = {"load": loads.h2load, "tls": True, "connections": 16, "streams": 8}
ROWS = {
    "hit-1k": Row("hit 1 KiB, HTTP/1.1", KIB, goals={"nginx": 0.5, "haproxy": 0.68, "floor": 1.15}),
    "hit-10k": Row("hit 10 KiB, HTTP/1.1", 10 * KIB, goals={"nginx": 0.65}),
    "hit-100k": Row("hit 100 KiB, HTTP/1.1", 100 * KIB, goals={"nginx": 0.95}),
    "hit-1m": Row("hit 1 MiB, HTTP/1.1", MIB, connections=16, goals={"nginx": 0.6}, outruns=("ats",)),
    "tls-1k": Row("hit 1 KiB, TLS, HTTP/1.1", KIB, tls=True, goals={"haproxy": 0.62}),
    "h2-1k": Row("hit 1 KiB, TLS, HTTP/2", KIB, **H2, goals={"nginx": 0.75}),
    "h2-100k": Row("hit 100 KiB, TLS, HTTP/2", 100 * KIB, **H2, goals={"haproxy": 0.62}),
    "304": Row("304, HTTP/1.1", KIB, load=loads.h2load, status=304, goals={"nginx": 0.5}),
    "bulk": Row("hit 64 MiB, HTTP/1.1, for each MiB", 64 * MIB, connections=4, by_octets=True),
    "miss": Row("miss 1 KiB, stored", KIB, source="miss", goals={"nginx-plain": 0.6, "nginx": 1}),
    "pass": Row("passed through, 1 KiB", KIB, source="pass", goals={"nginx-plain": 0.65, "nginx": 1}),
    "log-1k": Row("hit 1 KiB, HTTP/1.1, access logs on", KIB, logged=True),
}
# Measured by other means than processor time.
LATENCY, IDLE = "latency", "idle"
EVERYTHING = (*ROWS, LATENCY, IDLE)
