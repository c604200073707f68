#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

namespace cohort {

/// Element types of GGUF tensors that cohort reads; the numbers are those of the files.
enum class GgufType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q8_0 = 8,
  q6_k = 14,
  bf16 = 30,
};

/// Elements that share their scales, and the bytes they take together; 1 element if none do.
struct GgufBlock {
  std::uint32_t element_count = 0;
  std::uint32_t bytes = 0;
};

/// Elements in the largest block of all types.
inline constexpr std::uint32_t kGgufBlockElementsMax = 256;

/// The block that a row of `type` consists of. Local.
GgufBlock block_of(GgufType type) noexcept;

/// The type with the number `number` of a file, if cohort reads it. Local.
std::optional<GgufType> gguf_type_from(std::uint32_t number) noexcept;

/// "Q4_K (12)" for what the format names, "99" for a number it does not. Local.
std::string describe_gguf_type(std::uint32_t number);

/// The types cohort reads, for people: "F32, F16, ...". Local.
std::string readable_gguf_types();

/// Kinds of metadata values; the numbers are those of the files.
enum class GgufValueType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// The kind with the number `number` of a file, if there is one. Local.
std::optional<GgufValueType> gguf_value_type_from(std::uint32_t number) noexcept;

/// Bytes of one value in a file; 0 for strings and arrays, whose length is stored. Local.
std::size_t fixed_bytes_of(GgufValueType type) noexcept;

/// For people, e.g. "u32". Local.
std::string to_string(GgufValueType type);

}  // namespace cohort
