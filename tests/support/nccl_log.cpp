#include "support/nccl_log.hpp"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace cohort::test {
namespace {

constexpr std::array<std::string_view, 5> kFunctions = {"AllReduce", "AllGather", "ReduceScatter",
                                                        "Broadcast", "AlltoAll"};

/// From behind `begin` up to the next blank.
std::string word_after(std::string_view line, std::string_view begin) {
  const std::size_t at = line.find(begin);
  if (at == std::string_view::npos) return {};
  const std::string_view rest = line.substr(at + begin.size());
  return std::string(rest.substr(0, rest.find(' ')));
}

}  // namespace

std::optional<NcclTuning> parse_nccl_tuning(std::string_view line) {
  if (line.find("Bytes -> ") == std::string_view::npos) return std::nullopt;
  for (const std::string_view function : kFunctions) {
    const std::string symmetric = std::string(function) + " [Symmetric]: ";
    if (line.find(symmetric) != std::string_view::npos) {
      return NcclTuning{std::string(function), true, word_after(line, "-> Kernel ")};
    }
    if (line.find(std::string(function) + ": ") != std::string_view::npos) {
      return NcclTuning{std::string(function), false,
                        word_after(line, "-> Algo ") + " " + word_after(line, "proto ")};
    }
  }
  return std::nullopt;
}

std::vector<NcclTuning> parse_nccl_log(std::string_view text) {
  std::vector<NcclTuning> choices;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    if (const auto choice = parse_nccl_tuning(text.substr(0, end))) choices.push_back(*choice);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return choices;
}

NcclLog::NcclLog(const std::string& folder)
    : path_(folder + "/nccl." + std::to_string(::getpid()) + ".log") {
  ::setenv("NCCL_DEBUG", "INFO", 1);
  ::setenv("NCCL_DEBUG_SUBSYS", "INIT,TUNING", 1);
  ::setenv("NCCL_DEBUG_FILE", path_.c_str(), 1);
}

std::vector<NcclTuning> NcclLog::take() {
  std::ifstream file(path_);
  file.seekg(static_cast<std::streamoff>(read_));
  const std::string text(std::istreambuf_iterator<char>(file), {});
  read_ += text.size();
  return parse_nccl_log(text);
}

}  // namespace cohort::test
