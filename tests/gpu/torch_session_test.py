"""cohort_torch on GPUs: which memory tensors get, graphs, results against NCCL, faults.

torchrun --standalone --nproc-per-node 2 torch_session_test.py. With two ranks or more; the first
failure ends it, since ranks that go on alone would only wait for each other.
"""

import gc
import os
import random
import sys
import traceback

import torch
import torch.distributed as dist

import cohort_torch as cohort
from cohort_torch import CohortError, use_symmetric_memory

MIB = 1 << 20
RANK, RANKS = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
DEVICE = torch.device("cuda", RANK % torch.cuda.device_count())


def begin(**options):
    budget = {"tp": 512 * MIB, "attn_tp": 256 * MIB, "dcp": 40 * MIB}
    cohort.init(budget=budget, tensor_bytes_max=32 * MIB, tp=RANKS, dcp=RANKS, **options)


def make(elements, dtype=torch.float32):
    return torch.empty(elements, dtype=dtype, device=DEVICE)


def is_symmetric(tensor, group):
    return cohort.explain(tensor, group)[2]


def on_all_ranks(value):
    values = [None] * RANKS
    dist.all_gather_object(values, value)
    return values


def expect_equal(left, right):
    """Bit by bit, so that NaNs count too."""
    assert left.shape == right.shape and left.dtype == right.dtype, (left, right)
    same = left.view(torch.uint8).eq(right.view(torch.uint8))
    assert bool(same.all()), f"{int((~same).sum())} of {same.numel()} bytes differ"


def expect_error(code, function):
    try:
        function()
    except CohortError as error:
        assert error.code == code, f"{error.code}: {error}"
        return str(error)
    raise AssertionError(f"no error; expected {code}")


def test_contexts_nest():
    with use_symmetric_memory("tp"):
        one = make(1000)
        with use_symmetric_memory("attn_tp"):
            two = make(1000)
            with use_symmetric_memory("tp", disabled=True):
                ordinary = make(1000)
            three = make(1000)
        with use_symmetric_memory("tp"):
            four = make(1000)
        five = make(5 * MIB)
    outside = make(1000)
    for tensor in one, four, five:
        assert is_symmetric(tensor, "tp") and not is_symmetric(tensor, "attn_tp")
    for tensor in two, three:
        assert is_symmetric(tensor, "attn_tp") and not is_symmetric(tensor, "tp")
    for tensor in ordinary, outside:
        assert not is_symmetric(tensor, "tp") and not is_symmetric(tensor, "attn_tp")


def test_exceptions_leave_contexts():
    class Planted(Exception):
        pass

    for _ in range(3):
        try:
            with use_symmetric_memory("tp"), use_symmetric_memory("attn_tp"):
                make(1000)
                raise Planted
        except Planted:
            pass
        assert not is_symmetric(make(1000), "tp") and not is_symmetric(make(1000), "attn_tp")


def test_churn_leaves_equal_offsets():
    """The same sizes everywhere; each rank drops them in an order of its own between two steps."""
    common, own = random.Random(1), random.Random(2 + RANK)
    live, seen = {}, []
    for step in range(400):
        group = common.choice(["tp", "attn_tp"])
        elements = common.choice([1, 100, 5000, 300_000, 3_000_000, 5_000_000])
        with use_symmetric_memory(group):
            live[step] = make(elements)
        if is_symmetric(live[step], group):
            seen.append((group, elements, live[step].data_ptr()))
        if len(live) > 8:
            dead = common.sample(sorted(live), 4)
            own.shuffle(dead)
            for key in dead:
                del live[key]
        if step % 100 == 99:
            cohort.collect()
    assert len(seen) > 350, "the budget was too small to say anything"
    base = min(address for _, _, address in seen)
    every = on_all_ranks([(group, count, address - base) for group, count, address in seen])
    assert all(one == every[0] for one in every), "offsets differ between ranks"
    cohort.session().verify()
    assert cohort.session().registrations_since_commit() == 0


def test_memory_goes_back_to_a_shared_budget():
    used = cohort.session().usage().segments
    with use_symmetric_memory("tp"):
        held = make(8 * MIB)
    assert cohort.session().usage().segments > 0
    cohort.collect()
    assert cohort.session().usage().segments >= 1  # that of the live tensor
    held.fill_(RANK)
    del held
    cohort.collect()
    assert cohort.session().usage().segments <= used
    assert cohort.session().usage().freed_segments == 0


def test_over_the_budget_is_ordinary_memory():
    with use_symmetric_memory("dcp"):
        inside, outside = make(8 * MIB), make(8 * MIB)
    assert is_symmetric(inside, "dcp") and not is_symmetric(outside, "dcp")
    assert cohort.session().usage().ordinary_bytes >= outside.nbytes
    some = outside[-100_000:].fill_(RANK + 1)
    cohort.all_reduce(some, "dcp")
    cohort.wait()
    assert bool((some == RANKS * (RANKS + 1) / 2).all())


def random_values(elements, dtype, salt):
    generator = torch.Generator(DEVICE).manual_seed(100 * salt + RANK)
    return torch.randn(elements, generator=generator, device=DEVICE).to(dtype)


