#pragma once

// Memory objects that ranks share: anonymous, without a name in any file system, sealed in size.

#include <cstddef>
#include <memory>
#include <string>

#include <cohort/ids.hpp>

#include "base/function_ref.hpp"
#include "base/unique_fd.hpp"

namespace cohort::host {

/// A new object of `bytes` zero bytes, all of them really reserved (no access can fail later),
/// sealed so that nobody can change its size. `reserved` hears of every piece as it is taken.
/// Throws: Error{out_of_memory, system}.
UniqueFd create_shared_memory(const char* name, std::size_t bytes,
                              FunctionRef<void(std::size_t)> reserved);

/// Bytes of memory that the system holds for the object.
std::size_t shared_memory_held_bytes(int fd);

/// A read-write, populated mapping of one object.
class SharedMapping {
 public:
  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

  /// The process's one mapping of the object: ranks that are threads of one process share it, so
  /// that tools which watch memory by address see all of their accesses.
  /// Throws: Error{mismatch} if the object is not of `bytes` bytes or not sealed, naming `owner`;
  /// Error{out_of_memory, system}.
  static std::shared_ptr<SharedMapping> map(int fd, std::size_t bytes, WorldRank owner);

 private:
  SharedMapping(std::byte* data, std::size_t bytes) noexcept : data_(data), bytes_(bytes) {}

  std::byte* data_;
  std::size_t bytes_;
};

}  // namespace cohort::host
