// What `--from` is given: a command of another engine, pasted from anywhere.

#include "pasted_command.hpp"

#include "fuzz/fuzz.hpp"

namespace cohort::fuzz {
namespace {

void read(const std::string& text) {
  accepted([&] {
    std::optional<PastedCommand> pasted = read_pasted_command(text);
    if (pasted->engine.empty()) finding("what is read is of an engine");
    static_cast<void>(layout_of(LayoutFlags{}, pasted));
  });
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cohort::fuzz::read(std::string(cohort::fuzz::text_of({data, size})));
  return 0;
}
