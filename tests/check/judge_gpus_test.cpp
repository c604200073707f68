#include <cstdio>
#include <iostream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "check/judge.hpp"
#include "support/fake_cuda_memory.hpp"

namespace cohort::check {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

cuda::DeviceFacts device(const char* name, std::uint32_t compute_major) {
  cuda::DeviceFacts facts = {};
  std::snprintf(facts.name, sizeof facts.name, "%s", name);
  facts.memory_bytes = std::uint64_t{140} << 30;
  facts.compute_major = compute_major;
  facts.multiprocessors = 132;
  facts.driver_version = 13000;
  facts.runtime_version = 13000;
  facts.posix_handles = true;
  return facts;
}

constexpr cuda::LinkFacts kNvlink{
    .can_access = true, .native_atomics = true, .performance_rank = 0};
constexpr cuda::LinkFacts kPcie{.can_access = true, .native_atomics = false, .performance_rank = 1};
constexpr cuda::LinkFacts kNone{};

GpuFacts good_gpus(std::size_t count = 4) {
  GpuFacts facts;
  facts.cards.assign(count, "0000:01:00.0");
  facts.has_driver = true;
  facts.plugin = "/opt/lib/libcohort_cuda.so";
  facts.devices.assign(count, device("NVIDIA H200", 9));
  facts.links.assign(count, std::vector<cuda::LinkFacts>(count, kNvlink));
  facts.nccl = cuda::nccl::version(2, 28, 9);
  return facts;
}

void link(GpuFacts& facts, std::size_t one, std::size_t two, const cuda::LinkFacts& kind) {
  facts.links[one][two] = facts.links[two][one] = kind;
}

void expect_complete(const Row& row) {
  EXPECT_THAT(row.value, Not(IsEmpty())) << row.name;
  EXPECT_THAT(row.meaning, Not(IsEmpty())) << row.name;
  EXPECT_EQ(row.remedy.empty(), row.status == Status::ok) << row.name;
  EXPECT_NE(row.status, Status::problem) << "ranks in host memory run anyhow: " << row.name;
}

TEST(GpuRows, AreOneQuietRowWithoutADriver) {
  GpuFacts facts;
  facts.missing = "no GPU plugin: there is none";
  const std::vector<Row> rows = judge_gpus(facts);
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].name, "gpus");
  EXPECT_EQ(rows[0].value, "none");
  EXPECT_EQ(rows[0].status, Status::ok);
  EXPECT_EQ(rows[0].meaning, "There is no CUDA driver. Only paths over host memory here.");
  expect_complete(rows[0]);
}

TEST(GpuRows, SayWhatIsMissingWhereThereIsAGpu) {
  GpuFacts facts;
  facts.cards = {"0000:01:00.0", "0000:02:00.0"};
  facts.missing = "no CUDA driver: libcuda.so.1";
  Row row = gpus_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_EQ(row.value, "2 by NVIDIA (0000:01:00.0, 0000:02:00.0), not usable");
  EXPECT_THAT(row.remedy, HasSubstr("driver"));
  facts.has_driver = true;
  facts.missing = "no GPU plugin: there is none";
  row = gpus_row(facts);
  EXPECT_THAT(row.remedy, HasSubstr("libcohort_cuda.so"));
  EXPECT_THAT(row.meaning, HasSubstr("no GPU plugin"));
  facts.plugin = "/opt/lib/libcohort_cuda.so";
  facts.missing = "cuInit: no device";
  row = gpus_row(facts);
  EXPECT_THAT(row.remedy, HasSubstr("CUDA_VISIBLE_DEVICES"));
  facts.cards.clear();
  EXPECT_EQ(gpus_row(facts).value, "a CUDA driver, not usable");
}

