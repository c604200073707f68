"""The C interface of cohort by ctypes, as far as cohort_torch needs it; needs no torch itself.

The functions of cohort/cohort.h are found through libcohort_torch.so: beside this file, or where
the loader looks, or as COHORT_TORCH_LIBRARY names it.
"""

import ctypes
import datetime
import itertools
import os
import pathlib
import time
from collections import namedtuple
from ctypes import byref, c_char_p, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

GROUPS = "world tp pp attn_tp attn_cp attn moe_ep moe_tp moe_dp dcp host leaders".split()
DTYPES = "float32 bfloat16 int32 int64 float16 uint8 float8_e4m3fn".split()
REDUCE_OPS = {"sum": 1, "min": 2, "max": 3}
OPS = {"all_reduce": 1, "all_gather": 2, "reduce_scatter": 4}
MEMORIES = "host cuda".split()
Verdict = namedtuple("Verdict", "path reason copied_bytes")

_beside = pathlib.Path(__file__).with_name("libcohort_torch.so")
LIBRARY_PATH = os.environ.get(
    "COHORT_TORCH_LIBRARY", str(_beside) if _beside.exists() else _beside.name
)
library = ctypes.CDLL(LIBRARY_PATH)
for _name in "error_name path_name reason_name reason_text".split():
    getattr(library, "cohort_" + _name).restype = c_char_p
library.cohort_gathered_set.argtypes = [c_void_p, c_uint32, c_void_p, c_size_t]
library.cohort_is_symmetric.argtypes = [c_void_p, c_void_p, c_size_t, c_uint32, c_void_p]
library.cohort_torch_malloc.restype = c_void_p
library.cohort_torch_malloc.argtypes = [ctypes.c_ssize_t, ctypes.c_int, c_void_p]
library.cohort_torch_free.restype = None
library.cohort_torch_free.argtypes = [c_void_p, ctypes.c_ssize_t, ctypes.c_int, c_void_p]


class Sized(ctypes.Structure):
    """A struct that begins with its own size."""

    def __init__(self, **values):
        super().__init__(size=ctypes.sizeof(self), **values)


def _struct(name, **fields):
    return type(name, (Sized,), {"_fields_": [("size", c_size_t), *fields.items()]})


SIZES = "tp attn_dp attn_cp ep moe_dp pp dcp ranks_per_host".split()
LayoutSizes = _struct("LayoutSizes", **dict.fromkeys(SIZES, c_uint32))
PlanOptions = _struct(
    "PlanOptions",
    symmetry_off=c_uint32,
    strict=c_uint32,
    lanes=c_uint32,
    memory=c_uint32,
    reserve_bytes=c_size_t,
    nccl=c_uint32,
    reserved=c_uint32,
)
PoolSpec = _struct(
    "PoolSpec", bytes=c_size_t, block_bytes_max=c_size_t, groups=c_uint32, reserved=c_uint32
)
WaitLimits = _struct(
    "WaitLimits", setup_ms=c_int64, steady_ms=c_int64, stall_ms=c_int64, scale=ctypes.c_double
)
CommitOptions = _struct("CommitOptions", one_plus_device=c_uint32, reserved=c_uint32)
Call = _struct(
    "Call",
    group=c_uint32,
    dtype=c_uint32,
    input=c_void_p,
    input_elements=c_size_t,
    output=c_void_p,
    output_elements=c_size_t,
    counts=c_void_p,
    counts_length=c_size_t,
    reduce_op=c_uint32,
    root=c_uint32,
    lane=c_uint32,
    peer=c_uint32,
    stream=c_void_p,
)
RmsNorm = _struct(
    "RmsNorm",
    residual=c_void_p,
    weight=c_void_p,
    row_elements=c_size_t,
    normed=c_void_p,
    epsilon=ctypes.c_float,
    reserved=c_uint32,
)
ToldVerdict = _struct("ToldVerdict", path=c_uint32, reason=c_uint32, copied_bytes=c_size_t)
LastError = _struct("LastError", message=c_char_p, phase=c_char_p, rank=c_int64, code=c_int32)
TorchUse = _struct(
    "TorchUse",
    segments=c_uint64,
    bytes=c_uint64,
    freed_segments=c_uint64,
    freed_bytes=c_uint64,
    ordinary_segments=c_uint64,
    ordinary_bytes=c_uint64,
)
AllGather = ctypes.CFUNCTYPE(ctypes.c_int, c_void_p, c_void_p, c_size_t, c_int64, c_void_p)
_joins = itertools.count()


class CohortError(RuntimeError):
    """What cohort refused or found: `code` is a name like "mismatch", "ok" if there was nothing;
    `rank` is the one that it is about, or -1."""

    def __init__(self, function):
        last = LastError()
        of_torch = function.startswith("torch_")
        getattr(library, "cohort_torch_last_error" if of_torch else "cohort_last_error")(
            byref(last)
        )
        super().__init__((last.message or b"").decode())
        self.code, self.rank = library.cohort_error_name(last.code).decode(), last.rank


def check(function, *arguments):
    """Calls cohort_<function>, and raises what it failed with."""
    if getattr(library, "cohort_" + function)(*arguments):
        raise CohortError(function)


def group_number(group):
    """Of a group's name, or of an object like SGLang's whose unique_name is "tp:0"."""
    name = str(getattr(group, "unique_name", group)).split(":")[0]
    if name not in GROUPS:
        raise ValueError(f"{name!r} is no group; the groups are {', '.join(GROUPS)}")
    return GROUPS.index(name) + 1


