#include <string>

#include <cohort/error.hpp>
#include <cohort/session.hpp>

namespace cohort {
namespace {

Tensor part_of_entry(void* data, std::size_t begin, std::size_t count, std::size_t capacity,
                     DType dtype, SlotId slot) {
  if (begin > capacity || count > capacity - begin) {
    throw Error(ErrorCode::usage, "elements " + std::to_string(begin) + " to " +
                                      std::to_string(begin + count) + " of an entry of slot " +
                                      std::to_string(slot.index()) + ", which has " +
                                      std::to_string(capacity));
  }
  return {static_cast<std::byte*>(data) + begin * bytes_of(dtype), count, dtype};
}

}  // namespace

Tensor Buffer::rows(std::size_t first, std::size_t count) const {
  if (first > rows_max_ || count > rows_max_ - first) {
    throw Error(ErrorCode::usage, "rows " + std::to_string(first) + " to " +
                                      std::to_string(first + count) + " of an entry of slot " +
                                      std::to_string(slot_.index()) + ", which has " +
                                      std::to_string(rows_max_));
  }
  return part_of_entry(data_, first * row_elements_, count * row_elements_,
                       rows_max_ * row_elements_, dtype_, slot_);
}

Tensor Buffer::elements(std::size_t count) const {
  return part_of_entry(data_, 0, count, rows_max_ * row_elements_, dtype_, slot_);
}

}  // namespace cohort
