#include "backend/host/shared_memory.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::host {
namespace {

const auto kNotCounted = [](std::size_t) {};

TEST(SharedMemory, IsReservedInFullAndReportedPieceByPiece) {
  constexpr std::size_t kBytes = (std::size_t{64} << 20) + 4096;
  std::size_t reported = 0;
  std::size_t pieces = 0;
  const UniqueFd fd = create_shared_memory("test", kBytes, [&](std::size_t piece) {
    reported += piece;
    ++pieces;
  });
  EXPECT_EQ(reported, kBytes);
  EXPECT_EQ(pieces, 2u);
  EXPECT_EQ(shared_memory_held_bytes(fd.get()), kBytes);
}

TEST(SharedMemory, NobodyCanChangeItsSize) {
  const UniqueFd fd = create_shared_memory("test", 8192, kNotCounted);
  EXPECT_NE(::ftruncate(fd.get(), 4096), 0);
  EXPECT_NE(::ftruncate(fd.get(), 16384), 0);
}

TEST(SharedMemory, AnObjectIsMappedOncePerProcess) {
  const UniqueFd fd = create_shared_memory("test", 4096, kNotCounted);
  const UniqueFd other = create_shared_memory("test", 4096, kNotCounted);
  const UniqueFd same(::dup(fd.get()));
  auto first = SharedMapping::map(fd.get(), 4096, WorldRank{0});
  EXPECT_EQ(SharedMapping::map(same.get(), 4096, WorldRank{1}), first);
  EXPECT_NE(SharedMapping::map(other.get(), 4096, WorldRank{1}), first);
  first->data()[0] = std::byte{5};
  first.reset();
  EXPECT_EQ(SharedMapping::map(fd.get(), 4096, WorldRank{0})->data()[0], std::byte{5});
}

TEST(SharedMemory, WhatAPeerSharesIsCheckedBeforeItIsMapped) {
  const auto code_of = [](int fd, std::size_t bytes) {
    try {
      SharedMapping::map(fd, bytes, WorldRank{2});
    } catch (const Error& error) {
      EXPECT_EQ(error.rank(), WorldRank{2});
      return error.code();
    }
    return ErrorCode::usage;
  };
  const UniqueFd fd = create_shared_memory("test", 4096, kNotCounted);
  EXPECT_EQ(code_of(fd.get(), 8192), ErrorCode::mismatch) << "another size";
  const UniqueFd unsealed(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(::ftruncate(unsealed.get(), 4096), 0);
  EXPECT_EQ(code_of(unsealed.get(), 4096), ErrorCode::mismatch) << "could still be truncated";
}

}  // namespace
}  // namespace cohort::host
