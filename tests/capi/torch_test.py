"""What PyTorch's allocator calls, from Python by ctypes and without torch: two ranks as processes.

Usage: torch_test.py TORCH_LIBRARY COMMAND. The functions of the C interface are found through
libcohort_torch.so, as its users find them.
"""

import ctypes
import multiprocessing
import pathlib
import queue
import random
import re
import subprocess
import threading
import unittest
from ctypes import POINTER, byref, c_int, c_int64, c_size_t, c_ssize_t, c_uint32, c_uint64, c_void_p

import ctypes_test
from ctypes_test import F32, SUM, TP, USAGE, Call, CohortError, LayoutSizes, Sized
from ctypes_test import Verdict, call, join_by_queues, library

RANKS = 2
ATTN_TP = 4
MISMATCH, STRICT_MISS = 4, 8
HOST = -1  # as a device: ordinary memory is the host's
BUDGET = 256 << 10
ROOT = pathlib.Path(__file__).parents[2]


class PoolSpec(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("bytes", c_size_t),
        ("block_bytes_max", c_size_t),
        ("groups", c_uint32),
        ("reserved", c_uint32),
    ]


class PlanOptions(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("symmetry_off", c_uint32),
        ("strict", c_uint32),
        ("lanes", c_uint32),
        ("reserved", c_uint32),
        ("reserve_bytes", c_size_t),
    ]


class TorchUse(Sized):
    _fields_ = [("size", c_size_t)] + [
        (name, c_uint64)
        for name in (
            "segments bytes freed_segments freed_bytes ordinary_segments ordinary_bytes".split()
        )
    ]


library.cohort_torch_malloc.restype = c_void_p
library.cohort_torch_malloc.argtypes = [c_ssize_t, c_int, c_void_p]
library.cohort_torch_free.argtypes = [c_void_p, c_ssize_t, c_int, c_void_p]
library.cohort_torch_free.restype = None
library.cohort_is_symmetric.argtypes = [
    c_void_p, c_void_p, c_size_t, c_uint32, POINTER(c_uint32),
]  # fmt: skip


def last_failure():
    told = ctypes_test.LastError()
    assert library.cohort_torch_last_error(byref(told)) == 0
    return told.code, told.message.decode()


def malloc(size):
    return library.cohort_torch_malloc(size, HOST, None)


def free(data):
    library.cohort_torch_free(data, 0, HOST, None)


class Rank:
    """A committed session of this rank with a pool for tp and one for attn_tp."""

    def __init__(self, rank, inboxes, strict=False):
        self.world = join_by_queues(rank, inboxes)
        self.layout, self.plan, self.session = c_void_p(), c_void_p(), c_void_p()
        call("layout_create", byref(LayoutSizes(tp=RANKS)), byref(self.layout))
        call("plan_create", self.layout, byref(PlanOptions(strict=strict)), byref(self.plan))
        for kind, name in (TP, b"tp"), (ATTN_TP, b"attn_tp"):
            spec = PoolSpec(bytes=BUDGET, block_bytes_max=BUDGET, groups=1 << kind)
            call("plan_pool", self.plan, name, byref(spec), byref(c_uint32()))
        call("commit", self.world, self.plan, byref(self.session))

    def select(self, kind):
        call("torch_select", self.session, kind)

    def use(self, kind=0):
        use = TorchUse()
        call("torch_usage", self.session, kind, byref(use))
        return use

    def is_symmetric(self, data, size, kind):
        symmetric = c_uint32()
        call("is_symmetric", self.session, data, size, kind, byref(symmetric))
        return symmetric.value == 1

    def all_reduce(self, kind, data, elements):
        verdict = Verdict()
        reduce = Call(
            group=kind, dtype=F32, reduce_op=SUM, input=data, input_elements=elements,
            output=data, output_elements=elements,
        )  # fmt: skip
        call("all_reduce", self.session, byref(reduce), byref(verdict))
        return library.cohort_reason_name(verdict.reason).decode()

    def close(self):
        call("torch_forget", self.session)
        call("close", self.session, c_int64(0))
        for kind, handle in ("world", self.world), ("plan", self.plan), ("layout", self.layout):
            call(kind + "_free", handle)


