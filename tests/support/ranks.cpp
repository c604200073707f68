#include "support/ranks.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <utility>

#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "rendezvous/launcher.hpp"
#include "rendezvous/protocol.hpp"
#include "rendezvous/wire.hpp"
#include "support/subprocess.hpp"
#include "support/victims.hpp"

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

// A rank's process writes its result into its own part of a memory object that it inherits.
constexpr const char* kResultsVariable = "COHORT_TEST_RESULTS_FD";
constexpr off_t kResultBytesMax = 16 << 20;

/// A rank's process keeps to itself what the test framework says before the rank's body begins.
/// Where standard output went, or -1 in the process of the test itself.
int silence_rank() {
  if (std::getenv(kResultsVariable) == nullptr) return -1;
  const int output = ::dup(STDOUT_FILENO);
  const UniqueFd nothing(::open("/dev/null", O_WRONLY));
  ::dup2(nothing.get(), STDOUT_FILENO);
  return output;
}
const int rank_output = silence_rank();

void write_result(int fd, std::uint32_t rank, const RankResult& result) {
  wire::Writer writer;
  writer.put(static_cast<std::uint8_t>(result.error.has_value()));
  if (result.error) writer.put_bytes(rendezvous::encode_error(*result.error));
  writer.put_text(result.output);
  wire::Writer framed;
  framed.put_bytes(writer.bytes());
  const auto bytes = framed.bytes();
  const off_t begin = static_cast<off_t>(rank) * kResultBytesMax;
  if (bytes.size() > static_cast<std::size_t>(kResultBytesMax) ||
      ::pwrite(fd, bytes.data(), bytes.size(), begin) != static_cast<ssize_t>(bytes.size())) {
    ADD_FAILURE() << "rank " << rank << " could not hand back " << bytes.size() << " bytes";
  }
}

std::optional<RankResult> read_result(int fd, std::uint32_t rank) {
  const off_t begin = static_cast<off_t>(rank) * kResultBytesMax;
  std::uint64_t size = 0;
  if (::pread(fd, &size, sizeof size, begin) != sizeof size || size == 0) return std::nullopt;
  std::vector<std::byte> bytes(size);
  if (::pread(fd, bytes.data(), size, begin + static_cast<off_t>(sizeof size)) !=
      static_cast<ssize_t>(size)) {
    return std::nullopt;
  }
  wire::Reader reader(bytes);
  RankResult result;
  if (reader.get<std::uint8_t>() != 0) result.error = rendezvous::decode_error(reader.get_bytes());
  result.output = reader.get_text();
  return result;
}

/// The rank's process: it has run the test up to here and ends here.
[[noreturn]] void run_as_child(int results_fd, const RankBody& body, const WaitLimits& limits) {
  std::fflush(nullptr);
  ::dup2(rank_output, STDOUT_FILENO);
  std::unique_ptr<Bootstrap> bootstrap = Bootstrap::from_environment();
  const std::uint32_t rank = bootstrap->rank().index();
  write_result(results_fd, rank, run_one(std::move(bootstrap), body, limits));
  std::fflush(nullptr);
  ::_exit(testing::Test::HasFailure() ? 1 : 0);
}

std::vector<RankResult> run_as_parent(std::uint32_t rank_count,
                                      std::optional<WorldRank> victim = std::nullopt) {
  // Inherited by the ranks: not close-on-exec.
  const UniqueFd results_fd(::memfd_create("test-results", 0));
  EXPECT_TRUE(results_fd);
  EXPECT_EQ(::ftruncate(results_fd.get(), rank_count * kResultBytesMax), 0);
  const testing::TestInfo& test = *testing::UnitTest::GetInstance()->current_test_info();
  LaunchOptions options;
  options.rank_count = rank_count;
  options.program = "/proc/self/exe";
  options.arguments = {"test_rank", "--gtest_brief=1",
                       "--gtest_filter=" + std::string(test.test_suite_name()) + "." + test.name()};
  options.environment = {{kResultsVariable, std::to_string(results_fd.get())}};
  if (victim) options.grace = patience(std::chrono::seconds(60));
  const LaunchResult launched = launch(options);
  std::vector<RankResult> results;
  for (std::uint32_t rank = 0; rank < rank_count; ++rank) {
    const RankEnd& end = launched.ranks[rank];
    if (end.failed() && WorldRank{rank} != victim) {
      ADD_FAILURE() << rendezvous::describe_end(WorldRank{rank}, end);
    }
    results.push_back(
        read_result(results_fd.get(), rank)
            .value_or(RankResult{
                Error(ErrorCode::peer_failed, rendezvous::describe_end(WorldRank{rank}, end)),
                {}}));
  }
  return results;
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
  limits.scale = deadline_scale_from_environment();
  return limits;
}

std::vector<RankResult> run_ranks(RankMode mode, std::uint32_t rank_count, const RankBody& body,
                                  const WaitLimits& limits) {
  if (mode == RankMode::processes) {
    if (const char* const fd = std::getenv(kResultsVariable)) {
      run_as_child(std::atoi(fd), body, limits);
    }
    return run_as_parent(rank_count);
  }
  std::vector<RankResult> results(rank_count);
  run_ranks_as_threads(rank_count, [&](std::unique_ptr<Bootstrap> bootstrap) {
    const std::size_t rank = bootstrap->rank().index();
    results[rank] = run_one(std::move(bootstrap), body, limits);
  });
  return results;
}

std::vector<RankResult> run_ranks_with_victim(std::uint32_t rank_count, WorldRank victim,
                                              const RankBody& body, const WaitLimits& limits) {
  if (const char* const fd = std::getenv(kResultsVariable)) {
    run_as_child(std::atoi(fd), body, limits);
  }
  return run_as_parent(rank_count, victim);
}

void expect_no_errors(const std::vector<RankResult>& results) {
  for (std::size_t rank = 0; rank < results.size(); ++rank) {
    if (!results[rank].error) continue;
    ADD_FAILURE() << "rank " << rank << " ended with " << to_string(results[rank].error->code())
                  << ": " << results[rank].error->what();
  }
}

}  // namespace cohort::test
