// Runs a fuzz target over files and folders of files, without a fuzzer: `target PATH...`.
// Ends with 1 if there was nothing to run, since then nothing would be tested.

#include <algorithm>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "fuzz/fuzz.hpp"

namespace {

std::vector<std::filesystem::path> files_of(int argument_count, char** arguments) {
  std::vector<std::filesystem::path> files;
  for (int i = 1; i < argument_count; ++i) {
    if (!std::filesystem::is_directory(arguments[i])) {
      files.emplace_back(arguments[i]);
      continue;
    }
    for (const auto& entry : std::filesystem::directory_iterator(arguments[i])) {
      if (entry.is_regular_file()) files.push_back(entry.path());
    }
  }
  std::sort(files.begin(), files.end());
  return files;
}

void replay(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  if (!file) cohort::fuzz::finding("a file of the corpus can be read", path.native());
  // Of exactly this size, so that a sanitizer sees a read past the end.
  const std::vector<std::uint8_t> input(bytes.begin(), bytes.end());
  try {
    static_cast<void>(LLVMFuzzerTestOneInput(input.data(), input.size()));
  } catch (const std::exception& exception) {
    std::fprintf(stderr, "%s: ", path.c_str());
    cohort::fuzz::finding("nothing but an Error is thrown", exception.what());
  }
}

}  // namespace

int main(int argument_count, char** arguments) {
  const auto files = files_of(argument_count, arguments);
  for (const auto& path : files) replay(path);
  std::printf("replayed %zu inputs\n", files.size());
  return files.empty() ? 1 : 0;
}
