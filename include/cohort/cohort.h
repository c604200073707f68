#ifndef COHORT_COHORT_H_
#define COHORT_COHORT_H_

/*
 * The C interface of cohort, for engines that are not written in C++.
 *
 * Every function returns COHORT_OK or one of the COHORT_ERROR_ codes and throws nothing;
 * cohort_last_error() then tells the message, the rank that it is about and the step. Functions
 * that only name something return a string that lives for ever.
 *
 * Handles are no addresses: one that was freed, or that never was one, is COHORT_ERROR_USAGE, like
 * a null pointer where one is not allowed. Freeing null is allowed. A handle must not be freed
 * while another thread uses it. One thread at a time may use a session; a process may hold many.
 *
 * Structs begin with `size`, which the caller sets to sizeof of the struct: fields that a later
 * version adds count as zero, and zero always means what was done before there was that field. A
 * caller that was built against a later version is refused if it sets what this one does not know.
 *
 * Collectives and whatever else is said to be collective must be called by all ranks (of the group)
 * in the same order. An argument that means nothing (an unknown dtype, a bad handle) is refused on
 * the rank that passes it alone, before the others learn of the call.
 */

#include <stddef.h>
#include <stdint.h>

#include <cohort/cohort_names.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- errors -------------------------------------------------------------------------------- */

/* The texts are valid until the next function of this thread fails. */
typedef struct cohort_error {
  size_t size;
  const char* message; /* what, where, and what to try */
  const char* phase;   /* the step, e.g. "join", "commit", "all_reduce"; "" if there is none */
  int64_t rank;        /* the rank that the error is about (dead, late, differing), or -1 */
  int32_t code;
} cohort_error;

/* The last failure of this thread; code COHORT_OK if there was none. A success leaves it alone. */
COHORT_API int cohort_last_error(cohort_error* error);
/* Its message alone, "" if there was none. */
COHORT_API const char* cohort_last_error_message(void);

/* --- layout: which ranks work together; pure ------------------------------------------------ */

typedef struct cohort_layout_handle* cohort_layout;

/* Parallel sizes; 0 means 1. */
typedef struct cohort_layout_sizes {
  size_t size;
  uint32_t tp;
  uint32_t attn_dp;
  uint32_t attn_cp;
  uint32_t ep;
  uint32_t moe_dp;
  uint32_t pp;
  uint32_t dcp;
  uint32_t ranks_per_host; /* 0 means all */
} cohort_layout_sizes;

COHORT_API int cohort_layout_create(const cohort_layout_sizes* sizes, cohort_layout* layout);
COHORT_API int cohort_layout_world_size(cohort_layout layout, uint32_t* world_size);
/* The world ranks of the group of `kind` that holds `rank`, in order: `count` is their number, of
 * which the first `capacity` are written. 0 for a rank that is in none. */
COHORT_API int cohort_layout_group(cohort_layout layout, uint32_t kind, uint32_t rank,
                                   uint32_t* ranks, size_t capacity, size_t* count);
COHORT_API int cohort_layout_free(cohort_layout layout);

/* --- plan: every buffer of the job; equal on all ranks, pure -------------------------------- */

typedef struct cohort_plan_handle* cohort_plan;

/* What holds for the whole plan; equal on all ranks. */
typedef struct cohort_plan_options {
  size_t size;
  uint32_t symmetry_off; /* 1: ordinary memory, every call is staged with reason `disabled` */
  uint32_t strict;       /* 1: any path but the promised one is an error on all ranks */
  uint32_t lanes;        /* independent streams of collectives per group; 0 means 1 */
  uint32_t memory;       /* COHORT_MEMORY_HOST or COHORT_MEMORY_CUDA */
  size_t reserve_bytes;  /* address range for each rank's arena; 0 leaves it to the library */
  uint32_t nccl;         /* COHORT_NCCL_OFF and so on; on COHORT_MEMORY_CUDA only */
  uint32_t reserved;     /* 0 */
} cohort_plan_options;

