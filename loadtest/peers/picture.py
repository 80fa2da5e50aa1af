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
    panels = [(ROWS[key].title, {name: told(cell) for name, cell in results[key].items()}) for key in ROWS if key in results]
    versions = ", ".join(filter(None, facts["versions"].values()))
    return bars(
        "CPU microseconds a request: shorter is better",
        "The proxy’s own time, user and system, on one core; each panel has its own scale.",
        f"CPU microseconds a request of {', '.join(TITLES[name] for name in names)}",
        panels,
        names,
        f"{versions}; {facts['processor']}, {facts['date']}",
    )


def told(cell):
    return "failed" if "failed" in cell else cell["micros"]


def bars(title, subtitle, label, panels, names, foot):
    """A panel for each of `panels`, a title and what each of `names` has: a number, a word that stands for it, or nothing."""
    tall = HEAD + len(names) * (BAR + GAP) + BETWEEN
    wide = WIDTH / PANELS
    height = TOP + -(-len(panels) // PANELS) * tall + 22
    parts = []
    for number, (heading, cells) in enumerate(panels):
        left, top = 16 + (number % PANELS) * wide, TOP + (number // PANELS) * tall
        parts += panel(heading, cells, names, left, top, wide - 32)
    return sheet(height, title, subtitle, label, parts, foot)


def sheet(height, title, subtitle, label, parts, foot):
    """The whole SVG around its parts."""
    around = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape(label)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}"/>',
        f'<text class="title" x="16" y="28">{escape(title)}</text>',
        f'<text class="faint" x="16" y="47">{escape(subtitle)}</text>',
    ]
    last = f'<text class="faint" x="16" y="{height - 10}">{escape(foot)}</text>'
    return "\n".join([*around, *parts, last, "</svg>"]) + "\n"


def panel(title, cells, names, left, top, wide):
    most = max((one for one in cells.values() if isinstance(one, (int, float))), default=1) or 1
    yield f'<text class="row" x="{left:g}" y="{top + 14}">{escape(title)}</text>'
    for place, name in enumerate(names):
        y = top + HEAD + place * (BAR + GAP)
        yield f'<text x="{left:g}" y="{y + BAR - 3}">{escape(TITLES.get(name, name))}</text>'
        one = cells.get(name)
        if not isinstance(one, (int, float)):
            yield f'<text class="faint" x="{left + LABEL:g}" y="{y + BAR - 3}">{escape(one or "–")}</text>'
            continue
        length = max(1.0, one / most * (wide - LABEL - FIGURE))
        yield f'<rect x="{left + LABEL:g}" y="{y}" width="{length:.1f}" height="{BAR}" rx="2" fill="{colour(name)}"/>'
        yield f'<text x="{left + LABEL + length + 6:.1f}" y="{y + BAR - 3}">{one:,.1f}</text>'


def colour(name):
    return COLOURS.get(name, "#e69f00")
