"""Latency over bytes, log-log: one panel for each operation, all paths and peers."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 620, 430
LEFT, RIGHT, TOP, BOTTOM = 58, 150, 34, 44
COLUMNS = 2
OWN = ("#c2410c", "#ea580c", "#9a3412", "#f59e0b", "#b45309", "#dc2626", "#7c2d12")
PEERS = {
    "nccl_symmetric": "#1d4ed8",
    "nccl_memalloc": "#60a5fa",
    "nccl_wrong_group": "#7e22ce",
    "nccl_plain": "#0e7490",
    "torch_one_shot": "#15803d",
    "torch_two_shot": "#4d7c0f",
    "torch_reduce_scatter": "#15803d",
}
FLOOR = "#6b7280"


def bytes_label(power):
    size = 2**power
    for unit in ("", "Ki", "Mi", "Gi"):
        if size < 1024:
            return f"{size}{unit}"
        size //= 1024
    return str(2**power)


def colours(names):
    own = [name for name in names if name not in PEERS and name != "floor"]
    chosen = {name: OWN[i % len(OWN)] for i, name in enumerate(own)}
    return {name: chosen.get(name) or PEERS.get(name, FLOOR) for name in names}


class Panel:
    """One operation: curves by name, each [(bytes, us)]."""

    def __init__(self, title, curves):
        self.title = title
        self.curves = {name: sorted(points) for name, points in curves.items() if points}
        xs = [x for points in self.curves.values() for x, _ in points]
        ys = [y for points in self.curves.values() for _, y in points]
        self.powers = math.floor(math.log2(min(xs))), math.ceil(math.log2(max(xs)))
        if self.powers[0] == self.powers[1]:
            self.powers = self.powers[0], self.powers[0] + 1
        # Steps of 1, 2, 5: a decade is too coarse for what lies between 1 and 10 us.
        self.low, self.high = min(ys) * 0.9, max(ys) * 1.1

    def x(self, size):
        first, last = self.powers
        return LEFT + (math.log2(size) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def y(self, us):
        part = math.log(us / self.low) / math.log(self.high / self.low)
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def axes(self):
        first, last = self.powers
        step = max(1, (last - first + 7) // 8)
        for power in range(first, last + 1, step):
            x = self.x(2**power)
            yield line(x, TOP, x, HEIGHT - BOTTOM)
            yield label(x, HEIGHT - BOTTOM + 16, "middle", bytes_label(power))
        for decade in range(-2, 6):
            for factor in (1, 2, 5):
                us = factor * 10**decade
                if self.low <= us <= self.high:
                    yield line(LEFT, self.y(us), WIDTH - RIGHT, self.y(us))
                    yield label(LEFT - 6, self.y(us) + 4, "end", f"{us:g}")

    def legend(self, palette):
        """Names where their curves end, moved apart where they would lie on each other."""
        ends = sorted((self.y(points[-1][1]), name) for name, points in self.curves.items())
        room = HEIGHT - BOTTOM
        places, last = [], TOP - 13
        for y, name in ends:
            last = max(y, last + 13)
            places.append([last, name])
        over = max(0, places[-1][0] - room) if places else 0
        for i, (y, name) in enumerate(places):
            y = max(TOP + 13 * i, y - over)
            end = self.curves[name][-1]
            x = WIDTH - RIGHT + 8
            yield (
                f'<line x1="{self.x(end[0]):.1f}" y1="{self.y(end[1]):.1f}" x2="{x - 2:.1f}" '
                f'y2="{y:.1f}" stroke="{palette[name]}" stroke-width="0.5"/>\n'
            )
            yield label(x, y + 4, "start", name, palette[name])

    def draw(self, left, top):
        palette = colours(list(self.curves))
        text = f'<g transform="translate({left},{top})">\n'
        text += label(LEFT, 20, "start", self.title, "#111827", bold=True)
        text += "".join(self.axes())
        for name, points in self.curves.items():
            own = name not in PEERS and name != "floor"
            dash = ' stroke-dasharray="4 3"' if name == "floor" else ""
            path = " ".join(f"{self.x(size):.1f},{self.y(us):.1f}" for size, us in points)
            text += (
                f'<polyline fill="none" stroke="{palette[name]}" '
                f'stroke-width="{2.2 if own else 1.3}"{dash} points="{path}"/>\n'
            )
            for size, us in points if len(points) < 12 else []:
                text += (
                    f'<circle cx="{self.x(size):.1f}" cy="{self.y(us):.1f}" r="2" '
                    f'fill="{palette[name]}"/>\n'
                )
        return text + "".join(self.legend(palette)) + "</g>\n"


def line(x1, y1, x2, y2):
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#e5e7eb"/>\n'
    )


def label(x, y, anchor, words, colour="#374151", bold=False):
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>'
        f"{escape(words)}</text>\n"
    )


def draw(panels):
    """The whole picture, an SVG document."""
    rows = max(1, (len(panels) + COLUMNS - 1) // COLUMNS)
    text = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH * COLUMNS}" '
        f'height="{HEIGHT * rows}" font-family="sans-serif" font-size="11">\n'
        '<rect width="100%" height="100%" fill="white"/>\n'
    )
    for i, panel in enumerate(panels):
        text += panel.draw(i % COLUMNS * WIDTH, i // COLUMNS * HEIGHT)
    return text + "</svg>\n"
