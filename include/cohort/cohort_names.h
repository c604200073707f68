#ifndef COHORT_COHORT_NAMES_H_
#define COHORT_COHORT_NAMES_H_

/* The numbers of the C interface, which keep their meaning from version to version, and their
 * names, which are those of the C++ interface. */

#include <stdint.h>

#if defined(__GNUC__)
#define COHORT_API __attribute__((visibility("default")))
#else
#define COHORT_API
#endif

/* Grows with every change that a compiled caller could notice. */
#define COHORT_ABI_VERSION 1

#ifdef __cplusplus
extern "C" {
#endif

/* What went wrong. The names are those of cohort::ErrorCode. */
enum cohort_error_code {
  COHORT_OK = 0,
  COHORT_ERROR_USAGE = 1,         /* the caller asked for something that makes no sense */
  COHORT_ERROR_CORRUPT = 2,       /* a file or message is not what it claims to be */
  COHORT_ERROR_UNSUPPORTED = 3,   /* not something this build or machine can do */
  COHORT_ERROR_MISMATCH = 4,      /* ranks that must agree do not */
  COHORT_ERROR_OUT_OF_MEMORY = 5, /* an allocation failed */
  COHORT_ERROR_TIMEOUT = 6,       /* a wait ran past its deadline */
  COHORT_ERROR_PEER_FAILED = 7,   /* another rank died or left */
  COHORT_ERROR_STRICT_MISS = 8,   /* strict mode: not the path that was promised */
  COHORT_ERROR_SYSTEM = 9,        /* the operating system refused */
  COHORT_ERROR_CUDA = 10,         /* a GPU or its driver refused */
  COHORT_ERROR_NCCL = 11          /* NCCL refused */
};

/* Why a set of ranks works together; cohort/layout.hpp says what each is. 0 is no group: there is
 * no default. */
enum cohort_group_kind {
  COHORT_GROUP_WORLD = 1,
  COHORT_GROUP_TP = 2,
  COHORT_GROUP_PP = 3,
  COHORT_GROUP_ATTN_TP = 4,
  COHORT_GROUP_ATTN_CP = 5,
  COHORT_GROUP_ATTN = 6,
  COHORT_GROUP_MOE_EP = 7,
  COHORT_GROUP_MOE_TP = 8,
  COHORT_GROUP_MOE_DP = 9,
  COHORT_GROUP_DCP = 10,
  COHORT_GROUP_HOST = 11,
  COHORT_GROUP_LEADERS = 12
};

/* A group kind as one bit of a set of groups. */
#define COHORT_GROUP_BIT(kind) (UINT32_C(1) << (kind))

enum cohort_dtype {
  COHORT_DTYPE_F32 = 1,
  COHORT_DTYPE_BF16 = 2,
  COHORT_DTYPE_I32 = 3,
  COHORT_DTYPE_I64 = 4,
  COHORT_DTYPE_F16 = 5,
  COHORT_DTYPE_U8 = 6,
  COHORT_DTYPE_F8E4M3 = 7 /* moved, never reduced */
};

enum cohort_reduce_op { COHORT_REDUCE_SUM = 1, COHORT_REDUCE_MIN = 2, COHORT_REDUCE_MAX = 3 };

enum cohort_op {
  COHORT_OP_ALL_REDUCE = 1,
  COHORT_OP_ALL_GATHER = 2,
  COHORT_OP_ALL_GATHERV = 3,
  COHORT_OP_REDUCE_SCATTER = 4,
  COHORT_OP_REDUCE_SCATTERV = 5,
  COHORT_OP_BROADCAST = 6,
  COHORT_OP_BARRIER = 7,
  COHORT_OP_ALL_TO_ALL = 8,
  COHORT_OP_ALL_TO_ALLV = 9,
  COHORT_OP_SEND = 10,
  COHORT_OP_RECV = 11
};

/* Which way a call took. */
enum cohort_path {
  COHORT_PATH_LOCAL = 1,          /* a group of one rank: nothing to exchange */
  COHORT_PATH_HOST_INLINE = 2,    /* the operand travelled with the header */
  COHORT_PATH_HOST_DIRECT = 3,    /* peers read the operand where it lies */
  COHORT_PATH_HOST_STAGED = 4,    /* every rank copied its operand first */
  COHORT_PATH_GPU_LL = 5,         /* pushed to peers, flags in the data */
  COHORT_PATH_GPU_LAMPORT = 6,    /* pushed to peers, sentinels in the data */
  COHORT_PATH_GPU_TWO_SHOT = 7,   /* each member reduces a part, then passes it on */
  COHORT_PATH_NCCL_SYMMETRIC = 8, /* a symmetric kernel of NCCL's, on the arena */
  COHORT_PATH_NCCL_PLAIN = 9      /* any other kernel of NCCL's */
};

/* Why a call took its path. */
enum cohort_reason {
  COHORT_REASON_OK = 0,
  COHORT_REASON_GROUP_SIZE_ONE = 1,
  COHORT_REASON_DISABLED = 2,
  COHORT_REASON_OPERAND_NOT_IN_HEAP = 3,
  COHORT_REASON_DTYPE_UNSUPPORTED = 4,
  COHORT_REASON_OVER_BUDGET = 5,
  COHORT_REASON_OVER_INLINE_LIMIT = 6,
  COHORT_REASON_OP_UNSUPPORTED = 7,
  COHORT_REASON_NCCL_VERSION_REFUSED = 8,
  COHORT_REASON_OPERAND_MISALIGNED = 9
};

/* Where the buffers of a plan lie. */
enum cohort_memory { COHORT_MEMORY_HOST = 0, COHORT_MEMORY_CUDA = 1 };

/* Which calls may go to NCCL, where the path table names paths on it. */
enum cohort_nccl {
  COHORT_NCCL_OFF = 0,
  COHORT_NCCL_GATHERS = 1,   /* what moves bytes, and reductions of integers */
  COHORT_NCCL_REDUCTIONS = 2 /* sums of floats too, in NCCL's order */
};

/* Stable spellings, e.g. "attn_cp", "bf16", "all_reduce"; "unknown" for other numbers. */
COHORT_API const char* cohort_error_name(int code);
COHORT_API const char* cohort_group_name(uint32_t kind);
COHORT_API const char* cohort_dtype_name(uint32_t dtype);
COHORT_API const char* cohort_op_name(uint32_t op);
COHORT_API const char* cohort_path_name(uint32_t path);
COHORT_API const char* cohort_reason_name(uint32_t reason);
/* The reason as a sentence for people, with what to do about it. */
COHORT_API const char* cohort_reason_text(uint32_t reason);

/* Of the library that is loaded, which may be another than the header's. */
COHORT_API const char* cohort_version(void);
COHORT_API uint32_t cohort_abi_version(void);

#ifdef __cplusplus
}
#endif

#endif /* COHORT_COHORT_NAMES_H_ */
