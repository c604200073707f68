#!/usr/bin/env python3
"""Draws the pictures of docs/concepts.md from what the command prints: docs/pictures/*.svg.

Usage: make_pictures.py [--check] COMMAND. With --check nothing is written; ends with 1 and names
the pictures that are not those of this command.
"""

import html
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "pictures"
MODEL = ROOT / "tests" / "data" / "tiny" / "tiny.gguf"

INK, QUIET, LINE, PAPER = "#1f2430", "#5a6270", "#c9ced6", "#ffffff"
# Fills that black text is readable on, told apart with the common kinds of colour blindness too.
FILLS = ("#9ecae9", "#ffcf8f", "#b7e1b0", "#e3b9e6")
GREY = "#e6e9ee"


class Picture:
    """Collects SVG elements; a title and a text for those who cannot see it."""

    def __init__(self, width, height, title, text):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img" aria-labelledby="title text" '
            'font-family="system-ui, sans-serif" font-size="14">',
            f'<title id="title">{html.escape(title)}</title>',
            f'<desc id="text">{html.escape(text)}</desc>',
            f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
        ]

    def box(self, x, y, width, height, fill=PAPER, line=LINE):
        self.parts.append(
            f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="4" '
            f'fill="{fill}" stroke="{line}"/>'
        )

    def text(self, x, y, words, anchor="middle", ink=INK, size=14, weight=400):
        self.parts.append(
            f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{ink}" font-size="{size}" '
            f'font-weight="{weight}">{html.escape(words)}</text>'
        )

    def line(self, x1, y1, x2, y2, dashed=False, arrow=False):
        dash = ' stroke-dasharray="4 4"' if dashed else ""
        self.parts.append(
            f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" stroke="{QUIET}"{dash}/>'
        )
        if arrow:
            horizontal = y1 == y2
            points = (
                f"{x2},{y2} {x2 - 7},{y2 - 4} {x2 - 7},{y2 + 4}"
                if horizontal
                else f"{x2},{y2} {x2 - 4},{y2 - 7} {x2 + 4},{y2 - 7}"
            )
            self.parts.append(f'<polygon points="{points}" fill="{QUIET}"/>')

    def end(self):
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def ask(command, *arguments):
    shown = subprocess.run(
        [command, *arguments, "--json"], check=True, capture_output=True, text=True, timeout=30
    )
    return json.loads(shown.stdout)


def draw_groups(command):
    """Rows are kinds, columns are ranks; cells of one letter and colour work together."""
    told = ask(command, "groups", "--tp", "8", "--attn-dp", "2", "--attn-cp", "2")
    rows = {
        "tp": "all share the MLP",
        "attn": "one replica of the attention",
        "attn_cp": "share a sequence's tokens",
        "attn_tp": "share the heads",
    }
    picture = Picture(
        760,
        336,
        "Groups of 8 ranks with --tp 8 --attn-dp 2 --attn-cp 2",
        "; ".join(f"{kind}: {told['groups'][kind]}" for kind in rows),
    )
    picture.text(24, 34, "8 ranks, --tp 8 --attn-dp 2 --attn-cp 2", "start", size=16, weight=600)
    left, top, cell = 232, 60, 62
    for rank in range(told["world"]):
        picture.text(left + cell * rank + cell / 2, top + 18, f"rank {rank}", ink=QUIET)
    for row, (kind, meaning) in enumerate(rows.items()):
        y = top + 32 + row * 52
        picture.text(24, y + 20, kind, "start", weight=600)
        picture.text(24, y + 38, meaning, "start", ink=QUIET, size=12)
        for index, ranks in enumerate(told["groups"][kind]):
            for rank in ranks:
                x = left + cell * rank + 2
                picture.box(x, y, cell - 4, 44, FILLS[index % len(FILLS)], QUIET)
                picture.text(x + cell / 2 - 2, y + 28, "ABCDEFGH"[index], weight=600)
    picture.text(
        24, 318, "Ranks with the same letter in a row are one group.", "start", QUIET, size=13
    )
    return picture.end()


COLOURED = ("tp", "attn_cp", "attn")


def fill_of(groups):
    """Of what serves one of these groups; the last one of anything else."""
    alone = len(groups) == 1 and groups[0] in COLOURED
    return FILLS[COLOURED.index(groups[0])] if alone else FILLS[-1]


