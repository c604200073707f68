#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <cohort/bootstrap.hpp>
#include <cohort/error.hpp>

namespace cohort {
namespace {

using namespace std::chrono_literals;
using Gathered = std::vector<std::vector<std::byte>>;
using Bytes = std::vector<std::byte>;

Bootstrap::TimePoint soon() {
  return std::chrono::steady_clock::now() + 30s;
}

void expect_usage(const std::function<void()>& act, const std::string& message) {
  try {
    act();
    ADD_FAILURE() << "not refused: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_EQ(error.what(), message);
    EXPECT_EQ(error.phase(), "join");
  }
}

TEST(CallbackBootstrap, PassesBytesAndDeadlineOn) {
  const Bytes mine{std::byte{1}, std::byte{2}};
  const auto deadline = soon();
  const auto bootstrap = Bootstrap::from_callback(
      WorldRank{1}, 3, [&](std::span<const std::byte> bytes, Bootstrap::TimePoint until) {
        EXPECT_EQ(until, deadline);
        return Gathered{{}, Bytes(bytes.begin(), bytes.end()), {std::byte{9}}};
      });
  EXPECT_EQ(bootstrap->rank(), WorldRank{1});
  EXPECT_EQ(bootstrap->world_size(), 3U);
  EXPECT_EQ(bootstrap->all_gather(mine, deadline), (Gathered{{}, mine, {std::byte{9}}}));
}

TEST(CallbackBootstrap, LetsWhatTheFunctionThrowsPass) {
  const auto bootstrap = Bootstrap::from_callback(
      WorldRank{0}, 1, [](std::span<const std::byte>, Bootstrap::TimePoint) -> Gathered {
        throw std::runtime_error("the control plane is down");
      });
  EXPECT_THROW((void)bootstrap->all_gather({}, soon()), std::runtime_error);
}

TEST(CallbackBootstrap, RefusesWhatIsNoRankOrNoFunction) {
  const auto nothing = [](std::span<const std::byte>, Bootstrap::TimePoint) { return Gathered{}; };
  expect_usage([&] { (void)Bootstrap::from_callback(WorldRank{2}, 2, nothing); },
               "rank 2 in a world of 2");
  expect_usage([&] { (void)Bootstrap::from_callback(WorldRank{0}, 0, nothing); },
               "rank 0 in a world of 0");
  expect_usage([&] { (void)Bootstrap::from_callback(WorldRank{0}, 1, nullptr); },
               "the bootstrap's all-gather is an empty function");
}

TEST(CallbackBootstrap, RefusesAnAnswerThatIsNoAllGather) {
  Gathered answer;
  const auto bootstrap = Bootstrap::from_callback(
      WorldRank{1}, 2, [&](std::span<const std::byte>, Bootstrap::TimePoint) { return answer; });
  const Bytes mine{std::byte{1}};
  expect_usage([&] { (void)bootstrap->all_gather(mine, soon()); },
               "the bootstrap's all-gather returned 0 entries in a world of 2");
  answer = {mine, {std::byte{2}}};
  expect_usage([&] { (void)bootstrap->all_gather(mine, soon()); },
               "the bootstrap's all-gather returned other bytes for rank 1 than that rank gave; "
               "entries must be in the order of ranks");
}

}  // namespace
}  // namespace cohort
