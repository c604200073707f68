"""Puts what `cohort_gpu_bench` measured beside the targets.

report.py --date DATE --out DIR [--pool POOL.json] [--scope SCOPE.json] [--failures FILE] LINES...

Writes DIR/gpu-DATE.json, .md and .svg. LINES are files of one JSON document a line.
"""

import argparse
import json
import math
import pathlib
import textwrap

import plot
import targets
from targets import KI, MI

BOUNDS = ("push", "exchange", "empty")
PLAIN = ("all_reduce", "all_gather", "reduce_scatter")
UNEVEN = {"all_gatherv": "all_gather", "reduce_scatterv": "reduce_scatter"}


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


def size_label(size):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:g} {unit}"
        size /= 1024
    return f"{size:g} TiB"


def us_text(us):
    return "-" if us is None else f"{us:.2f}" if us < 100 else f"{us:.1f}"


class Point:
    """One operation at one size: times of own paths, peers and bounds."""

    def __init__(self, document):
        self.document = document
        self.operation = document["operation"]
        self.dtype = document["dtype"]
        self.bytes = int(document["bytes"])
        self.buffers = document["buffers"]
        self.times = document["subjects"]
        self.failures = document["failures"]

    def p50(self, name):
        return self.times[name]["p50_us"] if name in self.times else None

    def names(self, own):
        return [n for n in self.times if n not in BOUNDS and is_own(n) == own]

    def best(self, own):
        """(name, us) of the fastest, or (None, None)."""
        names = [n for n in self.names(own) if n != "cohort_outside"]
        name = min(names, key=self.p50, default=None)
        return name, self.p50(name) if name else None

    def chosen(self):
        """The library's own choice where it was measured, else the best kernel."""
        return ("cohort", self.p50("cohort")) if "cohort" in self.times else self.best(True)

    def floor(self):
        parts = [self.p50(name) for name in BOUNDS]
        if None in parts:
            return None
        push, exchange, empty = parts
        return push + exchange - empty

    def goal(self):
        if self.buffers != "warm" or self.document["ranks"] != 2:
            return None
        return targets.GOAL_US.get(self.operation, {}).get(self.bytes)

    def ratio(self):
        own, peer = self.chosen()[1], self.best(False)[1]
        return peer / own if own and peer else None

    def behind(self):
        """Whether a peer is faster, beyond what a path over that very peer may cost."""
        part, slack_us = targets.PEER_SLACK
        own, peer = self.chosen()[1], self.best(False)[1]
        if own is None or peer is None:
            return False
        if self.bytes <= targets.SMALL_BYTES_MAX:
            return own > peer
        return own > max(peer * (1 + part), peer + slack_us)


def is_own(name):
    return name.startswith(("cohort", "kernel"))


class Table:
    def __init__(self):
        self.lines = ["| goal | target | measured | met |", "|---|---|---|---|"]

    def add(self, goal, target, measured, met):
        verdict = "-" if met is None else "yes" if met else "no"
        self.lines.append(f"| {goal} | {target} | {measured} | {verdict} |")


def add_small(table, points, operation, buffers):
    small = [p for p in points if p.bytes <= targets.SMALL_BYTES_MAX and p.ratio()]
    name = f"{operation}, {buffers}, up to 2 MiB, against the best peer at each point"
    if not small:
        table.add(name, f">= {targets.ACCEPTED}x, goal {targets.GOAL}x", "not measured", None)
        return
    mean = geometric_mean([p.ratio() for p in small])
    least = min(p.ratio() for p in small)
    measured = f"geometric mean {mean:.2f}x, least {least:.2f}x, {len(small)} sizes"
    table.add(name, f">= {targets.ACCEPTED}x, goal {targets.GOAL}x", measured,
              mean >= targets.ACCEPTED)


def add_behind(table, points, operation, buffers):
    compared = [p for p in points if p.ratio()]
    behind = [p for p in compared if p.behind()]
    shown = ", ".join(f"{size_label(p.bytes)} {p.ratio():.2f}x" for p in behind) or "none"
    table.add(f"{operation}, {buffers}, sizes at which a peer is faster", "none",
              shown if compared else "not measured", not behind if compared else None)


def add_rate(table, points, operation):
    large = [p for p in points if p.bytes >= targets.RATE_BYTES_MIN and p.chosen()[1]]
    for p in large:
        if not p.p50("push"):
            continue
        rate = p.document["wire_bytes"] / p.chosen()[1] / 1e3
        part = p.p50("push") / p.chosen()[1]
        table.add(
            f"{operation}, {size_label(p.bytes)}, part of a bare push's rate, both ways busy",
            f">= {targets.RATE:.0%}", f"{part:.0%}, {rate:.0f} GB/s", part >= targets.RATE,
        )


