"""Puts documents of `cohort bench --json` beside the targets for host memory.

summarise.py --date DATE --json OUT --markdown OUT --checks CHECKS DOCUMENT...
summarise.py --only-checks DOCUMENT
"""

import argparse
import json
import math
import sys
import textwrap

MPI_LIKE = ("openmpi", "mpich", "gloo")
GATHERED = ("all_reduce", "all_gather", "reduce_scatter")


def p50(times):
    return times["p50_us"]


def best(row, names=None):
    """The least median among peers, or None."""
    times = [p50(t) for name, t in row["peers"].items() if names is None or name in names]
    return min(times, default=None)


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def show(value, unit=""):
    if value is None:
        return "-"
    return f"{value:.3g}{unit}"


class Table:
    """Rows of goal, target, measured and whether it is met."""

    def __init__(self):
        self.lines = ["| goal | target | measured | met |", "|---|---|---|---|"]

    def add(self, goal, target, measured, met):
        verdict = "-" if met is None else ("yes" if met else "no")
        self.lines.append(f"| {goal} | {target} | {measured} | {verdict} |")

    def add_least(self, goal, bound, values, unit="x", every=True):
        """All of the values (or their geometric mean) must be at least `bound`."""
        if not values:
            self.add(goal, f">= {bound:g}{unit}", "-", None)
            return
        mean = geometric_mean(values)
        worst = min(values)
        measured = f"geometric mean {mean:.2f}{unit}, least {worst:.2f}{unit}"
        self.add(goal, f">= {bound:g}{unit}", measured, (worst if every else mean) >= bound)


def rows_of(rows, ranks, ops=GATHERED, low=0, high=1 << 62, buffers="warm", in_place=False):
    return [
        row
        for row in rows
        if row["ranks"] in ranks
        and row["op"] in ops
        and low <= row["bytes"] <= high
        and row["buffers"] == buffers
        and row["operands"] == "heap"
        and row["in_place"] == in_place
    ]


def ratios(rows, names=None):
    return [best(row, names) / p50(row) for row in rows if best(row, names) is not None]


def of_memcpy(rows, reference):
    """What part of the copy's rate the calls reach."""
    return [
        p50(row["references"][reference]) / p50(row)
        for row in rows
        if reference in row["references"]
    ]


def cost_of_checks(document):
    """(bytes, checked us, unchecked us) by size."""
    return [
        (row["bytes"], p50(row), p50(row["peers"]["against"]))
        for row in document["rows"]
        if "against" in row["peers"]
    ]


def checks_lines(document):
    lines = []
    for size, checked, unchecked in cost_of_checks(document):
        extra = (checked - unchecked) * 1000
        lines.append(
            f"{size} B: {checked:.3f} us with checks, {unchecked:.3f} us without: "
            f"{extra:+.0f} ns, {100 * (checked / unchecked - 1):+.1f} %"
        )
    return lines


def goals(rows, facts, checks):
    table = Table()
    small = rows_of(rows, [2], high=64)
    table.add_least("8 to 64 B, 2 ranks, against MPI and Gloo", 1.0, ratios(small, MPI_LIKE))
    table.add_least(
        "256 B to 4 KiB, 2 ranks, against MPI and Gloo",
        1.5,
        ratios(rows_of(rows, [2], low=256, high=4096), MPI_LIKE),
    )
    middle = rows_of(rows, [2], low=8192, high=4 << 20)
    table.add_least("8 KiB to 4 MiB, 2 ranks, geometric mean", 4.0, ratios(middle), every=False)
    for op, bound in (("all_gather", 0.7), ("all_reduce", 0.45), ("reduce_scatter", 0.45)):
        large = rows_of(rows, [2], ops=(op,), low=64 << 10)
        for reference in ("memcpy", "memcpy_cached"):
            name = f"{op} from 64 KiB on, part of {reference}"
            table.add_least(name, bound, of_memcpy(large, reference), unit="")
    for op, bound in (("all_gather", 0.7), ("all_reduce", 0.45)):
        large = rows_of(rows, [2], ops=(op,), low=64 << 10, in_place=True)
        name = f"{op} in place from 64 KiB on, part of memcpy"
        table.add_least(name, bound, of_memcpy(large, "memcpy"), unit="")
    for ranks in (4, 8):
        table.add_least(
            f"up to 1 KiB, {ranks} ranks", 1.5, ratios(rows_of(rows, [ranks], high=1024))
        )
        above = rows_of(rows, [ranks], low=1025)
        table.add_least(f"above 1 KiB, {ranks} ranks", 2.0, ratios(above))
        for row in rows_of(rows, [ranks], ops=("all_reduce",), high=8):
            factor = p50(row) / p50(row["references"]["yield_barrier"])
            name = f"8 B all_reduce over a bare yield barrier, {ranks} ranks"
            table.add(name, "<= 1.3x", f"{factor:.2f}x", factor <= 1.3)
    for row in rows:
        if row["op"] == "local":
            us = p50(row) * 1000
            table.add("host bookkeeping of a call", "<= 60 ns", f"{us:.0f} ns", us <= 60)
        if row["op"] == "agreement" and row["ranks"] == 2:
            met = p50(row) <= 1.5
            table.add("256-byte record, 2 ranks", "<= 1.5 us", show(p50(row), " us"), met)
            if "gloo" in row["peers"]:
                factor = p50(row["peers"]["gloo"]) / p50(row)
                table.add("the same by Gloo", ">= 50x slower", f"{factor:.0f}x", factor >= 50)
    if facts:
        distance = max(abs(e["measured_bytes"] - e["planned_bytes"]) for e in facts)
        registrations = sum(e["registrations"] for e in facts)
        met = distance <= min(e["granule_bytes"] for e in facts) and registrations == 0
        measured = f"at most {distance} B apart, {registrations} registrations"
        table.add("footprint of every rank", "within a granule, 0 registrations", measured, met)
    for size, checked, unchecked in cost_of_checks(checks):
        if size <= 64:
            extra = (checked - unchecked) * 1000
            table.add(f"cost of checks at {size} B", "<= 60 ns", f"{extra:.0f} ns", extra <= 60)
        else:
            part = 100 * (checked / unchecked - 1)
            table.add(f"cost of checks at {size} B", "<= 3 %", f"{part:.1f} %", part <= 3)
    return table.lines


