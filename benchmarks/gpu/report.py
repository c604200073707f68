"""Puts what `cohort_gpu_bench` measured beside the targets.

report.py --date DATE --out DIR [--pool POOL.json] [--failures FILE] LINES...

Writes DIR/gpu-DATE.json, .md and .svg. LINES are files of one JSON document a line.
"""

import argparse
import json
import pathlib
import textwrap

import plot
import targets
from goals import goals
from points import BOUNDS, Point, size_label, us_text


def point_rows(points):
    """target / measured / best peer / physical floor / ratio / met."""
    yield ("| operation | type | buffers | size | target | measured p50 | mean | path | best peer "
           "| us | floor | ratio | met |")
    yield "|---|---|---|---:|---:|---:|---:|---|---|---:|---:|---:|---|"
    for p in points:
        name, own = p.chosen()
        peer_name, peer = p.best(False)
        goal = p.goal()
        path = p.times[name].get("path") if name else None
        shown = f"{name} ({path})" if path else name
        met = "-" if goal is None or own is None else "yes" if own <= goal else "no"
        mean = p.times[name]["mean_us"] if name else None
        ratio = f"{p.ratio():.2f}" if p.ratio() else "-"
        yield (
            f"| {p.operation} | {p.dtype} | {p.buffers} | {size_label(p.bytes)} "
            f"| {us_text(goal)} | {us_text(own)} | {us_text(mean)} | {shown or '-'} "
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


def cuda_version(number):
    return f"{number // 1000}.{number % 1000 // 10}" if number else "unknown"


def nccl_version(number):
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}" if number else "-"


def introduction(date, machine):
    words = (
        f"{machine.get('devices', '?')} x {machine.get('device', 'unknown GPU')}, CUDA "
        f"{cuda_version(machine.get('cuda_runtime'))} (driver for "
        f"{cuda_version(machine.get('cuda_driver'))}), NCCL {nccl_version(machine.get('nccl'))}, "
        f"PyTorch {machine.get('torch') or '-'}; NVLink multicast off. "
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
    wrapped = [textwrap.wrap(line, 100, subsequent_indent="  ") or [""] for line in lines]
    return [part for line in wrapped for part in line]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--date", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--pool")
    parser.add_argument("--failures")
    parser.add_argument("lines", nargs="+")
    arguments = parser.parse_args()
    documents = read_lines(arguments.lines)
    points = [Point(d) for d in documents if d["kind"] == "point"]
    machine = next((d for d in documents if d["kind"] == "machine"), {})
    pool = read_json(arguments.pool)
    failures = []
    if arguments.failures and pathlib.Path(arguments.failures).exists():
        failures = pathlib.Path(arguments.failures).read_text(encoding="utf-8").splitlines()

    if not points:
        raise SystemExit("report: nothing was measured, so nothing is written")
    facts = next((d["facts"] for d in documents if d["kind"] == "cohort"), {})
    table = goals(points, facts, pool)
    stem = pathlib.Path(arguments.out) / f"gpu-{arguments.date}"
    whole = {
        "schema": "cohort/gpu-measurement", "version": 1, "date": arguments.date,
        "machine": machine, "cohort": facts, "points": [p.document for p in points],
        "mempool": pool,
        "failures": failures,
        "absent": [d for d in documents if d["kind"] in ("absent", "cut")],
    }
    stem.with_suffix(".json").write_text(json.dumps(whole, indent=0) + "\n", encoding="utf-8")
    stem.with_suffix(".svg").write_text(plot.draw(list(panels(points))), encoding="utf-8")
    lines = introduction(arguments.date, machine)
    lines += ["## Goals", "", *table, ""]
    lines += ["## Targets and points", "", *point_rows(points), ""]
    lines += remarks(documents, points, failures)
    lines += ["", "## Every subject", *subject_rows(points)]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