def add_uneven(table, points, plain):
    """Latency of the plain form, then the largest bytes of any rank at the rate of a push."""
    start = min((p for p in plain if p.chosen()[1]), key=lambda p: p.bytes, default=None)
    top = max((p for p in points if p.p50("push")), key=lambda p: p.bytes, default=None)
    for p in points:
        if start is None or top is None or not p.chosen()[1]:
            continue
        rate = top.document["wire_bytes"] / top.p50("push")
        allowed = start.chosen()[1] + p.document["wire_bytes"] / rate
        own = p.chosen()[1]
        peer = p.best(False)[1]
        table.add(
            f"{p.operation}, {size_label(p.bytes)}, uneven rows",
            f"<= {allowed * targets.UNEVEN_SLACK:.2f} us",
            f"{own:.2f} us, best peer {us_text(peer)}", own <= allowed * targets.UNEVEN_SLACK,
        )


def add_norm(table, points):
    for p in points:
        name, own = p.chosen()
        peer_name, peer = p.best(False)
        if own is None or peer is None:
            continue
        table.add(
            f"all_reduce + residual + RMSNorm, {p.document['rows']} rows of 7168",
            f">= {targets.NORM_RATIO}x", f"{peer / own:.2f}x: {name} {own:.2f}, "
            f"{peer_name} {peer:.2f} us", peer / own >= targets.NORM_RATIO,
        )


def add_regret(table, points):
    both = [p for p in points if p.p50("cohort")]
    if not both:
        table.add("choice of path", f"<= {targets.REGRET - 1:.0%} regret", "not measured", None)
        return
    worst = max(both, key=lambda p: p.p50("cohort") / p.best(True)[1])
    regret = worst.p50("cohort") / worst.best(True)[1]
    table.add("choice of path, largest regret against the best own path",
              f"<= {targets.REGRET - 1:.0%}",
              f"{regret - 1:.1%} at {worst.operation} {size_label(worst.bytes)}, "
              f"{worst.buffers}, {len(both)} points", regret <= targets.REGRET)


