"""SVG from the figures, without anything beyond Python itself.

    plot.py bars FILE.svg TITLE FIGURES.json KEY       medians of KEY by peer, from `scripts/bench vpn -o`
    plot.py lines FILE.svg TITLE FIGURES.json KEY…     medians of each KEY by nodes, from `scripts/bench mesh -o`
"""

import json
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
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / self.top

    def save(self, path):
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" fill="{INK}">'
        ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join([head, ground, *self.parts, "</svg>"]) + "\n")


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


def lines(path, title, series):
    """{name: {x: value}}, with x on a scale of its own order: each x gets the same room."""
    places = sorted({x for points in series.values() for x in points})
    canvas = Canvas(title, max(value for points in series.values() for value in points.values()))
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


def main(arguments):
    if len(arguments) < 5 or arguments[0] not in ("bars", "lines"):
        print(__doc__, file=sys.stderr)
        return 64
    kind, path, title, source, *keys = arguments
    with open(source, encoding="utf-8") as file:
        runs = json.load(file)["runs"]
    if kind == "bars":
        bars(path, title, grouped(runs, "peer", keys[0]))
    else:
        lines(path, title, {key.replace("_", " "): grouped(runs, "nodes", key) for key in keys})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
