"""What PyTorch's allocator calls, from Python by ctypes and without torch: two ranks as processes.

Usage: torch_test.py TORCH_LIBRARY PLUGIN. Everything happens in host memory, and in that of a GPU
plugin that needs no GPU.
"""

import ctypes
import multiprocessing
import os
import pathlib
import queue
import random
import re
import struct
import subprocess
import sys
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).parents[2]
os.environ["COHORT_TORCH_LIBRARY"], os.environ["COHORT_CUDA_PLUGIN"] = sys.argv[1:3]
sys.path.insert(0, str(ROOT / "python"))

import cohort_c  # noqa: E402
from cohort_c import CohortError, check, library  # noqa: E402

RANKS = 2
TP, ATTN_TP = (cohort_c.group_number(group) for group in ("tp", "attn_tp"))
F32, F16 = 1, 5
# Ranks inherit it from the test that starts them.
MEMORY = os.environ.get("COHORT_TEST_MEMORY", "host")
DEVICE = 0 if MEMORY == "cuda" else -1
BUDGET = 256 << 10


class Store:
    """What torch's stores have, over a dictionary that all processes share."""

    def __init__(self, entries):
        self.entries = entries

    def set(self, key, value):
        self.entries[key] = value

    def wait(self, keys, limit):
        deadline = time.monotonic() + limit.total_seconds()
        while not all(key in self.entries for key in keys):
            if time.monotonic() > deadline:
                raise RuntimeError("the keys have not come")
            time.sleep(0.002)

    def get(self, key):
        return self.entries[key]


def last_failure():
    told = CohortError("torch_malloc")
    return told.code, str(told)


def malloc(size):
    return library.cohort_torch_malloc(size, DEVICE, None)


def free(data):
    library.cohort_torch_free(data, 0, DEVICE, None)


class Rank(cohort_c.Session):
    """A committed session of this rank with a pool for tp and one for attn_tp."""

    def __init__(self, rank, entries, **options):
        world = cohort_c.join_store(Store(entries), rank, RANKS)
        budget = {"tp": BUDGET, "attn_tp": BUDGET}
        super().__init__(world, budget, BUDGET, {"tp": RANKS}, MEMORY, max(DEVICE, 0), **options)

    def select(self, group):
        check("torch_select", self.handle, group)

    def all_reduce(self, group, data, elements):
        call = cohort_c.Call(
            group=group, dtype=F32, reduce_op=cohort_c.REDUCE_OPS["sum"],
            input=data, input_elements=elements, output=data, output_elements=elements,
        )  # fmt: skip
        verdict = cohort_c.named(self.call("all_reduce", call))
        self.wait()
        assert verdict.path.startswith("gpu_" if MEMORY == "cuda" else "host_"), verdict
        return verdict.reason

    def wait(self):
        if MEMORY == "cuda":
            check("wait", self.handle, None)


def check_segments(rank, job, test):
    """One segment from beginning to end."""
    test.assertIsNone(malloc(512))  # before any group is selected
    test.assertEqual(last_failure(), ("usage", "no group is selected on this thread"))
    job.select(TP)
    test.assertEqual(last_failure(), ("ok", ""))
    first = malloc(4096)
    test.assertTrue(job.is_symmetric(first, 4096, TP))
    values = (ctypes.c_float * 1024).from_address(first)
    values[:] = [rank + 1.0] * 1024
    test.assertEqual(job.all_reduce(TP, first, 1024), "ok")
    test.assertEqual(list(values), [3.0] * 1024)
    with test.assertRaises(CohortError) as refused:
        job.all_reduce(ATTN_TP, first, 1024)  # the same ranks, but another group
    test.assertEqual(refused.exception.code, "usage")

    free(first)
    free(first)  # of a second free there is nothing to note
    second = malloc(4096)
    test.assertNotEqual(second, first)  # freed is not given back
    use = job.usage(TP)
    test.assertEqual((use.segments, use.bytes), (2, 8192))
    test.assertEqual((use.freed_segments, use.freed_bytes), (1, 4096))
    check("torch_collect", job.handle)
    test.assertEqual(malloc(4096), first)
    with test.assertRaises(CohortError) as live:
        job.close()
    test.assertEqual(live.exception.code, "usage")
    test.assertIn("2 segments of 8192 bytes", str(live.exception))
    free(first)
    free(second)
    job.close()
    free(first)  # while the process ends, say


def rank_of_a_norm(rank, entries, _results):
    """(1 + 2) + 1 = 4 everywhere, so the norm is 1, and the weight what comes out."""
    test, job = unittest.TestCase(), Rank(rank, entries)
    job.select(TP)
    tensor, residual, weight, normed = (malloc(32) for _ in range(4))

    def write(data, values):
        ctypes.memmove(data, struct.pack(f"{len(values)}e", *values), 2 * len(values))

    write(tensor, [rank + 1.0] * 16)
    write(residual, [1.0] * 16)
    write(weight, [float(i) for i in range(8)])
    write(normed, [7.0] * 16)
    call = cohort_c.Call(group=TP, dtype=F16, reduce_op=cohort_c.REDUCE_OPS["sum"])
    call.output, call.output_elements = tensor, 16
    norm = cohort_c.RmsNorm(residual=residual, weight=weight, row_elements=8, normed=normed)
    job.call("all_reduce_rms_norm", call, norm)
    job.wait()
    test.assertEqual(struct.unpack("16e", ctypes.string_at(residual, 32)), (4.0,) * 16)
    rows = struct.unpack("16e", ctypes.string_at(normed, 32))
    test.assertEqual(rows, tuple(float(i) for i in range(8)) * 2)
    norm.row_elements = 0
    with test.assertRaises(CohortError) as refused:
        job.call("all_reduce_rms_norm", call, norm)
    test.assertEqual(refused.exception.code, "usage")
    for data in tensor, residual, weight, normed:
        free(data)
    job.close()


