#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cohort {

/// One setting of a configuration file.
struct ConfigEntry {
  enum class Kind { text, boolean, list };

  std::string command;  ///< "generate" or "bench layer"; empty for what stands above all tables
  std::string key;      ///< empty for a table without settings
  std::uint32_t line = 0;
  Kind kind = Kind::text;
  std::vector<std::string> values;  ///< one but for a list; of a boolean "true" or "false"
};

/// The settings of a TOML document, by line. `name` is what messages call it. Whether there are
/// flags of these names is not looked at. Pure.
/// Throws: Error{corrupt} for what is no TOML, Error{usage} for values that no flag has, both with
/// name and line.
std::vector<ConfigEntry> parse_config(std::string_view text, const std::string& name);

/// Reads a file and parses it; `named_by` is what an error says of one that cannot be read:
/// "--config job.toml". Local.
/// Throws: what `parse_config` throws, Error{usage} for a file that cannot be read or is too long.
std::vector<ConfigEntry> read_config_file(const std::string& name, const std::string& named_by);

}  // namespace cohort
