"""What an engine pays that finds out by itself which memory of a PyTorch pool is new:
torch.cuda.MemPool.snapshot() with 10, 1,000 and 10,000 segments, beside the allocation itself.

pool_peer.py OUT.json
"""

import json
import statistics
import sys
import time

import torch

SEGMENT_BYTES = 12 << 20  # more than PyTorch packs into shared segments: one for each tensor
SEGMENTS = (10, 1000, 10000)
ROUNDS = 21


def microseconds(function, rounds=ROUNDS):
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        function()
        times.append((time.perf_counter() - begin) * 1e6)
    return statistics.median(times)


def measure(pool, count):
    def allocate():
        with torch.cuda.use_mem_pool(pool):
            torch.empty(SEGMENT_BYTES, dtype=torch.uint8, device="cuda")

    allocate()
    return {
        "segments": len(pool.snapshot()),
        "asked": count,
        "snapshot_us": microseconds(pool.snapshot, 5 if count > 1000 else ROUNDS),
        "use_mem_pool_and_empty_us": microseconds(allocate),
    }


def main():
    pool = torch.cuda.MemPool()
    held, rows = [], []
    for count in SEGMENTS:
        with torch.cuda.use_mem_pool(pool):
            while len(held) < count:
                held.append(torch.empty(SEGMENT_BYTES, dtype=torch.uint8, device="cuda"))
        rows.append(measure(pool, count))
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump({"torch": torch.__version__, "rows": rows}, file)


if __name__ == "__main__":
    main()
