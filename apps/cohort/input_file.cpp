#include "input_file.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <optional>
#include <system_error>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "descriptor_path.hpp"

namespace cohort {

namespace {

constexpr double kSilenceSeconds = 30;

class Reading {
 public:
  Reading(const std::string& named_by, const std::string& path) : named_by_(named_by) {
    // To open a pipe with a name is to wait for its writer.
    file_.reset(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    struct stat status {};
    if (!file_ || ::fstat(file_.get(), &status) != 0) refuse_with_reason();
    if (S_ISDIR(status.st_mode)) refuse(std::generic_category().message(EISDIR));
    is_regular_ = S_ISREG(status.st_mode);
  }

  bool is_regular() const noexcept { return is_regular_; }

  std::string read(std::size_t bytes_max) {
    std::string text;
    std::array<char, 1 << 16> buffer;
    while (text.size() <= bytes_max) {
      if (!is_regular_) wait();
      const ssize_t count = ::read(file_.get(), buffer.data(), buffer.size());
      if (count == 0) return text;
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (count < 0) refuse_with_reason();
      text.append(buffer.data(), static_cast<std::size_t>(count));
    }
    refuse("it is longer than the " + format_bytes(bytes_max) + " that such a file may have");
  }

  /// Has descriptor `number`, which is read to its end, give `text` once more.
  void hand_on(int number, const std::string& text) const {
    const UniqueFd memory(::memfd_create("cohort-input", MFD_CLOEXEC));
    if (!memory) refuse_with_reason();
    for (std::size_t written = 0; written < text.size();) {
      const ssize_t count = ::write(memory.get(), text.data() + written, text.size() - written);
      if (count < 0) refuse_with_reason();
      written += static_cast<std::size_t>(count);
    }
    if (::lseek(memory.get(), 0, SEEK_SET) != 0 || ::dup2(memory.get(), number) < 0) {
      refuse_with_reason();
    }
  }

  [[noreturn]] void refuse(const std::string& why) const {
    throw Error(ErrorCode::usage, named_by_ + " cannot be read: " + why, std::nullopt, "arguments");
  }

 private:
  [[noreturn]] void refuse_with_reason() const { refuse(std::generic_category().message(errno)); }

  void wait() const {
    const double seconds = kSilenceSeconds * deadline_scale_from_environment();
    const Stopwatch watch;
    pollfd polled{file_.get(), POLLIN, 0};
    while (true) {
      const double left_ms = std::ceil((seconds - watch.seconds()) * 1000);
      if (left_ms <= 0) refuse("nothing comes from it; does anybody write to it?");
      if (::poll(&polled, 1, static_cast<int>(left_ms)) > 0) return;
    }
  }

  const std::string& named_by_;
  UniqueFd file_;
  bool is_regular_ = false;
};

}  // namespace

std::string read_input_file(const std::string& named_by, const std::string& path,
                            std::size_t bytes_max, InputReaders readers) {
  Reading file(named_by, path);
  if (file.is_regular() || readers == InputReaders::command) return file.read(bytes_max);
  const std::optional<int> number = descriptor_of(path);
  if (!number || (*number == STDIN_FILENO && readers == InputReaders::all_ranks)) {
    file.refuse("it is no regular file, and ranks read it too; write what it gives to a file");
  }
  std::string text = file.read(bytes_max);
  file.hand_on(*number, text);
  return text;
}

}  // namespace cohort
