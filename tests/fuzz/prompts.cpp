// A file of prompts as `--prompts` reads it, and prompts as ranks send them to each other.

#include <sstream>

#include "fuzz/fuzz.hpp"
#include "generate_prompts.hpp"

namespace cohort::fuzz {
namespace {

void read_file(const std::string& path) {
  GenerateFlags flags;
  flags.prompts_file = path;
  std::istringstream none;
  accepted([&] {
    for (const std::string& text : read_prompt_texts(flags, none)) {
      if (text.empty()) finding("a prompt says something");
    }
  });
}

void read_message(std::span<const std::byte> bytes) {
  accepted([&] {
    const std::vector<Prompt> prompts = decode_prompts(bytes);
    const std::vector<Prompt> again = decode_prompts(encode_prompts(prompts));
    if (again.size() != prompts.size()) finding("prompts that are sent arrive");
    for (std::size_t i = 0; i < prompts.size(); ++i) {
      const bool same = again[i].text == prompts[i].text && again[i].tokens == prompts[i].tokens;
      if (!same) finding("prompts that are sent arrive", prompts[i].text);
    }
  });
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  static const fuzz::InputFile input;
  const std::span bytes(data, size);
  input.write(bytes);
  fuzz::read_file(input.path());
  fuzz::read_message(std::as_bytes(bytes));
  return 0;
}
