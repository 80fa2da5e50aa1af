"""Runs a script of loadtest/k6, and reads the summary that k6 exports."""

import json
import re

from rig import ROOT, Process

from scenarios.tools import programs

SCRIPTS = ROOT / "loadtest/k6"
# By k6: some threshold was crossed.
CROSSED = 99
# A threshold that only makes k6 sum something up.
ALWAYS = (">=0",)
PERCENTILES = {"p50": "p(50)", "p90": "p(90)", "p99": "p(99)", "p99.9": "p(99.9)", "max": "max"}


async def run(script, port, directory, env, seconds, *flags):
    """Runs it to its end; gives the metrics of its summary."""
    directory.mkdir(parents=True, exist_ok=True)
    summary = directory / "summary.json"
    summary.unlink(missing_ok=True)
    # Failed requests are counted; k6 would also log each.
    command = [programs["k6"], "run", "--quiet", "--no-usage-report", "--no-color", "--include-system-env-vars=false"]
    command += ["--summary-export", summary]
    variables = {"BASE": f"http://127.0.0.1:{port}"} | env
    given = [word for key, value in variables.items() for word in ("-e", f"{key}={value}")]
    with Process("k6", directory) as k6:
        k6.spawn(*command, *flags, *given, SCRIPTS / f"{script}.js")
        code = await k6.ended(seconds + 240)
        if code not in (0, CROSSED) or not summary.exists():
            lines = [line for line in k6.errors.read_text(errors="replace").splitlines() if "Request Failed" not in line]
            raise RuntimeError(f"k6 ended with {code}: {' / '.join(lines[-3:])}")
    metrics = json.loads(summary.read_text())["metrics"]
    if not metrics.get("http_reqs", {}).get("count"):
        raise RuntimeError("k6 asked for nothing")
    return metrics


def times(metrics, tag=None):
    """Percentiles in milliseconds, of the requests with this tag."""
    trend = metrics.get(f"http_req_duration{{{tag}}}" if tag else "http_req_duration", {})
    return {name: trend.get(key) for name, key in PERCENTILES.items()}


def count(metrics, tag):
    return metrics.get(f"http_reqs{{{tag}}}", {}).get("count", 0)


def failures(metrics):
    """How many requests failed, by what came instead."""
    kinds = {}
    for name in metrics:
        status = re.fullmatch(r"http_reqs\{status:(\d+)\}", name)
        if status and metrics[name]["count"]:
            kinds["no answer" if status[1] == "0" else status[1]] = metrics[name]["count"]
    failed = metrics["http_req_failed"]["passes"]
    if (others := failed - sum(kinds.values())) > 0:
        kinds["others"] = others
    return failed, kinds


def thresholds(metrics):
    """Those that a script set; whether each holds. In k6's export true stands for crossed."""
    found = []
    for name, metric in sorted(metrics.items()):
        for rule, crossed in metric.get("thresholds", {}).items():
            if not rule.endswith(ALWAYS):
                found.append({"rule": f"{name} {rule}", "met": not crossed, "value": value(metric, rule)})
    return found


def value(metric, rule):
    """What the threshold was held against."""
    key = re.match(r"[a-z]+(\([\d.]+\))?", rule)[0]
    found = metric.get("value" if key == "rate" and "value" in metric else key)
    return None if found is None else round(found, 3)


def outcome(metrics, asked, seconds):
    """What all scenarios tell alike."""
    failed, kinds = failures(metrics)
    return {
        "asked": asked,
        "requests": metrics["http_reqs"]["count"],
        "per_second": round((metrics["http_reqs"]["count"] - failed) / seconds, 1),
        "dropped": metrics.get("dropped_iterations", {}).get("count", 0),
        "failed": failed,
        "failures": kinds,
        **times(metrics),
        "thresholds": thresholds(metrics),
    }
