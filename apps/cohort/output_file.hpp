#pragma once

#include <iosfwd>
#include <string>

namespace cohort {

/// A file that a command is to write when its work is done. Made before the work, so that a file
/// that cannot be written is said at once; nothing is on disk before `write`.
class OutputFile {
 public:
  /// `flag` names the file in messages. Local.
  /// Throws: Error{usage} naming flag, file and the system's reason if nothing can be written
  /// there.
  OutputFile(std::string flag, std::string path);

  /// Puts `text` in the place of the file, whole or not at all; what has no place to be taken is
  /// written to: devices, pipes, and what this process has open, such as /dev/stdout. Ctrl-C and
  /// SIGTERM end this process only behind it, so that the file is complete and no draft is left.
  /// Local. Throws: Error{system} naming the file and the system's reason; a file that was there
  /// stays.
  void write(const std::string& text);

 private:
  void write_directly(const std::string& text);
  [[noreturn]] void refuse(int reason) const;
  [[noreturn]] void fail(int reason) const;

  std::string flag_;
  std::string path_;
  bool is_direct_ = false;  // written to, not replaced
};

/// Throws: Error{usage} naming flag and path unless a regular file can be written there. Local.
void require_writable_place(const std::string& flag, const std::string& path);

/// Flushes standard output. Local.
/// Throws: Error{system} with the system's reason if not all that was printed got out.
void require_written(std::ostream& output);

}  // namespace cohort
