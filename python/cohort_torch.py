"""cohort for PyTorch: symmetric memory that is planned and committed once, and collectives on it.

Over libcohort_torch.so by ctypes: nothing is compiled. docs/pytorch.md says how to use it. As in
cohort itself, all ranks do the same in the same order, and one thread at a time on each rank.
"""

import gc
import threading
from ctypes import c_void_p

import cohort_c
import torch
from cohort_c import CohortError, check, group_number

SEGMENT_BYTES = 20 << 20  # PyTorch's for tensors of 1 to 10 MiB; of larger ones, rounded to 2 MiB
DTYPES = {getattr(torch, name): number for number, name in enumerate(cohort_c.DTYPES, 1)}

_thread = threading.local()  # .stack of MemPools, of None for ordinary memory; .verdict
_job = None


class _Job:
    """A session and its MemPools: one for each group outside of graph capture, and one for each
    group and key of graphs, so that nothing else uses memory which a graph has captured."""

    def __init__(self, session):
        self.session, self.pools = session, {}
        names = cohort_c.LIBRARY_PATH, "cohort_torch_malloc", "cohort_torch_free"
        self.allocator = torch.cuda.memory.CUDAPluggableAllocator(*names)

    def pool(self, kind, graph_pool):
        key = kind, graph_pool if torch.cuda.is_current_stream_capturing() else None
        if key not in self.pools:
            self.pools[key] = torch.cuda.MemPool(self.allocator.allocator())
            self.pools[key].kind = kind
        return self.pools[key]


def init(*, budget, tensor_bytes_max=64 << 20, strict=False, memory="cuda", **sizes):
    """Meets the other ranks and commits the memory of all groups on the current device.

    `budget`: bytes for each group, {"tp": 1 << 30}, or for several that share them,
    {("tp", "attn_tp"): 1 << 30}. `sizes`: tp, attn_dp, attn_cp, ep, moe_dp, pp, dcp; without any,
    tp is the number of ranks. `strict`: over the budget is an error instead of ordinary memory.
    Collective over all ranks."""
    global _job
    if _job is not None:
        raise ValueError("init() was called already: close() first")
    device = torch.cuda.current_device() if memory == "cuda" else 0
    block = max(SEGMENT_BYTES, -(-tensor_bytes_max >> 21) << 21)
    world = cohort_c.join(torch.distributed)
    _job = _Job(cohort_c.Session(world, budget, block, sizes, memory, device, strict))


def session():
    """The cohort_c.Session of `init`: usage, registrations_since_commit and whatever else."""
    if _job is None:
        raise ValueError("init() was not called")
    return _job.session


class use_symmetric_memory:
    """Tensors that this thread makes inside lie in the group's symmetric memory; with `disabled`,
    in ordinary memory. Nests. While a stream is captured they come from memory that only graphs
    with the same `graph_pool` use, any value: such graphs are not replayed at the same time."""

    def __init__(self, group, disabled=False, graph_pool="graphs"):
        self.kind, self.disabled, self.graph_pool = group_number(group), disabled, graph_pool

    def __enter__(self):
        session()
        self.pool = None if self.disabled else _job.pool(self.kind, self.graph_pool)
        stack = _thread.__dict__.setdefault("stack", [None])
        self._switch(stack[-1], self.pool)
        stack.append(self.pool)
        return self

    def __exit__(self, kind, error, _trace):
        out_of_memory = isinstance(error, torch.cuda.OutOfMemoryError)
        failed = CohortError("torch_malloc") if out_of_memory else None
        self._switch(_thread.stack.pop(), _thread.stack[-1])
        if failed is not None and failed.code != "ok":
            raise failed from error

    @staticmethod
    def _switch(old, new):
        if old is new:
            return
        device = torch.cuda.current_device()
        if old is not None:
            torch._C._cuda_endAllocateToPool(device, old.id)
            torch._C._cuda_releasePool(device, old.id)
        if new is not None:
            torch._C._cuda_beginAllocateCurrentThreadToPool(device, new.id)
        check("torch_select", _job.session.handle, new.kind if new is not None else 0)


def collect():
    """Gives memory without tensors back, to all groups that share a budget. All ranks at the same
    point, outside of contexts and captures; waits for the streams that used it. Local."""
    if any(_thread.__dict__.get("stack", [])):
        raise ValueError("collect() inside use_symmetric_memory")
    session()
    _job.pools = {key: pool for key, pool in _job.pools.items() if key[1] is not None}
    gc.collect()
    torch.cuda.empty_cache()
    check("torch_collect", _job.session.handle)


