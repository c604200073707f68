#include "report/output_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>
#include <system_error>
#include <utility>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"

namespace cohort {

namespace {

constexpr mode_t kMode = 0666;

std::string words_of_error(int error) {
  return std::generic_category().message(error);
}

int open_new(const std::string& path) {
  return ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, kMode);
}

/// 0, or why not all of it could be written.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return 0;
}

}  // namespace

OutputFile::OutputFile(std::string flag, std::string path)
    : flag_(std::move(flag)), path_(std::move(path)) {
  struct stat found {};
  const bool exists = ::stat(path_.c_str(), &found) == 0;
  if (exists && S_ISDIR(found.st_mode)) refuse(EISDIR);
  if (exists && !S_ISREG(found.st_mode)) {
    if (::access(path_.c_str(), W_OK) != 0) refuse(errno);
    return;
  }
  if (path_.empty()) refuse(ENOENT);
  if (exists && ::access(path_.c_str(), W_OK) != 0) refuse(errno);
  part_ = path_ + "." + std::to_string(::getpid()) + ".part";
  // Only tried: nothing may be left if the command is killed in the middle of its work.
  const UniqueFd file(open_new(part_));
  if (!file) refuse(errno);
  ::unlink(part_.c_str());
}

void OutputFile::refuse(int error) const {
  throw Error(ErrorCode::usage,
              flag_ + " cannot write " + (path_.empty() ? "to no file" : path_) + ": " +
                  words_of_error(error),
              std::nullopt, "arguments");
}

void OutputFile::write(std::string_view text) const {
  UniqueFd file(part_.empty() ? ::open(path_.c_str(), O_WRONLY | O_CLOEXEC) : open_new(part_));
  const bool begun = file && !part_.empty();
  int error = file ? write_all(file.get(), text) : errno;
  // A full disk may show only here.
  if (file && ::close(file.release()) != 0 && error == 0) error = errno;
  if (error == 0 && begun && std::rename(part_.c_str(), path_.c_str()) != 0) error = errno;
  if (error == 0) return;
  if (begun) ::unlink(part_.c_str());
  throw Error(ErrorCode::system, flag_ + " cannot write " + path_ + ": " + words_of_error(error),
              std::nullopt, "output");
}

}  // namespace cohort