/* `depth` equal entries of at most rows_max x row_elements elements each. */
typedef struct cohort_slot_spec {
  size_t size;
  uint32_t groups; /* COHORT_GROUP_BIT of each group that may use it; at least one */
  uint32_t dtype;
  size_t rows_max;
  size_t row_elements;
  uint32_t depth;          /* 0 means 1 */
  uint32_t one_plus_stage; /* the pipeline stage whose ranks hold it, and 1; 0: all ranks do */
  uint32_t leases;         /* further entries, for cohort_lease_take alone */
  uint32_t reserved;       /* 0 */
} cohort_slot_spec;

/* `options` may be null. The layout is copied. */
COHORT_API int cohort_plan_create(cohort_layout layout, const cohort_plan_options* options,
                                  cohort_plan* plan);
COHORT_API int cohort_plan_slot(cohort_plan plan, const char* name, const cohort_slot_spec* spec,
                                uint32_t* slot);

/* A budget that scopes allocate blocks from; a group is served by one pool at most. */
typedef struct cohort_pool_spec {
  size_t size;
  size_t bytes;           /* of all live blocks */
  size_t block_bytes_max; /* of one block */
  uint32_t groups;        /* COHORT_GROUP_BIT of each group that it serves; at least one */
  uint32_t reserved;      /* 0 */
} cohort_pool_spec;

COHORT_API int cohort_plan_pool(cohort_plan plan, const char* name, const cohort_pool_spec* spec,
                                uint32_t* pool);

/* Lets members of groups of `kind` send to each other. `staged_bytes_max`: the largest message
 * whose operand lies outside the arena; never less than the largest entry of the slots that name
 * it. */
COHORT_API int cohort_plan_send_recv(cohort_plan plan, uint32_t kind, size_t staged_bytes_max);

/* Bytes of one rank, before the first is allocated. */
typedef struct cohort_footprint {
  size_t size;
  size_t arena_bytes;   /* of every rank */
  size_t control_bytes; /* of the control memory, charged to world rank 0 */
  size_t granule_bytes; /* measured bytes differ from planned ones by less */
  size_t virtual_bytes; /* address range reserved for the arena of every rank */
  size_t peak_bytes;    /* the most that a rank's arena holds until the plan is agreed */
  size_t host_bytes;    /* of every rank, beside an arena in GPU memory */
} cohort_footprint;

COHORT_API int cohort_plan_footprint(cohort_plan plan, cohort_footprint* footprint);
/* The footprint as a table for people: `length` is that of the text without its end, of which
 * `capacity - 1` characters and a null byte are written. `text` may be null if `capacity` is 0. */
COHORT_API int cohort_plan_describe(cohort_plan plan, char* text, size_t capacity, size_t* length);
COHORT_API int cohort_plan_free(cohort_plan plan);

/* --- world: all ranks, met ------------------------------------------------------------------ */

typedef struct cohort_world_handle* cohort_world;

/* Times of every wait in milliseconds; 0 means the default. */
typedef struct cohort_wait_limits {
  size_t size;
  int64_t setup_ms;  /* join, commit, close: 30000 */
  int64_t steady_ms; /* a wait inside a collective or take: 10000 */
  int64_t stall_ms;  /* after this long the rank waited for is named: 1000 */
  double scale;      /* multiplies all of them: 1 */
} cohort_wait_limits;

/* What a caller's all-gather writes its answer to. */
typedef struct cohort_gathered cohort_gathered;

/* The bytes that `rank` gave; copied. Only inside an all-gather function. */
COHORT_API int cohort_gathered_set(cohort_gathered* gathered, uint32_t rank, const void* bytes,
                                   size_t count);

/* The caller's own way to exchange bytes between all ranks, with a deadline: takes this rank's
 * bytes (their number may differ between ranks), and calls cohort_gathered_set once for every rank,
 * itself included. Returns COHORT_OK, or the code of what went wrong, e.g. COHORT_ERROR_TIMEOUT.
 * Must not throw or jump out. Called on the thread that joins. */
typedef int (*cohort_all_gather_function)(void* context, const void* bytes, size_t count,
                                          int64_t timeout_ms, cohort_gathered* gathered);

