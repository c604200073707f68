// The collectives and messages of the C interface.

#include <span>

#include <cohort/cohort_norm.h>

#include "capi/numbers.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"

using namespace cohort;
using namespace cohort::capi;

namespace {

/// A call as the C++ interface takes it.
struct Operands {
  Group group;
  ConstTensor input;
  Tensor output;
  std::span<const std::size_t> counts;
  Lane lane;
};

Group group_of(const Session& session, const cohort_call& call) {
  const Group group = session.group(group_kind_of(call.group));
  return call.stream == nullptr ? group : group.on({call.stream});
}

Operands operands_of(const Session& session, const cohort_call& call) {
  Operands operands;
  operands.group = group_of(session, call);
  operands.lane = Lane{call.lane};
  if (call.counts_length > 0) require(call.counts, "call.counts");
  operands.counts = {call.counts, call.counts_length};
  const DType dtype = dtype_of(call.dtype);
  operands.input = {call.input, call.input_elements, dtype};
  operands.output = {call.output, call.output_elements, dtype};
  return operands;
}

/// Reads the call, runs it, and tells how it went.
template <typename Run>
int collective(cohort_session session, const cohort_call* call, cohort_verdict* verdict,
               const Run& run) noexcept {
  return guarded([&] {
    const Session& known = get<SessionObject>(session).session;
    const cohort_call given = read_struct(call, "call");
    if (verdict != nullptr) static_cast<void>(size_given(verdict, "verdict"));
    const Verdict outcome = run(known, given);
    if (verdict == nullptr) return;
    cohort_verdict told{};
    told.path = number_of(outcome.path);
    told.reason = number_of(outcome.reason);
    told.copied_bytes = outcome.copied_bytes;
    write_struct(told, verdict, "verdict");
  });
}

}  // namespace

extern "C" {

int cohort_all_reduce(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.all_reduce(o.input, o.output, reduce_op_of(given.reduce_op), o.lane);
  });
}

int cohort_all_gather(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.all_gather(o.input, o.output, o.lane);
  });
}

int cohort_all_gatherv(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.all_gatherv(o.input, o.output, o.counts, o.lane);
  });
}

int cohort_reduce_scatter(cohort_session session, const cohort_call* call,
                          cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.reduce_scatter(o.input, o.output, reduce_op_of(given.reduce_op), o.lane);
  });
}

int cohort_reduce_scatterv(cohort_session session, const cohort_call* call,
                           cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.reduce_scatterv(o.input, o.output, o.counts, reduce_op_of(given.reduce_op),
                                   o.lane);
  });
}

int cohort_all_to_all(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.all_to_all(o.input, o.output, o.lane);
  });
}

int cohort_all_to_allv(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.all_to_allv(o.input, o.output, o.counts, o.lane);
  });
}

int cohort_broadcast(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    if (given.input != nullptr && given.input != given.output) {
      throw Error(ErrorCode::usage, "call.input of a broadcast is not its output", std::nullopt,
                  "broadcast");
    }
    const Operands o = operands_of(known, given);
    return o.group.broadcast(o.output, GroupRank{given.root}, o.lane);
  });
}

int cohort_barrier(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    return group_of(known, given).barrier(Lane{given.lane});
  });
}

int cohort_all_reduce_rms_norm(cohort_session session, const cohort_call* call,
                               const cohort_rms_norm* norm, cohort_verdict* verdict) {
  return collective(session, call, verdict, [&](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    if (given.input != nullptr && given.input != given.output) {
      throw Error(ErrorCode::usage, "call.input is not its output", std::nullopt,
                  "all_reduce_rms_norm");
    }
    if (reduce_op_of(given.reduce_op) != ReduceOp::sum) {
      throw Error(ErrorCode::usage, "call.reduce_op is no sum", std::nullopt,
                  "all_reduce_rms_norm");
    }
    const cohort_rms_norm wanted = read_struct(norm, "norm");
    const std::size_t elements = o.output.elements;
    RmsNorm rows;
    rows.residual = {wanted.residual, elements, o.output.dtype};
    rows.weight = {wanted.weight, wanted.row_elements, o.output.dtype};
    rows.normed = {wanted.normed, elements, o.output.dtype};
    rows.epsilon = wanted.epsilon;
    return o.group.all_reduce_rms_norm(o.output, rows, o.lane);
  });
}

int cohort_send(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.send(o.input, GroupRank{given.peer}, o.lane);
  });
}

int cohort_recv(cohort_session session, const cohort_call* call, cohort_verdict* verdict) {
  return collective(session, call, verdict, [](const Session& known, const cohort_call& given) {
    const Operands o = operands_of(known, given);
    return o.group.recv(o.output, GroupRank{given.peer}, o.lane);
  });
}

}  // extern "C"
