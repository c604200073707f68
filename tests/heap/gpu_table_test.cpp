// What path tables hold of GPUs: grids, the stamp of devices, and the table that comes with cohort.

#include <functional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "support/error_of.hpp"

namespace cohort {
namespace {

using test::error_of;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

const Machine kMachine{"Some CPU", 8, 2};
const Gpus kGpus{"Some GPU", "8.6", "12.4", GpuLink::pcie};
const Gpus kH200{"NVIDIA H200", "9.0", "13.0", GpuLink::nvlink};

std::vector<GridRow> some_grids() {
  return {{GridFamily::reduce, 4, {{96, 1000}, {512}}},
          {GridFamily::move, 2, {{64, 128}, {32, 512}, {1024}}},
          {GridFamily::reduce, 2, {{256}}}};
}

std::vector<PathRow> some_rows() {
  return {{Op::all_reduce,
           2,
           false,
           {{Path::gpu_ll, 2048}, {Path::gpu_lamport, 1 << 20}, {Path::gpu_two_shot}},
           Memory::cuda}};
}

PathTable some_table() {
  return {some_rows(), kMachine, "0.9", {kGpus, some_grids()}};
}

std::vector<GridStep> grid(const PathTable& table, Op op, std::uint32_t ranks) {
  const auto steps = table.grid(op, ranks);
  return {steps.begin(), steps.end()};
}

TEST(GpuTable, GridsServeTheirFamilyAndTheNextLargerGroups) {
  const PathTable table = some_table();
  for (const Op op : {Op::all_reduce, Op::reduce_scatter, Op::reduce_scatterv}) {
    EXPECT_EQ(grid(table, op, 2), (std::vector<GridStep>{{256}}));
    EXPECT_TRUE(grid(table, op, 3).empty()) << "two ranks have kernels of their own";
    EXPECT_EQ(grid(table, op, 4), (std::vector<GridStep>{{96, 1000}, {512}}));
    EXPECT_EQ(grid(table, op, 8), (std::vector<GridStep>{{96, 1000}, {512}}));
  }
  for (const Op op :
       {Op::all_gather, Op::all_gatherv, Op::broadcast, Op::all_to_all, Op::all_to_allv}) {
    EXPECT_EQ(grid(table, op, 2).size(), 3U) << to_string(op);
    EXPECT_TRUE(grid(table, op, 4).empty());
  }
  EXPECT_TRUE(grid(PathTable(), Op::all_reduce, 2).empty());
}

TEST(GpuTable, SurvivesJson) {
  const PathTable table = some_table();
  const std::string text = table.to_json();
  EXPECT_EQ(Json::parse(text).at("schema"), 2);
  const PathTable read = PathTable::parse(text);
  EXPECT_EQ(read, table);
  EXPECT_EQ(read.gpus(), kGpus);
  ASSERT_EQ(read.grids().size(), 3U);
  EXPECT_EQ(grid(read, Op::broadcast, 2), (std::vector<GridStep>{{64, 128}, {32, 512}, {1024}}));
  EXPECT_EQ(read.to_json(), text);
}

TEST(GpuTable, OlderTablesAreRead) {
  const PathTable host({}, kMachine, "0.9");
  const Json document = Json::parse(host.to_json());
  EXPECT_EQ(document.at("schema"), 1);
  EXPECT_FALSE(document.contains("gpus"));
  const PathTable read = PathTable::parse(document.dump());
  EXPECT_FALSE(read.gpus());
  EXPECT_TRUE(read.grids().empty());
}

TEST(GpuTable, BadFieldsAreNamed) {
  const Json good = Json::parse(some_table().to_json());
  const auto refusal = [&](const std::function<void(Json&)>& spoil) {
    Json document = good;
    spoil(document);
    return error_of([&] { static_cast<void>(PathTable::parse(document.dump())); },
                    ErrorCode::corrupt);
  };
  EXPECT_THAT(refusal([](Json& it) { it["schema"] = 3; }), HasSubstr("'schema'"));
  EXPECT_THAT(refusal([](Json& it) { it["schema"] = 1; }), HasSubstr("'gpus' is unknown"));
  EXPECT_THAT(refusal([](Json& it) { it.erase("gpus"); }), HasSubstr("'gpus' is missing"));
  EXPECT_THAT(refusal([](Json& it) { it["gpus"]["link"] = "string"; }),
              HasSubstr("none of unknown, shared, pcie, nvlink"));
  EXPECT_THAT(refusal([](Json& it) { it["gpus"]["cores"] = 1; }),
              HasSubstr("'gpus.cores' is unknown"));
  EXPECT_THAT(refusal([](Json& it) { it.erase("grids"); }), HasSubstr("'grids' is missing"));
  EXPECT_THAT(refusal([](Json& it) { it["grids"][1]["family"] = "x"; }),
              HasSubstr("'grids[1].family' is 'x'"));
  EXPECT_THAT(refusal([](Json& it) { it["grids"][0]["steps"][0]["threads"] = 33; }),
              HasSubstr("33 threads"));
  EXPECT_THAT(refusal([](Json& it) { it["grids"][0]["steps"][0]["lines_max"] = -1; }),
              HasSubstr("lines_max"));
}

TEST(GpuTable, RefusesGridsThatMakeNoSense) {
  const auto refusal = [](std::vector<GridRow> grids) {
    return error_of(
        [&] {
          static_cast<void>(PathTable({}, kMachine, "1", {kGpus, grids}));
        },
        ErrorCode::usage);
  };
  EXPECT_THAT(refusal({{GridFamily::move, 1, {{32}}}}), HasSubstr("grid of move, 1 ranks"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {}}}), HasSubstr("0 steps"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{0}}}}), HasSubstr("0 threads"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{48}}}}), HasSubstr("48 threads"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{2048}}}}), HasSubstr("2048 threads"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{64, 8}, {32, 8}, {32}}}}), HasSubstr("must grow"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{64, 8}}}}), HasSubstr("no lines_max"));
  EXPECT_THAT(refusal({{GridFamily::move, 2, {{64}}}, {GridFamily::move, 2, {{32}}}}),
              HasSubstr("there twice"));
}

