#include "base/replace_file.hpp"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/unique_fd.hpp"

namespace cohort {
namespace {

constexpr int kLinksMax = 40;  // as many as the system follows
constexpr int kNamesMax = 100;
constexpr mode_t kModeOfNew = 0666;
constexpr mode_t kPermissions = 0777;

/// Short, so that it fits where the file's own name does. Two containers that share a folder may
/// have the same process ids, so only chance tells their names apart.
std::string random_name() {
  std::uint64_t number = 0;
  if (::getrandom(&number, sizeof number, 0) != static_cast<ssize_t>(sizeof number)) return "";
  return ".cohort-" + std::to_string(number) + ".part";
}

/// What is to take a file's place. Whatever goes wrong, nothing of it stays.
class NewFile {
 public:
  explicit NewFile(std::string folder) : folder_(std::move(folder)) {}
  ~NewFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  int open(Draft draft) {
    if (draft == Draft::unnamed) {
      file_.reset(::open(folder_.c_str(), O_WRONLY | O_TMPFILE | O_CLOEXEC, kModeOfNew));
      if (file_) return 0;
    }
    return make_name([&](const std::string& name) {
      file_.reset(::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, kModeOfNew));
      return static_cast<bool>(file_);
    });
  }

  int write(std::string_view text) {
    while (!text.empty()) {
      const ssize_t count = ::write(file_.get(), text.data(), text.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return errno;
      text.remove_prefix(static_cast<std::size_t>(count));
    }
    return 0;
  }

  int set_permissions(mode_t mode) { return ::fchmod(file_.get(), mode) == 0 ? 0 : errno; }

  /// Only a name can take the place of another.
  int move_to(const std::string& path) {
    if (name_.empty()) {
      const std::string unnamed = "/proc/self/fd/" + std::to_string(file_.get());
      const int reason = make_name([&](const std::string& name) {
        return ::linkat(AT_FDCWD, unnamed.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0;
      });
      if (reason != 0) return reason;
    }
    // Some file systems say only here that there was no room.
    if (::close(file_.release()) != 0 && errno != EINTR) return errno;
    if (std::rename(name_.c_str(), path.c_str()) != 0) return errno;
    name_.clear();
    return 0;
  }

 private:
  /// Until `make` has made a name that nobody has.
  template <typename Make>
  int make_name(const Make& make) {
    for (int attempt = 0; attempt < kNamesMax; ++attempt) {
      const std::string name = random_name();
      if (name.empty()) return errno;
      if (make(folder_ + "/" + name)) {
        name_ = folder_ + "/" + name;
        return 0;
      }
      if (errno != EEXIST) return errno;
    }
    return EEXIST;
  }

  std::string folder_;
  std::string name_;  // empty while it has none
  UniqueFd file_;
};

}  // namespace

std::string end_of_links(const std::string& path) {
  namespace fs = std::filesystem;
  fs::path end = path;
  std::error_code failed;
  for (int link = 0; link < kLinksMax; ++link) {
    const fs::path next = fs::read_symlink(end, failed);
    if (failed) return end.string();  // no link, or nothing there
    end = end.parent_path() / next;   // `next` alone if it is absolute
  }
  return path;
}

int replace_file(const std::string& path, std::string_view text, Draft draft) {
  const std::string place = end_of_links(path);
  struct stat present {};
  const bool exists = ::stat(place.c_str(), &present) == 0;
  if (!exists && errno != ENOENT) return errno;
  if (exists && S_ISDIR(present.st_mode)) return EISDIR;
  if (exists && !S_ISREG(present.st_mode)) return EINVAL;

  const std::string folder = std::filesystem::path(place).parent_path().string();
  NewFile file(folder.empty() ? "." : folder);
  int reason = file.open(draft);
  if (reason == 0) reason = file.write(text);
  if (reason == 0 && exists) reason = file.set_permissions(present.st_mode & kPermissions);
  if (reason == 0) reason = file.move_to(place);
  return reason;
}

}  // namespace cohort
