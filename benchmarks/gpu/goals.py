"""What was measured beside what is wanted: a row for every goal, and why a goal was missed."""

import dataclasses
import fnmatch

import targets
from points import LAYERS, PLAIN, UNEVEN, geometric_mean, is_own, size_label, us_text

MISSING = "not measured"


@dataclasses.dataclass
class Row:
    name: str
    target: str
    measured: str = MISSING
    peer: str = "-"
    floor: str = "-"
    ratio: str = "-"
    met: bool | None = None

    def text(self):
        verdict = "-" if self.met is None else "yes" if self.met else "no"
        cells = (self.name, self.target, self.measured, self.peer, self.floor, self.ratio, verdict)
        return "| " + " | ".join(cells) + " |"


def times(number):
    return "-" if number is None else f"{number:.2f}"


def beside(point):
    """Best peer, floor and ratio of a point, as a row has them."""
    name, us = point.best(False)
    return {
        "peer": f"{name} {us_text(us)}" if name else "-",
        "floor": us_text(point.floor()),
        "ratio": times(point.ratio()),
    }


def target_rows(points, operation):
    """The targets at single sizes: of two ranks, warm, bf16."""
    by = {p.bytes: p for p in points if p.buffers == "warm" and p.dtype == "bf16"}
    for size, goal in targets.GOAL_US[operation].items():
        row = Row(f"{operation}, {size_label(size)}", f"<= {goal:g} us")
        point = by.get(size)
        if point and point.chosen()[1]:
            own = point.chosen()[1]
            row = Row(row.name, row.target, f"{us_text(own)} us", **beside(point))
            row.met = own <= goal if point.goal() else None
        yield row


def small_row(points, operation, label):
    small = [
        p for p in points if p.operation == operation and p.bytes <= targets.SMALL_BYTES_MAX
        and p.ratio()
    ]
    target = f">= {targets.ACCEPTED}x accepted, {targets.GOAL}x the goal"
    row = Row(f"{label}, up to 2 MiB, against the best peer at each size", target)
    if small:
        ratios = [p.ratio() for p in small]
        mean = geometric_mean(ratios)
        row.measured = f"geometric mean of {len(small)} sizes, least {min(ratios):.2f}"
        row.ratio, row.met = times(mean), mean >= targets.ACCEPTED
    return row


def behind_row(points, label):
    compared = [p for p in points if p.ratio()]
    behind = [p for p in compared if p.behind()]
    row = Row(f"{label}, sizes at which a peer is faster", "none")
    if compared:
        row.measured = ", ".join(f"{size_label(p.bytes)} {p.ratio():.2f}x" for p in behind)
        row.measured = row.measured or f"none of {len(compared)}"
        row.ratio, row.met = f"least {min(p.ratio() for p in compared):.2f}", not behind
    return row


def rate_rows(points, operation):
    large = [p for p in points if p.bytes >= targets.RATE_BYTES_MIN and p.chosen()[1]]
    large = [p for p in large if p.p50("push")]
    target = f">= {targets.RATE:.0%} of a push, both ways busy"
    if not large:
        yield Row(f"{operation}, from 32 MiB on, part of the bandwidth", target)
    for p in large:
        own = p.chosen()[1]
        rate = p.document["wire_bytes"] / own / 1e3
        part = p.p50("push") / own
        measured = f"{part:.0%}; {rate:.0f} GB/s, {rate / targets.LINK_GB_S:.0%} of one direction's"
        yield Row(f"{operation}, {size_label(p.bytes)}, part of the bandwidth", target, measured,
                  **beside(p), met=part >= targets.RATE)


