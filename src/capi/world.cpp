// Joining of the C interface, by the environment or by the caller's own all-gather.

#include <chrono>
#include <optional>
#include <string>
#include <utility>

#include <cohort/health.hpp>

#include "backend/host/domain.hpp"
#include "capi/numbers.hpp"
#include "capi/objects.hpp"
#include "capi/structs.hpp"

using namespace cohort;
using namespace cohort::capi;
using std::chrono::milliseconds;

/// What a caller's all-gather has delivered so far.
struct cohort_gathered {
  std::vector<std::optional<std::vector<std::byte>>> by_rank;
};

namespace {

using Gathered = std::vector<std::vector<std::byte>>;

milliseconds limit_of(std::int64_t given_ms, milliseconds otherwise, const char* name) {
  if (given_ms < 0) {
    throw Error(ErrorCode::usage,
                std::string(name) + " is " + std::to_string(given_ms) + " milliseconds");
  }
  return given_ms == 0 ? otherwise : milliseconds(given_ms);
}

WaitLimits limits_of(const cohort_wait_limits* limits) {
  const cohort_wait_limits given = read_optional_struct(limits, "limits");
  WaitLimits wanted;
  wanted.setup = limit_of(given.setup_ms, wanted.setup, "limits.setup_ms");
  wanted.steady = limit_of(given.steady_ms, wanted.steady, "limits.steady_ms");
  wanted.stall = limit_of(given.stall_ms, wanted.stall, "limits.stall_ms");
  if (!(given.scale >= 0 && given.scale <= 1e6)) {
    throw Error(ErrorCode::usage, "limits.scale is not from 0 to 1000000");
  }
  if (given.scale > 0) wanted.scale = given.scale;
  return wanted;
}

[[noreturn]] void fail_gather(ErrorCode code, const std::string& message, WorldRank rank) {
  throw Error(code,
              "the all-gather function of rank " + std::to_string(rank.index()) + " " + message,
              rank, "join");
}

/// The C function as a C++ one.
Gathered call_back(cohort_all_gather_function all_gather, void* context, WorldRank rank,
                   std::uint32_t world_size, std::span<const std::byte> mine,
                   Bootstrap::TimePoint deadline) {
  cohort_gathered answer;
  answer.by_rank.resize(world_size);
  const auto rest = std::chrono::ceil<milliseconds>(deadline - std::chrono::steady_clock::now());
  const auto timeout_ms = static_cast<std::int64_t>(std::max(rest, milliseconds(0)).count());
  const int status = all_gather(context, mine.data(), mine.size(), timeout_ms, &answer);
  if (status != COHORT_OK) {
    const std::string code = std::to_string(status);
    const bool known = std::string_view(cohort_error_name(status)) != "unknown";
    fail_gather(known ? error_code_of(status) : ErrorCode::system,
                "returned " + (known ? cohort_error_name(status) + (" (" + code + ")") : code),
                rank);
  }
  Gathered all;
  for (std::uint32_t peer = 0; peer < world_size; ++peer) {
    if (!answer.by_rank[peer]) {
      fail_gather(ErrorCode::usage,
                  "returned without the bytes of rank " + std::to_string(peer) +
                      ": cohort_gathered_set was not called for it",
                  rank);
    }
    all.push_back(std::move(*answer.by_rank[peer]));
  }
  return all;
}

void join(std::unique_ptr<Bootstrap> bootstrap, const cohort_wait_limits* limits,
          cohort_world* world) {
  give(std::make_unique<WorldObject>(World::join(std::move(bootstrap), limits_of(limits))), world);
}

}  // namespace

extern "C" {

int cohort_gathered_set(cohort_gathered* gathered, uint32_t rank, const void* bytes, size_t count) {
  return guarded([&] {
    require(gathered, "gathered");
    if (count > 0) require(bytes, "bytes");
    if (rank >= gathered->by_rank.size()) {
      throw Error(ErrorCode::usage, "rank " + std::to_string(rank) + " in a world of " +
                                        std::to_string(gathered->by_rank.size()));
    }
    const auto* const begin = static_cast<const std::byte*>(bytes);
    gathered->by_rank[rank].emplace(begin, begin + count);
  });
}

int cohort_join_environment(const cohort_wait_limits* limits, cohort_world* world) {
  return guarded([&] {
    require(world, "world");
    join(Bootstrap::from_environment(), limits, world);
  });
}

int cohort_join_callback(uint32_t rank, uint32_t world_size, cohort_all_gather_function all_gather,
                         void* context, const cohort_wait_limits* limits, cohort_world* world) {
  return guarded([&] {
    require(world, "world");
    require(reinterpret_cast<const void*>(all_gather), "all_gather");
    const WorldRank self{rank};
    auto gather = [=](std::span<const std::byte> mine, Bootstrap::TimePoint deadline) {
      return call_back(all_gather, context, self, world_size, mine, deadline);
    };
    join(Bootstrap::from_callback(self, world_size, std::move(gather)), limits, world);
  });
}

int cohort_world_rank(cohort_world world, uint32_t* rank) {
  return guarded([&] {
    const World& known = *get<WorldObject>(world).world;
    require(rank, "rank");
    *rank = known.rank().index();
  });
}

int cohort_world_size(cohort_world world, uint32_t* size) {
  return guarded([&] {
    const World& known = *get<WorldObject>(world).world;
    require(size, "size");
    *size = known.size();
  });
}

int cohort_world_check(cohort_world world, const char* doing) {
  return guarded([&] { get<WorldObject>(world).world->check(doing == nullptr ? "" : doing); });
}

int cohort_world_fail(cohort_world world, int code, const char* message) {
  return guarded([&] {
    World& known = *get<WorldObject>(world).world;
    require(message, "message");
    known.fail(Error(error_code_of(code), message, known.rank()));
  });
}

int cohort_health(cohort_world world, char* text, size_t capacity, size_t* length) {
  return guarded(
      [&] { give_text(to_json(get<WorldObject>(world).world->health()), text, capacity, length); });
}

int cohort_idle_begin(cohort_world world) {
  return guarded([&] {
    auto& known = get<WorldObject>(world);
    known.world->domain().begin_idle();
    ++known.idle_marks;
  });
}

int cohort_idle_end(cohort_world world) {
  return guarded([&] {
    auto& known = get<WorldObject>(world);
    std::uint32_t marks = known.idle_marks.load();
    do {
      if (marks == 0) {
        throw Error(ErrorCode::usage, "the rank is not idle: no cohort_idle_begin to end");
      }
    } while (!known.idle_marks.compare_exchange_weak(marks, marks - 1));
    known.world->domain().end_idle();
  });
}

int cohort_world_free(cohort_world world) {
  return free_handle<WorldObject>(world);
}

}  // extern "C"
