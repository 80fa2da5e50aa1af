"""The picture: a panel for each row, a bar for each proxy, the shorter the better."""

from html import escape

from peers.rows import ROWS
from peers.tables import TITLES, columns

WIDTH, PANELS = 860, 2
LABEL, FIGURE, BAR, GAP, HEAD, BETWEEN = 96, 62, 15, 4, 26, 18
TOP = 62
# Okabe and Ito's colours, which people who see few colours tell apart; forebay's stands out.
COLOURS = {"floor": "#999999", "forebay": "#d55e00", "nginx": "#009e73", "nginx-plain": "#80cfb9", "haproxy": "#0072b2", "ats": "#cc79a7", "varnish": "#56b4e9"}
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .row { font-weight: 600 }
  .faint { fill: #59636e; font-size: 11px }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .faint { fill: #9198a1 } .back { fill: #0d1117 } }
"""


def draw(results, facts):
    """An SVG of the processor time of each row."""
    names = columns({key: cells for key, cells in results.items() if key in ROWS})
    rows = [key for key in ROWS if key in results]
    tall = HEAD + len(names) * (BAR + GAP) + BETWEEN
    wide = WIDTH / PANELS
    height = TOP + -(-len(rows) // PANELS) * tall + 22
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>CPU microseconds a request of {escape(', '.join(TITLES[name] for name in names))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        '<text class="title" x="16" y="28">CPU microseconds a request: shorter is better</text>',
        '<text class="faint" x="16" y="47">The proxy’s own time, user and system, on one core; each panel has its own scale.</text>',
    ]
    for number, key in enumerate(rows):
        left, top = 16 + (number % PANELS) * wide, TOP + (number // PANELS) * tall
        parts += panel(ROWS[key].title, results[key], names, left, top, wide - 32)
    versions = ", ".join(filter(None, facts["versions"].values()))
    about = f"{versions}; {facts['processor']}, {facts['date']}"
    parts.append(f'<text class="faint" x="16" y="{height - 10}">{escape(about)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def panel(title, cells, names, left, top, wide):
    most = max((cells[name]["micros"] for name in names if "micros" in cells.get(name, {})), default=1) or 1
    yield f'<text class="row" x="{left:g}" y="{top + 14}">{escape(title)}</text>'
    for place, name in enumerate(names):
        y = top + HEAD + place * (BAR + GAP)
        yield f'<text x="{left:g}" y="{y + BAR - 3}">{escape(TITLES[name])}</text>'
        one = cells.get(name)
        if not one or "failed" in one:
            yield f'<text class="faint" x="{left + LABEL:g}" y="{y + BAR - 3}">{"failed" if one else "–"}</text>'
            continue
        length = max(1.0, one["micros"] / most * (wide - LABEL - FIGURE))
        yield f'<rect x="{left + LABEL:g}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{COLOURS[name]}"/>'
        yield f'<text x="{left + LABEL + length + 6:.1f}" y="{y + BAR - 3}">{one["micros"]:,.1f}</text>'
