// GGUF model files, versions 2 and 3, little endian: metadata by key, tensors by name.
//
// Everything a file claims is checked when it is opened, so a GgufFile that exists is whole: each
// count, length and offset lies within the file, each tensor's data is aligned and its own.
// What the file says stays in the file: strings and data are views into the mapping, which lives
// as long as the GgufFile (also a moved one). A file must not be changed while it is open.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <cohort/error.hpp>

#include "model/gguf_mapping.hpp"
#include "model/gguf_type.hpp"

namespace cohort {

/// An array of metadata, still encoded; its elements are known to lie within the file.
struct GgufArray {
  GgufValueType element_type = GgufValueType::u8;
  std::uint64_t element_count = 0;
  std::span<const std::byte> data;
};

/// One metadata value. Unsigned, signed and floating kinds are held in their widest form.
struct GgufValue {
  GgufValueType type = GgufValueType::u8;
  std::variant<std::uint64_t, std::int64_t, double, bool, std::string_view, GgufArray> value;
};

/// One tensor of a file: a matrix of rows that are stored one after the other.
struct GgufTensor {
  std::string_view name;
  GgufType type = GgufType::f32;
  std::vector<std::uint64_t> shape;  // outermost dimension first, never empty, none is 0
  std::span<const std::byte> data;   // (row_count, row_bytes)

  std::uint64_t column_count() const noexcept { return shape.back(); }
  std::uint64_t row_count() const noexcept { return data.size() / row_bytes(); }
  std::uint64_t row_bytes() const noexcept;
};

/// An open GGUF file. Immutable; any number of threads may use one.
class GgufFile {
 public:
  /// Maps and checks `path`. Local. Throws: Error{usage} if it cannot be read, Error{corrupt}
  /// naming the field at fault, Error{unsupported} for another version, byte order or tensor type.
  /// Cost: linear in the metadata; tensor data is not touched.
  static GgufFile open(const std::string& path);

  const std::string& path() const noexcept { return path_; }
  std::uint32_t version() const noexcept { return version_; }

  /// The value under `key`, or null. Local.
  const GgufValue* find(std::string_view key) const noexcept;

  /// The value under `key` in the form asked for; any integer kind will do where it fits. Local.
  /// Throws: Error{corrupt} naming the key if it is missing or another kind of value.
  std::uint32_t require_u32(std::string_view key) const;
  float require_f32(std::string_view key) const;
  bool require_bool(std::string_view key) const;
  std::string_view require_string(std::string_view key) const;
  std::vector<std::string_view> require_strings(std::string_view key) const;
  std::vector<std::int32_t> require_i32s(std::string_view key) const;

  /// As `require_...`, but nothing if the key is missing. Local.
  /// Throws: Error{corrupt} naming the key if it is another kind of value.
  std::optional<std::uint32_t> find_u32(std::string_view key) const;
  std::optional<float> find_f32(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string_view> find_string(std::string_view key) const;

  /// All metadata by key.
  const std::map<std::string_view, GgufValue>& metadata() const noexcept { return metadata_; }

  /// All tensors in the order of the file.
  std::span<const GgufTensor> tensors() const noexcept { return tensors_; }

  /// The tensor called `name`, or null. Local.
  const GgufTensor* find_tensor(std::string_view name) const noexcept;

  /// The tensor called `name`. Local. Throws: Error{corrupt} naming it if there is none.
  const GgufTensor& tensor(std::string_view name) const;

  /// Throws Error{code} whose message names this file, then says `problem`.
  [[noreturn]] void refuse(ErrorCode code, const std::string& problem) const;

 private:
  GgufFile(std::string path, GgufMapping mapping);
  const GgufValue& require(std::string_view key) const;
  const GgufArray& require_array(std::string_view key, GgufValueType element_type) const;
  [[noreturn]] void refuse_kind(std::string_view key, std::string_view wanted) const;

  std::string path_;
  GgufMapping mapping_;
  std::uint32_t version_ = 0;
  std::map<std::string_view, GgufValue> metadata_;
  std::vector<GgufTensor> tensors_;
  std::map<std::string_view, std::size_t> tensor_by_name_;
};

}  // namespace cohort
