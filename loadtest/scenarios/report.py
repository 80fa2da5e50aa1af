"""The report: Markdown with a table for each scenario, and the pictures that it shows."""

from peers.picture import bars
from peers.tables import TITLES, table

from scenarios.edges import ours
from scenarios.lines import lines
from scenarios.plays import SCENARIOS, SHARE
from scenarios.soak import WARM_UP

HEAD = ["", "asked a second", "answered a second", "p50", "p90", "p99", "p99.9", "max", "fetches", "failed"]
HEAD += ["CPU a request", "cores", "peak memory", "thresholds"]


def name_of(proxy):
    return TITLES.get(proxy, proxy)


def ms(value):
    return "–" if value is None else f"{value:,.1f} ms" if value < 1000 else f"{value / 1000:,.2f} s"


def whole(value):
    return "–" if value is None else f"{value:,.0f}"


def failures(row):
    if not row["failed"]:
        return f"0 of {row['requests']:,}"
    why = sorted(row["failures"].items(), key=lambda kind: -kind[1])[:3]
    kinds = ", ".join(f"{count:,} × {clean(what)}" for what, count in why)
    return f"**{row['failed']:,}** of {row['requests']:,}" + (f" ({kinds})" if kinds else "")


def clean(text):
    """A bar or a new line would end the cell."""
    return " ".join(str(text).split()).replace("|", "/")[:80]


def crossed(row):
    return [rule for rule in row["thresholds"] if not rule["met"]]


def verdict_of(row):
    missed = crossed(row)
    if not missed:
        return f"all {len(row['thresholds'])} met"
    which = "; ".join(f"{clean(one['rule'])} (was {one['value']})" for one in missed)
    return f"**{len(missed)} of {len(row['thresholds'])} missed**: {which}"


def line(title, row):
    if "broken" in row:
        return [title, "could not be measured: " + clean(row["broken"]), *[""] * (len(HEAD) - 2)]
    times = [ms(row[key]) for key in ("p50", "p90", "p99", "p99.9", "max")]
    costs = [f"{row['cpu_micros']:,.0f} µs", f"{row['cpu_cores']:.2f}", f"{row['peak_mib']:,.0f} MiB"]
    return [title, whole(row["asked"]), whole(row["per_second"]), *times, whole(row["fetches"]), failures(row), *costs, verdict_of(row)]


def scenario(key, tools):
    """A scenario's part of the report."""
    parts, rows = [f"## {SCENARIOS[key].title}"], []
    for tool, proxies in tools.items():
        for proxy, found in proxies.items():
            for row in found:
                part = f", {row['part']}" if row.get("part") else ""
                rows.append(line(f"{name_of(proxy)}, {tool}{part}", row))
    parts.append(table(HEAD, rows))
    for tool, proxies in tools.items():
        measured = {proxy: found[0] for proxy, found in proxies.items() if "broken" not in found[0]}
        if key == "stress" and measured:
            best = ", ".join(f"{name_of(proxy)} {row['best']:,.0f}" for proxy, row in measured.items())
            parts.append(f"The most requests a second of a step whose 99th percentile was good, by {tool}: {best}.")
            parts.append(f"![latency by rate]({key}-{tool}.svg)")
        if key == "deploy" and measured:
            times = ", ".join(f"{name_of(proxy)} {row['restarts']}" for proxy, row in measured.items())
            parts.append(f"Restarts of the origin while {tool} asked: {times}.")
        if key == "soak" and measured:
            parts += [growth(tool, measured), f"![the soak over time]({key}-{tool}.svg)"]
    return "\n\n".join(parts)


def growth(tool, measured):
    """Whether anything grew: medians of the first and the last third."""
    rows = []
    for proxy, row in measured.items():
        for one in row["verdict"]:
            say = lambda value: "too few points" if value is None else f"{value:,g} {one['unit']}".strip()
            met = "yes" if one["met"] else "**no**"
            rows.append([f"{name_of(proxy)}, {tool}: {one['rule']}", say(one["first"]), say(one["last"]), met])
    return table([f"after {WARM_UP:.0%} of the time, medians", "first third", "last third", "holds"], rows)


def markdown(results, facts):
    parts = ["# Load tests", about(facts), summary(results)]
    if any("broken" not in row for row in every(results)):
        parts.append("![99th percentiles](latency.svg)\n\n![processor time](cpu.svg)")
    parts += [scenario(key, tools) for key, tools in results.items()]
    parts.append(NOTES)
    return "\n\n".join(parts) + "\n"


NOTES = """Each proxy ran alone with the same origin, one after the other; the load, the proxy and the origin shared the machine. "Fetches" is what the
origin counted. CPU is user and system time of all the proxy's processes; "cores" is how many it kept busy on average. Peak memory is resident
at most, and what is held by a descriptor only; nginx keeps its cache in files besides. By k6 a request's time runs from when it is sent,
and what could not be sent in time is a dropped iteration; by oha from when it was due. oha's soak and stress are several runs: their
percentiles are the medians of these, the maximum is of all."""


