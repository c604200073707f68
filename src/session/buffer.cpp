#include <string>

#include <cohort/error.hpp>
#include <cohort/session.hpp>

namespace cohort {
namespace {

/// Throws unless `count` of something from `first` on are within the `capacity` that there are.
void check_range(const char* what, std::size_t first, std::size_t count, std::size_t capacity,
                 const Buffer& buffer) {
  if (first <= capacity && count <= capacity - first) return;
  throw Error(
      ErrorCode::usage,
      std::string(what) + " " + std::to_string(first) + " to " + std::to_string(first + count) +
          (buffer.is_block() ? " of a block"
                             : " of an entry of slot " + std::to_string(buffer.slot().index())) +
          ", which has " + std::to_string(capacity));
}

}  // namespace

Tensor Buffer::rows(std::size_t first, std::size_t count) const {
  check_range("rows", first, count, rows_max_, *this);
  return {static_cast<std::byte*>(data_) + first * row_elements_ * bytes_of(dtype_),
          count * row_elements_, dtype_};
}

Tensor Buffer::elements(std::size_t count) const {
  check_range("elements", 0, count, rows_max_ * row_elements_, *this);
  return {data_, count, dtype_};
}

}  // namespace cohort