def test_results_are_those_of_nccl():
    for salt, (dtype, elements) in enumerate(
        (dtype, elements)
        for dtype in (torch.float32, torch.bfloat16, torch.float16)
        for elements in (8, 4096, 100_000, 2_000_000)
    ):
        for symmetric in True, False:
            with use_symmetric_memory("tp", disabled=not symmetric):
                mine = random_values(elements, dtype, salt)
                part = make(elements // RANKS, dtype)
                whole = make(elements * RANKS, dtype)
            reduced, scattered, gathered = mine.clone(), part.clone(), whole.clone()
            dist.all_reduce(reduced)
            dist.all_gather_into_tensor(gathered, mine)
            dist.reduce_scatter_tensor(scattered, mine)
            cohort.all_gather_into_tensor(whole, mine, "tp")
            cohort.reduce_scatter_tensor(part, mine, "tp")
            cohort.all_reduce(mine, "tp")
            cohort.wait()
            expect_equal(whole, gathered)
            if RANKS == 2:  # a sum of two has one order
                expect_equal(mine, reduced)
                expect_equal(part, scattered)
            else:
                torch.testing.assert_close(mine, reduced)
                torch.testing.assert_close(part, scattered)
            assert cohort.last_verdict().path.startswith(("gpu_", "nccl_"))


def test_a_sum_with_its_norm_is_that_of_both():
    for rows in 1, 5, 64:
        for dtype in torch.bfloat16, torch.float16:
            mine = random_values(rows * 4096, dtype, rows).view(rows, 4096)
            before = torch.linspace(-1, 1, rows * 4096, device=DEVICE).to(dtype).view(rows, 4096)
            weight = torch.linspace(0.5, 1.5, 4096, device=DEVICE).to(dtype)
            total = mine.clone()
            cohort.all_reduce(total, "tp")
            total += before
            normed, residual = cohort.fused_all_reduce_rmsnorm(
                mine, before.clone(), weight, "tp", 1e-5
            )
            cohort.wait()
            expect_equal(residual, total)
            wanted = torch.nn.functional.rms_norm(total.float(), (4096,), weight.float(), 1e-5)
            torch.testing.assert_close(normed.float(), wanted, rtol=1e-2, atol=1e-2)


def capture(source, elements, scale):
    """A graph whose intermediate tensors nobody holds."""
    graph, result = torch.cuda.CUDAGraph(), make(elements)
    with torch.cuda.graph(graph):
        with use_symmetric_memory("tp"):
            scaled = source * scale
        assert is_symmetric(scaled, "tp")
        cohort.all_reduce(scaled, "tp")
        with use_symmetric_memory("tp"):
            doubled = scaled + scaled
        cohort.all_reduce(doubled, "tp")
        result.copy_(doubled)
    return graph, result


def test_graphs_keep_their_memory():
    source = make(300_000)
    graphs = [(*capture(source, source.numel(), scale), scale) for scale in (1.0, 3.0)]
    gc.collect()
    order = random.Random(3)
    for replay in range(300):
        if replay % 50 == 0:  # whatever is free is somebody else's now
            with use_symmetric_memory("tp"):
                others = [make(300_000).fill_(float("nan")) for _ in range(20)]
            del others
        graph, result, scale = order.choice(graphs)
        source.fill_(float(replay * (RANK + 1)))
        graph.replay()
        wanted = 2.0 * RANKS * scale * replay * RANKS * (RANKS + 1) / 2
        if replay % 10 == 0:
            cohort.wait()
            assert bool((result == wanted).all()), (replay, result[:4], wanted)
    cohort.wait()


def test_torch_compile_traces_the_calls():
    def step(tensor, output):
        tensor = tensor * 2
        torch.ops.cohort.all_reduce(tensor, cohort.group_number("tp"), "sum")
        cohort.all_gather_into_tensor(output, tensor, "tp")
        return output + 1

    compiled = torch.compile(step, fullgraph=True, backend="aot_eager")
    output = compiled(torch.ones(1000, device=DEVICE), make(1000 * RANKS))
    cohort.wait()
    assert bool((output == 2 * RANKS + 1).all())


def test_a_tensor_of_another_group_is_refused():
    with use_symmetric_memory("attn_tp"):
        tensor = make(1000).zero_()
    text = expect_error("usage", lambda: (cohort.all_reduce(tensor, "tp"), cohort.wait()))
    assert "attn_tp" in text, text


def test_close_wants_the_tensors_gone():
    with use_symmetric_memory("tp"):
        tensor = make(1000)
    text = expect_error("usage", cohort.close)
    assert "segments" in text
    del tensor
    cohort.close()


def test_over_a_strict_budget_is_an_error():
    begin(strict=True)

    def exceed():
        with use_symmetric_memory("dcp"):
            make(20 * MIB)

    assert "dcp" in expect_error("strict_miss", exceed)
    cohort.close()


def test_a_rank_that_does_not_come_is_named():
    """Ends the job, so it is the last."""
    os.environ["COHORT_DEADLINE_SCALE"] = "0.2"
    begin()
    tensor = make(1000).zero_()
    dist.barrier()

    def alone():
        if RANK == 0:
            cohort.all_reduce(tensor, "tp")
            cohort.wait()
        else:
            cohort.check("close", cohort.session().handle, cohort.cohort_c.c_int64(60000))

    text = expect_error("timeout", alone)
    assert RANK != 0 or "rank 1" in text, text


def main():
    torch.cuda.set_device(DEVICE)
    dist.init_process_group("nccl", device_id=DEVICE)
    begin()
    for name, test in [item for item in globals().items() if item[0].startswith("test_")]:
        try:
            test()
        except BaseException:
            traceback.print_exc()
            print(f"FAILED rank {RANK} {name}", flush=True)
            sys.stdout.flush()
            os._exit(1)
        if RANK == 0:
            print(f"passed {name}", flush=True)
    os._exit(0)  # of a job that has failed nothing can be ended in order


if __name__ == "__main__":
    main()