def draw_plan(command):
    """The arenas of two ranks beside each other: what each part is for, and where it lies."""
    told = ask(
        command, "plan", "--model", str(MODEL), "--tp", "4", "--attn-dp", "2", "--attn-cp", "2"
    )
    kinds = {"own": "slot", "pool": "pool", "sync": "", "scratch": "", "staging": ""}
    rows = [row for row in told["footprint"]["rows"] if row["kind"] in kinds]
    height, top = 30, 84
    picture = Picture(
        760,
        top + height * len(rows) + 56,
        "The arenas of two ranks: the same parts at the same offsets",
        "; ".join(f"{row['name']} at {row['offset']}, {row['bytes']} bytes" for row in rows),
    )
    picture.text(24, 34, "One plan, the same arena on every rank", "start", size=16, weight=600)
    for x, rank in ((132, 0), (462, 3)):
        picture.text(x + 137, top - 14, f"arena of rank {rank}", ink=QUIET)
    picture.text(24, top - 14, "offset", "start", QUIET)
    for index, row in enumerate(rows):
        y = top + index * height
        picture.text(112, y + 20, f"{row['offset']:,}", "end", QUIET, 12)
        for x in (132, 462):
            picture.box(x, y, 274, height, fill_of(row["groups"]), QUIET)
            name = " ".join(filter(None, (kinds[row["kind"]], row["name"])))
            picture.text(x + 10, y + 20, name, "start", size=13)
        picture.line(406, y, 462, y, dashed=True)
    y = top + height * len(rows) + 30
    x = 132
    for label in (*COLOURED, "several groups"):
        picture.box(x, y - 12, 16, 16, fill_of([label]), QUIET)
        picture.text(x + 24, y + 1, label, "start", size=13)
        x += 110
    picture.text(24, y + 1, "for", "start", QUIET)
    return picture.end()


def draw_verdicts(_):
    """The questions that lead to a path on the host, in their order."""
    steps = (
        ("Planned for another group?", "refused", "Error{usage} on all members"),
        ("Has the group one rank?", "local", "group_size_one"),
        ("Symmetric memory switched off?", "host_staged", "disabled"),
        ("Block of a pool without room?", "host_staged", "over_budget"),
        ("Small, by the agreed table?", "host_inline", "ok"),
        ("This rank's operand outside the arena?", "host_direct", "operand_not_in_heap, copied"),
    )
    picture = Picture(
        760,
        520,
        "Which path a call on host memory takes, and the reason it gives",
        "; ".join(f"{question} yes: {path}, {reason}" for question, path, reason in steps)
        + "; else host_direct, ok",
    )
    picture.text(24, 34, "A call on host memory", "start", size=16, weight=600)
    for index, (question, path, reason) in enumerate(steps):
        y = 56 + index * 66
        picture.box(24, y, 320, 44, GREY, QUIET)
        picture.text(184, y + 27, question)
        picture.line(344, y + 22, 436, y + 22, arrow=True)
        picture.text(388, y + 14, "yes", ink=QUIET, size=13)
        fill = FILLS[1] if path in ("host_staged", "refused") or "copied" in reason else FILLS[2]
        picture.box(436, y, 300, 44, fill, QUIET)
        picture.text(450, y + 19, path, "start", weight=600)
        picture.text(450, y + 36, reason, "start", size=13)
        picture.line(184, y + 44, 184, y + 66, arrow=True)
        picture.text(196, y + 59, "no", "start", QUIET, 13)
    y = 56 + len(steps) * 66
    picture.box(24, y, 320, 44, FILLS[2], QUIET)
    picture.text(38, y + 19, "host_direct", "start", weight=600)
    picture.text(38, y + 36, "ok: peers read it where it lies", "start", size=13)
    return picture.end()


PICTURES = {"groups.svg": draw_groups, "plan.svg": draw_plan, "verdicts.svg": draw_verdicts}


def main(arguments):
    check = arguments[1:2] == ["--check"]
    if len(arguments) != 2 + check:
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for name, draw in PICTURES.items():
        drawn, path = draw(arguments[-1]), FOLDER / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != drawn):
            stale.append(name)
        elif not check:
            FOLDER.mkdir(exist_ok=True)
            path.write_text(drawn, encoding="utf-8")
    if stale:
        print(f"not what the command prints: {', '.join(stale)}; run {arguments[0]} COMMAND")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
