#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include <cohort/error.hpp>

#include "base/hash.hpp"
#include "rendezvous/launched_rank.hpp"
#include "rendezvous/protocol.hpp"
#include "rendezvous/torchrun.hpp"

namespace cohort::rendezvous {
namespace {

using Lookup = std::function<const char*(const char*)>;

constexpr std::array kVariables{"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"};

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::usage, message, std::nullopt, "join");
}

/// What messages quote: on one line, which a terminal shows as it stands, and not all of what no
/// launcher sets.
std::string quotable(std::string_view value) {
  constexpr std::size_t kBytesMax = 240;
  std::string text(value.substr(0, kBytesMax));
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
  std::replace_if(text.begin(), text.end(), is_control, '?');
  return value.size() > kBytesMax ? text + "..." : text;
}

std::uint32_t number(const Lookup& lookup, const char* variable) {
  const std::string_view text = lookup(variable);
  std::uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end) {
    refuse(std::string(variable) + "='" + quotable(text) + "' is not a number");
  }
  return value;
}

std::string setting(const Lookup& lookup, const char* variable) {
  const char* const value = lookup(variable);
  return std::string(variable) + "=" + (value == nullptr ? "" : quotable(value));
}

void require_all(const Lookup& lookup) {
  const char* present = nullptr;
  const char* absent = nullptr;
  for (const char* variable : kVariables) {
    (lookup(variable) != nullptr ? present : absent) = variable;
  }
  if (absent == nullptr) return;
  refuse(std::string(present) + " is set but " + absent +
         " is not; torchrun sets both: set what is missing, or unset RANK, LOCAL_RANK and "
         "MASTER_PORT if torchrun has not started this process");
}

/// Ranks share memory, so all of them must be here.
void require_one_host(const Lookup& lookup, std::uint32_t rank, std::uint32_t rank_count) {
  const auto refuse_hosts = [&](const std::string& what) {
    throw Error(ErrorCode::unsupported,
                what +
                    " say that torchrun runs ranks on several hosts; ranks meet on one host "
                    "only",
                std::nullopt, "join");
  };
  if (number(lookup, "LOCAL_RANK") != rank) {
    refuse_hosts(setting(lookup, "LOCAL_RANK") + " and " + setting(lookup, "RANK"));
  }
  for (const char* variable : {"LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE"}) {
    if (lookup(variable) == nullptr) continue;
    const std::uint32_t expected = variable[0] == 'L' ? rank_count : 1;
    if (number(lookup, variable) == expected) continue;
    refuse_hosts(setting(lookup, variable) + " and " + setting(lookup, "WORLD_SIZE"));
  }
}

/// Equal on all ranks of one job, and of one attempt at it; other jobs of this host have another.
std::string socket_name_of(const Lookup& lookup, std::uint32_t user) {
  Hasher hasher;
  hasher.add(user);
  for (const char* variable :
       {"MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"}) {
    const char* const value = lookup(variable);
    hasher.add(std::string_view(std::string(variable) + "=" + (value == nullptr ? "" : value)));
  }
  std::array<char, 40> name{};
  std::snprintf(name.data(), name.size(), "cohort-torchrun-%016llx",
                static_cast<unsigned long long>(hasher.digest()));
  return name.data();
}

}  // namespace

std::optional<TorchrunEnvironment> parse_torchrun_environment(const Lookup& lookup,
                                                              std::uint32_t user) {
  const bool started = lookup("LOCAL_RANK") != nullptr ||
                       (lookup("RANK") != nullptr && lookup("MASTER_PORT") != nullptr);
  if (!started) return std::nullopt;
  require_all(lookup);
  TorchrunEnvironment environment;
  environment.rank_count = number(lookup, "WORLD_SIZE");
  if (environment.rank_count == 0 || environment.rank_count > kRankCountMax) {
    refuse(setting(lookup, "WORLD_SIZE") + " is not from 1 to " + std::to_string(kRankCountMax));
  }
  environment.rank = WorldRank{number(lookup, "RANK")};
  if (environment.rank.index() >= environment.rank_count) {
    refuse(setting(lookup, "RANK") + " is not below " + setting(lookup, "WORLD_SIZE"));
  }
  if (const std::uint32_t port = number(lookup, "MASTER_PORT"); port == 0 || port > 65'535) {
    refuse(setting(lookup, "MASTER_PORT") + " is no port");
  }
  require_one_host(lookup, environment.rank.index(), environment.rank_count);
  environment.meeting = setting(lookup, "MASTER_ADDR") + " " + setting(lookup, "MASTER_PORT");
  environment.socket_name = socket_name_of(lookup, user);
  return environment;
}

std::optional<TorchrunEnvironment> torchrun_environment() {
  const auto lookup = [](const char* variable) -> const char* { return std::getenv(variable); };
  if (lookup(kRankVariable) != nullptr) return std::nullopt;
  return parse_torchrun_environment(lookup, ::getuid());
}

}  // namespace cohort::rendezvous