def uneven_rows(points, plain, operation):
    """Latency of the plain form, then the largest bytes of any rank at the rate of a push."""
    start = min((p for p in plain if p.chosen()[1]), key=lambda p: p.bytes, default=None)
    top = max((p for p in points if p.p50("push")), key=lambda p: p.bytes, default=None)
    measured = [p for p in points if p.chosen()[1]]
    if start is None or top is None or not measured:
        yield Row(f"{operation}, uneven rows", "plain form's latency + bytes / bandwidth, + 10 %")
        return
    rate = top.document["wire_bytes"] / top.p50("push")
    for p in measured:
        own = p.chosen()[1]
        allowed = start.chosen()[1] + p.document["wire_bytes"] / rate
        allowed *= targets.UNEVEN_SLACK
        yield Row(f"{operation}, {size_label(p.bytes)}, uneven rows", f"<= {allowed:.2f} us",
                  f"{us_text(own)} us", **beside(p), met=own <= allowed)


def norm_rows(points):
    name = "all_reduce + residual + RMSNorm"
    measured = [p for p in points if p.ratio()]
    for p in measured:
        chosen, own = p.chosen()
        yield Row(f"{name}, {p.document['rows']} rows of 7168", f">= {targets.NORM_RATIO}x",
                  f"{chosen} {us_text(own)} us", **beside(p), met=p.ratio() >= targets.NORM_RATIO)
    if not measured:
        yield Row(f"{name}, rows of 7168", f">= {targets.NORM_RATIO}x")
    yield Row(f"{name}, against a fused peer", f">= {targets.FUSED_RATIO}x",
              "no fused peer runs there, see below")


def regret_row(points):
    target = f"<= {targets.REGRET - 1:.0%} regret"
    row = Row("choice of path, against the best own path at every size", target)
    both = [p for p in points if p.p50("cohort") and p.operation not in LAYERS]
    if both:
        worst = max(both, key=lambda p: p.p50("cohort") / p.best(True)[1])
        name, best = worst.best(True)
        regret = worst.p50("cohort") / best
        beyond = sum(p.p50("cohort") > targets.REGRET * p.best(True)[1] for p in both)
        row.measured = (
            f"{regret - 1:.1%} at {worst.operation} {size_label(worst.bytes)}, {worst.dtype}, "
            f"{worst.buffers}: {us_text(worst.p50('cohort'))}, {name} {us_text(best)} us; "
            f"{beyond} of {len(both)} points beyond"
        )
        row.met = regret <= targets.REGRET
    return row


def outside_row(points):
    """On GPUs nothing is staged: a path takes operands wherever they lie."""
    row = Row("operands outside the heap, each own path", "within 2 %: nothing is staged on GPUs")
    both = [p for p in points if p.p50("cohort") and p.p50("cohort_outside")]
    if both:
        ratios = [p.p50("cohort_outside") / p.p50("cohort") for p in both]
        mean = geometric_mean(ratios)
        paths = sorted({n for p in both for n in p.times if n.startswith("cohort_gpu_")})
        row.measured = (
            f"{mean:.3f}x the time, most {max(ratios):.3f}x, {len(both)} points; pinned, operands "
            f"outside: {', '.join(paths) or 'none'}"
        )
        row.met = mean <= targets.OUTSIDE
    return row


KERNEL_OF_PATH = {"gpu_ll": "kernel_flags", "gpu_lamport": "kernel_once"}


