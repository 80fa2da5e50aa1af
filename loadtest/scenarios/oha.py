"""Runs oha where it can do what a script of k6 does, and holds its answers to the same thresholds."""

import json

from rig import Process

from scenarios.tools import programs

PERCENTILES = {"p50": "p50", "p90": "p90", "p99": "p99", "p99.9": "p99.9"}
# What oha says of requests that were under way at the end.
CUT_BY_THE_END = "aborted due to deadline"


async def run(directory, target, seconds, rate=None, connections=200, requests=None, urls=False):
    """Runs it to its end, as an open loop where there is a rate; gives what it says."""
    directory.mkdir(parents=True, exist_ok=True)
    said = directory / "oha.json"
    said.unlink(missing_ok=True)
    command = [programs["oha"], "--no-tui", "--output-format", "json", "-o", said, "-c", str(connections), "-t", "60s"]
    # The same request as k6's, which accepts no coding.
    command += ["--disable-compression", "--redirect", "0"]
    command += ["-n", str(requests)] if requests else ["-z", f"{seconds}s", "-w"]
    command += ["-q", str(rate), "--latency-correction"] if rate else []
    command += ["--urls-from-file"] if urls else []
    with Process("oha", directory) as oha:
        oha.spawn(*command, target)
        code = await oha.ended(seconds + 240)
        if code or not said.exists():
            raise RuntimeError(f"oha ended with {code}: {oha.errors.read_text(errors='replace')[-300:]}")
    return json.loads(said.read_text())


def failures(said):
    statuses = {status: count for status, count in said["statusCodeDistribution"].items() if status != "200"}
    errors = {what: count for what, count in said["errorDistribution"].items() if what != CUT_BY_THE_END}
    kinds = statuses | errors
    return sum(kinds.values()), kinds


def times(said):
    """Percentiles in milliseconds."""
    percentiles = said["latencyPercentiles"]
    scaled = lambda seconds: None if seconds is None else seconds * 1000
    return {name: scaled(percentiles.get(key)) for name, key in PERCENTILES.items()} | {"max": scaled(said["summary"]["slowest"])}


def outcome(said, asked, seconds):
    """What all scenarios tell alike."""
    failed, kinds = failures(said)
    answers = said["statusCodeDistribution"]
    requests = sum(answers.values()) + sum(count for kind, count in kinds.items() if kind not in answers)
    return {
        "asked": asked,
        "requests": requests,
        "per_second": round((requests - failed) / seconds, 1),
        "dropped": max(0, round(asked * seconds) - requests) if asked else 0,
        "failed": failed,
        "failures": kinds,
        **times(said),
    }


def thresholds(one, seconds, p99=None, most=None):
    """The thresholds of common.js."""
    found = [at_most("failed", one["failed"], 0)]
    if one["asked"]:
        found.append(at_most("dropped", one["dropped"], -(-one["asked"] * seconds // 100)))
    if p99:
        found.append(at_most("p(99) ms", one["p99"], p99))
    if most:
        found.append(at_most("max ms", one["max"], most))
    return found


def at_most(what, value, limit):
    """A threshold that is told as k6's are."""
    return {"rule": f"{what} <= {limit}", "met": value is not None and value <= limit, "value": None if value is None else round(value, 3)}
