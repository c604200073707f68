// Plans in GPU memory: where everything lies, and which paths their calls take.

#include "heap/device_channel.hpp"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cohort/error.hpp>
#include <cohort/plan.hpp>

#include "heap/arena_layout.hpp"
#include "heap/plan_text.hpp"
#include "support/error_of.hpp"

namespace cohort::heap {
namespace {

using testing::HasSubstr;

using Region = std::pair<std::size_t, std::size_t>;  // begin, bytes

void expect_tiles(std::vector<Region> regions, std::size_t bytes, const std::string& what) {
  std::sort(regions.begin(), regions.end());
  std::size_t end = 0;
  for (const auto& [begin, size] : regions) {
    if (size == 0) continue;
    ASSERT_EQ(begin, end) << what;
    ASSERT_EQ(begin % kAlignmentBytes, 0U) << what;
    end = begin + size;
  }
  ASSERT_EQ(end, bytes) << what;
}

Plan plan_of(const Layout& layout, std::size_t rows, std::uint32_t slots = 3) {
  Plan plan(layout, {.lanes = 2, .memory = Memory::cuda});
  for (std::uint32_t i = 0; i < slots; ++i) {
    SlotSpec spec{.groups = {GroupKind::tp, GroupKind::attn_tp},
                  .rows_max = rows * (i + 1),
                  .row_elements = 3,
                  .depth = 2,
                  .leases = i};
    if (i > 0 && layout.sizes().pp > 1) spec.stage = i % layout.sizes().pp;
    static_cast<void>(plan.slot("s" + std::to_string(i), spec));
  }
  static_cast<void>(
      plan.pool("pool", {.groups = {GroupKind::world}, .bytes = 100'000, .block_bytes_max = 5000}));
  return plan;
}

void expect_sound(const Plan& plan, const ArenaLayout& layout) {
  ASSERT_EQ(layout.arena.bytes % kDeviceGranuleBytes, 0U);
  ASSERT_EQ(layout.host_words.bytes % kGranuleBytes, 0U);
  std::vector<Region> words;
  for (std::size_t i = 0; i < plan.slots().size(); ++i) {
    words.emplace_back(layout.slots[i].lease_offset, lease_bytes(plan.slots()[i]));
  }
  for (const ChannelRegion& channel : layout.channels) {
    words.emplace_back(channel.notes_offset, kNotesBytes);
    ASSERT_EQ(channel.staging_bytes(), 0U);
  }
  std::sort(words.begin(), words.end());
  for (std::size_t i = 1; i < words.size(); ++i) {
    ASSERT_LE(words[i - 1].first + words[i - 1].second, words[i].first);
  }
  ASSERT_LE(words.back().first + words.back().second, layout.host_words.bytes);
  for (std::uint32_t stage = 0; stage < plan.layout().sizes().pp; ++stage) {
    std::vector<Region> regions = {{0, sizeof(cuda::SessionWords)}};
    for (std::size_t i = 0; i < plan.slots().size(); ++i) {
      if (!plan.slots()[i].exists_in(stage)) continue;
      regions.emplace_back(layout.slots[i].offset, plan.slots()[i].bytes());
    }
    for (std::size_t i = 0; i < plan.pools().size(); ++i) {
      regions.emplace_back(layout.pool_offsets[i], plan.pools()[i].bytes);
    }
    for (const ChannelRegion& channel : layout.channels) {
      if (!is_held_by(channel.section, stage)) continue;
      regions.emplace_back(channel.sync_offset, channel.sync_bytes());
      regions.emplace_back(channel.scratch_offset, channel.scratch_bytes());
    }
    for (const UnusedRegion& region : layout.unused) {
      if (is_held_by(region.section, stage)) regions.emplace_back(region.offset, region.bytes);
    }
    ASSERT_NO_FATAL_FAILURE(
        expect_tiles(regions, layout.arena.bytes, "stage " + std::to_string(stage)));
  }
}

TEST(DeviceLayout, TilesTheArenaOfEveryStageAndKeepsWhatStays) {
  for (std::uint32_t stages = 1; stages <= 3; ++stages) {
    for (const std::uint32_t tp : {1U, 2U, 4U}) {
      const Layout layout({.tp = tp, .pp = stages});
      const Plan before = plan_of(layout, 1000);
      const ArenaLayout first = arena_layout(before);
      ASSERT_NO_FATAL_FAILURE(expect_sound(before, first));
      for (std::size_t i = 0; i < before.slots().size(); ++i) {
        EXPECT_EQ(first.slots[i].offset, before.slots()[i].offset) << "known while declaring";
      }
      const Plan next = plan_of(layout, 1000, 4);
      const ArenaLayout second = arena_layout(first, before, next);
      ASSERT_NO_FATAL_FAILURE(expect_sound(next, second));
      for (std::size_t i = 0; i < before.slots().size(); ++i) {
        EXPECT_EQ(second.slots[i].offset, first.slots[i].offset);
        EXPECT_EQ(second.slots[i].lease_offset, first.slots[i].lease_offset);
      }
      EXPECT_GE(second.slots[3].offset, first.arena.bytes);
    }
  }
}

TEST(DeviceLayout, ChannelsHoldWhatKernelsNeed) {
  for (const std::uint32_t members : {2U, 3U, 8U, 64U}) {
    for (const std::size_t largest : {256U, 1000U, 4096U, 1U << 20U, 100U << 20U}) {
      ChannelRegion region;
      region.device_members = members;
      region.staging_entry_bytes = largest;
      region.sync_offset = 512;
      region.scratch_offset = region.sync_offset + region.sync_bytes();
      const cuda::ChannelMap map = device_map(region);
      EXPECT_GE(map.data_bytes, largest);
      EXPECT_EQ(map.data_bytes % kChunkBytes, 0U);
      EXPECT_LE(map.data_bytes,
                std::max(largest, kOneShotScratchBytes) + (members + 1) * kChunkBytes);
      EXPECT_GE(map.flag_lines, map.headers + cuda::headers_bytes(members));
      EXPECT_GE(map.chunks, map.flag_lines + cuda::flag_lines_bytes(members));
      EXPECT_GE(map.data, map.chunks + cuda::chunks_bytes(map.data_bytes));
      EXPECT_EQ(map.data % cuda::kLineBytes, 0U);
      EXPECT_EQ(map.data + 2 * map.data_bytes, region.scratch_offset + region.scratch_bytes());
      const std::size_t last = device_tally_offset(region, Op::recv, kTallyPaths - 1);
      EXPECT_LE(last + sizeof(cuda::Tally), region.scratch_offset);
    }
  }
}

TEST(DeviceLayout, RowsOfTheFootprintAddUp) {
  for (std::uint32_t stages = 1; stages <= 3; ++stages) {
    const Footprint planned = footprint(plan_of(Layout({.tp = 2, .pp = stages}), 3000));
    for (std::uint32_t stage = 0; stage < stages; ++stage) {
      std::size_t sum = 0;
      std::size_t host = 0;
      for (const FootprintRow& row : planned.rows) {
        if (row.kind == FootprintRow::Kind::control) {
          host += row.bytes;
        } else if (!row.stage || *row.stage == stage) {
          sum += row.bytes;
        }
      }
      EXPECT_EQ(sum, planned.arena_bytes);
      EXPECT_EQ(host, planned.host_bytes + planned.control_bytes);
    }
    EXPECT_EQ(planned.granule_bytes, kDeviceGranuleBytes);
    EXPECT_EQ(planned.planned_bytes(WorldRank{1}), planned.arena_bytes + planned.host_bytes);
  }
}

std::string refusal_of(ErrorCode code, const std::function<void()>& call) {
  return test::error_of(call, code);
}

TEST(DevicePlan, SaysWhatItCannotDo) {
  const Layout layout({.tp = 2});
  const auto plan_with = [&](const PlanOptions& options) { return Plan(layout, options); };
  EXPECT_THAT(refusal_of(ErrorCode::usage,
                         [&] { plan_with({.symmetry = Symmetry::off, .memory = Memory::cuda}); }),
              HasSubstr("cannot be switched off on cuda"));
  EXPECT_THAT(refusal_of(ErrorCode::usage,
                         [&] {
                           plan_with({.path_table = PathTable::pinned(Path::host_direct),
                                      .memory = Memory::cuda});
                         }),
              HasSubstr("host_direct is pinned"));
  EXPECT_THAT(refusal_of(ErrorCode::usage,
                         [&] { plan_with({.path_table = PathTable::pinned(Path::gpu_ll)}); }),
              HasSubstr("gpu_ll is pinned"));
  EXPECT_THAT(refusal_of(ErrorCode::unsupported,
                         [&] {
                           Plan plan(layout, {.memory = Memory::cuda});
                           plan.send_recv(GroupKind::tp);
                         }),
              HasSubstr("no send and recv"));
  EXPECT_THAT(refusal_of(ErrorCode::unsupported,
                         [&] {
                           const Layout wide({.tp = 65});
                           static_cast<void>(arena_layout(plan_of(wide, 1)));
                         }),
              HasSubstr("at most 64"));
}

TEST(DevicePlan, MemoryIsInTheDigest) {
  const Layout layout({.tp = 2});
  EXPECT_NE(plan_digest(Plan(layout, {.memory = Memory::cuda})), plan_digest(Plan(layout)));
}

TEST(DevicePaths, AreChosenBySize) {
  const PathTable table;
  const auto path = [&](Op op, std::uint32_t ranks, std::size_t bytes) {
    return table.choose(op, ranks, false, bytes, Memory::cuda).path;
  };
  EXPECT_EQ(path(Op::all_reduce, 2, 1024), Path::gpu_ll);
  EXPECT_EQ(path(Op::all_reduce, 2, 1025), Path::gpu_lamport);
  EXPECT_EQ(path(Op::all_reduce, 2, std::size_t{1} << 40U), Path::gpu_lamport);
  EXPECT_EQ(path(Op::all_reduce, 5, 256 * 1024), Path::gpu_lamport);
  EXPECT_EQ(path(Op::all_reduce, 5, 256 * 1024 + 1), Path::gpu_two_shot);
  EXPECT_EQ(path(Op::all_gather, 8, std::size_t{1} << 30U), Path::gpu_lamport);
  EXPECT_EQ(path(Op::barrier, 8, 0), Path::gpu_ll);
  EXPECT_EQ(table.choose(Op::barrier, 2, false, 0).path, Path::host_inline);
}

TEST(DevicePaths, ArePinnedAsFarAsTheyGo) {
  const auto choose = [](Path pin, Op op, std::size_t bytes) {
    return PathTable::pinned(pin).choose(op, 4, true, bytes, Memory::cuda);
  };
  EXPECT_EQ(choose(Path::gpu_ll, Op::all_gather, 4096), (PathChoice{Path::gpu_ll, Reason::ok}));
  EXPECT_EQ(choose(Path::gpu_ll, Op::all_gather, 4097),
            (PathChoice{Path::gpu_lamport, Reason::over_inline_limit}));
  EXPECT_EQ(choose(Path::gpu_two_shot, Op::all_reduce, 1),
            (PathChoice{Path::gpu_two_shot, Reason::ok}));
  EXPECT_EQ(choose(Path::gpu_two_shot, Op::broadcast, 1),
            (PathChoice{Path::gpu_lamport, Reason::op_unsupported}));
  EXPECT_EQ(choose(Path::gpu_lamport, Op::barrier, 0), (PathChoice{Path::gpu_lamport, Reason::ok}));
}

TEST(DevicePaths, HaveRowsOfTheirOwn) {
  const Machine machine{"Some CPU", 8, 2};
  const PathTable host({{Op::all_reduce, 2, false, {{Path::host_direct}}}}, machine, "1");
  EXPECT_EQ(host.choose(Op::all_reduce, 2, false, 4096, Memory::cuda).path, Path::gpu_lamport);
  EXPECT_EQ(host.to_json().find("gpu"), std::string::npos) << "measured nothing of GPUs";
  EXPECT_EQ(PathTable::parse(host.to_json()), host);
  const PathTable both(
      {{Op::all_reduce, 2, false, {{Path::gpu_ll, 64}, {Path::gpu_two_shot}}, Memory::cuda}},
      machine, "1");
  EXPECT_EQ(both.choose(Op::all_reduce, 4, true, 65, Memory::cuda).path, Path::gpu_two_shot);
  EXPECT_EQ(both.choose(Op::all_reduce, 4, true, 65).path, Path::host_inline);
  EXPECT_EQ(PathTable::parse(both.to_json()), both);
  EXPECT_NE(both.lines(), host.lines());
  const auto refused = [&](std::vector<PathStep> steps, Op op, Memory memory) {
    return refusal_of(ErrorCode::usage, [&] {
      static_cast<void>(PathTable({{op, 2, false, std::move(steps), memory}}, machine, "1"));
    });
  };
  EXPECT_THAT(refused({{Path::gpu_ll}}, Op::barrier, Memory::host), HasSubstr("memory host"));
  EXPECT_THAT(refused({{Path::host_direct}}, Op::barrier, Memory::cuda), HasSubstr("memory cuda"));
  EXPECT_THAT(refused({{Path::gpu_ll, 5000}, {Path::gpu_lamport}}, Op::barrier, Memory::cuda),
              HasSubstr("at most 4096"));
  EXPECT_THAT(refused({{Path::gpu_two_shot}}, Op::broadcast, Memory::cuda),
              HasSubstr("all_reduce alone"));
  EXPECT_THAT(refused({{Path::nccl_symmetric}}, Op::broadcast, Memory::cuda),
              HasSubstr("all_reduce, all_gather and reduce_scatter alone"));
  EXPECT_THAT(refused({{Path::nccl_plain}}, Op::barrier, Memory::cuda),
              HasSubstr("NCCL has no such operation"));
  const PathTable on_nccl({{Op::all_reduce,
                            2,
                            false,
                            {{Path::gpu_lamport, 4096}, {Path::nccl_symmetric}},
                            Memory::cuda}},
                          machine, "1");
  EXPECT_EQ(on_nccl.choose(Op::all_reduce, 2, false, 4097, Memory::cuda),
            (PathChoice{Path::nccl_symmetric, Reason::ok}));
  EXPECT_EQ(PathTable::parse(on_nccl.to_json()), on_nccl);
}

}  // namespace
}  // namespace cohort::heap
