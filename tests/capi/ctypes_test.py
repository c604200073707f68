"""The C interface from Python by ctypes, with nothing compiled: ranks that `cohort run` starts, and
ranks of multiprocessing that meet over queues of Python's own.

Usage: ctypes_test.py LIBRARY COMMAND; the test starts itself as a rank.
"""

import ctypes
import json
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import unittest
from ctypes import POINTER, byref, c_char_p, c_double, c_int, c_int32, c_int64, c_size_t, c_uint32
from ctypes import c_uint64, c_void_p, sizeof

RANKS = 3
LIBRARY_PATH, COMMAND = sys.argv[1:3]
USAGE, PEER_FAILED = 1, 7
TP, WORLD = 2, 1
F32 = 1
ALL_REDUCE = 1
SUM = 1


class Sized(ctypes.Structure):
    """A struct that begins with its own size."""

    def __init__(self, **values):
        super().__init__(size=sizeof(self), **values)


class LayoutSizes(Sized):
    _fields_ = [("size", c_size_t)] + [
        (name, c_uint32)
        for name in "tp attn_dp attn_cp ep moe_dp pp dcp ranks_per_host".split()
    ]


class SlotSpec(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("groups", c_uint32),
        ("dtype", c_uint32),
        ("rows_max", c_size_t),
        ("row_elements", c_size_t),
        ("depth", c_uint32),
        ("one_plus_stage", c_uint32),
        ("leases", c_uint32),
        ("reserved", c_uint32),
    ]


class WaitLimits(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("setup_ms", c_int64),
        ("steady_ms", c_int64),
        ("stall_ms", c_int64),
        ("scale", c_double),
    ]


class Buffer(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("data", c_void_p),
        ("rows_max", c_size_t),
        ("row_elements", c_size_t),
        ("dtype", c_uint32),
        ("slot", c_uint32),
        ("entry", c_uint32),
    ]


class Call(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("group", c_uint32),
        ("dtype", c_uint32),
        ("input", c_void_p),
        ("input_elements", c_size_t),
        ("output", c_void_p),
        ("output_elements", c_size_t),
        ("counts", POINTER(c_size_t)),
        ("counts_length", c_size_t),
        ("reduce_op", c_uint32),
        ("root", c_uint32),
        ("lane", c_uint32),
        ("peer", c_uint32),
    ]


class Verdict(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("path", c_uint32),
        ("reason", c_uint32),
        ("copied_bytes", c_size_t),
    ]


class LastError(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("message", c_char_p),
        ("phase", c_char_p),
        ("rank", c_int64),
        ("code", c_int32),
    ]


class LedgerRow(Sized):
    _fields_ = [
        ("size", c_size_t),
        ("ranks", POINTER(c_uint32)),
        ("ranks_count", c_size_t),
        ("group", c_uint32),
        ("op", c_uint32),
        ("path", c_uint32),
        ("reason", c_uint32),
        ("calls", c_uint64),
        ("bytes", c_uint64),
        ("copied_bytes", c_uint64),
        ("transfer_s", c_double),
        ("wait_s", c_double),
    ]


AllGather = ctypes.CFUNCTYPE(c_int, c_void_p, c_void_p, c_size_t, c_int64, c_void_p)

library = ctypes.CDLL(LIBRARY_PATH)
library.cohort_last_error_message.restype = c_char_p
for name in "path", "reason", "op":
    getattr(library, f"cohort_{name}_name").restype = c_char_p
library.cohort_gathered_set.argtypes = [c_void_p, c_uint32, c_void_p, c_size_t]
library.cohort_join_callback.argtypes = [
    c_uint32, c_uint32, AllGather, c_void_p, c_void_p, POINTER(c_void_p),
]  # fmt: skip


class CohortError(Exception):
    def __init__(self, code):
        last = LastError()
        library.cohort_last_error(byref(last))
        super().__init__(last.message.decode())
        self.code, self.rank, self.phase = code, last.rank, last.phase.decode()
        assert last.code == code


def call(name, *arguments):
    code = getattr(library, "cohort_" + name)(*arguments)
    if code != 0:
        raise CohortError(code)


