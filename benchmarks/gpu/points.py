"""One operation at one size, as it was measured."""

import math

import targets

BOUNDS = ("push", "exchange", "empty")
PLAIN = ("all_reduce", "all_gather", "reduce_scatter")
LAYERS = ("layer_step", "layer_step_tp")
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
        if "cohort" in self.times:
            return "cohort", self.p50("cohort")
        return self.best(True)

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