/* Meets the other ranks. Collective over all ranks. The first finds them by the environment: ranks
 * that `cohort run` started, else a world of one. `limits` may be null. Ranks are processes, or
 * threads of one process, of one host. */
COHORT_API int cohort_join_environment(const cohort_wait_limits* limits, cohort_world* world);
COHORT_API int cohort_join_callback(uint32_t rank, uint32_t world_size,
                                    cohort_all_gather_function all_gather, void* context,
                                    const cohort_wait_limits* limits, cohort_world* world);
COHORT_API int cohort_world_rank(cohort_world world, uint32_t* rank);
COHORT_API int cohort_world_size(cohort_world world, uint32_t* size);
/* The job's fault, if any rank has failed; `doing` (may be null) says what this rank is at. Local;
 * for long work between calls, from any thread. */
COHORT_API int cohort_world_check(cohort_world world, const char* doing);
/* Tells all ranks that this one cannot go on: they end with this code and text, unless there is a
 * fault already. Local; from any thread. */
COHORT_API int cohort_world_fail(cohort_world world, int code, const char* message);
/* What all ranks are doing now, as JSON (docs/health.md names its fields): `length` is that of the
 * text without its end, of which `capacity - 1` characters and a null byte are written. `text` may
 * be null if `capacity` is 0; the text may be longer the next time. Local, never waits; from any
 * thread, also while this rank is stuck in a call. */
COHORT_API int cohort_health(cohort_world world, char* text, size_t capacity, size_t* length);
/* Between the two this rank waits for outside work, e.g. the next request: ranks that wait for it
 * are not stalled and have no deadline, nor has this rank; a rank that dies or fails ends their
 * waits. Pairs nest. Local; from any thread. */
COHORT_API int cohort_idle_begin(cohort_world world);
COHORT_API int cohort_idle_end(cohort_world world);
/* Leaves once the last session of this world is closed too. */
COHORT_API int cohort_world_free(cohort_world world);

/* --- session: a committed plan -------------------------------------------------------------- */

typedef struct cohort_session_handle* cohort_session;

/* One entry of a slot's ring, or one block of a scope. */
typedef struct cohort_buffer {
  size_t size;
  void* data;
  size_t rows_max;
  size_t row_elements;
  uint32_t dtype;
  uint32_t slot; /* COHORT_NO_SLOT for a block */
  uint32_t entry;
} cohort_buffer;

#define COHORT_NO_SLOT UINT32_MAX

/* Which path a call took on this rank, why, and what it had to copy. */
typedef struct cohort_verdict {
  size_t size;
  uint32_t path;
  uint32_t reason;
  size_t copied_bytes;
} cohort_verdict;

/* Agrees on the plan, allocates, maps, proves every slot: all ranks or none. Collective over all
 * ranks. Nothing is allocated, registered or grown afterwards. */
COHORT_API int cohort_commit(cohort_world world, cohort_plan plan, cohort_session* session);

/* The same with what this rank says of itself; `options` may be null, and ranks may differ. */
typedef struct cohort_commit_options {
  size_t size;
  uint32_t one_plus_device; /* the CUDA device, and 1; 0: the rank modulo the devices there are */
  uint32_t reserved;        /* 0 */
} cohort_commit_options;

COHORT_API int cohort_commit_with(cohort_world world, cohort_plan plan,
                                  const cohort_commit_options* options, cohort_session* session);

/* Replaces the plan by one that begins with the earlier slots; those that are as they were keep
 * their memory, and all that was taken from them. All ranks or none: if any cannot go on, the old
 * plan serves on. `timeout_ms` 0 is the set-up limit. Collective over all ranks. */
COHORT_API int cohort_recommit(cohort_session session, cohort_plan next, int64_t timeout_ms);
/* The memory that the session holds, or would after cohort_recommit to `next` unless that is null.
 * Local. */
COHORT_API int cohort_session_footprint(cohort_session session, cohort_plan next,
                                        cohort_footprint* footprint);