def _call(name, group, output, source, op="sum", others=(), more=()):
    tensors = output, source, *others
    if not all(x.is_contiguous() and x.dtype == output.dtype for x in tensors):
        raise ValueError(f"{name} needs contiguous tensors of one dtype")
    call = cohort_c.Call()
    call.group, call.dtype, call.reduce_op = group, DTYPES[source.dtype], cohort_c.REDUCE_OPS[op]
    call.input, call.input_elements = source.data_ptr(), source.numel()
    call.output, call.output_elements = output.data_ptr(), output.numel()
    if output.is_cuda:
        call.stream = torch.cuda.current_stream().cuda_stream
    _thread.verdict = session().call(name, call, *more)


def _call_norm(tensor, residual, weight, normed, epsilon, group):
    if not tensor.shape == residual.shape == normed.shape or tensor.shape[-1:] != weight.shape:
        raise ValueError("fused_all_reduce_rmsnorm needs rows as long as the weight")
    norm, others = cohort_c.RmsNorm(epsilon=epsilon), (residual, weight, normed)
    norm.residual, norm.weight, norm.normed = (x.data_ptr() for x in others)
    norm.row_elements = weight.numel()
    _call("all_reduce_rms_norm", group, tensor, tensor, "sum", others, (norm,))


def _define(name, arguments, function):
    _library.define(f"{name}({arguments}) -> ()")
    for key in "CPU", "CUDA":
        _library.impl(name, function, key)
    torch.library.register_fake("cohort::" + name, lambda *_: None, lib=_library)


_library = torch.library.Library("cohort", "DEF")
_define("all_reduce", "Tensor(a!) tensor, int group, str op",
        lambda x, group, op: _call("all_reduce", group, x, x, op))  # fmt: skip
_define("all_gather_into_tensor", "Tensor(a!) output, Tensor input, int group",
        lambda y, x, group: _call("all_gather", group, y, x))  # fmt: skip
_define("reduce_scatter_tensor", "Tensor(a!) output, Tensor input, int group, str op",
        lambda y, x, group, op: _call("reduce_scatter", group, y, x, op))  # fmt: skip
_define("fused_all_reduce_rmsnorm", "Tensor(a!) tensor, Tensor(b!) residual, Tensor weight, "
        "Tensor(c!) normed, float epsilon, int group", _call_norm)  # fmt: skip


# In place; the same bits on all ranks. Collective over the group, all three.
def all_reduce(tensor, group, op="sum"):
    torch.ops.cohort.all_reduce(tensor, group_number(group), op)
    return tensor


def all_gather_into_tensor(output, source, group):
    torch.ops.cohort.all_gather_into_tensor(output, source, group_number(group))
    return output


def reduce_scatter_tensor(output, source, group, op="sum"):
    torch.ops.cohort.reduce_scatter_tensor(output, source, group_number(group), op)
    return output


def fused_all_reduce_rmsnorm(tensor, residual, weight, group, epsilon=1e-6):
    """RMSNorm of the sum of `tensor` plus `residual`, which holds that afterwards: returns both."""
    normed, kind = torch.empty_like(tensor), group_number(group)
    torch.ops.cohort.fused_all_reduce_rmsnorm(tensor, residual, weight, normed, epsilon, kind)
    return normed, residual


def last_verdict():
    """Path, reason and copied bytes of this thread's last call."""
    return cohort_c.named(_thread.verdict)


def explain(tensor, group, op="all_reduce"):
    """The verdict of such a call with this tensor, its reason in words, and whether the tensor lies
    in the group's symmetric memory. Local, never waits."""
    kind = group_number(group)
    told, text = session().explain(op, kind, DTYPES[tensor.dtype], tensor.nbytes)
    symmetric = session().is_symmetric(tensor.data_ptr(), tensor.nbytes, kind)
    return cohort_c.named(told), text, symmetric


def wait():
    """Waits for the current stream and raises what went wrong in it: how to consume results."""
    check("wait", session().handle, c_void_p(torch.cuda.current_stream().cuda_stream))


def close():
    """Ends the session; its tensors must be gone, its graphs are void. Collective over all."""
    global _job
    session() and _job.pools.clear()
    collect()
    _job.session.close()
    _job = None
