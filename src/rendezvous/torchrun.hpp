#pragma once

// Ranks that torchrun has started, on one host.
//
// torchrun's own agent listens at MASTER_PORT, so nothing can be opened there. Ranks meet at an
// abstract Unix socket instead, whose name follows from what they all have in their environment and
// nobody else has: rank 0 listens, gathers, and answers. No file, and no port.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <cohort/bootstrap.hpp>
#include <cohort/ids.hpp>

namespace cohort::rendezvous {

/// Who this process is, by torchrun's variables.
struct TorchrunEnvironment {
  WorldRank rank;
  std::uint32_t rank_count = 1;
  std::string socket_name;  ///< of the abstract socket, without the leading 0
  std::string meeting;      ///< "MASTER_ADDR=127.0.0.1 MASTER_PORT=29500", for messages
};

/// Nothing unless LOCAL_RANK is set, or RANK together with MASTER_PORT: the others are common
/// names. `user` is part of the name of the socket. Pure. Throws: Error{usage} naming the variable
/// that is missing, malformed or contradicts another, Error{unsupported} for ranks on several
/// hosts.
std::optional<TorchrunEnvironment> parse_torchrun_environment(
    const std::function<const char*(const char*)>& lookup, std::uint32_t user);

/// That of this process. Nothing in a rank that cohort's own launcher has started, whatever its
/// environment says besides. Local. Throws: as `parse_torchrun_environment`.
std::optional<TorchrunEnvironment> torchrun_environment();

/// The bootstrap of this process's rank. All of a process share one connection, which is opened by
/// the first all-gather and stays. Local.
std::unique_ptr<Bootstrap> torchrun_bootstrap(const TorchrunEnvironment& environment);

}  // namespace cohort::rendezvous
