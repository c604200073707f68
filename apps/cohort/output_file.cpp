#include "output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <optional>
#include <ostream>
#include <system_error>
#include <utility>

#include <cohort/error.hpp>

#include "base/replace_file.hpp"
#include "base/unique_fd.hpp"
#include "descriptor_path.hpp"
#include "rendezvous/stop_signals.hpp"

namespace cohort {

namespace {

std::string reason_text(int reason) {
  return std::generic_category().message(reason);
}

std::string folder_of(const std::string& path) {
  const std::string folder = std::filesystem::path(path).parent_path().string();
  return folder.empty() ? "." : folder;
}

/// Why no regular file can be put at `path`, as errno, or 0.
int obstacle_at(const std::string& path, const struct stat* present) {
  if (!std::filesystem::path(path).has_filename()) return EISDIR;
  if (present != nullptr && ::access(path.c_str(), W_OK) != 0) return errno;
  if (::access(folder_of(path).c_str(), W_OK | X_OK) != 0) return errno;
  struct stat folder {};
  if (::stat(folder_of(path).c_str(), &folder) != 0) return errno;
  return S_ISDIR(folder.st_mode) ? 0 : ENOTDIR;
}

/// Ctrl-C and SIGTERM wait as long as it lives, and then have their effect.
class StopsLater {
 public:
  StopsLater() : signals_(std::in_place) {}
  ~StopsLater() {
    const std::optional<int> number = signals_->next();
    signals_.reset();
    if (number) ::raise(*number);
  }
  StopsLater(const StopsLater&) = delete;
  StopsLater& operator=(const StopsLater&) = delete;

 private:
  std::optional<rendezvous::StopSignals> signals_;
};

}  // namespace

OutputFile::OutputFile(std::string flag, std::string path)
    : flag_(std::move(flag)), path_(std::move(path)) {
  struct stat present {};
  const bool exists = ::stat(path_.c_str(), &present) == 0;
  if (!exists && errno != ENOENT) refuse(errno);
  if (exists && S_ISDIR(present.st_mode)) refuse(EISDIR);
  // Nobody would read a file that takes the place of one that is open, such as /dev/stdout.
  is_direct_ = exists && (!S_ISREG(present.st_mode) || descriptor_of(path_));
  if (is_direct_) {
    // Opened only to be written to: whoever reads a pipe would take this for its end.
    if (::access(path_.c_str(), W_OK) != 0) refuse(errno);
    return;
  }
  if (const int reason = obstacle_at(end_of_links(path_), exists ? &present : nullptr)) {
    refuse(reason);
  }
}

void OutputFile::write(const std::string& text) {
  if (is_direct_) return write_directly(text);
  int reason = 0;
  {
    const StopsLater stops_later;
    reason = replace_file(path_, text);
  }
  if (reason != 0) fail(reason);
}

void OutputFile::write_directly(const std::string& text) {
  // Without waiting for somebody who reads a pipe: nobody may ever come. Behind what is in a file.
  const UniqueFd device(::open(path_.c_str(), O_WRONLY | O_APPEND | O_NONBLOCK | O_CLOEXEC));
  if (!device || ::fcntl(device.get(), F_SETFL, O_APPEND) != 0) fail(errno);
  for (std::size_t written = 0; written < text.size();) {
    const ssize_t count = ::write(device.get(), text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(errno);
    written += static_cast<std::size_t>(count);
  }
}

void OutputFile::refuse(int reason) const {
  throw Error(ErrorCode::usage,
              flag_ + " " + path_ + " cannot be written: " + reason_text(reason) +
                  "; give a file in a folder that may be written to",
              std::nullopt, "arguments");
}

void OutputFile::fail(int reason) const {
  throw Error(ErrorCode::system,
              flag_ + " " + path_ + " cannot be written: " + reason_text(reason) +
                  (is_direct_ ? "" : "; what was there before is untouched"),
              std::nullopt, "output");
}

void require_writable_place(const std::string& flag, const std::string& path) {
  struct stat present {};
  const bool exists = ::stat(path.c_str(), &present) == 0;
  const bool is_other = exists && !S_ISREG(present.st_mode) && !S_ISDIR(present.st_mode);
  int reason = exists && S_ISDIR(present.st_mode) ? EISDIR : 0;
  if (!exists && errno != ENOENT) reason = errno;
  if (reason == 0 && !is_other) {
    reason = obstacle_at(end_of_links(path), exists ? &present : nullptr);
  }
  if (reason == 0 && !is_other) return;
  throw Error(ErrorCode::usage,
              flag + " " + path + " cannot be written: " +
                  (is_other ? "it is no regular file" : reason_text(reason)) +
                  "; give a file in a folder that may be written to",
              std::nullopt, "arguments");
}

void require_written(std::ostream& output) {
  errno = 0;
  if (output.flush()) return;
  // A write that failed before has taken its reason with it.
  const std::string reason =
      errno == 0 ? "its disk is full or its reader is gone" : reason_text(errno);
  throw Error(ErrorCode::system,
              "cannot write to standard output: " + reason + "; what was printed is not complete",
              std::nullopt, "output");
}

}  // namespace cohort
