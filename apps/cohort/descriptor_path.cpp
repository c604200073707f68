#include "descriptor_path.hpp"

#include <charconv>
#include <filesystem>
#include <system_error>

namespace cohort {

std::optional<int> descriptor_of(const std::string& path) {
  namespace fs = std::filesystem;
  constexpr int kLinksMax = 40;  // as many as the system follows
  std::error_code failed;
  const fs::path descriptors = fs::canonical("/proc/self/fd", failed);
  fs::path end = path;
  for (int link = 0; !failed && link < kLinksMax; ++link) {
    const fs::path folder = fs::canonical(end.has_parent_path() ? end.parent_path() : ".", failed);
    const std::string name = end.filename().string();
    if (!failed && folder == descriptors) {
      int number = -1;
      const char* const name_end = name.data() + name.size();
      const auto [rest, reason] = std::from_chars(name.data(), name_end, number);
      if (reason != std::errc{} || rest != name_end || number < 0) return std::nullopt;
      return number;
    }
    if (!failed) end = end.parent_path() / fs::read_symlink(end, failed);
  }
  return std::nullopt;
}

}  // namespace cohort
