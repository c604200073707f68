#include "model/gguf_parse.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <utility>

#include "model/gguf_cursor.hpp"

namespace cohort {
namespace {

constexpr std::uint32_t kMagic = 0x46554747;  // "GGUF"
constexpr std::uint32_t kVersionMin = 2;
constexpr std::uint32_t kVersionMax = 3;

// Far above any real file, and low enough that a count made of noise is refused at once.
constexpr std::uint64_t kMetadataCountMax = 1u << 16;
constexpr std::uint64_t kTensorCountMax = 1u << 20;
constexpr std::uint32_t kDimensionCountMax = 4;
constexpr std::uint64_t kKeyBytesMax = 65535;
constexpr std::uint32_t kAlignmentDefault = 32;
constexpr std::uint32_t kAlignmentMax = 1u << 20;

// A tensor's place, known before the data section's begin is.
struct TensorPlace {
  std::uint64_t offset = 0;  // bytes from the begin of the data section
  std::uint64_t bytes = 0;
};

class Parser {
 public:
  Parser(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes), cursor_(bytes, file) {}

  GgufContent parse();

 private:
  std::uint64_t read_count(std::string_view field, std::uint64_t count_max);
  void read_pair();
  GgufValue read_value(GgufValueType type, const std::string& field);
  GgufArray read_array(const std::string& field);
  GgufValueType read_value_type(const std::string& field);
  void read_tensor();
  std::uint64_t read_shape(GgufTensor& tensor, const std::string& field);
  std::uint64_t alignment() const;
  void place_data();
  void check_no_overlap() const;

