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

  /// Puts `text` in the place of the file, whole or not at all; devices and pipes, which have no
  /// place to be taken, are written to. Local.
  /// Throws: Error{system} naming the file and the system's reason; a file that was there stays.
  void write(const std::string& text);

 private:
  void write_directly(const std::string& text);
  [[noreturn]] void refuse(int reason) const;
  [[noreturn]] void fail(int reason) const;

  std::string flag_;
  std::string path_;
  std::string target_;  // what `path_` leads to, so that a link stays one
  bool is_device_ = false;
};

/// Throws: Error{usage} naming flag and path unless a regular file can be written there. Local.
void require_writable_place(const std::string& flag, const std::string& path);

/// Flushes standard output. Local.
/// Throws: Error{system} with the system's reason if not all that was printed got out.
void require_written(std::ostream& output);

}  // namespace cohort
