"""The Markdown tables: what each proxy took and made, and whether forebay met its goals."""

from peers.rows import IDLE, LATENCY, ROWS

TITLES = {"floor": "kernel's floor", "forebay": "Forebay", "nginx": "nginx", "nginx-plain": "nginx as it is", "haproxy": "HAProxy", "ats": "ATS", "varnish": "Varnish"}
# A proxy whose core idled more than this was not driven as far as it goes.
SATURATED = 0.93


def columns(results):
    """The proxies that any row has, in their order."""
    return [name for name in TITLES if any(name in cells for cells in results.values())]


def figure(cells, name, key):
    """A proxy's figure of this row, or None."""
    return cells.get(name, {}).get(key)


def cell(cells, name, form):
    if name not in cells:
        return "–"
    if "failed" in cells[name]:
        # A bar or a new line would end the cell.
        return "failed: " + " ".join(cells[name]["failed"].split()).replace("|", "/")[:120]
    return form(cells[name])


def ratios(key, cells):
    """Each goal of a row: of whom, the share allowed, the share taken or None."""
    mine = figure(cells, "forebay", "micros")
    for name, share in ROWS[key].goals.items():
        theirs = figure(cells, name, "micros")
        yield name, share, mine / theirs if mine and theirs else None


def outrun(key, cells):
    """Whom forebay shall outrun in this row, and by how much it did, or None."""
    mine = figure(cells, "forebay", "octets_per_second")
    for name in ROWS[key].outruns:
        theirs = figure(cells, name, "octets_per_second")
        yield name, mine / theirs if mine and theirs else None


def goal(key):
    parts = [f"≤ {share} {TITLES[name]}" for name, share in ROWS[key].goals.items()]
    parts += [f"≥ {TITLES[name]} a second" for name in ROWS[key].outruns]
    return ", ".join(parts) or "–"


def met(key, cells):
    """What the goals' column says: each ratio, in bold where it is not good enough."""
    parts = []
    for name, share, taken in ratios(key, cells):
        if taken is not None:
            parts.append(f"{taken:.2f} {TITLES[name]}" if taken <= share else f"**{taken:.2f} {TITLES[name]}**")
    for name, made in outrun(key, cells):
        if made is not None:
            parts.append(f"{made:.2f} {TITLES[name]} a second" if made >= 1 else f"**{made:.2f} {TITLES[name]} a second**")
    return ", ".join(parts) or "–"


def best(cells):
    """The peer that took least, and forebay's time as a share of its."""
    peers = {name: figure(cells, name, "micros") for name in cells if name not in ("floor", "forebay")}
    peers = {name: micros for name, micros in peers.items() if micros}
    mine = figure(cells, "forebay", "micros")
    if not peers or not mine:
        return "–"
    name = min(peers, key=peers.get)
    return f"{mine / peers[name]:.2f} {TITLES[name]}"


def micros(one):
    lost = f" ({one['logged']:.0%} logged)" if one.get("logged", 1) < 0.99 else ""
    return f"{one['micros']:.1f}{lost}"


def rate(by_octets):
    def form(one):
        mark = "" if one["busy"] >= SATURATED else " *"
        return (f"{one['octets_per_second'] / 2**30:.2f} GiB/s" if by_octets else f"{one['per_second']:,.0f}") + mark

    return form


def delay(percentile):
    def form(one):
        mark = " †" if one[f"client_{percentile}"] > one[percentile] / 2 else ""
        return f"{one[percentile]:,.0f} µs at {one['rate']:,}/s{mark}"

    return form


def table(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1), *("| " + " | ".join(l) + " |" for l in lines)])


def markdown(results, facts):
    names = columns(results)
    titles = [TITLES[name] for name in names]
    rows = [key for key in ROWS if key in results]
    parts = []
    if rows:
        lines = []
        for key in rows:
            cells = results[key]
            lines.append([ROWS[key].title, *(cell(cells, n, micros) for n in names), best(cells), goal(key), met(key, cells)])
        parts.append("CPU microseconds of the proxy, a request:")
        parts.append(table(["", *titles, "of the best peer", "goal", "measured"], lines))
        lines = []
        for key in rows:
            form = rate(ROWS[key].by_octets or ROWS[key].size >= 2**20)
            lines.append([ROWS[key].title.split(", for each")[0], *(cell(results[key], n, form) for n in names)])
        parts.append("Requests a second (* the load or the origin was the limit, not the proxy):")
        parts.append(table(["", *titles], lines))
    lines = []
    if LATENCY in results:
        for percentile in ("p99", "p99.9"):
            form = delay(percentile)
            lines.append([f"{percentile}, hit 1 KiB, half of the own largest rate", *(cell(results[LATENCY], n, form) for n in names)])
    if IDLE in results:
        lines.append(["memory of an idle connection", *(cell(results[IDLE], n, lambda one: f"{one['kib']:.2f} KiB") for n in names)])
    if lines:
        parts.append("Latency in an open loop († the client itself was late by more than half of it), and memory:")
        parts.append(table(["", *titles], lines))
    parts.append(footer(facts, results))
    return "\n\n".join(parts) + "\n"


def footer(facts, results):
    versions = ", ".join(filter(None, facts["versions"].values()))
    lines = [
        f"{versions}; at {facts['commit']}, {facts['processor']}, {facts['cores']} cores, Linux {facts['kernel']}, {facts.get('congestion_control', 'unknown')}, {facts['date']}; "
        f"medians of {facts['rounds']} alternating rounds of {facts['seconds']} s."
    ]
    noise = [one["others"] for key in ROWS for one in results.get(key, {}).values() if "others" in one]
    if noise and max(noise) > 0.1:
        lines.append(f"Others took up to {max(noise):.0%} of the proxy's core meanwhile: measure again on a quiet machine.")
    ciphers = {name: one["cipher"] for key in ROWS for name, one in results.get(key, {}).items() if one.get("cipher")}
    if len(set(ciphers.values())) > 1:
        lines.append("TLS is not the same for all: " + ", ".join(f"{TITLES[name]} {cipher}" for name, cipher in ciphers.items()) + ".")
    siblings = facts.get("siblings_of_proxy_core") or ""
    if str(facts["load_core"]) in siblings.replace("-", ",").split(","):
        lines.append("Proxy and load ran on two threads of one physical core.")
    return "\n".join(lines)


def verdict(results):
    """The exit code: 2 when something could not be measured, 1 when a goal is missed."""
    if any("failed" in one for cells in results.values() for one in cells.values()):
        return 2
    for key, cells in results.items():
        if key in ROWS:
            if any(taken is not None and taken > share for _, share, taken in ratios(key, cells)):
                return 1
            if any(made is not None and made < 1 for _, made in outrun(key, cells)):
                return 1
    return 0