def check_segments(rank, job, test):
    """One segment from beginning to end."""
    test.assertIsNone(malloc(512))  # before any group is selected
    test.assertEqual(last_failure(), (USAGE, "no group is selected on this thread"))
    job.select(TP)
    test.assertEqual(last_failure(), (0, ""))
    first = malloc(4096)
    test.assertTrue(job.is_symmetric(first, 4096, TP))
    values = (ctypes.c_float * 1024).from_address(first)
    values[:] = [rank + 1.0] * 1024
    test.assertEqual(job.all_reduce(TP, first, 1024), "ok")
    test.assertEqual(list(values), [3.0] * 1024)
    with test.assertRaises(CohortError) as refused:
        job.all_reduce(ATTN_TP, first, 1024)  # the same ranks, but another group
    test.assertEqual(refused.exception.code, USAGE)

    free(first)
    free(first)  # of a second free there is nothing to note
    second = malloc(4096)
    test.assertNotEqual(second, first)  # freed is not given back
    use = job.use(TP)
    test.assertEqual((use.segments, use.bytes), (2, 8192))
    test.assertEqual((use.freed_segments, use.freed_bytes), (1, 4096))
    call("torch_collect", job.session)
    test.assertEqual(malloc(4096), first)
    with test.assertRaises(CohortError) as live:
        job.close()
    test.assertEqual(live.exception.code, USAGE)
    test.assertIn("2 segments of 8192 bytes", last_failure()[1])
    free(first)
    free(second)
    job.close()
    free(first)  # while the process ends, say


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
            call("torch_collect", self.job.session)

    def offsets(self):
        base = min(data for _, _, data in self.steps)
        return [(kind, size, data - base) for kind, size, data in self.steps]


def rank_of_one_segment(rank, inboxes, _results):
    check_segments(rank, Rank(rank, inboxes), unittest.TestCase())


def rank_of_churn(rank, inboxes, results):
    job = Rank(rank, inboxes)
    churn = Churn(rank, job)
    for _ in range(400):
        churn.step()
    call("verify", job.session)
    registrations = c_uint64()
    call("registrations_since_commit", job.session, byref(registrations))
    results.put((registrations.value, churn.offsets()))
    for data in churn.live:
        free(data)
    job.close()


def rank_over_budget(rank, inboxes, _results):
    test, job = unittest.TestCase(), Rank(rank, inboxes)
    job.select(TP)
    inside = malloc(BUDGET)
    outside = malloc(4096)
    test.assertTrue(job.is_symmetric(inside, BUDGET, TP))
    test.assertFalse(job.is_symmetric(outside, 4096, TP))
    use = job.use()
    test.assertEqual((use.segments, use.ordinary_segments, use.ordinary_bytes), (2, 1, 4096))
    (ctypes.c_float * 1024).from_address(outside)[:] = [1.0] * 1024
    test.assertEqual(job.all_reduce(TP, outside, 1024), "over_budget")
    job.select(ATTN_TP)  # whose pool has room
    other = malloc(4096)
    test.assertTrue(job.is_symmetric(other, 4096, ATTN_TP))
    for data in inside, outside, other:
        free(data)
    job.close()


def rank_over_a_strict_budget(rank, inboxes, _results):
    test, job = unittest.TestCase(), Rank(rank, inboxes, strict=True)
    job.select(TP)
    test.assertIsNone(malloc(BUDGET + 1))
    code, message = last_failure()
    test.assertEqual(code, STRICT_MISS)
    test.assertIn("pool 'tp'", message)
    job.close()


def rank_that_differs(rank, inboxes, _results):
    test, job = unittest.TestCase(), Rank(rank, inboxes)
    job.select(TP)
    data = malloc(4096 * (rank + 1))
    with test.assertRaises(CohortError) as differs:
        call("verify", job.session)
    test.assertEqual(differs.exception.code, MISMATCH)
    free(data)
    job.close()


class Torch(unittest.TestCase):
    def run_ranks(self, body):
        """What the ranks have put into the queue of results."""
        context = multiprocessing.get_context("spawn")
        inboxes = [context.Queue() for _ in range(RANKS)]
        results = context.Queue()
        ranks = [context.Process(target=body, args=(r, inboxes, results)) for r in range(RANKS)]
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

    def test_the_library_shows_what_the_header_declares(self):
        header = (ROOT / "include" / "cohort" / "cohort_torch.h").read_text()
        declared = set(re.findall(r"^COHORT_API .*?(cohort_torch_\w+)\(", header, re.MULTILINE))
        shown = subprocess.run(
            ["nm", "--dynamic", "--defined-only", ctypes_test.LIBRARY_PATH],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        names = {line.split()[2] for line in shown.splitlines()}
        self.assertEqual(names - {"cohort_torch"}, declared)


if __name__ == "__main__":
    unittest.main(argv=["torch_test.py"])
