#!/usr/bin/env python3
"""Writes src/heap/shipped_table_data.cpp: the path tables that come with cohort for GPUs.

    make_gpu_table.py            writes the file
    make_gpu_table.py --check    fails if the file differs from what would be written

They are made from docs/measurements/gpu-paths-<ranks>-<gpu>.json, what `cohort tune --device cuda`
wrote: files of the same GPU and link are one table, whose rows each serve groups of their size.
"""

import argparse
import json
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = "docs/measurements/gpu-paths-*-*.json"
TARGET = ROOT / "src/heap/shipped_table_data.cpp"

HEAD = """\
// Written by scripts/tools/make_gpu_table.py from docs/measurements/gpu-paths-*.json.

#include <array>

#include "heap/shipped_tables.hpp"

namespace cohort::heap {
namespace {

// clang-format off
"""

TAIL = """\
// clang-format on

}  // namespace

std::span<const ShippedTable> shipped_tables() noexcept {
  return kTables;
}

}  // namespace cohort::heap
"""


def array_of(kind, name, lines):
    text = f"constexpr auto {name} = std::to_array<{kind}>({{\n"
    return text + "".join(f"    {line},\n" for line in lines) + "});\n\n"


def limit_of(step, name):
    return f", {step[name]}" if name in step else ""


def paths_of(document, ranks):
    """Rows that were measured: the others of the file are what cohort has built in."""
    measured = {entry["op"] for entry in document["measurements"]}
    like = {"all_gatherv": "all_gather", "reduce_scatterv": "reduce_scatter",
            "all_to_allv": "all_to_all"}
    for row in document["rows"]:
        op = row["op"]
        if row.get("memory") != "cuda" or row["ranks"] != ranks or like.get(op, op) not in measured:
            continue
        for step in row["paths"]:
            limit = limit_of(step, "bytes_max")
            yield f"{{Op::{op}, {ranks}, {{Path::{step['path']}{limit}}}}}"


def grids_of(document, ranks):
    for row in document["grids"]:
        if row["ranks"] != ranks:
            continue
        for step in row["steps"]:
            limit = limit_of(step, "lines_max")
            yield f"{{GridFamily::{row['family']}, {ranks}, {{{step['threads']}{limit}}}}}"


def tables():
    """{(name, link): [(ranks, document)]}, fewest ranks first."""
    found = {}
    for file in ROOT.glob(SOURCES):
        document = json.loads(file.read_text())
        gpus = document["gpus"]
        ranks = int(file.name.split("-")[2])
        found.setdefault((gpus["name"], gpus["link"]), []).append((ranks, document))
    return {key: sorted(found[key], key=lambda entry: entry[0]) for key in sorted(found)}


def render():
    text = HEAD
    lines = []
    for number, ((name, link), measured) in enumerate(tables().items(), 1):
        paths = [line for ranks, document in measured for line in paths_of(document, ranks)]
        grids = [line for ranks, document in measured for line in grids_of(document, ranks)]
        text += array_of("ShippedPath", f"kPaths{number}", paths)
        text += array_of("ShippedGrid", f"kGrids{number}", grids)
        ranks = " and ".join(str(ranks) for ranks, _ in measured)
        gpus = measured[0][1]["gpus"]
        lines.append(
            f'{{"{name}, {link}, groups of {ranks}", "{name}", "{gpus["compute"]}", '
            f'"{gpus["driver"]}", GpuLink::{link},\n     kPaths{number}, kGrids{number}}}'
        )
    return text + array_of("ShippedTable", "kTables", lines) + TAIL


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    arguments = parser.parse_args()
    text = render()
    if not arguments.check:
        TARGET.write_text(text)
        return 0
    if TARGET.read_text() == text:
        return 0
    print(f"{TARGET} is not what {SOURCES} give: run {sys.argv[0]}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
