#include "model/gguf_type.hpp"

#include <array>
#include <string_view>

namespace cohort {
namespace {

struct TypeName {
  std::uint32_t number;
  std::string_view name;
};

// Also what cohort does not read, so that a refusal can say what the file holds.
constexpr std::array kTypeNames = {
    TypeName{0, "F32"},     TypeName{1, "F16"},      TypeName{2, "Q4_0"},
    TypeName{3, "Q4_1"},    TypeName{6, "Q5_0"},     TypeName{7, "Q5_1"},
    TypeName{8, "Q8_0"},    TypeName{9, "Q8_1"},     TypeName{10, "Q2_K"},
    TypeName{11, "Q3_K"},   TypeName{12, "Q4_K"},    TypeName{13, "Q5_K"},
    TypeName{14, "Q6_K"},   TypeName{15, "Q8_K"},    TypeName{16, "IQ2_XXS"},
    TypeName{17, "IQ2_XS"}, TypeName{18, "IQ3_XXS"}, TypeName{19, "IQ1_S"},
    TypeName{20, "IQ4_NL"}, TypeName{21, "IQ3_S"},   TypeName{22, "IQ2_S"},
    TypeName{23, "IQ4_XS"}, TypeName{24, "I8"},      TypeName{25, "I16"},
    TypeName{26, "I32"},    TypeName{27, "I64"},     TypeName{28, "F64"},
    TypeName{29, "IQ1_M"},  TypeName{30, "BF16"},    TypeName{34, "TQ1_0"},
    TypeName{35, "TQ2_0"},  TypeName{39, "MXFP4"},
};

}  // namespace

GgufBlock block_of(GgufType type) noexcept {
  switch (type) {
    case GgufType::f32: return {1, 4};
    case GgufType::f16:
    case GgufType::bf16: return {1, 2};
    case GgufType::q4_0: return {32, 18};
    case GgufType::q4_1: return {32, 20};
    case GgufType::q8_0: return {32, 34};
    case GgufType::q6_k: return {256, 210};
  }
  return {};
}

std::optional<GgufType> gguf_type_from(std::uint32_t number) noexcept {
  const auto type = static_cast<GgufType>(number);
  if (block_of(type).bytes == 0) return std::nullopt;
  return type;
}

std::string describe_gguf_type(std::uint32_t number) {
  for (const TypeName& entry : kTypeNames) {
    if (entry.number == number) {
      return std::string(entry.name) + " (" + std::to_string(number) + ")";
    }
  }
  return std::to_string(number);
}

std::string readable_gguf_types() {
  std::string names;
  for (const TypeName& entry : kTypeNames) {
    if (!gguf_type_from(entry.number)) continue;
    if (!names.empty()) names += ", ";
    names += entry.name;
  }
  return names;
}

std::optional<GgufValueType> gguf_value_type_from(std::uint32_t number) noexcept {
  if (number > static_cast<std::uint32_t>(GgufValueType::f64)) return std::nullopt;
  return static_cast<GgufValueType>(number);
}

std::size_t fixed_bytes_of(GgufValueType type) noexcept {
  switch (type) {
    case GgufValueType::u8:
    case GgufValueType::i8:
    case GgufValueType::boolean: return 1;
    case GgufValueType::u16:
    case GgufValueType::i16: return 2;
    case GgufValueType::u32:
    case GgufValueType::i32:
    case GgufValueType::f32: return 4;
    case GgufValueType::u64:
    case GgufValueType::i64:
    case GgufValueType::f64: return 8;
    case GgufValueType::string:
    case GgufValueType::array: return 0;
  }
  return 0;
}

std::string to_string(GgufValueType type) {
  switch (type) {
    case GgufValueType::u8: return "u8";
    case GgufValueType::i8: return "i8";
    case GgufValueType::u16: return "u16";
    case GgufValueType::i16: return "i16";
    case GgufValueType::u32: return "u32";
    case GgufValueType::i32: return "i32";
    case GgufValueType::f32: return "f32";
    case GgufValueType::boolean: return "bool";
    case GgufValueType::string: return "string";
    case GgufValueType::array: return "array";
    case GgufValueType::u64: return "u64";
    case GgufValueType::i64: return "i64";
    case GgufValueType::f64: return "f64";
  }
  return "unknown";
}

}  // namespace cohort