TEST(GpuTable, LinesSayGridsAndGpus) {
  const auto lines = some_table().lines();
  EXPECT_THAT(lines.front(), HasSubstr("Some GPU (compute 8.6, driver 12.4), pcie"));
  EXPECT_THAT(lines, testing::Contains("grid of move, 2 ranks: 64 threads to 128 lines, then 32 "
                                       "threads to 512 lines, then 1024 threads"));
  auto other_grids = some_grids();
  other_grids[2].steps[0].threads = 128;
  const PathTable other(some_rows(), kMachine, "0.9", {kGpus, other_grids});
  EXPECT_FALSE(other == some_table());
}

TEST(GpuTable, APinnedPathMayHaveGrids) {
  const PathTable table = PathTable::pinned(Path::gpu_lamport, some_grids());
  EXPECT_EQ(table.pin(), Path::gpu_lamport);
  EXPECT_EQ(grid(table, Op::all_reduce, 2), (std::vector<GridStep>{{256}}));
  EXPECT_FALSE(table == PathTable::pinned(Path::gpu_lamport));
  EXPECT_EQ(PathTable::pinned(Path::gpu_lamport, {}), PathTable::pinned(Path::gpu_lamport));
  EXPECT_THAT(error_of([] { static_cast<void>(PathTable::pinned(Path::host_direct, {})); },
                       ErrorCode::usage),
              HasSubstr("host_direct"));
}

TEST(ShippedTable, IsChosenByNameAndLink) {
  EXPECT_TRUE(PathTable::shipped(kH200));
  Gpus gpus = kH200;
  gpus.driver = "14.2";
  EXPECT_TRUE(PathTable::shipped(gpus));
  for (const GpuLink link : {GpuLink::unknown, GpuLink::shared, GpuLink::pcie}) {
    gpus.link = link;
    EXPECT_FALSE(PathTable::shipped(gpus)) << to_string(link);
  }
  EXPECT_FALSE(PathTable::shipped(kGpus));
  gpus = kH200;
  gpus.name = "NVIDIA H200 NVL";
  EXPECT_FALSE(PathTable::shipped(gpus));
}

TEST(ShippedTable, ServesWhatWasMeasuredAndLeavesTheRestAsItIs) {
  const PathTable table = PathTable::shipped(kH200).value();
  const PathTable built_in;
  EXPECT_THAT(table.lines().front(),
              HasSubstr("shipped table for NVIDIA H200, nvlink, groups of 2 and 4"));
  EXPECT_FALSE(table.machine() || table.pin());
  EXPECT_FALSE(table == built_in);
  // As docs/measurements/gpu-paths-*-h200.json have it.
  const auto path_of = [&](Op op, std::uint32_t ranks, std::size_t bytes) {
    return table.choose(op, ranks, false, bytes, Memory::cuda).path;
  };
  for (const std::size_t bytes : {512UL, 4096UL, 8UL << 20U}) {
    EXPECT_EQ(path_of(Op::all_reduce, 2, bytes), Path::gpu_lamport);
    EXPECT_EQ(path_of(Op::reduce_scatterv, 2, bytes), Path::gpu_lamport);
  }
  EXPECT_EQ(path_of(Op::all_reduce, 4, 4096), Path::gpu_ll);
  EXPECT_EQ(path_of(Op::all_reduce, 4, 8192), Path::gpu_lamport);
  EXPECT_EQ(path_of(Op::all_reduce, 4, 8 << 20), Path::gpu_two_shot);
  EXPECT_EQ(path_of(Op::all_gatherv, 4, 4096), Path::gpu_ll);
  EXPECT_EQ(path_of(Op::all_gatherv, 4, 8192), Path::gpu_lamport);
  EXPECT_EQ(path_of(Op::all_gatherv, 8, 4096), Path::gpu_ll);
  for (const Op op : {Op::all_reduce, Op::all_gather}) {
    for (const std::uint32_t ranks : {2U, 4U, 8U}) EXPECT_FALSE(grid(table, op, ranks).empty());
    EXPECT_TRUE(grid(table, op, 3).empty());
  }
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    for (const std::uint32_t ranks : {3U, 5U, 8U, 16U, 40U}) {
      if (op != Op::all_reduce && ranks > 3) continue;
      const auto left = table.steps(op, ranks, false, Memory::cuda);
      const auto right = built_in.steps(op, ranks, false, Memory::cuda);
      EXPECT_TRUE(std::equal(left.begin(), left.end(), right.begin(), right.end()))
          << to_string(op) << " of " << ranks;
    }
    const auto left = table.steps(op, 2, false);
    const auto right = built_in.steps(op, 2, false);
    EXPECT_TRUE(std::equal(left.begin(), left.end(), right.begin(), right.end())) << to_string(op);
  }
}

TEST(ShippedTable, GroupsOfACrowdedHostHaveTheirOwnRows) {
  const PathTable built_in;
  for (const std::uint32_t ranks : {2U, 3U, 8U}) {
    EXPECT_EQ(built_in.choose(Op::all_reduce, ranks, true, 1 << 20, Memory::cuda),
              built_in.choose(Op::all_reduce, ranks, false, 1 << 20, Memory::cuda));
  }
}

}  // namespace
}  // namespace cohort
