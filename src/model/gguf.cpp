#include "model/gguf.hpp"

#include <limits>
#include <utility>

#include "model/gguf_cursor.hpp"
#include "model/gguf_parse.hpp"
#include "model/printable.hpp"

namespace cohort {
namespace {

// `value` as T if it is an integer that fits.
template <typename T>
std::optional<T> integer_of(const GgufValue& value) {
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) {
    if (std::in_range<T>(*number)) return static_cast<T>(*number);
  }
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) {
    if (std::in_range<T>(*number)) return static_cast<T>(*number);
  }
  return std::nullopt;
}

std::string describe(const GgufValue& value) {
  if (const auto* array = std::get_if<GgufArray>(&value.value)) {
    return "an array of " + to_string(array->element_type);
  }
  if (const auto* number = std::get_if<std::uint64_t>(&value.value)) {
    return std::to_string(*number) + " (" + to_string(value.type) + ")";
  }
  if (const auto* number = std::get_if<std::int64_t>(&value.value)) {
    return std::to_string(*number) + " (" + to_string(value.type) + ")";
  }
  return "of type " + to_string(value.type);
}

}  // namespace

std::uint64_t GgufTensor::row_bytes() const noexcept {
  const GgufBlock block = block_of(type);
  return column_count() / block.element_count * block.bytes;
}

GgufFile GgufFile::open(const std::string& path) {
  return {path, GgufMapping(path)};
}

GgufFile::GgufFile(std::string path, GgufMapping mapping)
    : path_(std::move(path)), mapping_(std::move(mapping)) {
  GgufContent content = parse_gguf(mapping_.bytes(), path_);
  version_ = content.version;
  metadata_ = std::move(content.metadata);
  tensors_ = std::move(content.tensors);
  tensor_by_name_ = std::move(content.tensor_by_name);
}

const GgufValue* GgufFile::find(std::string_view key) const noexcept {
  const auto found = metadata_.find(key);
  return found == metadata_.end() ? nullptr : &found->second;
}

const GgufValue& GgufFile::require(std::string_view key) const {
  const GgufValue* value = find(key);
  if (value == nullptr) {
    refuse(ErrorCode::corrupt, "metadata key " + printable(key) + " is missing");
  }
  return *value;
}

std::uint32_t GgufFile::require_u32(std::string_view key) const {
  const std::optional<std::uint32_t> number = integer_of<std::uint32_t>(require(key));
  if (!number) refuse_kind(key, "an integer from 0 to 4294967295");
  return *number;
}

float GgufFile::require_f32(std::string_view key) const {
  const auto* number = std::get_if<double>(&require(key).value);
  if (number == nullptr) refuse_kind(key, "a floating-point number");
  return static_cast<float>(*number);
}

bool GgufFile::require_bool(std::string_view key) const {
  const auto* flag = std::get_if<bool>(&require(key).value);
  if (flag == nullptr) refuse_kind(key, "a bool");
  return *flag;
}

std::string_view GgufFile::require_string(std::string_view key) const {
  const auto* text = std::get_if<std::string_view>(&require(key).value);
  if (text == nullptr) refuse_kind(key, "a string");
  return *text;
}

const GgufArray& GgufFile::require_array(std::string_view key, GgufValueType element_type) const {
  const auto* array = std::get_if<GgufArray>(&require(key).value);
  if (array == nullptr || array->element_type != element_type) {
    refuse_kind(key, "an array of " + to_string(element_type));
  }
  return *array;
}

std::vector<std::string_view> GgufFile::require_strings(std::string_view key) const {
  const GgufArray& array = require_array(key, GgufValueType::string);
  GgufCursor cursor(array.data, path_);
  std::vector<std::string_view> texts;
  texts.reserve(array.element_count);
  for (std::uint64_t i = 0; i < array.element_count; ++i) texts.push_back(cursor.read_string(key));
  return texts;
}

std::vector<std::int32_t> GgufFile::require_i32s(std::string_view key) const {
  const GgufArray& array = require_array(key, GgufValueType::i32);
  GgufCursor cursor(array.data, path_);
  std::vector<std::int32_t> numbers;
  numbers.reserve(array.element_count);
  for (std::uint64_t i = 0; i < array.element_count; ++i) {
    numbers.push_back(cursor.read<std::int32_t>(key));
  }
  return numbers;
}

std::optional<std::uint32_t> GgufFile::find_u32(std::string_view key) const {
  if (find(key) == nullptr) return std::nullopt;
  return require_u32(key);
}

std::optional<float> GgufFile::find_f32(std::string_view key) const {
  if (find(key) == nullptr) return std::nullopt;
  return require_f32(key);
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  if (find(key) == nullptr) return std::nullopt;
  return require_bool(key);
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  if (find(key) == nullptr) return std::nullopt;
  return require_string(key);
}

const GgufTensor* GgufFile::find_tensor(std::string_view name) const noexcept {
  const auto found = tensor_by_name_.find(name);
  return found == tensor_by_name_.end() ? nullptr : &tensors_[found->second];
}

const GgufTensor& GgufFile::tensor(std::string_view name) const {
  const GgufTensor* found = find_tensor(name);
  if (found == nullptr) refuse(ErrorCode::corrupt, "tensor " + quoted(name) + " is missing");
  return *found;
}

void GgufFile::refuse(ErrorCode code, const std::string& problem) const {
  throw Error(code, "model file " + path_ + ": " + problem, std::nullopt, "load");
}

void GgufFile::refuse_kind(std::string_view key, std::string_view wanted) const {
  refuse(ErrorCode::corrupt, "metadata key " + printable(key) + " is " + describe(require(key)) +
                                 ", not " + std::string(wanted));
}

}  // namespace cohort
