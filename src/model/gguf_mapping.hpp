#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace cohort {

/// A regular file mapped for reading; the address stays the same when the object moves.
class GgufMapping {
 public:
  /// Local. Throws: Error{usage} if `path` names nothing that can be read, Error{corrupt} if it
  /// is empty, Error{system} if mapping fails.
  explicit GgufMapping(const std::string& path);
  GgufMapping(GgufMapping&& other) noexcept;
  GgufMapping& operator=(GgufMapping&& other) noexcept;
  ~GgufMapping();

  std::span<const std::byte> bytes() const noexcept { return bytes_; }

 private:
  void unmap() noexcept;

  std::span<const std::byte> bytes_;
};

}  // namespace cohort
