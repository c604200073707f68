#pragma once

// NCCL's log as witness of the path that a call took: lines of its TUNING part, which only the
// first rank of a communicator writes.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace cohort::test {

struct NcclTuning {
  std::string function;  ///< as NCCL spells it: "AllReduce"
  bool symmetric = false;
  std::string kernel;  ///< or algorithm and protocol
};

/// What the line says, if it is one of a collective's choice.
std::optional<NcclTuning> parse_nccl_tuning(std::string_view line);
std::vector<NcclTuning> parse_nccl_log(std::string_view text);

/// Follows the log that NCCL writes in this process. Make it before NCCL is loaded.
class NcclLog {
 public:
  /// Sets NCCL's variables: its log goes to a file in `folder`.
  explicit NcclLog(const std::string& folder);
  /// The choices logged since the last call of this.
  std::vector<NcclTuning> take();

 private:
  std::string path_;
  std::size_t read_ = 0;
};

}  // namespace cohort::test
