#pragma once

#include <string>
#include <string_view>

namespace cohort {

/// A file that a command writes at its end. Until all is written, what there is under the name
/// stays as it is; a command that fails or is ended before leaves nothing behind.
class OutputFile {
 public:
  /// Finds out at once whether the file can be written, before the work that it is for.
  /// Throws: Error{usage} naming `flag` and the path.
  OutputFile(std::string flag, std::string path);

  /// Writes all beside the file, then gives it the name. Throws: Error{system} naming the path.
  void write(std::string_view text) const;

 private:
  [[noreturn]] void refuse(int error) const;
  std::string flag_;
  std::string path_;
  std::string part_;  ///< beside `path_`; empty for what is no ordinary file, e.g. /dev/stdout
};

}  // namespace cohort
