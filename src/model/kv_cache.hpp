// Keys and values of running sequences, in pages of 16 tokens.
//
// A sequence has a table of pages that grows with it; pages come from one pool whose size follows
// from the maxima, so a sequence within the maxima always finds its pages. Memory is reserved at
// construction and taken from the system when a page is first used.
// Invariants:
//   1. A page belongs to at most one open sequence.
//   2. What a page holds beyond its sequence's tokens is finite: pages are cleared when handed out.
// Thread safety: one writer; readers of other pages may run at the same time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "model/element.hpp"

namespace cohort {

inline constexpr std::size_t kPageTokens = 16;

struct KvShape {
  std::uint32_t layer_count = 0;
  std::uint32_t kv_head_count = 0;  // on this rank
  std::uint32_t head_width = 0;
  std::size_t sequence_count_max = 0;
  std::size_t token_count_max = 0;  // of one sequence
};

/// T is float or Bf16.
template <typename T>
class KvCache {
 public:
  /// Throws: Error{out_of_memory} if the address range cannot be reserved.
  explicit KvCache(const KvShape& shape);

  const KvShape& shape() const noexcept { return shape_; }

  /// Bytes that a cache of this shape takes at most.
  static std::size_t bytes_max(const KvShape& shape) noexcept;

  /// Makes room for tokens [0, token_count) of `sequence`. Local.
  /// Requires: sequence and token count within the maxima.
  void reserve(std::size_t sequence, std::size_t token_count);

  /// Gives the sequence's pages back. Local.
  void release(std::size_t sequence);

  std::size_t pages_in_use() const noexcept { return page_count_max_ - free_pages_.size(); }

  /// Stores one token's row [keys of all heads | values of all heads] of `layer`. Local.
  /// Requires: room reserved for `position`.
  void store(std::size_t layer, std::size_t sequence, std::size_t position, const T* kv_row);

  /// The sequence's pages in order.
  std::span<const std::uint32_t> pages(std::size_t sequence) const noexcept {
    return tables_[sequence];
  }

  /// Where the pages of one KV head of one layer begin: page p lies `page_stride()` x p further,
  /// its keys transposed (head_width, 16), its values `value_offset()` behind them as
  /// (16, value_stride()).
  const T* head_base(std::size_t layer, std::size_t kv_head) const noexcept {
    return memory_.get() + layer * layer_elements_ + kv_head * head_elements_;
  }
  std::size_t page_stride() const noexcept { return page_elements_; }
  std::size_t value_offset() const noexcept { return shape_.head_width * kPageTokens; }
  std::size_t value_stride() const noexcept { return value_stride_; }

 private:
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(T* memory) const noexcept;
  };

  void clear_page(std::uint32_t page);

  KvShape shape_;
  std::size_t value_stride_;
  std::size_t head_elements_;
  std::size_t page_elements_;
  std::size_t page_count_max_;
  std::size_t layer_elements_;
  std::unique_ptr<T[], Unmap> memory_;              // (layer, page, kv head, [keys | values])
  std::vector<std::vector<std::uint32_t>> tables_;  // by sequence
  std::vector<std::uint32_t> free_pages_;           // the next one last
  std::vector<bool> page_used_;                     // has it been handed out before?
};

}  // namespace cohort
