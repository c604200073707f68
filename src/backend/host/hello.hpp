#pragma once

// What ranks say to each other before they are connected, and when one gives up.

#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cohort/error.hpp>
#include <cohort/ids.hpp>
#include <cohort/version.hpp>

#include "backend/host/control_segment.hpp"
#include "backend/host/control_socket.hpp"

namespace cohort::host {

/// What a rank tells all others before they connect.
struct Hello {
  std::uint32_t abi = kControlAbi;
  std::uint64_t layout_bytes = sizeof(ControlSegment) + (sizeof(RankBlock) << 20);
  std::string version = COHORT_VERSION;
  std::string boot_id;
  std::uint64_t network = 0;    // namespace of abstract socket names
  std::uint64_t processes = 0;  // namespace of process ids
  std::int64_t pid = 0;
  std::string socket_name;
  std::string token;  // rank 0's stands for this job
};

/// This process's, with a fresh token.
Hello my_hello(const ControlListener& listener);

std::vector<std::byte> encode(const Hello& hello);

/// What `rank` said, compared with `mine`. The message may be anything.
/// Throws: what the rank says if it gave up; Error{mismatch, unsupported, corrupt} about the rank.
Hello decode_hello(std::span<const std::byte> bytes, WorldRank rank, const Hello& mine);

/// Why a rank gives up joining, for all others to end with.
std::vector<std::byte> encode_farewell(const Error& error);
/// Nothing if it is another message.
std::optional<Error> decode_farewell(std::span<const std::byte> bytes);

/// What stopped `rank` from joining as an error that names somebody: itself, unless it is about
/// another rank.
Error error_of_joining(const std::exception& exception, WorldRank rank);

}  // namespace cohort::host
