"""A tensor-parallel transformer block with cohort's collectives and with NCCL's: the same numbers,
and the time of a captured step; and what a scope costs beside MemPool.snapshot().

torchrun --standalone --nproc-per-node 2 torch_block.py [OUT.json]
"""

import json
import os
import statistics
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as functional

import cohort_torch as cohort
from cohort_torch import use_symmetric_memory

RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
DEVICE = torch.device("cuda", RANK % torch.cuda.device_count())
MIB = 1 << 20
HIDDEN, HEADS, HEAD, FFN, BLOCKS = 4096, 32, 128, 11008, 8
POINTS = [(torch.bfloat16, rows) for rows in (1, 16, 64, 256)]
POINTS += [(torch.float32, rows) for rows in (1, 16)]
ROUNDS = 21
SEGMENTS = (10, 1000, 10000)


class Block:
    """Attention over the rows of one prompt and a gated MLP, split over the ranks by heads and by
    columns: an all_reduce behind each."""

    def __init__(self, dtype, seed):
        generator = torch.Generator(DEVICE).manual_seed(seed)

        def weight(rows, columns, axis):
            whole = torch.randn(rows, columns, generator=generator, device=DEVICE)
            return (whole / columns**0.5).chunk(RANKS, axis)[RANK].contiguous().to(dtype)

        self.qkv = [weight(HEADS * HEAD, HIDDEN, 0) for _ in range(3)]
        self.out = weight(HIDDEN, HEADS * HEAD, 1)
        self.gate, self.up = (weight(FFN, HIDDEN, 0) for _ in range(2))
        self.down = weight(HIDDEN, FFN, 1)
        self.norms = [torch.ones(HIDDEN, device=DEVICE, dtype=dtype) for _ in range(2)]

    def attention(self, x):
        q, k, v = (
            functional.linear(x, w).view(1, x.shape[0], -1, HEAD).transpose(1, 2) for w in self.qkv
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return mixed.transpose(1, 2).reshape(x.shape[0], -1)

    def __call__(self, x, subject):
        mixed = self.attention(functional.rms_norm(x, (HIDDEN,), self.norms[0]))
        x = x + subject(lambda: functional.linear(mixed, self.out))
        normed = functional.rms_norm(x, (HIDDEN,), self.norms[1])
        gated = functional.silu(functional.linear(normed, self.gate))
        gated = gated * functional.linear(normed, self.up)
        return x + subject(lambda: functional.linear(gated, self.down))


def by_nccl(make):
    """`make` makes this rank's partial sums; the result is the sum over the ranks."""
    tensor = make()
    dist.all_reduce(tensor)
    return tensor


def by_cohort(make):
    with use_symmetric_memory("tp"):
        tensor = make()
    return cohort.all_reduce(tensor, "tp")


SUBJECTS = {"nccl": by_nccl, "cohort": by_cohort}


def capture(blocks, x, subject):
    def run():
        y = x
        for block in blocks:
            y = block(y, subject)
        return y

    run()  # libraries set themselves up
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = run()
    return graph, y


def microseconds(graph):
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    graph.replay()  # brings the ranks together
    begin.record()
    graph.replay()
    end.record()
    torch.cuda.synchronize()
    slowest = torch.tensor([begin.elapsed_time(end) * 1e3], device=DEVICE)
    dist.all_reduce(slowest, dist.ReduceOp.MAX)
    return float(slowest)


def measure_blocks(dtype, rows):
    blocks = [Block(dtype, seed) for seed in range(BLOCKS)]
    generator = torch.Generator(DEVICE).manual_seed(99)
    x = torch.randn(rows, HIDDEN, generator=generator, device=DEVICE).to(dtype)
    graphs = {name: capture(blocks, x, subject) for name, subject in SUBJECTS.items()}
    times = {name: [] for name in SUBJECTS}
    for turn in range(ROUNDS):
        for name in list(SUBJECTS)[:: 1 if turn % 2 else -1]:
            times[name].append(microseconds(graphs[name][0]))
    cohort.wait()
    one, other = (graphs[name][1] for name in SUBJECTS)
    row = {"dtype": str(dtype).removeprefix("torch."), "rows": rows, "blocks": BLOCKS}
    row["bit_equal"] = bool(torch.equal(one, other))
    row["finite"] = bool(torch.isfinite(one).all())
    row["largest_difference"] = float((one - other).abs().max())
    for name in SUBJECTS:
        row[name + "_us"] = round(statistics.median(times[name]), 2)
    return row


def host_microseconds(function, rounds):
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        times.append((time.perf_counter() - begin) * 1e6)
    return round(statistics.median(times), 2)


def measure_scopes():
    """One context and one tensor, with so many segments in the pool; and what it costs to find new
    segments by a snapshot of that pool, as engines do that register segments themselves."""
    held, rows = [], []

    def enter():
        with use_symmetric_memory("host"):
            pass

    def allocate():
        with use_symmetric_memory("host"):
            torch.empty(1000, device=DEVICE)

    with use_symmetric_memory("host") as context:
        pool = context.pool
    for count in SEGMENTS:
        while len(held) < 2 * count:  # two tensors of 1 MiB fill a segment of 2 MiB
            with use_symmetric_memory("host"):
                held.append(torch.empty(MIB, dtype=torch.uint8, device=DEVICE))
        row = {"segments": cohort.session().usage().segments}
        row["context_us"] = host_microseconds(enter, 101)
        row["context_and_tensor_us"] = host_microseconds(allocate, 101)
        row["snapshot_us"] = host_microseconds(pool.snapshot, 3 if count > 1000 else 21)
        rows.append(row)
    return rows


def main():
    torch.cuda.set_device(DEVICE)
    dist.init_process_group("nccl", device_id=DEVICE)
    budget = {"tp": 256 * MIB, "host": 21 << 30}
    begin = time.perf_counter()
    cohort.init(budget=budget, tensor_bytes_max=32 * MIB, tp=RANKS)
    told = {"torch": torch.__version__, "init_s": round(time.perf_counter() - begin, 3)}
    told["blocks"] = [measure_blocks(dtype, rows) for dtype, rows in POINTS]
    told["scopes"] = measure_scopes()
    told["registrations_since_commit"] = cohort.session().registrations_since_commit()
    dist.barrier()
    if RANK == 0:
        print(json.dumps(told, indent=1), flush=True)
        if len(sys.argv) > 1:
            with open(sys.argv[1], "w", encoding="utf-8") as file:
                json.dump(told, file, indent=1)
    os._exit(0)  # segments are still held


if __name__ == "__main__":
    main()
