"""Puts what `cohort_gpu_bench` measured beside the targets.

report.py --date DATE --out DIR [--pool POOL.json] [--failures FILE] LINES...

Writes DIR/gpu-DATE.json, .md and .svg. LINES are files of one JSON document a line.
"""

import argparse
import dataclasses
import json
import pathlib
import textwrap

import goals
import plot
import targets
from points import BOUNDS, LAYERS, Point, geometric_mean, size_label, us_text

MISSES = pathlib.Path(__file__).with_name("misses.txt")


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


def layer_rows(points):
    """A step of layer boundaries: microseconds of one boundary."""
    for operation in LAYERS:
        group = [p for p in points if p.operation == operation]
        if not group:
            continue
        peers = []
        for p in group:
            peers += [name for name in p.names(False) if name not in peers]
        ratios = [p.ratio() for p in group if p.ratio()]
        yield f"### {operation}"
        yield ""
        if ratios:
            mean, least = geometric_mean(ratios), min(ratios)
            yield f"Against the best peer at each size: {mean:.2f} in the mean, least {least:.2f}."
            yield ""
        yield "| rows | cohort | paths | " + " | ".join(peers) + " | floor | ratio | step |"
        yield "|---:|---:|---|" + "---:|" * (len(peers) + 3)
        for p in group:
            count = p.document["boundaries"]

            def each(us, count=count):
                return us_text(us / count if us else None)

            own = p.chosen()[1]
            path = p.times.get("cohort", {}).get("path", "-")
            cells = " | ".join(each(p.p50(name)) for name in peers)
            ratio = f"{p.ratio():.2f}" if p.ratio() else "-"
            yield (f"| {p.document['rows']} | {each(own)} | {path} | {cells} | {each(p.floor())} "
                   f"| {ratio} | {us_text(own)} |")
        yield ""


def layer_section(points):
    boundaries = next((p.document["boundaries"] for p in points if p.operation in LAYERS), None)
    if boundaries is None:
        return []
    words = (
        f"A captured step of {boundaries} layer boundaries at hidden 7168, bf16: microseconds of "
        "one boundary, and of the step with cohort. layer_step: attention is split by rows, so a "
        "boundary gathers the rows of all ranks, adds up and scatters what the ranks have for "
        "them, and adds residual and norm. layer_step_tp: every rank has all rows, so a boundary "
        "is an all_reduce with residual and norm. cohort has the norm in the kernel of the sum, "
        "NCCL has a kernel of ours behind it. Where rows do not divide by the ranks cohort moves "
        "uneven rows, and NCCL as many for each rank, padded, as engines do. `floor` leaves norms "
        "out. No target names these."
    )
    return ["## Layer step", "", *textwrap.wrap(words, 100), "", *layer_rows(points)]


def miss_lines(rows, entries):
    for why, names in goals.misses(rows, entries).items():
        which = "; ".join(f"**{name}**" for name in names)
        yield from textwrap.wrap(f"- {which}: {why}", 100, subsequent_indent="  ")


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
            what = "us of a step over bytes of its rows" if operation in LAYERS else "us over bytes"
            yield plot.Panel(f"{operation}, bf16, {buffers}: {what}", curves)


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
    rows = list(goals.rows_of(points, facts, pool))
    table = list(goals.table(rows))
    entries = goals.read_misses(MISSES.read_text(encoding="utf-8"))
    plain = [p for p in points if p.operation not in LAYERS]
    stem = pathlib.Path(arguments.out) / f"gpu-{arguments.date}"
    whole = {
        "schema": "cohort/gpu-measurement", "version": 1, "date": arguments.date,
        "machine": machine, "cohort": facts, "points": [p.document for p in points],
        "goals": [dataclasses.asdict(row) for row in rows], "mempool": pool,
        "failures": failures,
        "absent": [d for d in documents if d["kind"] in ("absent", "cut")],
    }
    stem.with_suffix(".json").write_text(json.dumps(whole, indent=0) + "\n", encoding="utf-8")
    stem.with_suffix(".svg").write_text(plot.draw(list(panels(points))), encoding="utf-8")
    lines = introduction(arguments.date, machine)
    lines += ["## Goals", "", *table, ""]
    missed = list(miss_lines(rows, entries))
    if missed:
        lines += ["## Goals that were missed: why, and what was tried", "", *missed, ""]
    lines += layer_section(points)
    lines += ["## Points", "", *point_rows(plain), ""]
    lines += remarks(documents, points, failures)
    lines += ["", "## Every subject", *subject_rows(points)]
    stem.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(table))


if __name__ == "__main__":
    main()
