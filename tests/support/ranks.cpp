#include "support/ranks.hpp"

#include <mutex>
#include <utility>

#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>

namespace cohort::test {
namespace {

RankResult run_one(std::unique_ptr<Bootstrap> bootstrap, const RankBody& body,
                   const WaitLimits& limits) {
  RankResult result;
  try {
    World world = World::join(std::move(bootstrap), limits);
    result.output = body(world);
  } catch (const Error& error) {
    result.error = error;
  } catch (const std::exception& error) {
    result.error = Error(ErrorCode::system, error.what());
  }
  return result;
}

}  // namespace

std::string to_string(RankMode mode) {
  return mode == RankMode::threads ? "threads" : "processes";
}

void PrintTo(RankMode mode, std::ostream* stream) {
  *stream << to_string(mode);
}

WaitLimits patient_limits() {
  WaitLimits limits;
  limits.setup = std::chrono::seconds(60);
  limits.steady = std::chrono::seconds(60);
  return limits;
}

std::vector<RankResult> run_ranks(RankMode mode, std::uint32_t rank_count, const RankBody& body,
                                  const WaitLimits& limits) {
  std::vector<RankResult> results(rank_count);
  if (mode == RankMode::threads) {
    run_ranks_as_threads(rank_count, [&](std::unique_ptr<Bootstrap> bootstrap) {
      const std::size_t rank = bootstrap->rank().index();
      results[rank] = run_one(std::move(bootstrap), body, limits);
    });
  }
  return results;
}

void expect_no_errors(const std::vector<RankResult>& results) {
  for (std::size_t rank = 0; rank < results.size(); ++rank) {
    if (!results[rank].error) continue;
    ADD_FAILURE() << "rank " << rank << " ended with " << to_string(results[rank].error->code())
                  << ": " << results[rank].error->what();
  }
}

}  // namespace cohort::test
