#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "model/gguf.hpp"

namespace cohort::test {

/// Puts GGUF files together byte by byte, also such as no program should write.
class GgufBuilder {
 public:
  /// Appends an entry, or replaces the one with this key.
  GgufBuilder& set(const std::string& key, GgufValueType type, const std::string& value_bytes);
  GgufBuilder& set_u32(const std::string& key, std::uint32_t value);
  GgufBuilder& set_f32(const std::string& key, float value);
  GgufBuilder& set_string(const std::string& key, std::string_view value);
  GgufBuilder& set_strings(const std::string& key, const std::vector<std::string>& values);

  /// Appends an entry even if there is one with this key.
  GgufBuilder& append(const std::string& key, GgufValueType type, const std::string& value_bytes);
  GgufBuilder& erase(const std::string& key);

  /// Appends a tensor, or replaces the one of this name. `shape` is outermost first; `type` may be
  /// any number; data is as long as the shape asks for in F32 unless given.
  GgufBuilder& set_tensor(const std::string& name, const std::vector<std::uint64_t>& shape,
                          std::uint32_t type = 0, std::string data = {});
  GgufBuilder& append_tensor(const std::string& name, const std::vector<std::uint64_t>& shape);
  GgufBuilder& erase_tensor(const std::string& name);

  /// The offset that the file states for a tensor, in place of the true one.
  GgufBuilder& set_offset(const std::string& name, std::uint64_t offset);

  /// The file's bytes.
  std::string build() const;

  std::uint32_t magic = 0x46554747;
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

 private:
  struct Entry {
    std::string key;
    GgufValueType type;
    std::string value;
  };
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> shape;
    std::uint32_t type;
    std::string data;
    std::int64_t stated_offset = -1;
  };

  std::vector<Entry> entries_;
  std::vector<Tensor> tensors_;
};

/// The bytes of a number as files hold it.
template <typename T>
std::string bytes_of(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(value)};
}

/// The bytes of a string as files hold it.
std::string string_bytes(std::string_view text);

/// A one-layer Llama of 2 heads and 1 KV head, width 8, MLP 12, vocabulary 6, all weights
/// different.
GgufBuilder one_layer_model();

/// A file of the test's own, in memory, gone with the object.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& content = {});

  void write(const std::string& content) const;
  const std::string& path() const noexcept { return path_; }

 private:
  UniqueFd file_;
  std::string path_;
};

/// The bytes of a file under tests/data.
std::string read_test_data(const std::string& name);

}  // namespace cohort::test
