"""PyTorch's symmetric memory as a peer of cohort_gpu_bench: one process for each GPU, which
captures, checks and replays on request.

torch_peer.py RANK RANKS STORE_FILE

Lines on standard input: "prepare VARIANT OPERATION DTYPE BYTES CALLS ROTATING", "verify SEED",
"replay", "release". Each is answered by one line: "ok ANSWER", or what went wrong.
"""

import os
import sys

os.environ["TORCH_SYMM_MEM_DISABLE_MULTICAST"] = "1"
os.environ["NCCL_NVLS_ENABLE"] = "0"
# The answers go where standard output went; what libraries print must not get between them.
ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
import torch.distributed._symmetric_memory as symmetric_memory  # noqa: E402
import triton  # noqa: E402
import triton.language as tl  # noqa: E402

POOL_BYTES = 256 << 20
FLUSH_BYTES = 192 << 20
ALIGNMENT = 512
HIDDEN = 7168
EPSILON = 1e-6
DTYPES = {"bf16": torch.bfloat16, "f32": torch.float32}
ROUNDING = {torch.bfloat16: 2.0**-7, torch.float32: 2.0**-23}


@triton.jit
def add_norm(total, residual_in, residual_out, weight, normed, hidden: tl.constexpr,
             block: tl.constexpr, epsilon: tl.constexpr):
    row = tl.program_id(0)
    column = tl.arange(0, block)
    inside = column < hidden
    added = tl.load(total + row * hidden + column, mask=inside, other=0.0).to(tl.float32)
    added += tl.load(residual_in + row * hidden + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(residual_out + row * hidden + column, added.to(tl.bfloat16), mask=inside)
    scale = tl.rsqrt(tl.sum(added * added) / hidden + epsilon)
    factor = tl.load(weight + column, mask=inside, other=0.0).to(tl.float32)
    tl.store(normed + row * hidden + column, (added * scale * factor).to(tl.bfloat16), mask=inside)


class Peer:
    def __init__(self, rank, ranks, store):
        self.rank, self.ranks = rank, ranks
        self.device = torch.device("cuda", rank)
        torch.cuda.set_device(self.device)
        dist.init_process_group(
            "nccl", init_method=f"file://{store}", rank=rank, world_size=ranks,
            device_id=self.device,
        )
        self.group = dist.group.WORLD.group_name
        self.stream = torch.cuda.Stream()
        self.pool = symmetric_memory.empty(POOL_BYTES, dtype=torch.uint8, device=self.device)
        symmetric_memory.rendezvous(self.pool, self.group)
        self.plain = torch.zeros(POOL_BYTES, dtype=torch.uint8, device=self.device)
        self.flush = torch.zeros(FLUSH_BYTES, dtype=torch.uint8, device=self.device)
        self.begin = torch.cuda.Event(enable_timing=True)
        self.end = torch.cuda.Event(enable_timing=True)
        self.graph = None

    def variants(self):
        found = ["one_shot", "two_shot"]
        if hasattr(torch.ops.symm_mem, "reduce_scatter_out"):
            found.append("reduce_scatter")
        return found

    def prepare(self, variant, operation, dtype, size, calls, rotating):
        self.variant, self.norm = variant, operation == "all_reduce_norm"
        self.dtype, self.rotating = DTYPES[dtype], rotating == "1"
        self.size, self.calls = int(size), int(calls)
        self.out_bytes = self.size // (self.ranks if variant == "reduce_scatter" else 1)
        step = (self.size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        self.pairs = min(self.calls, POOL_BYTES // step) if self.rotating else 1
        places = [pair * step for pair in range(self.pairs)]
        self.inputs = [self.part(self.pool, place, self.size) for place in places]
        self.outputs = [self.part(self.plain, place, self.out_bytes) for place in places]
        rows = max(1, self.size // HIDDEN // 2)
        if self.norm:
            self.residual = torch.zeros(rows, HIDDEN, dtype=self.dtype, device=self.device)
            self.residual_out = torch.zeros_like(self.residual)
            self.weight = torch.zeros(HIDDEN, dtype=self.dtype, device=self.device)
            self.normed = [torch.zeros_like(self.residual) for _ in places]
        with torch.cuda.stream(self.stream):
            for _ in range(2):
                self.call(0)
        self.stream.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            for i in range(self.calls):
                self.call(i % self.pairs)
        torch.cuda.synchronize()
        return ""

    def part(self, pool, place, size):
        return pool[place : place + size].view(self.dtype)

    def call(self, pair):
        operand, output = self.inputs[pair], self.outputs[pair]
        if self.variant == "two_shot":
            torch.ops.symm_mem.two_shot_all_reduce_(operand, "sum", self.group)
            output = operand
        elif self.variant == "reduce_scatter":
            torch.ops.symm_mem.reduce_scatter_out(operand, self.group, False, output)
        elif hasattr(torch.ops.symm_mem, "one_shot_all_reduce_out"):
            torch.ops.symm_mem.one_shot_all_reduce_out(operand, "sum", self.group, output)
        else:
            output = torch.ops.symm_mem.one_shot_all_reduce(operand, "sum", self.group)
            self.outputs[pair] = output
        if self.norm:
            add_norm[(self.residual.shape[0],)](
                output, self.residual, self.residual_out, self.weight, self.normed[pair],
                HIDDEN, 8192, EPSILON, num_warps=8,
            )

    def data(self, who, seed, count):
        generator = torch.Generator(device=self.device).manual_seed(1000 * int(seed) + who)
        uniform = torch.rand(count, generator=generator, device=self.device)
        return (2 * uniform - 1).to(self.dtype)

    def verify(self, seed):
        """Calls outside the graph, since two_shot works in place: a replay would sum again."""
        terms = [self.data(rank, seed, self.inputs[0].numel()) for rank in range(self.ranks)]
        exact = sum(term.double() for term in terms)
        slack = sum(term.double().abs() for term in terms) * ROUNDING[self.dtype] * (self.ranks - 1)
        if self.variant == "reduce_scatter":
            count = self.outputs[0].numel()
            own = slice(self.rank * count, (self.rank + 1) * count)
            exact, slack = exact[own], slack[own]
        if self.norm:
            self.residual.copy_(self.data(100, seed, self.residual.numel()).view(-1, HIDDEN))
            self.weight.copy_(self.data(101, seed, HIDDEN))
            added = exact.view(-1, HIDDEN) + self.residual.double()
            scale = (added.square().mean(1, keepdim=True) + EPSILON).rsqrt()
            exact = (added * scale * self.weight.double()).view(-1)
            slack = (scale * self.weight.double().abs()).view(-1)
            slack = slack * (self.ranks + 2) * ROUNDING[self.dtype]
        for operand, output in zip(self.inputs, self.outputs):
            operand.copy_(terms[self.rank])
            output.fill_(float("nan"))
        torch.cuda.synchronize()
        dist.barrier()
        with torch.cuda.stream(self.stream):
            for pair in range(self.pairs):
                self.call(pair)
        torch.cuda.synchronize()
        wrong = 0
        for pair in range(self.pairs):
            result = self.inputs[pair] if self.variant == "two_shot" else self.outputs[pair]
            if self.norm:
                result = self.normed[pair].view(-1)
            wrong += int((~((result.double() - exact).abs() <= slack)).sum())
        for operand in self.inputs:
            operand.zero_()  # what is summed in place again and again stays 0
        torch.cuda.synchronize()
        dist.barrier()
        return wrong

    def replay(self):
        with torch.cuda.stream(self.stream):
            self.graph.replay()
            if self.rotating:
                self.flush.zero_()
            self.begin.record(self.stream)
            self.graph.replay()
            self.end.record(self.stream)
        self.stream.synchronize()
        return self.begin.elapsed_time(self.end) * 1000

    def release(self):
        self.graph = None
        return ""


def main():
    peer = Peer(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
    print("ok", torch.__version__, *peer.variants(), file=ANSWERS)
    for line in sys.stdin:
        command, *arguments = line.split()
        try:
            print("ok", getattr(peer, command)(*arguments), file=ANSWERS)
        except Exception as error:  # every failure is one line for the program that asked
            print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", file=ANSWERS)
    os._exit(0)


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", file=ANSWERS)
        raise