def points(rows):
    lines = [
        "| op | ranks | bytes | buffers | operands | path | p50 us | p99 us | best peer | ratio "
        "| memcpy us | cached |",
        "|---|---:|---:|---|---|---|---:|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        name = min(row["peers"], key=lambda peer: p50(row["peers"][peer]), default=None)
        peer = "-" if name is None else f"{name} {show(p50(row['peers'][name]))}"
        ratio = "-" if name is None else f"{p50(row['peers'][name]) / p50(row):.2f}"
        copies = [row["references"].get(key) for key in ("memcpy", "memcpy_cached")]
        shown = [show(p50(copy)) if copy else "-" for copy in copies]
        lines.append(
            f"| {row['op']} | {row['ranks']} | {row['bytes']} | {row['buffers']} | "
            f"{row['operands']}{', in place' if row['in_place'] else ''} | {row['path']} | "
            f"{show(p50(row))} | {show(row['p99_us'])} | "
            f"{peer} | {ratio} | {shown[0]} | {shown[1]} |"
        )
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("documents", nargs="+")
    parser.add_argument("--date")
    parser.add_argument("--json")
    parser.add_argument("--markdown")
    parser.add_argument("--checks")
    parser.add_argument("--only-checks", action="store_true")
    arguments = parser.parse_args()
    documents = []
    for name in arguments.documents:
        with open(name, encoding="utf-8") as file:
            documents.append(json.load(file))
    if arguments.only_checks:
        print("\n".join(checks_lines(documents[0])))
        return 0
    with open(arguments.checks, encoding="utf-8") as file:
        checks = json.load(file)
    merged = documents[0]
    for document in documents[1:]:
        for key in ("rows", "remarks", "ranks"):
            merged[key] += document[key]
    merged["date"] = arguments.date
    merged["cost_of_checks"] = checks["rows"]
    with open(arguments.json, "w", encoding="utf-8") as file:
        json.dump(merged, file, indent=1)
        file.write("\n")
    machine = merged["machine"]
    lines = [
        f"# Collectives in host memory, {arguments.date}",
        "",
        *textwrap.wrap(
            f"{machine['cpu']}, {machine['cpus']} CPUs, cohort {merged['version']}. Made by "
            "`benchmarks/measure_host`; microseconds per call, median of the slowest rank. "
            "`memcpy` copies what a rank must receive out of memory that its peer has just "
            "written, `memcpy_cached` out of memory that nobody writes.",
            width=100,
        ),
        "",
        f"![time over bytes](host-{arguments.date}.svg)",
        "",
        "## Goals",
        "",
        *goals(merged["rows"], merged["ranks"], checks),
        "",
        "## Cost of headers, deadlines and verdicts",
        "",
        *(f"- {line}" for line in checks_lines(checks)),
        "",
        "## Every point",
        "",
        *points(merged["rows"]),
    ]
    for remark in merged["remarks"]:
        lines.append(f"\nNot compared with {remark['who']}: {remark['text']}.")
    with open(arguments.markdown, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