class Churn:
    """The same segments on all ranks, freed in an order and by threads of each rank's own."""

    def __init__(self, rank, job):
        self.rank, self.job = rank, job
        self.common, self.own = random.Random(1), random.Random(2 + rank)
        self.live, self.steps = [], []

    def step(self):
        kind = self.common.choice([TP, ATTN_TP])
        self.job.select(kind)
        size = self.common.choice([256, 1000, 4096, 30000])
        data = malloc(size)
        assert data, last_failure()
        self.live.append(data)
        self.steps.append((kind, size, data))
        if len(self.live) > 6:
            dead = [self.live.pop(self.common.randrange(len(self.live))) for _ in range(3)]
            self.own.shuffle(dead)
            freeing = threading.Thread(target=lambda: [free(data) for data in dead])
            freeing.start()
            freeing.join()
        if len(self.steps) % 7 == 0:
            check("torch_collect", self.job.handle)

    def offsets(self):
        base = min(data for _, _, data in self.steps)
        return [(kind, size, data - base) for kind, size, data in self.steps]


def rank_of_one_segment(rank, entries, _results):
    check_segments(rank, Rank(rank, entries), unittest.TestCase())


def rank_of_churn(rank, entries, results):
    job = Rank(rank, entries)
    churn = Churn(rank, job)
    for _ in range(400):
        churn.step()
    check("verify", job.handle)
    results.put((job.registrations_since_commit(), churn.offsets()))
    for data in churn.live:
        free(data)
    job.close()


def rank_over_budget(rank, entries, _results):
    test, job = unittest.TestCase(), Rank(rank, entries)
    job.select(TP)
    inside = malloc(BUDGET)
    outside = malloc(4096)
    test.assertTrue(job.is_symmetric(inside, BUDGET, TP))
    if MEMORY == "cuda":  # and no driver
        test.assertIsNone(outside)
        test.assertEqual(last_failure()[0], "out_of_memory")
        test.assertIn("the pool of group tp has no room", last_failure()[1])
        free(inside)
        return job.close()
    test.assertFalse(job.is_symmetric(outside, 4096, TP))
    use = job.usage()
    test.assertEqual((use.segments, use.ordinary_segments, use.ordinary_bytes), (2, 1, 4096))
    (ctypes.c_float * 1024).from_address(outside)[:] = [1.0] * 1024
    test.assertEqual(job.all_reduce(TP, outside, 1024), "over_budget")
    job.select(ATTN_TP)  # whose pool has room
    other = malloc(4096)
    test.assertTrue(job.is_symmetric(other, 4096, ATTN_TP))
    for data in inside, outside, other:
        free(data)
    job.close()


def rank_over_a_strict_budget(rank, entries, _results):
    test, job = unittest.TestCase(), Rank(rank, entries, strict=True)
    job.select(TP)
    test.assertIsNone(malloc(BUDGET + 1))
    code, message = last_failure()
    test.assertEqual(code, "strict_miss")
    test.assertIn("pool 'tp'", message)
    job.close()


def rank_that_differs(rank, entries, _results):
    test, job = unittest.TestCase(), Rank(rank, entries)
    job.select(TP)
    data = malloc(4096 * (rank + 1))
    with test.assertRaises(CohortError) as differs:
        check("verify", job.handle)
    test.assertEqual(differs.exception.code, "mismatch")
    free(data)
    job.close()


class HostMemory(unittest.TestCase):
    memory = "host"

    def setUp(self):
        os.environ["COHORT_TEST_MEMORY"] = self.memory

    def run_ranks(self, body):
        """What the ranks have put into the queue of results."""
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        with context.Manager() as manager:
            return self.await_ranks(context, body, manager.dict(), results)

    def await_ranks(self, context, body, entries, results):
        ranks = [context.Process(target=body, args=(r, entries, results)) for r in range(RANKS)]
        for rank in ranks:
            rank.start()
        found = []
        while len(found) < RANKS and any(rank.is_alive() for rank in ranks):
            try:
                found.append(results.get(timeout=0.2))
            except queue.Empty:
                continue
        for rank in ranks:
            rank.join(timeout=120)
        self.assertEqual([rank.exitcode for rank in ranks], [0] * RANKS)
        return found

    def test_a_segment(self):
        self.run_ranks(rank_of_one_segment)

    def test_a_sum_with_its_norm(self):
        self.run_ranks(rank_of_a_norm)

    def test_churn_leaves_equal_offsets_and_registers_nothing(self):
        one, two = self.run_ranks(rank_of_churn)
        self.assertEqual(one, two)
        registrations, offsets = one
        self.assertEqual(registrations, 0)
        self.assertEqual(len(offsets), 400)

    def test_over_budget_is_ordinary_memory(self):
        self.run_ranks(rank_over_budget)

    def test_over_a_strict_budget_is_none(self):
        self.run_ranks(rank_over_a_strict_budget)

    def test_verify_finds_ranks_that_differ(self):
        self.run_ranks(rank_that_differs)


class GpuMemory(HostMemory):
    memory = "cuda"


class Library(unittest.TestCase):
    def test_the_library_shows_what_the_header_declares(self):
        header = (ROOT / "include" / "cohort" / "cohort_torch.h").read_text()
        declared = set(re.findall(r"^COHORT_API .*?(cohort_torch_\w+)\(", header, re.MULTILINE))
        shown = subprocess.run(
            ["nm", "--dynamic", "--defined-only", sys.argv[1]],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names = {line.split()[2] for line in shown.splitlines()}
        self.assertEqual(names - {"cohort_torch"}, declared)


if __name__ == "__main__":
    unittest.main(argv=["torch_test.py"])
