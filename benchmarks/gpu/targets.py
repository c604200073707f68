"""The figures that the measurements are held against: microseconds a call on two H200, NVLink 4."""

KI = 1024
MI = 1024 * 1024

GOAL_US = {
    "all_reduce": {
        1 * KI: 1.8, 8 * KI: 2.3, 32 * KI: 2.6, 128 * KI: 3.0, 512 * KI: 4.0, 2 * MI: 7.5,
        8 * MI: 24, 32 * MI: 99, 128 * MI: 380,
    },
    "all_gather": {
        1 * KI: 1.75, 8 * KI: 2.0, 32 * KI: 2.3, 128 * KI: 2.6, 512 * KI: 3.4, 2 * MI: 5.2,
        8 * MI: 14, 128 * MI: 190,
    },
    "reduce_scatter": {
        1 * KI: 1.85, 8 * KI: 2.2, 32 * KI: 2.4, 128 * KI: 2.7, 512 * KI: 3.5, 2 * MI: 5.4,
        8 * MI: 15, 128 * MI: 190,
    },
}

SMALL_BYTES_MAX = 2 * MI  # up to here a geometric mean counts, above it the rate
ACCEPTED = 1.8  # times as fast as the best peer
GOAL = 2.0
RATE_BYTES_MIN = 32 * MI
RATE = 0.85  # of what a bare push reaches, both directions busy
UNEVEN_SLACK = 1.10
LINK_GB_S = 396  # what one direction of the link carries alone
NORM_RATIO = 2.0  # to the best peer's all_reduce with a kernel behind it
FUSED_RATIO = 1.2  # to the best peer that has a fused one
REGRET = 1.05
OUTSIDE = 1.02
HOST_NS = 300
EXPLAIN_NS = 50
GROUP_CHECK_NS = 2
SCOPE_NS = 200
LIVE_BLOCKS = (10, 1000, 10000)
PEER_SLACK = (0.02, 2.0)  # where a peer's own path is taken: a part, or microseconds

# Not measured: peers that could not be brought, and what is published about them.
PUBLISHED = (
    (
        "vLLM custom all-reduce",
        "its wheel is 366 MiB, 64 MiB can be carried, and its kernels are in no smaller package",
        "-",
    ),
    (
        "FlashInfer fused all-reduce + residual + RMSNorm (TRT-LLM one-shot)",
        "its wheel of 59 MiB has no compiled kernels: they are compiled at first use, for minutes",
        "6.1 to 7.0 us at 72 KB on 2 x H100",
    ),
)
