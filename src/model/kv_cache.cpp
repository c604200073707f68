#include "model/kv_cache.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <string>

#include <cohort/error.hpp>

#include "base/assert.hpp"
#include "base/bytes.hpp"

namespace cohort {

namespace {

// Values are read in whole vectors of up to 16 lanes.
constexpr std::size_t kLanesMax = 16;

std::size_t value_stride_of(const KvShape& shape) noexcept {
  return (shape.head_width + kLanesMax - 1) / kLanesMax * kLanesMax;
}

std::size_t page_elements_of(const KvShape& shape) noexcept {
  return shape.kv_head_count * kPageTokens * (shape.head_width + value_stride_of(shape));
}

std::size_t page_count_of(const KvShape& shape) noexcept {
  return shape.sequence_count_max * ((shape.token_count_max + kPageTokens - 1) / kPageTokens);
}

}  // namespace

template <typename T>
std::size_t KvCache<T>::bytes_max(const KvShape& shape) noexcept {
  return shape.layer_count * page_count_of(shape) * page_elements_of(shape) * sizeof(T);
}

template <typename T>
void KvCache<T>::Unmap::operator()(T* memory) const noexcept {
  ::munmap(memory, bytes);
}

template <typename T>
KvCache<T>::KvCache(const KvShape& shape)
    : shape_(shape),
      value_stride_(value_stride_of(shape)),
      head_elements_(kPageTokens * (shape.head_width + value_stride_)),
      page_elements_(page_elements_of(shape)),
      page_count_max_(page_count_of(shape)),
      layer_elements_(page_count_max_ * page_elements_),
      tables_(shape.sequence_count_max) {
  const std::size_t bytes = std::max<std::size_t>(bytes_max(shape), 1);
  void* mapped = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    throw Error(ErrorCode::out_of_memory,
                "the KV cache needs an address range of " + format_bytes(bytes) +
                    "; lower --context or --max-sequences",
                std::nullopt, "load");
  }
  memory_ = std::unique_ptr<T[], Unmap>(static_cast<T*>(mapped), Unmap{bytes});
  page_used_.resize(page_count_max_);
  for (std::size_t page = page_count_max_; page-- > 0;) {
    free_pages_.push_back(static_cast<std::uint32_t>(page));
  }
}

template <typename T>
void KvCache<T>::clear_page(std::uint32_t page) {
  for (std::size_t layer = 0; layer < shape_.layer_count; ++layer) {
    T* begin = memory_.get() + layer * layer_elements_ + page * page_elements_;
    std::fill(begin, begin + page_elements_, T{});
  }
}

template <typename T>
void KvCache<T>::reserve(std::size_t sequence, std::size_t token_count) {
  COHORT_ASSERT(sequence < tables_.size() && token_count <= shape_.token_count_max,
                "sequence or tokens beyond the KV cache's maxima");
  auto& table = tables_[sequence];
  while (table.size() * kPageTokens < token_count) {
    const std::uint32_t page = free_pages_.back();
    free_pages_.pop_back();
    if (page_used_[page]) clear_page(page);  // fresh pages are zero
    page_used_[page] = true;
    table.push_back(page);
  }
}

template <typename T>
void KvCache<T>::release(std::size_t sequence) {
  auto& table = tables_[sequence];
  free_pages_.insert(free_pages_.end(), table.rbegin(), table.rend());
  table.clear();
}

template <typename T>
void KvCache<T>::store(std::size_t layer, std::size_t sequence, std::size_t position,
                       const T* kv_row) {
  COHORT_DASSERT(position / kPageTokens < tables_[sequence].size(), "no page reserved");
  const std::uint32_t page = tables_[sequence][position / kPageTokens];
  const std::size_t in_page = position % kPageTokens;
  const std::size_t width = shape_.head_width;
  T* block = memory_.get() + layer * layer_elements_ + page * page_elements_;
  const T* keys = kv_row;
  const T* values = kv_row + shape_.kv_head_count * width;
  for (std::size_t head = 0; head < shape_.kv_head_count; ++head) {
    T* keys_to = block + head * head_elements_ + in_page;
    for (std::size_t i = 0; i < width; ++i) keys_to[i * kPageTokens] = keys[head * width + i];
    T* values_to = block + head * head_elements_ + value_offset() + in_page * value_stride_;
    std::copy_n(values + head * width, width, values_to);
  }
}

template class KvCache<float>;
template class KvCache<Bf16>;

}  // namespace cohort
