#include "input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <system_error>

#include <cohort/error.hpp>

#include "base/bytes.hpp"
#include "base/unique_fd.hpp"

namespace cohort {

std::string read_input_file(const std::string& what, const std::string& path, std::size_t bytes_max,
                            InputReaders readers) {
  const auto refuse = [&](const std::string& why) {
    throw Error(ErrorCode::usage, what + " " + path + " cannot be read: " + why, std::nullopt,
                "arguments");
  };
  const auto refuse_with_reason = [&] { refuse(std::generic_category().message(errno)); };
  // To open a pipe is to wait for its writer.
  const int no_wait = readers == InputReaders::command ? 0 : O_NONBLOCK;
  const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | no_wait));
  if (!file) refuse_with_reason();
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) refuse_with_reason();
  if (S_ISDIR(status.st_mode)) refuse(std::generic_category().message(EISDIR));
  if (!S_ISREG(status.st_mode) && readers == InputReaders::ranks_too) {
    refuse("it is no regular file, and ranks read it too; write what it gives to a file");
  }
  std::string text;
  std::array<char, 1 << 16> buffer;
  while (text.size() <= bytes_max) {
    const ssize_t count = ::read(file.get(), buffer.data(), buffer.size());
    if (count == 0) return text;
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_with_reason();
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  refuse("it is longer than the " + format_bytes(bytes_max) + " that such a file may have");
  return text;
}

}  // namespace cohort