def limits():
    scale = float(os.environ.get("COHORT_DEADLINE_SCALE", "1"))
    return byref(WaitLimits(setup_ms=60000, steady_ms=60000, scale=scale))


def join_by_queues(rank, inboxes):
    """Every rank puts its bytes into every inbox; each reads its own until all are there."""

    @AllGather
    def all_gather(_context, data, count, timeout_ms, gathered):
        mine = ctypes.string_at(data, count)
        for inbox in inboxes:
            inbox.put((rank, mine))
        for _ in inboxes:
            peer, theirs = inboxes[rank].get(timeout=timeout_ms / 1000)
            library.cohort_gathered_set(gathered, peer, theirs, len(theirs))
        return 0

    world = c_void_p()
    call("join_callback", rank, len(inboxes), all_gather, None, limits(), byref(world))
    return world


def health(world):
    """The job's health as another thread may ask for it."""
    length = c_size_t()
    text = ctypes.create_string_buffer(1 << 16)
    call("health", world, text, c_size_t(len(text)), byref(length))
    return json.loads(text.value)


def check_health(world, session, rank):
    """Rank 0 comes to a barrier only once the others' threads have seen their ranks wait there."""

    def await_state(of_rank, wanted):
        deadline = time.monotonic() + 60
        while not wanted(health(world)["ranks"][of_rank]) and time.monotonic() < deadline:
            time.sleep(0.001)

    def observe():
        await_state(rank, lambda state: (state["waiting"] or {}).get("rank") == 0)
        call("idle_begin", world)

    barrier = Call(group=TP)
    if rank == 0:
        for peer in range(1, RANKS):
            await_state(peer, lambda state: state["state"] == "idle")
        seen = health(world)
        call("barrier", session, byref(barrier), None)
        assert [r["state"] for r in seen["ranks"]] == ["working"] + ["idle"] * (RANKS - 1), seen
        assert all(r["waiting"]["rank"] == 0 for r in seen["ranks"][1:]), seen
        assert seen["verdict"] == "healthy", seen
        return
    observer = threading.Thread(target=observe)
    observer.start()
    call("barrier", session, byref(barrier), None)  # ctypes lets other threads run meanwhile
    observer.join()
    call("idle_end", world)


def run_job(world, test):
    """One rank's whole job. `test` is a TestCase: what is wrong raises."""
    rank, size = c_uint32(), c_uint32()
    call("world_rank", world, byref(rank))
    call("world_size", world, byref(size))
    test.assertEqual(size.value, RANKS)
    layout, plan, session, slot = c_void_p(), c_void_p(), c_void_p(), c_uint32()
    call("layout_create", byref(LayoutSizes(tp=RANKS)), byref(layout))
    call("plan_create", layout, None, byref(plan))
    spec = SlotSpec(groups=1 << TP, dtype=F32, rows_max=4, row_elements=8, leases=1)
    call("plan_slot", plan, b"rows", byref(spec), byref(slot))
    call("commit", world, plan, byref(session))

    lease, held = c_void_p(), Buffer()
    call("lease_take", session, slot, byref(lease), byref(held))
    with test.assertRaises(CohortError) as refused:
        call("lease_take", session, slot, byref(c_void_p()), byref(Buffer()))
    test.assertIn("while it holds it", str(refused.exception))
    buffer, verdict = Buffer(), Verdict()
    call("take", session, slot, byref(buffer))
    test.assertNotEqual(buffer.data, held.data)
    call("lease_free", lease)
    values = (ctypes.c_float * 32).from_address(buffer.data)
    values[:] = [rank.value + 1.0] * 32
    reduce = Call(
        group=TP, dtype=F32, reduce_op=SUM,
        input=buffer.data, input_elements=32, output=buffer.data, output_elements=32,
    )  # fmt: skip
    call("all_reduce", session, byref(reduce), byref(verdict))
    test.assertEqual(list(values), [RANKS * (RANKS + 1) / 2] * 32)
    test.assertEqual(library.cohort_path_name(verdict.path), b"host_inline")
    test.assertEqual(library.cohort_reason_name(verdict.reason), b"ok")
    told = Verdict()
    call("explain", session, TP, ALL_REDUCE, F32, c_size_t(128), byref(told))
    test.assertEqual((told.path, told.reason), (verdict.path, verdict.reason))

    check_health(world, session, rank.value)

    reduce.group = WORLD  # named by no slot
    with test.assertRaises(CohortError) as refused:
        call("all_reduce", session, byref(reduce), None)
    test.assertEqual(refused.exception.code, USAGE)
    test.assertIn("group world", str(refused.exception))

    ledger, row, rows = c_void_p(), LedgerRow(), c_size_t()
    call("ledger_read", session, byref(ledger))
    call("ledger_size", ledger, byref(rows))
    test.assertEqual(rows.value, 2)  # the all_reduce and the barrier
    call("ledger_get", ledger, c_size_t(0), byref(row))
    test.assertEqual((row.calls, row.bytes, row.ranks_count), (1, 128, RANKS))
    test.assertEqual(row.ranks[:RANKS], list(range(RANKS)))
    call("ledger_free", ledger)
    call("close", session, c_int64(0))
    for kind, handle in ("world", world), ("plan", plan), ("layout", layout):
        call(kind + "_free", handle)
    with test.assertRaises(CohortError) as freed:
        call("world_rank", world, byref(rank))
    test.assertEqual(freed.exception.code, USAGE)