def add_host(table, points):
    costs = {}
    for p in points:
        for name, times in p.times.items():
            if "host_ns" in times:
                costs.setdefault(name, []).append(times["host_ns"])
    shown = {name: sorted(values)[len(values) // 2] for name, values in costs.items()}
    kernels = [shown[name] for name in shown if name.startswith("kernel")]
    if "cohort" in shown and kernels:
        extra = shown["cohort"] - min(kernels)
        table.add("host cost of a call outside graphs, launch not counted",
                  f"<= {targets.HOST_NS} ns", f"{extra:.0f} ns", extra <= targets.HOST_NS)
    listed = ", ".join(f"{name} {ns:.0f}" for name, ns in sorted(shown.items(), key=lambda i: i[1]))
    if listed:
        table.add("the same with the launch, ns", "-", listed, None)


def add_pool(table, pool, scope):
    for row in pool.get("rows", []):
        table.add(f"MemPool.snapshot(), {row['segments']} segments", "-",
                  f"{row['snapshot_us']:.1f} us", None)
    for row in scope.get("rows", []):
        table.add(f"scope alloc + free, {row['blocks']} live blocks", "<= 200 ns",
                  f"{row['ns']:.0f} ns", row["ns"] <= 200)


def goals(points, pool, scope):
    table = Table()
    by = {}
    for p in points:
        by.setdefault((p.operation, p.buffers, p.dtype), []).append(p)
    for (operation, buffers, dtype), group in by.items():
        if operation in PLAIN:
            label = operation if dtype == "bf16" else f"{operation} {dtype}"
            add_small(table, group, label, buffers)
            add_behind(table, group, label, buffers)
            if buffers == "warm":
                add_rate(table, group, label)
    for (operation, buffers, dtype), group in by.items():
        if operation in UNEVEN and buffers == "warm":
            add_uneven(table, group, by.get((UNEVEN[operation], buffers, dtype), []))
        if operation == "all_reduce_norm" and buffers == "warm":
            add_norm(table, group)
    add_regret(table, points)
    add_host(table, points)
    add_pool(table, pool, scope)
    return table.lines


def point_rows(points):
    """target / measured / best peer / physical floor / ratio / met."""
    yield ("| operation | type | buffers | size | target | measured p50 | mean | path | best peer "
           "| us | floor | ratio | met |")
    yield "|---|---|---|---:|---:|---:|---:|---|---|---:|---:|---:|---|"
    for p in points:
        name, own = p.chosen()
        peer_name, peer = p.best(False)
        goal = p.goal()
        met = "-" if goal is None or own is None else "yes" if own <= goal else "no"
        mean = p.times[name]["mean_us"] if name else None
        ratio = f"{p.ratio():.2f}" if p.ratio() else "-"
        yield (
            f"| {p.operation} | {p.dtype} | {p.buffers} | {size_label(p.bytes)} "
            f"| {us_text(goal)} | {us_text(own)} | {us_text(mean)} | {name or '-'} "
            f"| {peer_name or '-'} | "
            f"{us_text(peer)} | {us_text(p.floor())} | {ratio} | {met} |"
        )


def subject_rows(points):
    """Every subject at every size, p50."""
    by = {}
    for p in points:
        by.setdefault((p.operation, p.dtype, p.buffers), []).append(p)
    for (operation, dtype, buffers), group in by.items():
        names = []
        for p in group:
            names += [name for name in p.times if name not in names]
        yield f"\n### {operation}, {dtype}, {buffers}\n"
        yield "| size | " + " | ".join(names) + " |"
        yield "|---:|" + "---:|" * len(names)
        for p in group:
            cells = " | ".join(us_text(p.p50(name)) for name in names)
            yield f"| {size_label(p.bytes)} | {cells} |"


def panels(points):
    by = {}
    for p in points:
        if p.dtype == "bf16":
            by.setdefault((p.operation, p.buffers), []).append(p)
    for (operation, buffers), group in by.items():
        curves = {}
        for p in group:
            for name in p.times:
                if name not in BOUNDS:
                    curves.setdefault(name, []).append((p.bytes, p.p50(name)))
            if p.floor():
                curves.setdefault("floor", []).append((p.bytes, p.floor()))
        if curves:
            yield plot.Panel(f"{operation}, bf16, {buffers}: us over bytes", curves)


def read_lines(files):
    documents = []
    for name in files:
        path = pathlib.Path(name)
        if not path.exists():
            continue
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                documents.append(json.loads(line))
            except json.JSONDecodeError:
                pass  # the last line of a program that was ended
    return documents


def read_json(name):
    if name and pathlib.Path(name).exists():
        return json.loads(pathlib.Path(name).read_text(encoding="utf-8"))
    return {}


def introduction(date, machine):
    words = (
        f"{machine.get('devices', '?')} x {machine.get('device', 'unknown GPU')}, CUDA "
        f"{machine.get('cuda_runtime')} (driver {machine.get('cuda_driver')}), NCCL "
        f"{machine.get('nccl')}, PyTorch {machine.get('torch') or '-'}; NVLink multicast off. "
        "Made by `benchmarks/gpu/run`: one process for each GPU (PyTorch has a second one there), "
        "graphs of so many calls that a replay takes about 1 ms, all subjects in turns at every "
        "point, of each replay the slowest rank; microseconds of one call, p50 over the rounds. "
        "Warm: the same operands in every call. Rotating: other operands in every call, the cache "
        "emptied before. Every subject was checked against float64 at every point before it was "
        "timed. `floor` is a bare push of what a rank must pass on, both directions busy, and one "
        "exchange of flags."
    )
    return [f"# Collectives on GPUs, {date}", "", *textwrap.wrap(words, 100), "",
            f"![time over bytes](gpu-{date}.svg)", ""]


def remarks(documents, points, failures):
    lines = ["## Not measured", ""]
    for step in failures:
        lines.append(f"- {step}")
    for document in documents:
        if document["kind"] == "absent":
            lines.append(f"- {document['name']}: {document['reason']}")
        if document["kind"] == "cut":
            lines.append(f"- sizes cut off after {document['seconds']:g} s")
    seen = {}
    for p in points:
        for name, reason in p.failures.items():
            seen.setdefault((name, reason), []).append(
                f"{p.operation} {size_label(p.bytes)} {p.buffers}"
            )
    for (name, reason), where in seen.items():
        more = f" and {len(where) - 1} more" if len(where) > 1 else ""
        lines.append(f"- {name}, {where[0]}{more}: {reason}")
    for name, why, figure in targets.PUBLISHED:
        lines.append(f"- {name}: {why}. Published: {figure}")
    return lines


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--date", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--pool")
    parser.add_argument("--scope")
    parser.add_argument("--failures")
    parser.add_argument("lines", nargs="+")
    arguments = parser.parse_args()
    documents = read_lines(arguments.lines)
    points = [Point(d) for d in documents if d["kind"] == "point"]
    machine = next((d for d in documents if d["kind"] == "machine"), {})
    pool, scope = read_json(arguments.pool), read_json(arguments.scope)
    failures = []
    if arguments.failures and pathlib.Path(arguments.failures).exists():
        failures = pathlib.Path(arguments.failures).read_text(encoding="utf-8").splitlines()

    stem = pathlib.Path(arguments.out) / f"gpu-{arguments.date}"
    whole = {
        "schema": "cohort/gpu-measurement", "version": 1, "date": arguments.date,
        "machine": machine, "points": [p.document for p in points], "mempool": pool,
        "scope": scope, "failures": failures,
        "absent": [d for d in documents if d["kind"] in ("absent", "cut")],
    }
    stem.with_suffix(".json").write_text(json.dumps(whole, indent=0) + "\n", encoding="utf-8")
    stem.with_suffix(".svg").write_text(plot.draw(list(panels(points))), encoding="utf-8")
    lines = introduction(arguments.date, machine)
    lines += ["## Goals", "", *goals(points, pool, scope), ""]
    lines += ["## Targets and points", "", *point_rows(points), ""]
    lines += remarks(documents, points, failures)
    lines += ["", "## Every subject", *subject_rows(points)]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(goals(points, pool, scope)))


if __name__ == "__main__":
    main()
