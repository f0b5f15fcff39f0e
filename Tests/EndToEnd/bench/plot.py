"""SVG from the figures, without anything beyond Python itself.

    plot.py bars FILE.svg TITLE FIGURES.json KEY       medians of KEY by peer, from `scripts/bench vpn -o`
    plot.py lines FILE.svg TITLE FIGURES.json KEY…     medians of each KEY by nodes, from `scripts/bench mesh -o`
    plot.py log FILE.svg TITLE KEY NAME=FIGURES.json…  medians of KEY by nodes, a line for each file, on a scale of
                                                       powers of ten
"""

import json
import math
import statistics
import sys
from xml.sax.saxutils import escape

WIDTH, HEIGHT, LEFT, TOP, BOTTOM, RIGHT = 640, 320, 60, 40, 44, 20
COLOURS = ("#1f6feb", "#bf3989", "#1a7f37", "#9a6700")
INK, FAINT = "#24292f", "#d0d7de"


def text(x, y, words, anchor="middle", size=12):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def round_up(value):
    """The next of 1, 2, 5 times a power of ten."""
    power = 1e-9
    while True:
        for step in (1, 2, 5):
            if value <= step * power:
                return step * power
        power *= 10


class Canvas:
    def __init__(self, title, top):
        self.top = round_up(top or 1)
        self.parts = [text(WIDTH / 2, 22, title, size=15)]
        for part in range(5):
            value = self.top * part / 4
            y = self.y(value)
            line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
            self.parts += [line, text(LEFT - 6, y + 4, number(value), "end")]

    def y(self, value):
        return self.at(value / self.top)

    def at(self, share):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * share

    def save(self, path):
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="{INK}">'
        ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([head, ground, *self.parts, "</svg>"]) + "\n")


class LogCanvas(Canvas):
    """One with a line for each power of ten, from that below `bottom` to that above `top`."""

    def __init__(self, title, bottom, top):
        self.low = math.floor(math.log10(bottom))
        self.high = max(math.ceil(math.log10(top)), self.low + 1)
        self.parts = [text(WIDTH / 2, 22, title, size=15)]
        for power in range(self.low, self.high + 1):
            y = self.y(10**power)
            line = f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"/>'
            self.parts += [line, text(LEFT - 6, y + 4, f"{10**power:,}", "end")]

    def y(self, value):
        return self.at((math.log10(value) - self.low) / (self.high - self.low))


def bars(path, title, values):
    """One bar for each name, the highest first."""
    canvas = Canvas(title, max(values.values()))
    step = (WIDTH - LEFT - RIGHT) / len(values)
    for index, (name, value) in enumerate(sorted(values.items(), key=lambda item: -item[1])):
        x, y = LEFT + step * (index + 0.5), canvas.y(value)
        colour = COLOURS[1] if name == "kairos" else COLOURS[0]
        canvas.parts += [
            f'<rect x="{x - step * 0.35:.1f}" y="{y:.1f}" width="{step * 0.7:.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}" fill="{colour}"/>',
            text(x, y - 5, number(value)),
            text(x, HEIGHT - BOTTOM + 18, name),
        ]
    canvas.save(path)


def lines(path, title, series, powers=False):
    """{name: {x: value}}, with x on a scale of its own order: each x gets the same room."""
    places = sorted({x for points in series.values() for x in points})
    values = [value for points in series.values() for value in points.values()]
    canvas = LogCanvas(title, min(values), max(values)) if powers else Canvas(title, max(values))
    step = (WIDTH - LEFT - RIGHT) / len(places)
    across = {x: LEFT + step * (index + 0.5) for index, x in enumerate(places)}
    canvas.parts += [text(across[x], HEIGHT - BOTTOM + 18, f"{x} nodes") for x in places]
    for index, (name, points) in enumerate(series.items()):
        colour = COLOURS[index % len(COLOURS)]
        route = " ".join(f"{across[x]:.1f},{canvas.y(points[x]):.1f}" for x in sorted(points))
        canvas.parts.append(f'<polyline points="{route}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, value in points.items():
            canvas.parts.append(f'<circle cx="{across[x]:.1f}" cy="{canvas.y(value):.1f}" r="3" fill="{colour}"/>')
            canvas.parts.append(text(across[x], canvas.y(value) - 8, number(value), size=11))
        x = LEFT + 10 + index * 200
        canvas.parts.append(f'<rect x="{x}" y="{HEIGHT - 18}" width="10" height="10" fill="{colour}"/>')
        canvas.parts.append(text(x + 15, HEIGHT - 9, name, "start", 11))
    canvas.save(path)


def grouped(runs, by, key):
    found = {}
    for run in runs:
        if run.get(key) is not None:
            found.setdefault(run[by], []).append(run[key])
    return {name: statistics.median(values) for name, values in found.items()}


def runs_of(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)["runs"]


def main(arguments):
    if len(arguments) < 5 or arguments[0] not in ("bars", "lines", "log"):
        print(__doc__, file=sys.stderr)
        return 64
    if arguments[0] == "log":
        _, path, title, key, *sources = arguments
        series = dict(source.split("=", 1) for source in sources)
        lines(path, title, {name: grouped(runs_of(file), "nodes", key) for name, file in series.items()}, powers=True)
        return 0
    kind, path, title, source, *keys = arguments
    runs = runs_of(source)
    if kind == "bars":
        bars(path, title, grouped(runs, "peer", keys[0]))
    else:
        lines(path, title, {key.replace("_", " "): grouped(runs, "nodes", key) for key in keys})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
