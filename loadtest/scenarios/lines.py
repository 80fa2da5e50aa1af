"""Curves: a panel for each figure, a line for each proxy, in the manner of the bars of peers/picture.py."""

from html import escape
from math import floor, log10

from peers.picture import PANELS, TOP, WIDTH, colour, sheet
from peers.tables import TITLES

TALL, AXIS, FOOT, HEADING = 190, 58, 24, 24


def lines(title, subtitle, panels, names, foot):
    """`panels` are (title, unit of x, {name: [(x, y), …]}); y begins at 0, and what is None is a gap."""
    wide = WIDTH / PANELS
    legend = []
    for place, name in enumerate(names):
        left = 16 + place * 150
        legend.append(f'<rect x="{left}" y="{TOP - 2}" width="18" height="4" fill="{colour(name)}"/>')
        legend.append(f'<text x="{left + 24}" y="{TOP + 4}">{escape(TITLES.get(name, name))}</text>')
    top = TOP + 22
    parts = [*legend]
    for number, (heading, unit, series) in enumerate(panels):
        parts += panel(heading, unit, series, names, 16 + (number % PANELS) * wide, top + (number // PANELS) * TALL, wide - 32)
    height = top + -(-len(panels) // PANELS) * TALL + 22
    return sheet(height, title, subtitle, title, parts, foot)


def step(most):
    """The distance of the lines of an axis: 1, 2 or 5 times a power of ten, so that there are two to five of them above 0."""
    power = 10 ** floor(log10(most))
    return next(power * factor for factor in (0.2, 0.5, 1, 2) if most / (power * factor) <= 5)


def panel(heading, unit, series, names, left, top, wide):
    points = [(x, y) for name in names for x, y in series.get(name, []) if y is not None]
    yield f'<text class="row" x="{left:g}" y="{top + 12}">{escape(heading)}</text>'
    if not points:
        yield f'<text class="faint" x="{left:g}" y="{top + 40}">nothing was measured</text>'
        return
    far, most = max(x for x, _ in points) or 1, max(y for _, y in points) * 1.05 or 1
    x0, y0, across, up = left + AXIS, top + TALL - FOOT - 16, wide - AXIS, TALL - FOOT - HEADING - 16
    at = lambda x, y: f"{x0 + x / far * across:.1f},{y0 - y / most * up:.1f}"
    for place in marks(most):
        y = y0 - place / most * up
        yield f'<path d="M{x0:g} {y:.1f}H{x0 + across:g}" stroke="#8c959f" stroke-width="0.5" opacity="0.5"/>'
        yield f'<text class="faint" text-anchor="end" x="{x0 - 6:g}" y="{y + 4:.1f}">{place:,g}</text>'
    for place in marks(far):
        yield f'<text class="faint" text-anchor="middle" x="{x0 + place / far * across:.1f}" y="{y0 + 15:g}">{place:,g}</text>'
    yield f'<text class="faint" text-anchor="end" x="{x0 + across:g}" y="{y0 + 28:g}">{escape(unit)}</text>'
    for name in names:
        for stretch in stretches(series.get(name, [])):
            drawn = " ".join(at(x, y) for x, y in stretch)
            yield f'<polyline points="{drawn}" fill="none" stroke="{colour(name)}" stroke-width="1.8" stroke-linejoin="round"/>'


def marks(most):
    each = step(most)
    return [round(n * each, 6) for n in range(int(most / each) + 1)]


def stretches(points):
    """The parts between the gaps."""
    part = []
    for x, y in points:
        if y is None:
            if part:
                yield part
            part = []
        else:
            part.append((x, y))
    if part:
        yield part