/* This rank's instance of a group: size, this rank's place in it, and as cohort_layout_group. */
COHORT_API int cohort_group_size(cohort_session session, uint32_t kind, uint32_t* size);
COHORT_API int cohort_group_rank(cohort_session session, uint32_t kind, uint32_t* rank);
COHORT_API int cohort_group_ranks(cohort_session session, uint32_t kind, uint32_t* ranks,
                                  size_t capacity, size_t* count);

/* The next entry of a slot; waits until all members of its last use have finished with it. All
 * ranks take entries of a slot equally often. */
COHORT_API int cohort_take(cohort_session session, uint32_t slot, cohort_buffer* buffer);

/* An entry held for long, e.g. by a captured graph; cohort_take never yields it. Taking waits until
 * every member has dropped the lease that last held the entry. All ranks take leases of a slot in
 * the same order and drop them when they like; freeing the handle drops it, tells nobody, and may
 * come after cohort_close. The buffer is valid until then, also across cohort_recommit. */
typedef struct cohort_lease_handle* cohort_lease;

COHORT_API int cohort_lease_take(cohort_session session, uint32_t slot, cohort_lease* lease,
                                 cohort_buffer* buffer);
COHORT_API int cohort_lease_free(cohort_lease lease);
/* On CUDA memory: the graph that `stream`, a cudaStream_t, is being captured into owns the lease
 * from here on, until it and every graph made from it are gone, also after cohort_close. Frees the
 * handle; a refusal (COHORT_ERROR_USAGE if nothing is being captured) leaves it alone. Local. */
COHORT_API int cohort_lease_give_to_graph(cohort_session session, cohort_lease lease, void* stream);

/* Memory for calls on one group, allocated as a program goes along: blocks of the pool that serves
 * the group. All ranks allocate and release the same bytes in the same order. Local, all of it;
 * allocating may wait for peers that still read the bytes. `symmetry_off` 1 gives ordinary memory,
 * and so does a pool without room: calls with it are staged on all ranks and say why. Freeing a
 * scope releases what is left of its blocks; it may come after cohort_close. */
typedef struct cohort_scope_handle* cohort_scope;

COHORT_API int cohort_scope_open(cohort_session session, uint32_t kind, uint32_t symmetry_off,
                                 cohort_scope* scope);
COHORT_API int cohort_scope_allocate(cohort_scope scope, uint32_t dtype, size_t rows,
                                     size_t row_elements, cohort_buffer* block);
/* Gives a block back early, by its data. */
COHORT_API int cohort_scope_release(cohort_scope scope, const void* data);
COHORT_API int cohort_scope_free(cohort_scope scope);

/* What the blocks of a pool take and took on this rank. */
typedef struct cohort_pool_use {
  size_t size;
  size_t bytes; /* the budget */
  size_t live_bytes;
  size_t peak_bytes; /* the most that was live at once */
  uint64_t live_blocks;
  uint64_t over_budget_blocks; /* in ordinary memory so far, and their bytes */
  uint64_t over_budget_bytes;
} cohort_pool_use;

COHORT_API int cohort_pool_usage(cohort_session session, uint32_t pool, cohort_pool_use* use);
/* 1 if the bytes lie where all members of the group expect them, in symmetric memory; else 0. */
COHORT_API int cohort_is_symmetric(cohort_session session, const void* data, size_t bytes,
                                   uint32_t kind, uint32_t* symmetric);
/* Compares what the scopes of all ranks did since commit: COHORT_ERROR_MISMATCH with the first step
 * in which they differ. Collective over all ranks. */
COHORT_API int cohort_verify(cohort_session session);

/* One call. Elements are counted in `dtype`; `input` and `output` may be any memory, and the same
 * for a call in place. What an operation does not use stays 0. */
typedef struct cohort_call {
  size_t size;
  uint32_t group;
  uint32_t dtype;
  const void* input;
  size_t input_elements;
  void* output;
  size_t output_elements;
  const size_t* counts; /* v-forms: elements of each member in group order; all_to_allv: of each
                           pair, from member i to member j at i * group size + j */
  size_t counts_length;
  uint32_t reduce_op;
  uint32_t root; /* broadcast: place in the group */
  uint32_t lane;
  uint32_t peer; /* send and recv: place in the group of the other */
  void* stream;  /* on CUDA memory: the cudaStream_t that the call goes into; else null */
} cohort_call;

