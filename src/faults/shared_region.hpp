#pragma once

// Memory that ranks forked later share, at the same address in each of them.

#include <cstddef>
#include <new>
#include <utility>

namespace cohort::faults {

class SharedRegion {
 public:
  /// Throws: Error{system} if the system gives no memory.
  explicit SharedRegion(std::size_t bytes = std::size_t{32} << 20);
  ~SharedRegion();
  SharedRegion(const SharedRegion&) = delete;
  SharedRegion& operator=(const SharedRegion&) = delete;

  /// Zeroed bytes, aligned to a cache line. Before the ranks are forked: they would each get the
  /// same ones.
  void* allocate(std::size_t bytes);

  /// An object that all ranks see. Never destroyed: a rank may die holding it.
  template <typename T, typename... Arguments>
  T& make(Arguments&&... arguments) {
    return *new (allocate(sizeof(T))) T(std::forward<Arguments>(arguments)...);
  }

  float* floats(std::size_t count) { return static_cast<float*>(allocate(count * sizeof(float))); }

 private:
  std::byte* begin_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t used_ = 0;
};

}  // namespace cohort::faults
