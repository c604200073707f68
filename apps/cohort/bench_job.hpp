#pragma once

// What one timed call is, in words that the command and every measured program share. Standard
// library only: the programs of other libraries under benchmarks/peers compile it too.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cohort::bench {

/// One kind of call at one size. `bytes` are those of the larger operand: of all_gather the output,
/// of reduce_scatter the input.
struct Job {
  std::string op = "all_reduce";
  std::string dtype = "f32";
  std::size_t bytes = 0;
  bool rotating = false;   ///< other memory in every call, more of it than the caches hold
  bool in_heap = true;     ///< operands in the implementation's own shared memory, if it has any
  bool in_place = false;   ///< the operand lies where its result belongs
  std::size_t count = 1;   ///< calls to time
  std::uint64_t seed = 1;  ///< of the operands' values, when results are checked

  friend bool operator==(const Job&, const Job&) = default;
};

/// Bytes of one element, 0 for a type that is not measured.
std::size_t element_bytes(std::string_view dtype) noexcept;

/// Whether an operation moves data, and so has a result to check.
bool has_result(std::string_view op) noexcept;

/// Whether an operation can be asked to work in place: all_reduce and all_gather, which all
/// implementations understand alike.
bool has_in_place_form(std::string_view op) noexcept;

std::size_t input_bytes(const Job& job, std::uint32_t ranks) noexcept;
std::size_t output_bytes(const Job& job, std::uint32_t ranks) noexcept;
/// How far behind the output's beginning the operand of a job in place lies.
std::size_t in_place_offset(const Job& job, std::uint32_t rank, std::uint32_t ranks) noexcept;
/// Bytes that a rank must get from its peers: what a copy from memory is measured with.
std::size_t received_bytes(const Job& job, std::uint32_t ranks) noexcept;
/// The least size not below `bytes` that the operation can have: whole elements on every rank.
std::size_t rounded_bytes(std::string_view op, std::string_view dtype, std::size_t bytes,
                          std::uint32_t ranks) noexcept;

/// "all_reduce f32 4096 warm heap apart 100 7", and back.
std::string to_line(const Job& job);
/// Throws: std::invalid_argument for a line that is none.
Job parse_job(const std::string& line);

}  // namespace cohort::bench
