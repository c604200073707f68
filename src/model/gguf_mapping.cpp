#include "model/gguf_mapping.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"

namespace cohort {
namespace {

[[noreturn]] void refuse(ErrorCode code, const std::string& path, const std::string& problem) {
  throw Error(code, "model file " + path + ": " + problem, std::nullopt, "load");
}

std::string reason_of(int number) {
  return std::system_category().message(number);
}

}  // namespace

GgufMapping::GgufMapping(const std::string& path) {
  // O_NONBLOCK: a named pipe must be refused below, not waited for.
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) refuse(ErrorCode::usage, path, "cannot be opened: " + reason_of(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) {
    refuse(ErrorCode::system, path, "cannot be examined: " + reason_of(errno));
  }
  if (!S_ISREG(status.st_mode)) refuse(ErrorCode::usage, path, "is not a regular file");
  if (status.st_size == 0) refuse(ErrorCode::corrupt, path, "is empty");
  const auto file_bytes = static_cast<std::size_t>(status.st_size);
  void* address = ::mmap(nullptr, file_bytes, PROT_READ, MAP_PRIVATE, file.get(), 0);
  if (address == MAP_FAILED) {
    refuse(ErrorCode::system, path, "cannot be mapped: " + reason_of(errno));
  }
  bytes_ = {static_cast<const std::byte*>(address), file_bytes};
}

GgufMapping::GgufMapping(GgufMapping&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

GgufMapping& GgufMapping::operator=(GgufMapping&& other) noexcept {
  if (this != &other) {
    unmap();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

GgufMapping::~GgufMapping() {
  unmap();
}

void GgufMapping::unmap() noexcept {
  if (!bytes_.empty()) ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

}  // namespace cohort
