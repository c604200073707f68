#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/device.hpp"
#include "support/fake_cuda_memory.hpp"

namespace cohort::cuda {
namespace {

using test::fake_cuda;
using testing::HasSubstr;

Api fake_api() {
  Api api = {};
  test::set_memory_functions(api);
  return api;
}

Error error_of(const std::function<void()>& doing) {
  try {
    doing();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {ErrorCode::system, "nothing"};
}

class CudaDevice : public testing::Test {
 protected:
  ~CudaDevice() override {
    fake_cuda().failing = nullptr;
    EXPECT_EQ(fake_cuda().open_devices, 0);
    EXPECT_EQ(fake_cuda().handles, 0);
    EXPECT_EQ(fake_cuda().mapped_bytes, 0);
    EXPECT_EQ(fake_cuda().reserved_bytes, 0);
  }

  const Api api_ = fake_api();
};

TEST_F(CudaDevice, TurnsStatusesIntoErrors) {
  for (const auto& [status, error] : {std::pair{Status::Code::usage, ErrorCode::usage},
                                      {Status::Code::out_of_memory, ErrorCode::out_of_memory},
                                      {Status::Code::unsupported, ErrorCode::unsupported},
                                      {Status::Code::failed, ErrorCode::cuda}}) {
    Status refused;
    refused.code = status;
    std::snprintf(refused.text, sizeof refused.text, "cuCall: no");
    const Error thrown = error_of([&] { throw_unless_ok(refused, "doing it", WorldRank{3}); });
    EXPECT_EQ(thrown.code(), error);
    EXPECT_STREQ(thrown.what(), "doing it: cuCall: no");
    EXPECT_EQ(thrown.rank(), WorldRank{3});
  }
  EXPECT_NO_THROW(throw_unless_ok(Status{}, "doing it"));
}

TEST_F(CudaDevice, OpensWhatIsThereAndNamesWhatIsNot) {
  {
    const auto device = OpenDevice::open(api_, 2, WorldRank{1});
    EXPECT_EQ(device->index(), 2);
    EXPECT_EQ(device->granule_bytes(), test::kFakeGranuleBytes);
    EXPECT_EQ(device->name(), "GPU 2 (fake, 0000:03:00.0)");
  }
  const Error missing = error_of([&] { OpenDevice::open(api_, 17, WorldRank{1}); });
  EXPECT_EQ(missing.code(), ErrorCode::usage);
  EXPECT_THAT(missing.what(), HasSubstr("GPU 17"));
  fake_cuda().failing = "open";
  const Error failed = error_of([&] { OpenDevice::open(api_, 0, WorldRank{1}); });
  EXPECT_EQ(failed.code(), ErrorCode::cuda);
  EXPECT_EQ(failed.rank(), WorldRank{1});
}

TEST_F(CudaDevice, OwnsMemoryAndAddresses) {
  const auto device = OpenDevice::open(api_, 0);
  constexpr std::size_t kBytes = 2 * test::kFakeGranuleBytes;
  const DeviceRange range(device, 2 * kBytes);
  const DeviceMemory memory = DeviceMemory::create(device, kBytes);
  range.map(0, kBytes, memory, WorldRank{0});
  device->fill(range.base(), 7, kBytes);
  // A second view of the same memory, as a peer has it.
  const UniqueFd fd = memory.export_fd();
  const DeviceMemory again = DeviceMemory::import(device, fd.get(), WorldRank{0});
  range.map(kBytes, kBytes, again, WorldRank{0});
  device->poke(range.base() + 8, 9);
  std::array<std::uint32_t, 3> words = {};
  device->read(words.data(), range.base() + kBytes + 4, sizeof words);
  EXPECT_THAT(words, testing::ElementsAre(7, 9, 7));
  words = {1, 2, 3};
  device->write(range.base() + kBytes, words.data(), sizeof words);
  device->copy(range.base() + 64, range.base(), sizeof words);
  words = {};
  device->read(words.data(), range.base() + 64, sizeof words);
  EXPECT_THAT(words, testing::ElementsAre(1, 2, 3));
  range.unmap(kBytes, kBytes);
  range.unmap(0, kBytes);
}

TEST_F(CudaDevice, WritesAndComparesPatterns) {
  const auto device = OpenDevice::open(api_, 0);
  constexpr std::size_t kBytes = test::kFakeGranuleBytes;
  const DeviceRange range(device, kBytes);
  const DeviceMemory memory = DeviceMemory::create(device, kBytes);
  range.map(0, kBytes, memory, WorldRank{0});
  device->stamp(range.base(), 20, 7);
  std::array<std::uint64_t, 3> words = {};
  device->read(words.data(), range.base(), sizeof words);
  EXPECT_THAT(words, testing::ElementsAre(7, 8, 9));
  EXPECT_TRUE(device->has_stamps(range.base(), 20, 7));
  EXPECT_FALSE(device->has_stamps(range.base(), 20, 8));
  test::fake_cuda().failing = "has_stamps";
  EXPECT_THROW(static_cast<void>(device->has_stamps(range.base(), 20, 7)), Error);
  test::fake_cuda().failing = nullptr;
  range.unmap(0, kBytes);
}

TEST_F(CudaDevice, GivesMappedWordsZeroed) {
  const auto device = OpenDevice::open(api_, 0);
  const MappedWords words(device, 256);
  EXPECT_EQ(std::count(static_cast<char*>(words.host()), static_cast<char*>(words.host()) + 256, 0),
            256);
  EXPECT_NE(words.address(), 0);
}

TEST_F(CudaDevice, SaysWhatFailedWhereAndOfWhom) {
  const auto device = OpenDevice::open(api_, 1, WorldRank{1});
  const DeviceMemory memory = DeviceMemory::create(device, test::kFakeGranuleBytes);
  fake_cuda().failing = "reserve";
  EXPECT_THAT(error_of([&] { DeviceRange(device, 4096); }).what(),
              HasSubstr("reserving addresses for 4.0 KiB on GPU 1 (fake, 0000:02:00.0): reserve:"));
  fake_cuda().failing = "create";
  EXPECT_THAT(error_of([&] { DeviceMemory::create(device, 4096); }).what(),
              HasSubstr("taking 4.0 KiB of GPU 1"));
  fake_cuda().failing = "export_fd";
  EXPECT_THAT(error_of([&] { memory.export_fd(); }).what(), HasSubstr("exporting memory on GPU 1"));
  fake_cuda().failing = "allocate_mapped";
  EXPECT_EQ(error_of([&] { MappedWords(device, 64); }).code(), ErrorCode::cuda);
  fake_cuda().failing = "copy";
  EXPECT_EQ(error_of([&] { device->copy(1, 2, 3); }).code(), ErrorCode::cuda);
  fake_cuda().failing = "fill";
  EXPECT_EQ(error_of([&] { device->fill(1, 2, 4); }).rank(), WorldRank{1});
  fake_cuda().failing = "poke";
  EXPECT_EQ(error_of([&] { device->poke(1, 2); }).code(), ErrorCode::cuda);
  fake_cuda().failing = nullptr;
  const Error foreign = error_of([&] { DeviceMemory::import(device, STDIN_FILENO, WorldRank{5}); });
  EXPECT_EQ(foreign.rank(), WorldRank{5});
  EXPECT_THAT(foreign.what(), HasSubstr("importing memory of rank 5 on GPU 1"));
  fake_cuda().memory_bytes = 4096;
  EXPECT_EQ(error_of([&] { DeviceMemory::create(device, 1 << 20); }).code(),
            ErrorCode::out_of_memory);
  fake_cuda().memory_bytes = std::size_t{1} << 30;
}

}  // namespace
}  // namespace cohort::cuda
