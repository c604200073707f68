#include "model/gguf_builder.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

namespace cohort::test {
namespace {

std::uint64_t element_count(const std::vector<std::uint64_t>& shape) {
  std::uint64_t count = 1;
  for (const std::uint64_t extent : shape) count *= extent;
  return count;
}

// Numbers that differ from tensor to tensor and from element to element.
std::string counting_data(std::uint64_t count, std::size_t tensor_index) {
  std::string data;
  for (std::uint64_t i = 0; i < count; ++i) {
    data += bytes_of(static_cast<float>(tensor_index) + static_cast<float>(i) / 1024);
  }
  return data;
}

void pad(std::string& bytes, std::uint64_t alignment) {
  bytes.resize((bytes.size() + alignment - 1) / alignment * alignment);
}

}  // namespace

std::string string_bytes(std::string_view text) {
  return bytes_of(std::uint64_t{text.size()}) + std::string(text);
}

GgufBuilder& GgufBuilder::append(const std::string& key, GgufValueType type,
                                 const std::string& value_bytes) {
  entries_.push_back({key, type, value_bytes});
  return *this;
}

GgufBuilder& GgufBuilder::set(const std::string& key, GgufValueType type,
                              const std::string& value_bytes) {
  const auto found = std::find_if(entries_.begin(), entries_.end(),
                                  [&](const Entry& entry) { return entry.key == key; });
  if (found == entries_.end()) return append(key, type, value_bytes);
  *found = {key, type, value_bytes};
  return *this;
}

GgufBuilder& GgufBuilder::set_u32(const std::string& key, std::uint32_t value) {
  return set(key, GgufValueType::u32, bytes_of(value));
}

GgufBuilder& GgufBuilder::set_f32(const std::string& key, float value) {
  return set(key, GgufValueType::f32, bytes_of(value));
}

GgufBuilder& GgufBuilder::set_string(const std::string& key, std::string_view value) {
  return set(key, GgufValueType::string, string_bytes(value));
}

GgufBuilder& GgufBuilder::set_strings(const std::string& key,
                                      const std::vector<std::string>& values) {
  std::string encoded = bytes_of(static_cast<std::uint32_t>(GgufValueType::string)) +
                        bytes_of(std::uint64_t{values.size()});
  for (const std::string& value : values) encoded += string_bytes(value);
  return set(key, GgufValueType::array, encoded);
}

GgufBuilder& GgufBuilder::erase(const std::string& key) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.key == key; });
  return *this;
}

GgufBuilder& GgufBuilder::set_tensor(const std::string& name,
                                     const std::vector<std::uint64_t>& shape, std::uint32_t type,
                                     std::string data) {
  const auto found = std::find_if(tensors_.begin(), tensors_.end(),
                                  [&](const Tensor& tensor) { return tensor.name == name; });
  if (data.empty()) data = counting_data(element_count(shape), tensors_.size());
  Tensor tensor{name, shape, type, std::move(data)};
  if (found == tensors_.end()) {
    tensors_.push_back(std::move(tensor));
  } else {
    *found = std::move(tensor);
  }
  return *this;
}

GgufBuilder& GgufBuilder::append_tensor(const std::string& name,
                                        const std::vector<std::uint64_t>& shape) {
  tensors_.push_back({name, shape, 0, counting_data(element_count(shape), tensors_.size())});
  return *this;
}

GgufBuilder& GgufBuilder::erase_tensor(const std::string& name) {
  std::erase_if(tensors_, [&](const Tensor& tensor) { return tensor.name == name; });
  return *this;
}

GgufBuilder& GgufBuilder::set_offset(const std::string& name, std::uint64_t offset) {
  for (Tensor& tensor : tensors_) {
    if (tensor.name == name) tensor.stated_offset = static_cast<std::int64_t>(offset);
  }
  return *this;
}

std::string GgufBuilder::build() const {
  std::string file = bytes_of(magic) + bytes_of(version) +
                     bytes_of(std::uint64_t{tensors_.size()}) +
                     bytes_of(std::uint64_t{entries_.size()});
  for (const Entry& entry : entries_) {
    file += string_bytes(entry.key) + bytes_of(static_cast<std::uint32_t>(entry.type));
    file += entry.value;
  }
  std::string data;
  for (const Tensor& tensor : tensors_) {
    pad(data, alignment);
    file += string_bytes(tensor.name) + bytes_of(static_cast<std::uint32_t>(tensor.shape.size()));
    for (auto extent = tensor.shape.rbegin(); extent != tensor.shape.rend(); ++extent) {
      file += bytes_of(*extent);
    }
    const auto offset =
        tensor.stated_offset < 0 ? static_cast<std::int64_t>(data.size()) : tensor.stated_offset;
    file += bytes_of(tensor.type) + bytes_of(offset);
    data += tensor.data;
  }
  pad(file, alignment);
  return file + data;
}

GgufBuilder one_layer_model() {
  GgufBuilder builder;
  builder.set_string("general.architecture", "llama")
      .set_u32("llama.block_count", 1)
      .set_u32("llama.context_length", 16)
      .set_u32("llama.embedding_length", 8)
      .set_u32("llama.feed_forward_length", 12)
      .set_u32("llama.attention.head_count", 2)
      .set_u32("llama.attention.head_count_kv", 1)
      .set_f32("llama.rope.freq_base", 10000)
      .set_u32("llama.rope.dimension_count", 4)
      .set_f32("llama.attention.layer_norm_rms_epsilon", 1e-5f)
      .set_u32("llama.vocab_size", 6)
      .set_strings("tokenizer.ggml.tokens", {"a", "b", "c", "d", "e", "f"})
      .set_tensor("token_embd.weight", {6, 8})
      .set_tensor("blk.0.attn_norm.weight", {8})
      .set_tensor("blk.0.attn_q.weight", {8, 8})
      .set_tensor("blk.0.attn_k.weight", {4, 8})
      .set_tensor("blk.0.attn_v.weight", {4, 8})
      .set_tensor("blk.0.attn_output.weight", {8, 8})
      .set_tensor("blk.0.ffn_norm.weight", {8})
      .set_tensor("blk.0.ffn_gate.weight", {12, 8})
      .set_tensor("blk.0.ffn_up.weight", {12, 8})
      .set_tensor("blk.0.ffn_down.weight", {8, 12})
      .set_tensor("output_norm.weight", {8});
  return builder;
}

MemoryFile::MemoryFile(const std::string& content)
    : file_(::memfd_create("cohort-model-test", MFD_CLOEXEC)),
      path_("/proc/self/fd/" + std::to_string(file_.get())) {
  write(content);
}

void MemoryFile::write(const std::string& content) const {
  const auto bytes = static_cast<ssize_t>(content.size());
  if (::ftruncate(file_.get(), bytes) != 0 ||
      ::pwrite(file_.get(), content.data(), content.size(), 0) != bytes) {
    throw std::runtime_error("cannot write a file in memory");
  }
}

std::string read_test_data(const std::string& name) {
  std::ifstream file(std::string(COHORT_TEST_DATA) + "/data/" + name, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read tests/data/" + name);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace cohort::test
