// `tune --device cuda` and tables of GPUs on the command line, over the fake of tests/support.

#include "tune_gpu.hpp"

#include <unistd.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "run_command.hpp"
#include "session/device_api.hpp"
#include "support/fake_cuda.hpp"
#include "tune_fit.hpp"
#include "tune_output.hpp"

namespace cohort {
namespace {

using testing::HasSubstr;

/// Sessions are over the fake while it lives.
class OverFake {
 public:
  OverFake() { set_device_api(&test::fake_cuda_api()); }
  ~OverFake() {
    set_device_api(nullptr);
    test::fake_cuda().devices = 4;
    test::fake_cuda().name = "fake";
  }
  OverFake(const OverFake&) = delete;
  OverFake& operator=(const OverFake&) = delete;
};

/// A file that goes with the test.
class TableFile {
 public:
  TableFile() {
    std::string name = (std::filesystem::temp_directory_path() / "cohort-tune-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
  }
  ~TableFile() { std::filesystem::remove_all(folder_); }
  TableFile(const TableFile&) = delete;
  TableFile& operator=(const TableFile&) = delete;
  std::string name() const { return (folder_ / "table.json").string(); }
  std::string text() const {
    std::ifstream file(name());
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::filesystem::path folder_;
};

TEST(GridFit, PutsThresholdsWhereOtherThreadsAreFaster) {
  const std::vector<std::uint32_t> threads = {32, 64, 128};
  const std::vector<GridTimes> times = {
      {64, {3, 2, 2.5}}, {128, {3, 2, 2.2}}, {256, {2, 3, 4}}, {512, {5, 4, 3}}};
  const FittedGrid fit = fit_grid(threads, times);
  EXPECT_EQ(fit.steps, (std::vector<GridStep>{{64, 128}, {32, 256}, {128}}));
  EXPECT_EQ(fit.worst_regret, 0);
}

TEST(GridFit, WhatIsFlatHasOneStep) {
  const std::vector<std::uint32_t> threads = {32, 64};
  const std::vector<GridTimes> times = {{64, {2, 2.02}}, {128, {2.02, 2}}, {256, {2, 2.01}}};
  const FittedGrid fit = fit_grid(threads, times);
  EXPECT_EQ(fit.steps, (std::vector<GridStep>{{32}}));
  EXPECT_NEAR(fit.worst_regret, 0.01, 1e-9);
}

TEST(GridFit, AlwaysMakesAGridThatTablesTake) {
  std::mt19937 random(5);
  std::uniform_real_distribution<double> drawn(1, 1.3);
  for (int round = 0; round < 200; ++round) {
    std::vector<GridTimes> times(1 + random() % 16);
    for (std::size_t i = 0; i < times.size(); ++i) {
      times[i].lines = std::uint64_t{32} << i;
      for (std::size_t k = 0; k < grid_threads().size(); ++k) times[i].us.push_back(drawn(random));
    }
    const FittedGrid fit = fit_grid(grid_threads(), times);
    EXPECT_LE(fit.worst_regret, 0.3);
    EXPECT_NO_THROW(
        static_cast<void>(PathTable({}, {}, "1", {{}, {{GridFamily::move, 2, fit.steps}}})));
  }
}

TEST(TuneCuda, MeasuresPathsAndGridsAndWritesATable) {
  const OverFake over_fake;
  const TableFile file;
  const auto tuned = test::run_command(
      {"tune", "--device", "cuda", "--ranks", "2", "--quick", "--json", "-v", "-o", file.name()});
  ASSERT_EQ(tuned.exit_code, 0) << tuned.errors;
  EXPECT_THAT(tuned.errors, testing::AllOf(HasSubstr("measuring: grids of all_gather on 2 GPUs"),
                                           HasSubstr("measuring: broadcast on 2 GPUs")));
  const auto document = nlohmann::json::parse(tuned.output);
  EXPECT_EQ(nlohmann::json::parse(file.text()), document);
  EXPECT_EQ(document.at("schema"), 2);
  const PathTable table = PathTable::parse(file.text());
  EXPECT_EQ(table.gpus(), (Gpus{"fake", "9.0", "13.0", GpuLink::nvlink}));
  ASSERT_EQ(table.grids().size(), 2U);
  for (const GridRow& grid : table.grids()) EXPECT_EQ(grid.ranks, 2U);
  for (const Op op : {Op::all_reduce, Op::all_gather, Op::all_gatherv, Op::reduce_scatter,
                      Op::reduce_scatterv, Op::all_to_all, Op::all_to_allv, Op::broadcast}) {
    const auto is_of = [&](const PathRow& row) {
      return row.op == op && row.ranks == 2 && row.memory == Memory::cuda;
    };
    EXPECT_EQ(std::count_if(table.rows().begin(), table.rows().end(), is_of), 1) << to_string(op);
  }
  // 512 bytes to 64 KiB; flags up to 4 KiB, two steps only of all_reduce.
  for (const auto& measured : document.at("measurements")) {
    const bool flagged = measured.at("bytes").get<std::size_t>() <= 4096;
    EXPECT_EQ(measured.at("us").contains("gpu_ll"), flagged) << measured;
    EXPECT_EQ(measured.at("us").contains("gpu_two_shot"), measured.at("op") == "all_reduce");
    EXPECT_TRUE(measured.at("us").contains("gpu_lamport"));
    for (const auto& us : measured.at("us")) EXPECT_GT(us.get<double>(), 0);
  }
  EXPECT_EQ(document.at("measurements").size(), 5U * 8U);
  EXPECT_EQ(document.at("grid_measurements").size(), 2U * 8U);
  for (const auto& measured : document.at("grid_measurements")) {
    EXPECT_EQ(measured.at("us").size(), grid_threads().size());
  }
}

TEST(TuneCuda, RefusesMachinesAndFlagsThatItCannotMeasure) {
  const OverFake over_fake;
  const auto refusal = [](const std::vector<std::string>& words) {
    const auto outcome = test::run_command(words);
    EXPECT_EQ(outcome.exit_code, 2) << outcome.output;
    return outcome.errors;
  };
  EXPECT_THAT(refusal({"tune", "--device", "cuda", "--ranks", "5"}),
              HasSubstr("--ranks 5 is not from 2 to 4"));
  EXPECT_THAT(refusal({"tune", "--device", "tpu"}), HasSubstr("does not know 'tpu'"));
  test::fake_cuda().devices = 1;
  EXPECT_THAT(refusal({"tune", "--device", "cuda"}), HasSubstr("this process sees 1"));
}

/// As `bench layer` takes it, which is over the same fake.
test::CommandOutcome bench_layer(const std::vector<std::string>& flags) {
  std::vector<std::string> words = {"bench",    "layer", "--device", "cuda", "--rows", "1",
                                    "--hidden", "64",    "--layers", "1",    "--quick"};
  words.insert(words.end(), flags.begin(), flags.end());
  return test::run_command(words);
}

TEST(TuneCuda, ATableOfOtherGpusNeedsToBeAskedFor) {
  const OverFake over_fake;
  const TableFile file;
  Tuned tuned;
  tuned.gpus = Gpus{"fake", "9.0", "13.0", GpuLink::nvlink};
  std::ofstream(file.name()) << tune_document(tuned, true);
  const auto same = bench_layer({"--path-table", file.name()});
  EXPECT_EQ(same.exit_code, 0) << same.errors;

  test::fake_cuda().name = "another";
  const auto refused = bench_layer({"--path-table", file.name()});
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_THAT(refused.errors,
              testing::AllOf(HasSubstr("measured on fake (compute 9.0, driver 13.0), nvlink"),
                             HasSubstr("this is another"), HasSubstr("cohort tune --device cuda"),
                             HasSubstr("--any-machine")));
  const auto allowed = bench_layer({"--path-table", file.name(), "--any-machine"});
  EXPECT_EQ(allowed.exit_code, 0) << allowed.errors;
}

TEST(TuneCuda, PathsOfGpusCanBePinned) {
  const OverFake over_fake;
  const auto outcome = bench_layer({"--path", "gpu_lamport", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.errors;
  const auto document = nlohmann::json::parse(outcome.output);
  for (const auto& row : document.at("rows")) {
    for (const auto& call : row.at("calls")) EXPECT_EQ(call.at("path"), "gpu_lamport");
  }
}

TEST(TunedTable, HasRowsOfUnevenFormsAndOneStamp) {
  Tuned tuned;
  tuned.gpus = Gpus{"fake", "9.0", "13.0", GpuLink::nvlink};
  tuned.rows.push_back(
      {{Op::all_gather, 2, false, {{Path::gpu_ll, 512}, {Path::gpu_lamport}}, Memory::cuda},
       {},
       {}});
  tuned.grids.push_back({{GridFamily::reduce, 2, {{64}}}, {}, {}, {}});
  const PathTable table = table_of(tuned);
  EXPECT_EQ(table.version(), COHORT_VERSION);
  EXPECT_EQ(table.gpus(), tuned.gpus);
  for (const Op op : {Op::all_gather, Op::all_gatherv}) {
    EXPECT_EQ(table.choose(op, 2, false, 512, Memory::cuda).path, Path::gpu_ll);
  }
  EXPECT_EQ(table.grids().size(), 1U);
}

}  // namespace
}  // namespace cohort
