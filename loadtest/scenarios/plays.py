"""The scenarios: what each asks for, by k6 and by oha, and what happens to the origin meanwhile."""

import asyncio
import signal
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from scenarios import k6, oha, soak
from scenarios.origins import Greeting, Shelves, SlowPage
from scenarios.watch import Watch

STEPS = 8
# Of the largest rate that was made, what a soak asks for.
SHARE = 0.8
# What spike.js and deploy.js are told: how long the page takes and is fresh, how much later answers may be, and the longest wait.
PAGE_SECONDS, FRESH_SECONDS, GRACE_MS, WAIT_MS = 2, 4, 2000, 8000
# Where each page of a spike is; the last is the only one that is not stored before.
PAGES = {"expired": "/strict/expired", "stale": "/loose/stale", "absent": "/strict/absent"}
# Restarts of a deploy: how long the origin is away each time, besides its own start.
GAP, APART = 1.0, 8.0
# Time for the load to begin.
LEAD = 3.0


@dataclass
class Stage:
    """A proxy and its origin, running, and what is to be asked of them."""

    proxy: object
    origin: object
    directory: Path
    mix: object
    rate: int
    seconds: int
    users: int
    p99: int

    def url(self, path="/"):
        return f"http://127.0.0.1:{self.proxy.port}{path}"

    def watch(self):
        return Watch(self.proxy, self.origin)

    def paths(self):
        return {"PATHS": self.mix.write(self.directory / "paths.txt"), "ZIPF": self.mix.zipf}

    def urls(self):
        return self.mix.write_urls(self.directory / "urls.txt", self.proxy.port, max(100_000, 4 * len(self.mix.paths)))

    async def k6(self, script, env, seconds, *flags):
        return await k6.run(script, self.proxy.port, self.directory, {"P99_MS": self.p99} | env, seconds, *flags)

    async def oha(self, target, seconds, **more):
        return await oha.run(self.directory, target, seconds, **more)


