// A model file: its container, and all that a model's shape and tokeniser are read from.

#include "model/gguf.hpp"

#include <vector>

#include "fuzz/fuzz.hpp"
#include "model/chat_template.hpp"
#include "model/dequantize.hpp"
#include "model/model_config.hpp"
#include "model/tokenizer_from_gguf.hpp"

namespace cohort::fuzz {
namespace {

constexpr std::uint64_t kColumnsMax = 1U << 16U;

/// Asks for every key in every form.
void read_metadata(const GgufFile& file) {
  for (const auto& [key, value] : file.metadata()) {
    accepted([&, k = key] { static_cast<void>(file.require_u32(k)); });
    accepted([&, k = key] { static_cast<void>(file.require_f32(k)); });
    accepted([&, k = key] { static_cast<void>(file.require_bool(k)); });
    accepted([&, k = key] { static_cast<void>(file.require_string(k)); });
    accepted([&, k = key] { static_cast<void>(file.require_strings(k)); });
    accepted([&, k = key] { static_cast<void>(file.require_i32s(k)); });
  }
}

/// The first and the last row of every tensor.
void read_tensors(const GgufFile& file) {
  std::vector<float> row;
  for (const GgufTensor& tensor : file.tensors()) {
    if (file.find_tensor(tensor.name) != &tensor) finding("a tensor is found by its name");
    if (tensor.column_count() > kColumnsMax) continue;
    row.resize(tensor.column_count());
    dequantize_rows(tensor, 0, 1, row);
    dequantize_rows(tensor, tensor.row_count() - 1, 1, row);
  }
}

void read_model(const GgufFile& file) {
  accepted([&] { static_cast<void>(model_config_from(file)); });
  accepted([&] { static_cast<void>(load_tokenizer(file)); });
  accepted([&] { ChatTemplate{file.require_string("tokenizer.chat_template")}; });
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  static const fuzz::InputFile input;
  input.write({data, size});
  fuzz::accepted([] {
    const GgufFile file = GgufFile::open(input.path());
    fuzz::read_metadata(file);
    fuzz::read_tensors(file);
    fuzz::read_model(file);
  });
  return 0;
}
