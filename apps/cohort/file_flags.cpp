#include "file_flags.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <cohort/error.hpp>

#include "base/replace_file.hpp"

namespace cohort {

namespace {

constexpr std::array<std::string_view, 5> kOutputs{"--health-file", "--output", "--plot",
                                                   "--report", "--trace"};

[[noreturn]] void refuse(const std::string& problem) {
  throw Error(ErrorCode::usage, problem, std::nullopt, "arguments");
}

/// One file, however it is spelled: its folder, and its name there.
struct Place {
  dev_t device = 0;
  ino_t folder = 0;
  std::string name;

  bool operator==(const Place&) const = default;
};

/// Nothing for what has no place that could be taken: devices, pipes, folders, what cannot be.
std::optional<Place> place_of(const std::string& path) {
  const std::filesystem::path end = end_of_links(path);
  struct stat status {};
  if (::stat(end.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) return std::nullopt;
  const std::string folder = end.has_parent_path() ? end.parent_path().string() : ".";
  if (::stat(folder.c_str(), &status) != 0) return std::nullopt;
  return Place{status.st_dev, status.st_ino, end.filename().string()};
}

struct NamedFile {
  std::string flag;
  std::string path;
  bool is_output = false;
};

/// What the chosen command and those above it are given.
std::vector<NamedFile> named_files(const CLI::App& app) {
  std::vector<NamedFile> files;
  for (const CLI::Option* option : app.get_options()) {
    const std::string kind = option->get_type_name();
    const bool is_file = kind.starts_with("FILE");
    if (!is_file && kind != "FOLDER" && kind != "PROGRAM") continue;
    const std::string flag = option->get_name();
    for (const std::string& path : option->results()) {
      if (path.empty()) refuse(flag + " is empty: give it a " + kind + ", or leave it out");
      if (is_file) files.push_back({flag, path, std::ranges::count(kOutputs, flag) > 0});
    }
  }
  for (const CLI::App* command : app.get_subcommands()) {
    std::ranges::move(named_files(*command), std::back_inserter(files));
  }
  return files;
}

}  // namespace

void check_file_flags(const CLI::App& app, const std::string& config_file) {
  std::vector<NamedFile> files = named_files(app);
  if (!config_file.empty()) files.push_back({"--config", config_file});
  std::vector<std::optional<Place>> places;
  for (const NamedFile& file : files) places.push_back(place_of(file.path));
  for (std::size_t i = 0; i < files.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (!files[i].is_output && !files[k].is_output) continue;
      if (!places[i] || places[i] != places[k]) continue;
      refuse(files[k].flag + " " + files[k].path + " and " + files[i].flag + " " + files[i].path +
             " are the same file, and one would be lost; give two");
    }
  }
}

}  // namespace cohort
