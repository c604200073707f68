// A path table as JSON, as `--path-table` reads it.

#include <optional>

#include <cohort/path_table.hpp>

#include "fuzz/fuzz.hpp"

namespace cohort::fuzz {
namespace {

/// Every call finds a path, whatever its size.
void choose(const PathTable& table) {
  for (std::size_t op = 0; op < kOpCount; ++op) {
    for (const std::uint32_t ranks : {2U, 3U, 64U, 1024U}) {
      for (const Memory memory : {Memory::host, Memory::cuda}) {
        if (static_cast<Op>(op) == Op::recv) continue;
        if (table.steps(static_cast<Op>(op), ranks, ranks == 64, memory).empty()) {
          finding("every operation has a path", to_string(static_cast<Op>(op)));
        }
        static_cast<void>(table.choose(static_cast<Op>(op), ranks, false, ~std::size_t{0}, memory));
      }
      static_cast<void>(table.grid(static_cast<Op>(op), ranks));
    }
  }
}

}  // namespace
}  // namespace cohort::fuzz

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  const std::string_view text = fuzz::text_of({data, size});
  std::optional<PathTable> table;
  if (!fuzz::accepted([&] { table = PathTable::parse(text); })) return 0;
  fuzz::choose(*table);
  const std::string written = table->to_json();
  if (!(PathTable::parse(written) == *table)) {
    fuzz::finding("a table that is written reads as itself", written);
  }
  return 0;
}
