"""What was measured beside what is wanted: goal, target, measured, met."""

import targets
from points import PLAIN, UNEVEN, geometric_mean, size_label, us_text


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
    both = [p for p in points if p.p50("cohort") and p.operation != "all_reduce_norm"]
    if not both:
        table.add("choice of path", f"<= {targets.REGRET - 1:.0%} regret", "not measured", None)
        return
    worst = max(both, key=lambda p: p.p50("cohort") / p.best(True)[1])
    regret = worst.p50("cohort") / worst.best(True)[1]
    table.add("choice of path, largest regret against the best own path",
              f"<= {targets.REGRET - 1:.0%}",
              f"{regret - 1:.1%} at {worst.operation} {size_label(worst.bytes)}, "
              f"{worst.buffers}, {len(both)} points", regret <= targets.REGRET)


KERNEL_OF_PATH = {"gpu_ll": "kernel_flags", "gpu_lamport": "kernel_once"}


def add_host(table, points):
    """What the library adds to the launch of the same kernel at the same point."""
    costs, extra = {}, []
    for p in points:
        for name, times in p.times.items():
            if "host_ns" in times:
                costs.setdefault(name, []).append(times["host_ns"])
        own = p.times.get("cohort", {})
        kernel = p.times.get(KERNEL_OF_PATH.get(own.get("path")), {})
        if "host_ns" in own and "host_ns" in kernel:
            extra.append(own["host_ns"] - kernel["host_ns"])
    if extra:
        median = sorted(extra)[len(extra) // 2]
        table.add("host cost of a call outside graphs, launch not counted",
                  f"<= {targets.HOST_NS} ns",
                  f"{median:.0f} ns, most {max(extra):.0f}, {len(extra)} points",
                  median <= targets.HOST_NS)
    shown = {name: sorted(values)[len(values) // 2] for name, values in costs.items()}
    listed = ", ".join(f"{name} {ns:.0f}" for name, ns in sorted(shown.items(), key=lambda i: i[1]))
    if listed:
        table.add("the same with the launch, ns", "-", listed, None)


def add_facts(table, facts):
    if "explain_ns" in facts:
        ns = facts["explain_ns"]
        table.add("asking for a path (explain)", "<= 50 ns", f"{ns:.0f} ns", ns <= 50)
    if "registrations_since_commit" in facts:
        count = facts["registrations_since_commit"]
        table.add("registrations after commit", "0", f"{count:.0f}", count == 0)


def add_outside(table, points):
    both = [p for p in points if p.p50("cohort") and p.p50("cohort_outside")]
    if both:
        ratio = [p.p50("cohort_outside") / p.p50("cohort") for p in both]
        table.add("operands outside the heap", "the staging copy is the only difference",
                  f"geometric mean {geometric_mean(ratio):.3f}x the time, most {max(ratio):.3f}x",
                  None)


def add_pool(table, pool, facts):
    for blocks, ns in facts.get("scope_ns", {}).items():
        table.add(f"scope alloc + free, {blocks} live blocks", "<= 200 ns", f"{ns:.0f} ns",
                  ns <= 200)
    for row in pool.get("rows", []):
        table.add(f"MemPool.snapshot(), {row['segments']} segments", "-",
                  f"{row['snapshot_us']:.1f} us", None)


def goals(points, facts, pool):
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
    add_outside(table, points)
    add_host(table, points)
    add_facts(table, facts)
    add_pool(table, pool, facts)
    return table.lines