def rank_of_multiprocessing(rank, inboxes):
    run_job(join_by_queues(rank, inboxes), unittest.TestCase())


def rank_that_loses_a_peer(rank, inboxes):
    """Rank 1 leaves without a word; the others' commit must say so, and not hang."""
    test = unittest.TestCase()
    layout, plan, session = c_void_p(), c_void_p(), c_void_p()
    call("layout_create", byref(LayoutSizes(tp=RANKS)), byref(layout))
    call("plan_create", layout, None, byref(plan))
    spec = SlotSpec(groups=1 << TP, dtype=F32, rows_max=4, row_elements=8)
    call("plan_slot", plan, b"rows", byref(spec), byref(c_uint32()))
    with test.assertRaises(CohortError) as lost:
        # A slow rank may hear of it before its join is through.
        world = join_by_queues(rank, inboxes)
        if rank == 1:
            os._exit(0)
        call("commit", world, plan, byref(session))
    test.assertEqual((lost.exception.code, lost.exception.rank), (PEER_FAILED, 1))
    test.assertIn("rank 1", str(lost.exception))


class CTypes(unittest.TestCase):
    def run_ranks(self, body):
        # Fresh interpreters: what a parent has mapped or locked is not inherited.
        context = multiprocessing.get_context("spawn")
        inboxes = [context.Queue() for _ in range(RANKS)]
        ranks = [context.Process(target=body, args=(rank, inboxes)) for rank in range(RANKS)]
        for rank in ranks:
            rank.start()
        for rank in ranks:
            rank.join(timeout=120)
        self.assertEqual([rank.exitcode for rank in ranks], [0] * RANKS)

    def test_ranks_that_meet_over_queues(self):
        self.run_ranks(rank_of_multiprocessing)

    def test_a_rank_that_dies_is_named_to_the_others(self):
        self.run_ranks(rank_that_loses_a_peer)

    def test_ranks_of_the_launcher(self):
        program = [sys.executable, __file__, LIBRARY_PATH, COMMAND, "--rank"]
        result = subprocess.run(
            [COMMAND, "run", "-n", str(RANKS), "--", *program],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stdout.count("right"), RANKS)

    def test_what_the_function_returns_is_the_error(self):
        @AllGather
        def all_gather(*_):
            return 6  # timeout

        with self.assertRaises(CohortError) as late:
            call("join_callback", 0, 1, all_gather, None, limits(), byref(c_void_p()))
        self.assertIn("returned timeout", str(late.exception))


def main():
    if "--rank" in sys.argv:
        world = c_void_p()
        call("join_environment", limits(), byref(world))
        run_job(world, unittest.TestCase())
        print("right")
    else:
        unittest.main(argv=sys.argv[:1])


if __name__ == "__main__":
    main()
