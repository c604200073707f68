#pragma once

// What all fuzzed parsers promise: bytes that anybody may have written end in a value or in one
// Error of bad input with one printable message, in bounded time and memory.
//
// A target defines LLVMFuzzerTestOneInput. Built by clang with COHORT_FUZZ it is a libFuzzer
// program; built as usual it replays the files of its corpus, see replay.cpp.

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"

namespace cohort::fuzz {

/// A promise is broken: ends the process so that the fuzzer keeps the input.
[[noreturn]] inline void finding(const char* promise, std::string_view detail = {}) {
  std::fprintf(stderr, "finding: %s: %.*s\n", promise, static_cast<int>(detail.size()),
               detail.data());
  std::abort();
}

/// Longest message worth reading; quotes of the input are cut well before.
constexpr std::size_t kMessageBytesMax = 2000;

inline void check_message(const Error& error) {
  const std::string_view message = error.what();
  if (message.empty()) finding("an error says what is wrong");
  if (message.size() > kMessageBytesMax) finding("a message is short", message);
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20; };
  if (std::any_of(message.begin(), message.end(), is_control)) {
    finding("a message is one line of text", message);
  }
}

/// Whether `use` took the input. What it throws must blame the input, which exit code 2 stands for.
template <typename Use>
bool accepted(const Use& use) {
  try {
    use();
    return true;
  } catch (const Error& error) {
    check_message(error);
    if (error.exit_code() != 2) finding("bad input ends with exit code 2", error.what());
    return false;
  }
}

inline std::string_view text_of(std::span<const std::uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// `text` up to `mark`, which is passed; all of it where there is none.
inline std::string_view cut(std::string_view& text, char mark) {
  const std::size_t end = std::min(text.find(mark), text.size());
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return part;
}

/// A file in memory for what is read by its path.
class InputFile {
 public:
  InputFile() : file_(::memfd_create("fuzz", 0)) {
    if (file_.get() < 0) finding("a file in memory can be made");
    path_ = "/proc/self/fd/" + std::to_string(file_.get());
  }

  void write(std::span<const std::uint8_t> bytes) const {
    const bool written =
        ::ftruncate(file_.get(), 0) == 0 &&
        ::pwrite(file_.get(), bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size());
    if (!written) finding("a file in memory can be written");
  }
  const std::string& path() const noexcept { return path_; }

 private:
  UniqueFd file_;
  std::string path_;
};

}  // namespace cohort::fuzz

// libFuzzer's name. NOLINTNEXTLINE(readability-identifier-naming)
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