def host_rows(points):
    """What the library adds to the launch of the same kernel at the same point."""
    costs, extra = {}, []
    for p in points:
        if p.operation not in PLAIN:
            continue
        for name, spent in p.times.items():
            if "host_ns" in spent:
                costs.setdefault(name, []).append(spent["host_ns"])
        own = p.times.get("cohort", {})
        kernel = p.times.get(KERNEL_OF_PATH.get(own.get("path")), {})
        if "host_ns" in own and "host_ns" in kernel:
            extra.append(own["host_ns"] - kernel["host_ns"])
    row = Row("host cost of a call outside graphs, launch not counted", f"<= {targets.HOST_NS} ns")
    if extra:
        median = sorted(extra)[len(extra) // 2]
        row.measured = f"{median:.0f} ns, most {max(extra):.0f}, {len(extra)} points"
        row.met = median <= targets.HOST_NS
    yield row
    medians = {name: sorted(values)[len(values) // 2] for name, values in costs.items()}
    own = {n: ns for n, ns in medians.items() if n == "cohort"}
    peers = {n: ns for n, ns in medians.items() if not is_own(n)}
    row = Row("the same with the launch", "-")
    if own and peers:
        best = min(peers, key=peers.get)
        row.measured = f"{own['cohort']:.0f} ns"
        row.peer, row.ratio = f"{best} {peers[best]:.0f} ns", times(peers[best] / own["cohort"])
    yield row


def fact_rows(facts):
    for key, name, limit, unit in (
        ("explain_ns", "host cost of explain alone", targets.EXPLAIN_NS, " ns"),
        ("group_check_ns", "group check of an operand (is_symmetric)", targets.GROUP_CHECK_NS,
         " ns"),
        ("registrations_since_commit", "registrations after commit", 0, ""),
    ):
        row = Row(name, f"<= {limit}{unit}" if limit else "0")
        if key in facts:
            row.measured, row.met = f"{facts[key]:.3g}{unit}", facts[key] <= limit
        yield row


def scope_rows(facts, pool):
    """Beside the call by which an engine finds out which segments of a pool are new."""
    snapshots = {str(row["asked"]): row["snapshot_us"] for row in pool.get("rows", [])}
    for blocks in targets.LIVE_BLOCKS:
        row = Row(f"scope alloc + free, {blocks} live blocks", f"<= {targets.SCOPE_NS} ns")
        ns = facts.get("scope_ns", {}).get(str(blocks))
        snapshot = snapshots.get(str(blocks))
        if snapshot:
            row.peer = f"MemPool.snapshot() of {blocks} segments {snapshot:.1f} us"
        if ns:
            row.measured, row.met = f"{ns:.0f} ns", ns <= targets.SCOPE_NS
            row.ratio = times(snapshot * 1000 / ns) if snapshot else "-"
        yield row


def rows_of(points, facts, pool):
    by = {}
    for p in points:
        by.setdefault((p.operation, p.buffers, p.dtype), []).append(p)
    for operation in PLAIN:
        yield from target_rows([p for p in points if p.operation == operation], operation)
    for operation in PLAIN:
        groups = [key for key in by if key[0] == operation] or [(operation, "warm", "bf16")]
        for key in groups:
            _, buffers, dtype = key
            label = f"{operation}, {buffers}" + ("" if dtype == "bf16" else f", {dtype}")
            yield small_row(by.get(key, []), operation, label)
            yield behind_row(by.get(key, []), label)
        yield from rate_rows(by.get((operation, "warm", "bf16"), []), operation)
    for operation, plain in UNEVEN.items():
        yield from uneven_rows(by.get((operation, "warm", "bf16"), []),
                               by.get((plain, "warm", "bf16"), []), operation)
    yield from norm_rows(by.get(("all_reduce_norm", "warm", "bf16"), []))
    yield regret_row(points)
    yield outside_row(points)
    yield from host_rows(points)
    yield from fact_rows(facts)
    yield from scope_rows(facts, pool)


def read_misses(text):
    """[(pattern of row names, why)]: names begin lines, what is said of them is indented."""
    entries, names, words = [], [], []
    for line in [*text.splitlines(), "behind the last"]:
        if line.startswith("#") or not line.strip():
            continue
        if line[0].isspace():
            words.append(line.strip())
            continue
        if words:
            entries += [(name, " ".join(words)) for name in names]
            names, words = [], []
        names.append(line.strip())
    return entries


def misses(rows, entries):
    """{why: names of the rows that were missed for it}, in the order of the rows."""
    found = {}
    for row in rows:
        if row.met is False:
            whys = (why for pattern, why in entries if fnmatch.fnmatchcase(row.name, pattern))
            found.setdefault(next(whys, "not looked into yet"), []).append(row.name)
    return found


def table(rows):
    head = ("goal", "target", "measured", "best peer", "floor", "ratio", "met")
    yield "| " + " | ".join(head) + " |"
    yield "|---|---|---|---|---:|---:|---|"
    for row in rows:
        yield row.text()