async def smoke_k6(stage):
    rate, seconds = max(5, stage.rate // 20), stage.seconds
    async with stage.watch() as watch:
        metrics = await stage.k6("smoke", {"RATE": rate, "SECONDS": seconds, "P99_MS": 2 * stage.p99}, seconds)
    one = k6.outcome(metrics, rate + 2, seconds)
    return [one | watch.figure(one["requests"])]


async def smoke_oha(stage):
    rate, seconds = max(5, stage.rate // 20), stage.seconds
    async with stage.watch() as watch:
        said = await stage.oha(stage.url(), seconds, rate=rate, connections=max(20, rate))
    one = oha.outcome(said, rate, seconds)
    return [one | watch.figure(one["requests"]) | {"thresholds": oha.thresholds(one, seconds, 2 * stage.p99)}]


async def load_k6(stage):
    async with stage.watch() as watch:
        metrics = await stage.k6("load", {"RATE": stage.rate, "SECONDS": stage.seconds} | stage.paths(), stage.seconds)
    one = k6.outcome(metrics, stage.rate, stage.seconds)
    return [one | watch.figure(one["requests"])]


async def load_oha(stage):
    urls = stage.urls()
    async with stage.watch() as watch:
        said = await stage.oha(urls, stage.seconds, rate=stage.rate, urls=True)
    one = oha.outcome(said, stage.rate, stage.seconds)
    return [one | watch.figure(one["requests"]) | {"thresholds": oha.thresholds(one, stage.seconds, stage.p99)}]


async def most_k6(stage, seconds):
    """Requests a second of a closed loop: what proxy, origin and k6 make on this machine together."""
    flags = ["--vus", "64", "--duration", f"{seconds}s", "--no-thresholds"]
    metrics = await stage.k6("stress", stage.paths(), seconds, *flags)
    return max(1, metrics["http_reqs"]["count"] / seconds)


async def most_oha(stage, seconds):
    said = await stage.oha(stage.urls(), seconds, connections=64, urls=True)
    return max(1, oha.outcome(said, None, seconds)["requests"] / seconds)


async def largest(most, stage, seconds):
    """What a closed loop makes of a cache that another has filled before."""
    await most(stage, seconds)
    return await most(stage, seconds)


def best_step(steps, limit):
    """The most that a step made whose 99th percentile was good."""
    return max((step["per_second"] for step in steps if step["p99"] is not None and step["p99"] <= limit), default=0)


async def stress_k6(stage):
    peak, each = round(1.1 * await largest(most_k6, stage, max(3, stage.seconds // 6))), stage.seconds / STEPS
    async with stage.watch() as watch:
        env = {"PEAK": peak, "STEPS": STEPS, "SECONDS": stage.seconds} | stage.paths()
        metrics = await stage.k6("stress", env, stage.seconds)
    steps = []
    for n in range(STEPS):
        made = k6.count(metrics, f"step:{n}") / each
        steps.append({"asked": round(peak * (n + 1) / STEPS), "per_second": round(made, 1)} | k6.times(metrics, f"step:{n}"))
    one = k6.outcome(metrics, peak, stage.seconds)
    return [one | watch.figure(one["requests"]) | {"steps": steps, "best": best_step(steps, stage.p99)}]


async def stress_oha(stage):
    peak, each = round(1.1 * await largest(most_oha, stage, max(3, stage.seconds // 6))), max(1, stage.seconds // STEPS)
    steps, urls = [], stage.urls()
    async with stage.watch() as watch:
        for n in range(STEPS):
            rate = max(1, round(peak * (n + 1) / STEPS))
            steps.append(oha.outcome(await stage.oha(urls, each, rate=rate, urls=True), rate, each))
    half = steps[max(0, STEPS // 2 - 1)]
    one = together(steps, peak, each * STEPS)
    rules = [oha.at_most("failed", one["failed"], 0), oha.at_most("p(99) ms of half of the steps", half["p99"], stage.p99)]
    return [one | watch.figure(one["requests"]) | {"steps": steps, "best": best_step(steps, stage.p99), "thresholds": rules}]


def together(parts, asked, seconds):
    """One outcome of several runs of oha: sums, and of each percentile the median, which the report says."""
    kinds = {}
    for part in parts:
        for kind, count in part["failures"].items():
            kinds[kind] = kinds.get(kind, 0) + count
    middle = lambda key: (sorted(part[key] for part in parts if part[key] is not None) or [None])
    sums = {key: sum(part[key] for part in parts) for key in ("requests", "dropped", "failed")}
    percentiles = {key: middle(key)[len(middle(key)) // 2] for key in oha.PERCENTILES}
    made = round((sums["requests"] - sums["failed"]) / seconds, 1)
    return {"asked": asked, "per_second": made, "failures": kinds, **sums, **percentiles, "max": middle("max")[-1]}


def limits(name, fetches):
    """Of a page of a spike: how often it may be fetched while all ask for it. One that is fresh for seconds may be twice."""
    return oha.at_most(f"fetches of {name}", fetches, 1 if name == "absent" else 2)


async def spike_k6(stage):
    env = {"USERS": stage.users, "PAGE_SECONDS": PAGE_SECONDS, "FRESH_SECONDS": FRESH_SECONDS, "GRACE_MS": GRACE_MS}
    async with stage.watch() as watch:
        metrics = await stage.k6("spike", env, 60)
    costs, rules, rows = watch.figure(metrics["http_reqs"]["count"]), k6.thresholds(metrics), []
    for name, path in PAGES.items():
        part = metrics.get(f"http_req_failed{{page:{name}}}", {"passes": 0})
        # k6 had to have it stored first.
        fetches = stage.origin.about(path)["count"] - (name != "absent")
        requests = k6.count(metrics, f"page:{name}")
        row = {"part": name, "asked": stage.users, "requests": requests, "per_second": None, "failed": part["passes"]}
        row |= {"failures": k6.failures(metrics)[1] if part["passes"] else {}} | k6.times(metrics, f"page:{name}") | costs
        # Those that name no page are of all, and stand with the first.
        mine = [rule for rule in rules if f"page:{name}" in rule["rule"] or name == "expired" and "page:" not in rule["rule"]]
        rows.append(row | {"fetches": fetches, "thresholds": [*mine, limits(name, fetches)]})
    return rows


async def spike_oha(stage):
    rows = []
    async with stage.watch() as watch:
        for name, path in PAGES.items():
            fresh = 300 if name == "absent" else FRESH_SECONDS
            target = stage.url(f"{path}?head={PAGE_SECONDS}&size=20000&cc=max-age%3D{fresh}")
            if name != "absent":
                await asyncio.to_thread(fetch, target)
                # Until what was stored is stale, also for who counts from its arrival.
                await asyncio.sleep(FRESH_SECONDS + 1)
            before = stage.origin.about(path)["count"]
            said = await stage.oha(target, 60, connections=stage.users, requests=stage.users)
            fetches = stage.origin.about(path)["count"] - before
            row = oha.outcome(said, None, max(0.001, said["summary"]["total"])) | {"part": name, "asked": stage.users, "fetches": fetches}
            most = GRACE_MS + (0 if name == "stale" else PAGE_SECONDS * 1000)
            rules = [oha.at_most("failed", row["failed"], 0), oha.at_most("p(99) ms", row["p99"], most), limits(name, fetches)]
            rows.append(row | {"per_second": None, "thresholds": rules})
    costs = watch.figure(sum(row["requests"] for row in rows))
    return [costs | row for row in rows]


def fetch(target):
    try:
        with urllib.request.urlopen(target, timeout=60) as answer:
            answer.read()
    except OSError:
        # What the proxy answers to the others will tell.
        pass


async def soak_k6(stage):
    rate = max(1, round(SHARE * await largest(most_k6, stage, warm(stage))))
    count = slices_of(stage.seconds)
    async with stage.watch() as watch:
        env = {"RATE": rate, "SECONDS": stage.seconds, "SLICES": count} | stage.paths()
        metrics = await stage.k6("soak", env, stage.seconds)
    slices = []
    for n in range(count):
        hits = metrics.get(f"hits{{slice:{n}}}", {}).get("value")
        slices.append({"at": (n + 0.5) * stage.seconds / count, "hits": hits} | k6.times(metrics, f"slice:{n}"))
    # k6 takes its time to begin, and ends when its load does.
    late = max(0, watch.seconds - stage.seconds)
    watch.samples = [sample | {"at": sample["at"] - late} for sample in watch.samples if sample["at"] >= late]
    return [soaked(k6.outcome(metrics, rate, stage.seconds), watch, slices, stage.seconds)]


async def soak_oha(stage):
    rate = max(1, round(SHARE * await largest(most_oha, stage, warm(stage))))
    count, urls, slices, begun = slices_of(stage.seconds), stage.urls(), [], time.monotonic()
    each = max(1, stage.seconds // count)
    async with stage.watch() as watch:
        for _ in range(count):
            before = stage.origin.count()
            part = oha.outcome(await stage.oha(urls, each, rate=rate, urls=True), rate, each)
            fetched = stage.origin.count() - before
            slices.append(part | {"at": time.monotonic() - begun, "hits": 1 - fetched / max(1, part["requests"])})
    one = together(slices, rate, each * count)
    one["thresholds"] = oha.thresholds(one, each * count, stage.p99)
    # Between two runs of oha some time passes.
    return [soaked(one, watch, slices, watch.seconds)]


def warm(stage):
    return max(3, min(30, stage.seconds // 20))


def slices_of(seconds):
    return max(6, min(60, seconds // 10))


def soaked(one, watch, slices, seconds):
    found = soak.verdict(watch.samples, slices, seconds)
    kept = [{key: part[key] for key in ("at", "hits", "p50", "p99", "max")} for part in slices]
    series = {"samples": watch.samples, "slices": kept, "verdict": found}
    return one | watch.figure(one["requests"]) | series | {"thresholds": [*one["thresholds"], *found]}


class Deploy:
    """Restarts the origin while `async with` lasts: the old one ends, nobody is there for a while, the new one starts."""

    def __init__(self, stage):
        self.stage = stage
        self.done = 0

    async def __aenter__(self):
        self.task = asyncio.create_task(self.restart())
        return self

    async def __aexit__(self, *_):
        self.task.cancel()
        (ended,) = await asyncio.gather(self.task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended
        if not self.done:
            raise RuntimeError("the origin was not restarted once while the load ran")

    async def restart(self):
        restarts = max(1, int(self.stage.seconds // APART))
        begun, every = time.monotonic(), (self.stage.seconds - LEAD) / restarts
        for number in range(restarts):
            await asyncio.sleep(max(0, begun + LEAD + number * every - time.monotonic()))
            self.stage.origin.signal(signal.SIGTERM)
            await self.stage.origin.ended()
            self.done += 1
            await asyncio.sleep(GAP)
            self.stage.origin.start()
            await self.stage.origin.ready()


async def deploy_k6(stage):
    rate = max(5, stage.rate // 10)
    async with stage.watch() as watch, Deploy(stage) as deploy:
        metrics = await stage.k6("deploy", {"RATE": rate, "SECONDS": stage.seconds, "WAIT_MS": WAIT_MS}, stage.seconds)
    one = k6.outcome(metrics, rate, stage.seconds)
    return [one | watch.figure(one["requests"]) | {"restarts": deploy.done}]


async def deploy_oha(stage):
    rate = max(5, stage.rate // 10)
    async with stage.watch() as watch, Deploy(stage) as deploy:
        said = await stage.oha(stage.url(), stage.seconds, rate=rate, connections=rate * WAIT_MS // 1000)
    one = oha.outcome(said, rate, stage.seconds)
    rules = oha.thresholds(one, stage.seconds, most=WAIT_MS)
    return [one | watch.figure(one["requests"]) | {"restarts": deploy.done, "thresholds": rules}]


@dataclass(frozen=True)
class Scenario:
    """What it tells, who is behind the proxy, and how each tool plays it."""

    title: str
    origin: type
    plays: dict
    # How many paths the mix has.
    paths: int = 1


SCENARIOS = {
    "smoke": Scenario("smoke: reads and writes of a greeting under gunicorn", Greeting, {"k6": smoke_k6, "oha": smoke_oha}),
    "load": Scenario("load: a steady rate of a mix that fits into the cache", Shelves, {"k6": load_k6, "oha": load_oha}, 1000),
    "stress": Scenario("stress: a rate that rises beyond what all can do", Shelves, {"k6": stress_k6, "oha": stress_oha}, 1000),
    "spike": Scenario("spike: a stampede on one slow page", SlowPage, {"k6": spike_k6, "oha": spike_oha}),
    "deploy": Scenario("deploy: gunicorn is restarted under load", Greeting, {"k6": deploy_k6, "oha": deploy_oha}),
    "soak": Scenario(
        "soak: 80 % of the largest rate, a mix larger than the cache", Shelves, {"k6": soak_k6, "oha": soak_oha}, 100_000
    ),
}
