// A configuration file, as `--config` reads it.

#include <algorithm>
#include <vector>

#include "config_file.hpp"
#include "fuzz/fuzz.hpp"

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cohort;
  const std::string_view text = fuzz::text_of({data, size});
  std::vector<ConfigEntry> entries;
  if (!fuzz::accepted([&] { entries = parse_config(text, "job.toml"); })) return 0;
  const auto lines = 1 + std::count(text.begin(), text.end(), '\n');
  for (const ConfigEntry& entry : entries) {
    if (entry.line == 0 || entry.line > static_cast<std::uint64_t>(lines)) {
      fuzz::finding("a setting stands on a line of the file", entry.key);
    }
    const bool one = entry.kind == ConfigEntry::Kind::list || entry.values.size() == 1;
    if (!entry.key.empty() && !one) fuzz::finding("a setting has one value", entry.key);
  }
  return 0;
}
