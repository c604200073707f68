#include "faults/shared_region.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <string>
#include <system_error>

#include <cohort/error.hpp>

#include "base/assert.hpp"
#include "base/unique_fd.hpp"

namespace cohort::faults {
namespace {

constexpr std::size_t kAlignment = 64;

[[noreturn]] void fail(const std::string& action) {
  throw Error(ErrorCode::system,
              "could not " + action + ": " + std::system_category().message(errno), std::nullopt,
              "faults");
}

}  // namespace

SharedRegion::SharedRegion(std::size_t bytes) : bytes_(bytes) {
  const UniqueFd memory(::memfd_create("cohort-faults", MFD_CLOEXEC));
  if (!memory || ::ftruncate(memory.get(), static_cast<off_t>(bytes)) != 0) {
    fail("make memory for ranks to share");
  }
  void* const mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) fail("map memory for ranks to share");
  begin_ = static_cast<std::byte*>(mapped);
}

SharedRegion::~SharedRegion() {
  ::munmap(begin_, bytes_);
}

void* SharedRegion::allocate(std::size_t bytes) {
  const std::size_t begin = used_;
  used_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  COHORT_ASSERT(used_ <= bytes_, "a fault needs a larger shared region");
  return begin_ + begin;
}

}  // namespace cohort::faults
