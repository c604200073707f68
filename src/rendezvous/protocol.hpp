#pragma once

// What a rank and its launcher say to each other over the rank's socket pair.
//
// A frame is {type, payload bytes} and the payload. A rank speaks first; the launcher answers
// gathers and questions and never sends anything unasked.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/error.hpp>

namespace cohort::rendezvous {

enum class FrameType : std::uint32_t {
  // from a rank
  gather = 1,   ///< round, bytes
  ask_missing,  ///< round: who has not contributed yet?
  error,        ///< the error this rank ends with
  exec_failed,  ///< errno; sent by a child that could not become its program
  // from the launcher
  gathered,  ///< round, every rank's bytes
  missing,   ///< ranks that have not contributed
  failed,    ///< an error: the round can never be complete
};

struct Frame {
  FrameType type;
  std::vector<std::byte> payload;
};

std::vector<std::byte> encode_frame(FrameType type, std::span<const std::byte> payload);

/// Cuts a stream of bytes into frames.
class FrameReader {
 public:
  void feed(std::span<const std::byte> bytes);
  /// The next whole frame, if there is one.
  /// Throws: Error{corrupt} if the stream cannot be one of frames.
  std::optional<Frame> next();

 private:
  std::vector<std::byte> buffer_;
};

std::vector<std::byte> encode_error(const Error& error);
Error decode_error(std::span<const std::byte> payload);

/// The whole `exec_failed` frame as plain data, for a child between fork and exec, which must not
/// allocate.
struct ExecFailedFrame {
  FrameType type = FrameType::exec_failed;
  std::uint32_t payload_bytes = sizeof(std::int32_t);
  std::int32_t reason = 0;
};

/// Names of the environment variables by which a rank finds its launcher.
inline constexpr const char* kRankVariable = "COHORT_RANK";
inline constexpr const char* kWorldSizeVariable = "COHORT_WORLD_SIZE";
inline constexpr const char* kSocketVariable = "COHORT_BOOTSTRAP_FD";
inline constexpr std::uint32_t kRankCountMax = 1024;

}  // namespace cohort::rendezvous
