#!/usr/bin/env python3
"""Writes src/heap/shipped_table_data.cpp: the path table that comes with cohort for two H200.

    make_gpu_table.py            writes the file
    make_gpu_table.py --check    fails if the file differs from what would be written

It is made from docs/measurements/gpu-launch-table.json, which holds the fastest launch of each
operation and size. A threshold lies at the last size for which a path, or a number of threads, was
the fastest; the last one takes all larger sizes too. Grids come from calls with sentinels alone:
lines with flags are half as long, and there are few of them.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCE = ROOT / "docs/measurements/gpu-launch-table.json"
TARGET = ROOT / "src/heap/shipped_table_data.cpp"

RANKS = 2
LINE_BYTES = 16
FLAGGED_BYTES_MAX = 4096
PATHS = {"sentinel": "gpu_lamport", "flags": "gpu_ll"}
# all_reduce and reduce_scatter do the same with a part; all_reduce speaks first.
FAMILIES = {"move": ("all_gather",), "reduce": ("all_reduce", "reduce_scatter")}

HEAD = """\
// Written by scripts/tools/make_gpu_table.py from docs/measurements/gpu-launch-table.json.

#include <array>

#include "heap/shipped_tables.hpp"

namespace cohort::heap {
namespace {

"""

TAIL = """\
}  // namespace

std::span<const ShippedTable> shipped_tables() noexcept {
  return kTables;
}

}  // namespace cohort::heap
"""


def part_bytes(entry):
    """What one member pushes to another."""
    return entry["bytes"] if entry["op"] == "all_reduce" else entry["bytes"] // RANKS


def agreed_bytes(entry):
    """What a path is chosen by."""
    return part_bytes(entry) if entry["op"] == "all_gather" else entry["bytes"]


def steps_of(choices):
    """[(size, choice)] in rising order as [(choice, last size or None)]."""
    steps = []
    for size, choice in choices:
        if steps and steps[-1][0] == choice:
            steps[-1] = (choice, size)
        else:
            steps.append((choice, size))
    steps[-1] = (steps[-1][0], None)
    return steps


def path_steps(entries, op):
    choices = []
    for entry in sorted((e for e in entries if e["op"] == op), key=agreed_bytes):
        path = PATHS[entry["protocol"]]
        # A table allows flags by agreed bytes, which of reduce_scatter are more than a part.
        if path == "gpu_ll" and agreed_bytes(entry) > FLAGGED_BYTES_MAX:
            continue
        choices.append((agreed_bytes(entry), path))
    return steps_of(choices)


def grid_steps(entries, ops):
    threads = {}
    for op in ops:
        for entry in entries:
            lines = part_bytes(entry) // LINE_BYTES
            if entry["op"] == op and entry["protocol"] == "sentinel" and lines > 0:
                threads.setdefault(lines, entry["threads"])
    return steps_of(sorted(threads.items()))


def array_of(kind, name, lines):
    text = f"constexpr auto {name} = std::to_array<{kind}>({{\n"
    return text + "".join(f"    {line},\n" for line in lines) + "});\n"


def render(document):
    entries = document["entries"]
    paths = []
    for op in ("all_reduce", "all_gather", "reduce_scatter"):
        for path, most in path_steps(entries, op):
            limit = "" if most is None else f", {most}"
            paths.append(f"{{Op::{op}, {{Path::{path}{limit}}}}}")
    grids = []
    for family, ops in FAMILIES.items():
        for threads, most in grid_steps(entries, ops):
            limit = "" if most is None else f", {most}"
            grids.append(f"{{GridFamily::{family}, {{{threads}{limit}}}}}")
    table = (
        f'{{"2 x NVIDIA H200, nvlink, measured {document["date"]}", "NVIDIA H200", "9.0", '
        f'"{document["cuda"]}", GpuLink::nvlink,\n     kPaths, kGrids}}'
    )
    return (
        HEAD
        + array_of("ShippedPath", "kPaths", paths)
        + "\n"
        + array_of("ShippedGrid", "kGrids", grids)
        + "\n"
        + array_of("ShippedTable", "kTables", [table])
        + "\n"
        + TAIL
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    arguments = parser.parse_args()
    text = render(json.loads(SOURCE.read_text()))
    if not arguments.check:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    print(f"{TARGET} is not what {SOURCE} gives: run {sys.argv[0]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
