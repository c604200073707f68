#pragma once

// Domain tests run with ranks as threads and as processes.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

#include "backend/host/domain.hpp"
#include "backend/host/host_backend.hpp"
#include "support/ranks.hpp"

namespace cohort::host {

struct RankSetting {
  test::RankMode mode;
  std::uint32_t count;
};

inline void PrintTo(const RankSetting& setting, std::ostream* stream) {
  *stream << setting.count << " " << test::to_string(setting.mode);
}

inline std::string name_of_setting(const testing::TestParamInfo<RankSetting>& entry) {
  return std::to_string(entry.param.count) + "_" + test::to_string(entry.param.mode);
}

class RankTest : public testing::TestWithParam<RankSetting> {
 protected:
  std::vector<test::RankResult> run(const test::RankBody& body,
                                    const WaitLimits& limits = test::patient_limits()) const {
    return test::run_ranks(GetParam().mode, GetParam().count, body, limits);
  }
  std::uint32_t count() const { return GetParam().count; }
};

inline const auto kAllSettings = [] {
  std::vector<RankSetting> settings;
  for (std::uint32_t count = 1; count <= 8; ++count) {
    settings.push_back({test::RankMode::threads, count});
  }
  for (const std::uint32_t count : {1u, 2u, 3u, 8u}) {
    settings.push_back({test::RankMode::processes, count});
  }
  return settings;
}();

/// For what needs somebody else.
inline const auto kPeerSettings = [] {
  std::vector<RankSetting> settings = kAllSettings;
  std::erase_if(settings, [](const RankSetting& setting) { return setting.count == 1; });
  return settings;
}();

/// One page of words per rank, in shared memory.
class SharedWords {
 public:
  explicit SharedWords(Domain& domain)
      : arena_(HostBackend(domain.shared_from_this()).allocate(4096)) {
    arena_->map_peers(domain.deadline_after(std::chrono::seconds(60)));
  }
  std::atomic<std::uint32_t>& of(std::uint32_t rank, std::size_t index) const {
    return reinterpret_cast<std::atomic<std::uint32_t>*>(arena_->of(WorldRank{rank}))[index];
  }

 private:
  std::unique_ptr<Arena> arena_;
};

inline void sleep_shortly() {
  std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

}  // namespace cohort::host