  std::span<const std::byte> bytes_;
  GgufCursor cursor_;
  GgufContent content_;
  std::vector<TensorPlace> places_;  // by tensor
};

GgufContent Parser::parse() {
  if (cursor_.read<std::uint32_t>("the file's magic number") != kMagic) {
    cursor_.refuse(ErrorCode::corrupt, "is not a GGUF file (it does not begin with 'GGUF')");
  }
  content_.version = cursor_.read<std::uint32_t>("the format version");
  if (content_.version < kVersionMin || content_.version > kVersionMax) {
    const bool swapped = (content_.version & 0xffffu) == 0 && content_.version != 0;
    cursor_.refuse(ErrorCode::unsupported,
                   swapped ? "is a big-endian GGUF file; convert it to little endian"
                           : "GGUF version " + std::to_string(content_.version) +
                                 " is not supported, only 2 and 3 are");
  }
  const std::uint64_t tensor_count = read_count("the tensor count", kTensorCountMax);
  const std::uint64_t pair_count = read_count("the metadata count", kMetadataCountMax);
  for (std::uint64_t i = 0; i < pair_count; ++i) read_pair();
  for (std::uint64_t i = 0; i < tensor_count; ++i) read_tensor();
  place_data();
  return std::move(content_);
}

std::uint64_t Parser::read_count(std::string_view field, std::uint64_t count_max) {
  const auto count = cursor_.read<std::uint64_t>(field);
  if (count > count_max) {
    cursor_.refuse(ErrorCode::corrupt, std::string(field) + " is " + std::to_string(count) +
                                           ", more than the " + std::to_string(count_max) +
                                           " any file may have");
  }
  return count;
}

void Parser::read_pair() {
  const std::string_view key =
      cursor_.read_string("the key of metadata entry " + std::to_string(content_.metadata.size()));
  if (key.empty() || key.size() > kKeyBytesMax) {
    cursor_.refuse(ErrorCode::corrupt, "a metadata key has " + std::to_string(key.size()) +
                                           " bytes, keys have 1 to 65535");
  }
  const std::string field = "the value of " + quoted(key);
  const GgufValueType type = read_value_type("the type of " + quoted(key));
  if (!content_.metadata.emplace(key, read_value(type, field)).second) {
    cursor_.refuse(ErrorCode::corrupt, "metadata key " + quoted(key) + " occurs twice");
  }
}

GgufValueType Parser::read_value_type(const std::string& field) {
  const auto number = cursor_.read<std::uint32_t>(field);
  const std::optional<GgufValueType> type = gguf_value_type_from(number);
  if (!type) {
    cursor_.refuse(ErrorCode::corrupt,
                   field + " is " + std::to_string(number) + ", which is no kind of value");
  }
  return *type;
}

GgufValue Parser::read_value(GgufValueType type, const std::string& field) {
  switch (type) {
    case GgufValueType::u8: return {type, std::uint64_t{cursor_.read<std::uint8_t>(field)}};
    case GgufValueType::i8: return {type, std::int64_t{cursor_.read<std::int8_t>(field)}};
    case GgufValueType::u16: return {type, std::uint64_t{cursor_.read<std::uint16_t>(field)}};
    case GgufValueType::i16: return {type, std::int64_t{cursor_.read<std::int16_t>(field)}};
    case GgufValueType::u32: return {type, std::uint64_t{cursor_.read<std::uint32_t>(field)}};
    case GgufValueType::i32: return {type, std::int64_t{cursor_.read<std::int32_t>(field)}};
    case GgufValueType::u64: return {type, cursor_.read<std::uint64_t>(field)};
    case GgufValueType::i64: return {type, cursor_.read<std::int64_t>(field)};
    case GgufValueType::f32: return {type, double{cursor_.read<float>(field)}};
    case GgufValueType::f64: return {type, cursor_.read<double>(field)};
    case GgufValueType::string: return {type, cursor_.read_string(field)};
    case GgufValueType::array: return {type, read_array(field)};
    case GgufValueType::boolean: break;
  }
  const auto flag = cursor_.read<std::uint8_t>(field);
  if (flag > 1) {
    cursor_.refuse(ErrorCode::corrupt,
                   field + " is " + std::to_string(flag) + ", a bool is 0 or 1");
  }
  return {type, flag == 1};
}

GgufArray Parser::read_array(const std::string& field) {
  GgufArray array;
  array.element_type = read_value_type("the element type of " + field);
  if (array.element_type == GgufValueType::array) {
    cursor_.refuse(ErrorCode::unsupported, field + " is an array of arrays");
  }
  array.element_count = cursor_.read<std::uint64_t>("the element count of " + field);
  const std::size_t begin = cursor_.position_bytes();
  const std::size_t element_bytes = fixed_bytes_of(array.element_type);
  if (element_bytes == 0) {
    // Each string takes at least its length, so a count made of noise ends at the file's end.
    for (std::uint64_t i = 0; i < array.element_count; ++i) cursor_.read_string(field);
  } else {
    const std::uint64_t count_max = std::numeric_limits<std::uint64_t>::max() / element_bytes;
    cursor_.take(std::min(array.element_count, count_max) * element_bytes, field);
  }
  array.data = bytes_.subspan(begin, cursor_.position_bytes() - begin);
  return array;
}

void Parser::read_tensor() {
  const std::string number = std::to_string(content_.tensors.size());
  GgufTensor tensor;
  tensor.name = cursor_.read_string("the name of tensor " + number);
  if (tensor.name.empty() || tensor.name.size() > kKeyBytesMax) {
    cursor_.refuse(ErrorCode::corrupt, "the name of tensor " + number + " has " +
                                           std::to_string(tensor.name.size()) +
                                           " bytes, names have 1 to 65535");
  }
  const std::string field = "tensor " + quoted(tensor.name);
  const std::uint64_t element_count = read_shape(tensor, field);
  const auto type_number = cursor_.read<std::uint32_t>("the type of " + field);
  const std::optional<GgufType> type = gguf_type_from(type_number);
  if (!type) {
    cursor_.refuse(ErrorCode::unsupported, field + " has type " + describe_gguf_type(type_number) +
                                               "; the types that can be read are " +
                                               readable_gguf_types());
  }
  tensor.type = *type;
  const GgufBlock block = block_of(*type);
  if (tensor.column_count() % block.element_count != 0) {
    cursor_.refuse(ErrorCode::corrupt,
                   field + " has rows of " + std::to_string(tensor.column_count()) +
                       " elements, its type has blocks of " + std::to_string(block.element_count));
  }
  const auto offset = cursor_.read<std::uint64_t>("the offset of " + field);
  // read_shape bounds the element count so that this product fits.
  places_.push_back({offset, element_count / block.element_count * block.bytes});
  if (!content_.tensor_by_name.emplace(tensor.name, content_.tensors.size()).second) {
    cursor_.refuse(ErrorCode::corrupt, field + " occurs twice");
  }
  content_.tensors.push_back(std::move(tensor));
}

std::uint64_t Parser::read_shape(GgufTensor& tensor, const std::string& field) {
  const auto dimension_count = cursor_.read<std::uint32_t>("the dimension count of " + field);
  if (dimension_count == 0 || dimension_count > kDimensionCountMax) {
    cursor_.refuse(ErrorCode::corrupt, field + " has " + std::to_string(dimension_count) +
                                           " dimensions, tensors have 1 to 4");
  }
  // No element takes less than half a byte, so a tensor with more cannot lie in the file.
  const std::uint64_t element_count_max = std::uint64_t{bytes_.size()} * 2;
  std::uint64_t element_count = 1;
  for (std::uint32_t i = 0; i < dimension_count; ++i) {
    const auto extent = cursor_.read<std::uint64_t>("a dimension of " + field);
    if (extent == 0 || extent > element_count_max / element_count) {
      cursor_.refuse(ErrorCode::corrupt, "dimension " + std::to_string(i) + " of " + field +
                                             " is " + std::to_string(extent) +
                                             ", which this file cannot hold; is it complete?");
    }
    element_count *= extent;
    tensor.shape.push_back(extent);
  }
  // Files store the fastest dimension first.
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  return element_count;
}

std::uint64_t Parser::alignment() const {
  const auto found = content_.metadata.find("general.alignment");
  if (found == content_.metadata.end()) return kAlignmentDefault;
  const auto* alignment = std::get_if<std::uint64_t>(&found->second.value);
  if (alignment == nullptr || *alignment < 8 || *alignment > kAlignmentMax ||
      !std::has_single_bit(*alignment)) {
    cursor_.refuse(ErrorCode::corrupt,
                   "general.alignment is not a power of two between 8 and 1048576");
  }
  return *alignment;
}

void Parser::place_data() {
  const std::uint64_t aligned = alignment();
  const std::uint64_t header_bytes = cursor_.position_bytes();
  const std::uint64_t data_begin = (header_bytes + aligned - 1) / aligned * aligned;
  const std::uint64_t data_bytes = bytes_.size() > data_begin ? bytes_.size() - data_begin : 0;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    GgufTensor& tensor = content_.tensors[i];
    const TensorPlace& place = places_[i];
    if (place.offset % aligned != 0) {
      cursor_.refuse(ErrorCode::corrupt, "the data of tensor " + quoted(tensor.name) +
                                             " begins at offset " + std::to_string(place.offset) +
                                             ", not a multiple of the alignment of " +
                                             std::to_string(aligned));
    }
    if (place.offset > data_bytes || place.bytes > data_bytes - place.offset) {
      cursor_.refuse(ErrorCode::corrupt, "the data of tensor " + quoted(tensor.name) + " needs " +
                                             std::to_string(place.bytes) + " bytes at offset " +
                                             std::to_string(place.offset) + ", the file has " +
                                             std::to_string(data_bytes) + "; is it complete?");
    }
    tensor.data = bytes_.subspan(data_begin + place.offset, place.bytes);
  }
  check_no_overlap();
}

void Parser::check_no_overlap() const {
  std::vector<const GgufTensor*> order;
  order.reserve(content_.tensors.size());
  for (const GgufTensor& tensor : content_.tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const GgufTensor* a, const GgufTensor* b) {
    return a->data.data() < b->data.data();
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    const GgufTensor& before = *order[i - 1];
    if (before.data.data() + before.data.size() > order[i]->data.data()) {
      cursor_.refuse(ErrorCode::corrupt, "the data of tensors " + quoted(before.name) + " and " +
                                             quoted(order[i]->name) + " overlap");
    }
  }
}

}  // namespace

GgufContent parse_gguf(std::span<const std::byte> bytes, const std::string& file) {
  return Parser(bytes, file).parse();
}

}  // namespace cohort
