#pragma once

// Memory objects that ranks share: anonymous, without a name in any file system, sealed in size.

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>

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

class SharedMapping;

/// Addresses set aside, without memory behind them until something is mapped there.
class AddressRange {
 public:
  /// Throws: Error{out_of_memory, system}.
  explicit AddressRange(std::size_t bytes);
  ~AddressRange();
  AddressRange(const AddressRange&) = delete;
  AddressRange& operator=(const AddressRange&) = delete;

  std::byte* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  friend class SharedMapping;
  std::byte* data_;
  std::size_t bytes_;
  std::map<std::size_t, const SharedMapping*> mapped_;  // by offset; under the registry's lock
};

/// A read-write, populated mapping of one object.
class SharedMapping {
 public:
  /// At which addresses. Without a range the mapping makes one of `reserve_bytes` and lies at its
  /// start.
  struct Where {
    std::shared_ptr<AddressRange> range;
    std::size_t offset = 0;
    std::size_t reserve_bytes = 0;
  };

  ~SharedMapping();
  SharedMapping(const SharedMapping&) = delete;
  SharedMapping& operator=(const SharedMapping&) = delete;

  std::byte* data() const noexcept { return range_->data() + offset_; }
  std::size_t bytes() const noexcept { return bytes_; }
  /// What others may be mapped into as well; lives as long as any of them.
  const std::shared_ptr<AddressRange>& range() const noexcept { return range_; }

  /// The process's one mapping of the object: ranks that are threads of one process share it, so
  /// that tools which watch memory by address see all of their accesses. Where it lies is decided
  /// by whoever asks first.
  /// Throws: Error{mismatch} if the object is not of `bytes` bytes or not sealed, naming `owner`;
  /// Error{out_of_memory, system}.
  static std::shared_ptr<SharedMapping> map(int fd, std::size_t bytes, WorldRank owner,
                                            const Where& where);
  static std::shared_ptr<SharedMapping> map(int fd, std::size_t bytes, WorldRank owner);

 private:
  SharedMapping(std::shared_ptr<AddressRange> range, std::size_t offset, std::size_t bytes)
      : range_(std::move(range)), offset_(offset), bytes_(bytes) {}

  std::shared_ptr<AddressRange> range_;
  std::size_t offset_;
  std::size_t bytes_;
};

}  // namespace cohort::host