def about(facts):
    noise = " Others worked on the machine: measure again on a quiet one." if facts["load_average_before"] > 0.5 else ""
    return (
        f"{', '.join(facts['versions'])}; at {facts['commit']}, {facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, "
        f"{facts['date']}; {facts['seconds']} s each, the soak {facts['soak_seconds']} s; "
        f"load average before: {facts['load_average_before']:.1f}.{noise}"
    )


def every(results):
    for tools in results.values():
        for proxies in tools.values():
            for found in proxies.values():
                yield from found


def missed(results):
    """Each threshold that forebay missed, and what could not be measured."""
    rules, broken = [], []
    for key, tools in results.items():
        for tool, proxies in tools.items():
            for proxy, found in proxies.items():
                for row in found:
                    where = f"{key}, {tool}, {name_of(proxy)}"
                    if "broken" in row:
                        broken.append(f"{where}: {clean(row['broken'])}")
                    elif ours(proxy):
                        rules += [f"{where}: {rule['rule']} (was {rule['value']})" for rule in crossed(row)]
    return rules, broken


def summary(results):
    rules, broken = missed(results)
    if not rules and not broken:
        return "Every threshold of Forebay holds."
    said = [f"- **missed**: {one}" for one in rules] + [f"- **not measured**: {one}" for one in broken]
    return "\n".join(said)


def verdict(results):
    """The exit code: 2 when something could not be measured, 1 when forebay missed a threshold."""
    rules, broken = missed(results)
    return 2 if broken else 1 if rules else 0


def pictures(results, facts):
    """The pictures by file name."""
    foot = f"{', '.join(facts['versions'])}; {facts['processor']}, {facts['date']}"
    names = facts["proxies"]
    drawn = {}
    for file, key, title, subtitle in (
        ("latency.svg", "p99", "99th percentile in milliseconds: shorter is better", "Each panel has its own scale."),
        ("cpu.svg", "cpu_micros", "CPU microseconds a request: shorter is better", "All the proxy’s processes, user and system."),
    ):
        panels = list(panels_of(results, key))
        if panels:
            drawn[file] = bars(title, subtitle, title, panels, names, foot)
    for tool, proxies in results.get("stress", {}).items():
        drawn[f"stress-{tool}.svg"] = stress(tool, good(proxies), names, foot)
    for tool, proxies in results.get("soak", {}).items():
        drawn[f"soak-{tool}.svg"] = soak(tool, good(proxies), names, foot)
    return drawn


def good(proxies):
    return {proxy: found[0] for proxy, found in proxies.items() if "broken" not in found[0]}


def panels_of(results, key):
    for scenario_key, tools in results.items():
        for tool, proxies in tools.items():
            parts = list(dict.fromkeys(row.get("part") for found in proxies.values() for row in found if "broken" not in row))
            for part in parts:
                cells = {}
                for proxy, found in proxies.items():
                    row = next((row for row in found if "broken" in row or row.get("part") == part), {"broken": True})
                    cells[proxy] = "not measured" if "broken" in row else row[key]
                yield ", ".join(filter(None, (scenario_key, part, tool))), cells


def stress(tool, proxies, names, foot):
    panels = []
    for title, key in (("99th percentile, ms", "p99"), ("answered a second", "per_second")):
        series = {proxy: [(step["asked"], step[key]) for step in row["steps"]] for proxy, row in proxies.items()}
        panels.append((title, "asked a second", series))
    return lines(f"Stress by {tool}", "Each proxy rises to 1.1 times what it made in a closed loop.", panels, names, foot)


def soak(tool, proxies, names, foot):
    samples = lambda key, scale: {p: [(one["at"], one[key] / scale) for one in row["samples"]] for p, row in proxies.items()}
    slices = lambda key, scale: {p: [(one["at"], scaled(one[key], scale)) for one in row["slices"]] for p, row in proxies.items()}
    panels = [
        ("memory, MiB", "seconds", samples("memory_kib", 1024)),
        ("hits, %", "seconds", slices("hits", 0.01)),
        ("open files but clients' connections", "seconds", samples("files", 1)),
        ("50th percentile, ms", "seconds", slices("p50", 1)),
        ("99th percentile, ms", "seconds", slices("p99", 1)),
        ("longest, ms", "seconds", slices("max", 1)),
    ]
    rates = ", ".join(f"{name_of(proxy)} {row['asked']:,} a second" for proxy, row in proxies.items())
    return lines(f"Soak by {tool}", f"At {SHARE:.0%} of the largest rate: {rates}.", panels, names, foot)


def scaled(value, scale):
    return None if value is None else value / scale