def store_gather(store, rank, world_size):
    """The all-gather of bytes by which ranks meet, over a key-value store like torch's, which has
    set(key, bytes), wait([key], timedelta) and get(key). Called equally often on all ranks."""
    rounds = itertools.count()

    @AllGather
    def gather(_context, data, count, timeout_ms, gathered):
        deadline, key = time.monotonic() + timeout_ms / 1000, f"{next(rounds)}/"
        store.set(f"{key}{rank}", ctypes.string_at(data, count))
        for peer in range(world_size):
            rest = datetime.timedelta(seconds=max(deadline - time.monotonic(), 0.001))
            try:
                store.wait([f"{key}{peer}"], rest)
            except RuntimeError:
                print(f"cohort: rank {rank} has waited for rank {peer} in vain", flush=True)
                return 6  # timeout
            theirs = store.get(f"{key}{peer}")
            library.cohort_gathered_set(gathered, peer, theirs, len(theirs))
        return 0

    return gather


def limits():
    """COHORT_DEADLINE_SCALE stretches all waits, for profilers and slow machines."""
    return byref(WaitLimits(scale=float(os.environ.get("COHORT_DEADLINE_SCALE", "1"))))


def join_alone():
    """A world of this process, or of those that `cohort run` started."""
    world = c_void_p()
    check("join_environment", limits(), byref(world))
    return world


def join(distributed):
    """By torch.distributed if it is initialised, by torchrun's store under torchrun, else alone or
    as `cohort run` started this process. `distributed` is that module."""
    if distributed.is_available() and distributed.is_initialized():
        store = distributed.distributed_c10d._get_default_store()
        rank, size = distributed.get_rank(), distributed.get_world_size()
    elif "TORCHELASTIC_RUN_ID" in os.environ:
        store, rank, size = next(distributed.rendezvous("env://"))
    else:
        return join_alone()
    return join_store(distributed.PrefixStore(f"cohort/{next(_joins)}", store), rank, size)


def join_store(store, rank, world_size):
    """Meets the other ranks over a store that all of them reach. Collective over all ranks."""
    world = c_void_p()
    gather = store_gather(store, rank, world_size)
    check("join_callback", rank, world_size, gather, None, limits(), byref(world))
    return world


class Session:
    """A committed session whose memory is pools alone, on a device or of the host.

    `budget`: {"tp": bytes}, or {("tp", "attn_tp"): bytes} for groups that share it; of it a block
    takes `block_bytes_max` at most. `sizes`: of the layout; without any, tp is the number of ranks.
    Takes the world over. Collective over all ranks."""

    def __init__(
        self, world, budget, block_bytes_max, sizes, memory="cuda", device=0, strict=False
    ):
        self.world, self.handle = world, c_void_p()
        world_size, layout, plan = c_uint32(), c_void_p(), c_void_p()
        check("world_size", world, byref(world_size))
        layout_sizes = LayoutSizes(**(sizes or {"tp": world_size.value}))
        check("layout_create", byref(layout_sizes), byref(layout))
        options = PlanOptions(strict=strict, memory=MEMORIES.index(memory))
        check("plan_create", layout, byref(options), byref(plan))
        for groups, size in budget.items():
            numbers = [group_number(g) for g in ([groups] if isinstance(groups, str) else groups)]
            spec = PoolSpec(bytes=size, block_bytes_max=min(size, block_bytes_max))
            spec.groups = sum(1 << number for number in numbers)
            name = "+".join(GROUPS[number - 1] for number in numbers).encode()
            check("plan_pool", plan, name, byref(spec), byref(c_uint32()))
        rank_options = byref(CommitOptions(one_plus_device=device + 1))
        check("commit_with", world, plan, rank_options, byref(self.handle))
        check("plan_free", plan)
        check("layout_free", layout)

    def call(self, function, call, *more):
        """Runs a collective. Returns its verdict."""
        told = ToldVerdict()
        check(function, self.handle, byref(call), *(byref(one) for one in more), byref(told))
        return told

    def explain(self, op, group, dtype, size):
        """The verdict of a call that this would be, and its reason in words."""
        told = ToldVerdict()
        check("explain", self.handle, group, OPS[op], dtype, c_size_t(size), byref(told))
        return told, library.cohort_reason_text(told.reason).decode()

    def is_symmetric(self, data, size, group):
        symmetric = c_uint32()
        check("is_symmetric", self.handle, data, size, group, byref(symmetric))
        return symmetric.value == 1

    def usage(self, group=0):
        use = TorchUse()
        check("torch_usage", self.handle, group, byref(use))
        return use

    def registrations_since_commit(self):
        count = c_uint64()
        check("registrations_since_commit", self.handle, byref(count))
        return count.value

    def verify(self):
        """Raises the first step in which ranks have allocated differently. Collective over all."""
        check("verify", self.handle)

    def close(self):
        """Refused while segments are live. Collective over all ranks."""
        check("torch_forget", self.handle)
        check("close", self.handle, c_int64(0))
        check("world_free", self.world)


def named(told):
    path, reason = library.cohort_path_name(told.path), library.cohort_reason_name(told.reason)
    return Verdict(path.decode(), reason.decode(), told.copied_bytes)