/* The collectives of cohort/session.hpp, which says what each needs. `verdict` may be null.
 * Broadcast sends the root's output and fills the others'; its input must be null or the output. */
COHORT_API int cohort_all_reduce(cohort_session session, const cohort_call* call,
                                 cohort_verdict* verdict);
COHORT_API int cohort_all_gather(cohort_session session, const cohort_call* call,
                                 cohort_verdict* verdict);
COHORT_API int cohort_all_gatherv(cohort_session session, const cohort_call* call,
                                  cohort_verdict* verdict);
COHORT_API int cohort_reduce_scatter(cohort_session session, const cohort_call* call,
                                     cohort_verdict* verdict);
COHORT_API int cohort_reduce_scatterv(cohort_session session, const cohort_call* call,
                                      cohort_verdict* verdict);
COHORT_API int cohort_all_to_all(cohort_session session, const cohort_call* call,
                                 cohort_verdict* verdict);
COHORT_API int cohort_all_to_allv(cohort_session session, const cohort_call* call,
                                  cohort_verdict* verdict);
COHORT_API int cohort_broadcast(cohort_session session, const cohort_call* call,
                                cohort_verdict* verdict);
COHORT_API int cohort_barrier(cohort_session session, const cohort_call* call,
                              cohort_verdict* verdict);

/* Messages between two members; the plan must have cohort_plan_send_recv for the group. Send takes
 * the input, recv fills the output. */
COHORT_API int cohort_send(cohort_session session, const cohort_call* call,
                           cohort_verdict* verdict);
COHORT_API int cohort_recv(cohort_session session, const cohort_call* call,
                           cohort_verdict* verdict);

/* Returns once everything in the stream has ended: then the results of calls on CUDA memory are
 * there. Tells the job's fault if there is one. Local. */
COHORT_API int cohort_wait(cohort_session session, void* stream);

/* Which path a call of so many operand bytes would take; equal on all ranks. Local. */
COHORT_API int cohort_explain(cohort_session session, uint32_t kind, uint32_t op, uint32_t dtype,
                              size_t bytes, cohort_verdict* verdict);

/* Allocations, mappings and registrations since commit or recommit: always 0. */
COHORT_API int cohort_registrations_since_commit(cohort_session session, uint64_t* count);
/* Bytes that the system holds for this rank. */
COHORT_API int cohort_measured_bytes(cohort_session session, size_t* bytes);

/* Ends the session on all ranks in order, within `timeout_ms` (0: the set-up limit); local if the
 * job has failed. Collective over all ranks. The handle is freed whatever the outcome;
 * COHORT_ERROR_USAGE on all ranks if messages were sent that nobody has received. */
COHORT_API int cohort_close(cohort_session session, int64_t timeout_ms);

/* --- ledger: the counts of verdicts --------------------------------------------------------- */

typedef struct cohort_ledger_handle* cohort_ledger;

/* Calls of one (group, operation, path, reason) as this rank saw them. */
typedef struct cohort_ledger_row {
  size_t size;
  const uint32_t* ranks; /* world ranks of the group; valid until the ledger is freed */
  size_t ranks_count;
  uint32_t group;
  uint32_t op;
  uint32_t path;
  uint32_t reason;
  uint64_t calls;
  uint64_t bytes;
  uint64_t copied_bytes;
  double transfer_s;
  double wait_s;
} cohort_ledger_row;

/* A copy of the counts as they are now. Local. */
COHORT_API int cohort_ledger_read(cohort_session session, cohort_ledger* ledger);
COHORT_API int cohort_ledger_size(cohort_ledger ledger, size_t* rows);
COHORT_API int cohort_ledger_get(cohort_ledger ledger, size_t index, cohort_ledger_row* row);
COHORT_API int cohort_ledger_free(cohort_ledger ledger);

#ifdef __cplusplus
}
#endif

#endif /* COHORT_COHORT_H_ */