TEST(GpuRows, AreAllWellOnAGoodMachine) {
  std::vector<std::string> names;
  for (const Row& row : judge_gpus(good_gpus())) {
    expect_complete(row);
    EXPECT_EQ(row.status, Status::ok) << row.name;
    names.push_back(row.name);
  }
  EXPECT_THAT(names, ElementsAre("gpus", "gpu_driver", "gpu_links", "gpu_memory", "nccl"));
  EXPECT_EQ(gpus_row(good_gpus()).value,
            "4 x NVIDIA H200 (140.0 GiB, compute capability 9.0, 132 multiprocessors)");
  EXPECT_EQ(gpu_links_row(good_gpus()).value, "NVLink between all");
  EXPECT_EQ(gpu_links_row(good_gpus(1)).value, "one GPU");
  EXPECT_EQ(nccl_row(good_gpus()).value, "2.28.9");
}

TEST(GpuRows, WarnOfOldAndOfMixedDevices) {
  GpuFacts facts = good_gpus(3);
  facts.devices[1] = device("NVIDIA A100", 8);
  Row row = gpus_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_THAT(row.value, HasSubstr("2 x NVIDIA H200 (140.0 GiB, compute capability 9.0"));
  EXPECT_THAT(row.value, HasSubstr("1 x NVIDIA A100"));
  facts.devices[1] = device("Tesla V100", 7);
  row = gpus_row(facts);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_THAT(row.meaning, HasSubstr("8.0"));
}

TEST(GpuRows, HoldTheDriverAgainstThePlugin) {
  GpuFacts facts = good_gpus();
  EXPECT_EQ(gpu_driver_row(facts).value, "CUDA 13.0, plugin built with CUDA 13.0");
  facts.devices[0].runtime_version = 13020;
  EXPECT_EQ(gpu_driver_row(facts).status, Status::ok);
  EXPECT_THAT(gpu_driver_row(facts).meaning, HasSubstr("same generation"));
  facts.devices[0].driver_version = 12080;
  EXPECT_EQ(gpu_driver_row(facts).status, Status::warning);
  EXPECT_EQ(gpu_driver_row(facts).value, "CUDA 12.8, plugin built with CUDA 13.2");
  expect_complete(gpu_driver_row(facts));
}

TEST(GpuRows, NameLinksByKindAndWhatTheyMean) {
  GpuFacts facts = good_gpus(3);
  link(facts, 0, 2, kPcie);
  Row row = gpu_links_row(facts);
  EXPECT_EQ(row.value, "NVLink 0-1, 1-2; PCIe 0-2");
  EXPECT_EQ(row.status, Status::ok);
  EXPECT_THAT(row.meaning, HasSubstr("PCIe"));
  link(facts, 1, 2, kNone);
  row = gpu_links_row(facts);
  EXPECT_EQ(row.value, "NVLink 0-1; PCIe 0-2; no access 1-2");
  EXPECT_EQ(row.status, Status::warning);
  expect_complete(row);
  // Access one way only is none.
  facts = good_gpus(2);
  facts.links[1][0] = kNone;
  EXPECT_EQ(gpu_links_row(facts).value, "no access between all");
  facts.link_problem = "cuDeviceGetP2PAttribute: invalid device ordinal";
  row = gpu_links_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.value, "unknown");
}

TEST(GpuRows, NameAtMostSomeOfManyPairs) {
  GpuFacts facts = good_gpus(8);
  for (std::size_t one = 0; one < 4; ++one) {
    for (std::size_t two = 4; two < 8; ++two) link(facts, one, two, kPcie);
  }
  EXPECT_EQ(gpu_links_row(facts).value,
            "NVLink 0-1, 0-2, 0-3, 1-2, 1-3, 2-3, 4-5, 4-6 and 4 more; PCIe 0-4, 0-5, 0-6, 0-7, "
            "1-4, 1-5, 1-6, 1-7 and 8 more");
}

TEST(GpuRows, WarnWhereMemoryCannotBePassedOn) {
  GpuFacts facts = good_gpus();
  facts.devices[1].posix_handles = facts.devices[3].posix_handles = false;
  const Row row = gpu_memory_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_EQ(row.value, "cannot be passed on as descriptors by GPU 1, 3");
}

