#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/gguf.hpp"

namespace cohort {

/// What the bytes of a GGUF file say; all views point into those bytes.
struct GgufContent {
  std::uint32_t version = 0;
  std::map<std::string_view, GgufValue> metadata;
  std::vector<GgufTensor> tensors;
  std::map<std::string_view, std::size_t> tensor_by_name;
};

/// Checks and reads the whole of a file; `file` is its name in messages. Local.
/// Throws: Error{corrupt} naming the field at fault, Error{unsupported}.
GgufContent parse_gguf(std::span<const std::byte> bytes, const std::string& file);

}  // namespace cohort