TEST(GpuRows, DoNotMissNcclMuch) {
  GpuFacts facts = good_gpus();
  facts.nccl.reset();
  facts.nccl_missing = "libnccl.so.2: no such file";
  const Row row = nccl_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.status, Status::ok);
  EXPECT_THAT(row.meaning, HasSubstr("libnccl.so.2: no such file"));
  EXPECT_THAT(row.meaning, HasSubstr("COHORT_NCCL_LIBRARY"));
}

TEST(GpuRows, SayWhatAVersionOfNcclIsGoodFor) {
  GpuFacts facts = good_gpus();
  EXPECT_THAT(nccl_row(facts).meaning, HasSubstr("both operands must lie in windows"));
  EXPECT_THAT(nccl_row(facts).meaning, HasSubstr("2.30.7"));
  facts.nccl = cuda::nccl::kNewestKnown;
  EXPECT_EQ(nccl_row(facts).meaning, "Serves what cohort's own kernels do not.");
  facts.nccl = cuda::nccl::version(2, 99, 0);
  Row row = nccl_row(facts);
  expect_complete(row);
  EXPECT_EQ(row.status, Status::warning);
  EXPECT_THAT(row.meaning, HasSubstr("No path nccl_symmetric: this NCCL is newer"));
  facts.nccl = cuda::nccl::version(2, 19, 3);
  row = nccl_row(facts);
  expect_complete(row);
  EXPECT_THAT(row.meaning, HasSubstr("No path over NCCL"));
  EXPECT_THAT(row.remedy, HasSubstr("from 2.28.3 to 2.30.7"));
}

// --- what the facts come from
// ---------------------------------------------------------------------

class AskPlugin : public testing::Test {
 protected:
  AskPlugin() { test::set_memory_functions(api_); }
  ~AskPlugin() override {
    test::fake_cuda().devices = 4;
    test::fake_cuda().island_bit = 0;
    test::fake_cuda().failing = nullptr;
  }

  cuda::Api api_ = {};
  const cuda::LoadedPlugin plugin_{.api = &api_, .path = "fake.so", .missing = {}};
};

TEST_F(AskPlugin, TellsDevicesAndLinks) {
  test::fake_cuda().island_bit = 2;
  const GpuFacts facts = ask_plugin(plugin_);
  EXPECT_EQ(facts.plugin, "fake.so");
  EXPECT_EQ(facts.missing, "");
  ASSERT_EQ(facts.devices.size(), 4U);
  EXPECT_STREQ(facts.devices[3].pci, "0000:04:00.0");
  ASSERT_EQ(facts.links.size(), 4U);
  EXPECT_TRUE(facts.links[0][1].can_access);
  EXPECT_FALSE(facts.links[0][2].can_access);
}

TEST_F(AskPlugin, TellsWhyThereAreNone) {
  EXPECT_EQ(ask_plugin({.api = nullptr, .path = {}, .missing = "no GPU plugin"}).missing,
            "no GPU plugin");
  test::fake_cuda().devices = 0;
  EXPECT_EQ(ask_plugin(plugin_).missing, "the CUDA driver shows no device");
  test::fake_cuda().failing = "device_count";
  EXPECT_EQ(ask_plugin(plugin_).missing, "device_count: as the test wants");
  EXPECT_EQ(ask_plugin(plugin_).plugin, "fake.so");
}

TEST(GpuFacts, ReadVersionsOfNccl) {
  EXPECT_EQ(to_string(nccl_version_of(22809)), "2.28.9");
  EXPECT_EQ(to_string(nccl_version_of(23007)), "2.30.7");
  EXPECT_EQ(to_string(nccl_version_of(2804)), "2.8.4");
}

TEST(GpuFacts, AreReadHereWithoutHarm) {
  const std::vector<Row> rows = judge_gpus(read_gpu_facts());
  ASSERT_FALSE(rows.empty());
  for (const Row& row : rows) {
    expect_complete(row);
    std::cout << to_string(row.status) << " " << row.name << ": " << row.value << "\n";
  }
}

}  // namespace
}  // namespace cohort::check
