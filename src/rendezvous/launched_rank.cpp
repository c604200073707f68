// One connection per process, opened when first needed and never closed: the launcher hears errors
// over it until the process ends.

#include "rendezvous/launched_rank.hpp"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <cohort/bootstrap.hpp>

#include "base/json_string.hpp"
#include "rendezvous/frame_connection.hpp"
#include "rendezvous/protocol.hpp"
#include "rendezvous/torchrun.hpp"
#include "rendezvous/wire.hpp"

namespace cohort {
namespace rendezvous {
namespace {

using TimePoint = Bootstrap::TimePoint;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// For the launcher's answer to a question, which it gives at once.
constexpr milliseconds kAnswerPatience{1000};

constexpr const char* kRemedy = "; start ranks with 'cohort run', or unset the COHORT_ variables";

[[noreturn]] void refuse(const std::string& message) {
  throw Error(ErrorCode::usage, message, std::nullopt, "join");
}

std::uint32_t parse_number(const char* variable, std::string_view text) {
  std::uint32_t value = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != end) {
    // Escaped, since it may be anything.
    const std::string quoted = json_string(text.substr(0, 80));
    refuse(std::string(variable) + "='" + quoted.substr(1, quoted.size() - 2) +
           "' is not a number" + kRemedy);
  }
  return value;
}

bool is_open_unix_socket(int fd) {
  int domain = 0;
  socklen_t bytes = sizeof domain;
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &bytes) == 0 && domain == AF_UNIX;
}

class LauncherConnection {
 public:
  explicit LauncherConnection(int socket) : frames_(socket) {
    // A program that this rank starts must not speak in its name.
    ::fcntl(socket, F_SETFD, FD_CLOEXEC);
  }

  std::mutex& mutex() noexcept { return mutex_; }
  std::uint64_t next_round() noexcept { return next_round_++; }

  /// False if the launcher is gone or does not take it in time.
  bool send(FrameType type, std::span<const std::byte> payload, TimePoint deadline) {
    return frames_.send(encode_frame(type, payload), deadline);
  }

  /// Nothing at the deadline. Throws: Error{peer_failed} if the launcher is gone.
  std::optional<Frame> receive(TimePoint deadline) {
    auto frame = frames_.receive(deadline);
    if (!frame && frames_.ended()) {
      throw Error(ErrorCode::peer_failed, "the launcher has ended", std::nullopt, "join");
    }
    return frame;
  }

 private:
  FrameConnection frames_;
  std::mutex mutex_;
  std::uint64_t next_round_ = 0;
};

std::optional<RankEnvironment> process_environment() {
  return parse_rank_environment([](const char* variable) { return std::getenv(variable); });
}

LauncherConnection& connection(const RankEnvironment& environment) {
  static auto* const instance = new LauncherConnection(environment.socket);
  return *instance;
}

class LauncherBootstrap final : public Bootstrap {
 public:
  explicit LauncherBootstrap(const RankEnvironment& environment)
      : environment_(environment), launcher_(connection(environment)) {}

  WorldRank rank() const noexcept override { return environment_.rank; }
  std::uint32_t world_size() const noexcept override { return environment_.rank_count; }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 TimePoint deadline) override {
    const std::lock_guard lock(launcher_.mutex());
    const std::uint64_t round = launcher_.next_round();
    wire::Writer writer;
    writer.put(round);
    writer.put_bytes(mine);
    if (!launcher_.send(FrameType::gather, writer.bytes(), deadline)) fail_without_launcher();
    while (auto frame = launcher_.receive(deadline)) {
      if (frame->type == FrameType::failed) fail_for_peer(decode_error(frame->payload));
      if (frame->type != FrameType::gathered) continue;  // a late answer to an old question
      wire::Reader reader(frame->payload);
      if (reader.get<std::uint64_t>() != round) continue;
      std::vector<std::vector<std::byte>> all;
      for (std::uint32_t index = 0; index < environment_.rank_count; ++index) {
        const auto bytes = reader.get_bytes();
        all.emplace_back(bytes.begin(), bytes.end());
      }
      return all;
    }
    fail_late(round);
  }

 private:
  /// A rank will never join: its own error, or that it ended and who waited for it.
  [[noreturn]] void fail_for_peer(const Error& error) const {
    if (error.code() != ErrorCode::peer_failed || !error.rank()) throw error;
    throw Error(error.code(),
                std::string(error.what()) + " (rank " + std::to_string(rank().index()) +
                    " was waiting for rank " + std::to_string(error.rank()->index()) + " in join)",
                error.rank(), "join");
  }

  [[noreturn]] void fail_without_launcher() const {
    throw Error(ErrorCode::peer_failed, "the launcher does not answer any more", std::nullopt,
                "join");
  }

  [[noreturn]] void fail_late(std::uint64_t round) {
    const TimePoint patience = steady_clock::now() + kAnswerPatience;
    wire::Writer writer;
    writer.put(round);
    std::optional<WorldRank> missing;
    std::string names;
    if (launcher_.send(FrameType::ask_missing, writer.bytes(), patience)) {
      while (auto frame = launcher_.receive(patience)) {
        if (frame->type != FrameType::missing) continue;
        wire::Reader reader(frame->payload);
        while (!reader.at_end()) {
          const WorldRank rank{reader.get<std::uint32_t>()};
          if (!missing) missing = rank;
          names += (names.empty() ? "rank " : ", rank ") + std::to_string(rank.index());
        }
        break;
      }
    }
    if (!missing) fail_without_launcher();
    throw Error(ErrorCode::timeout,
                names +
                    " did not join in time; if it starts that slowly, raise the deadline or "
                    "COHORT_DEADLINE_SCALE",
                missing, "join");
  }

  RankEnvironment environment_;
  LauncherConnection& launcher_;
};

}  // namespace

std::optional<RankEnvironment> parse_rank_environment(
    const std::function<const char*(const char*)>& lookup) {
  const std::array variables{kRankVariable, kWorldSizeVariable, kSocketVariable};
  std::array<const char*, variables.size()> values{};
  const char* present = nullptr;
  const char* absent = nullptr;
  for (std::size_t index = 0; index < variables.size(); ++index) {
    values[index] = lookup(variables[index]);
    (values[index] != nullptr ? present : absent) = variables[index];
  }
  if (present == nullptr) return std::nullopt;
  if (absent != nullptr) {
    refuse(std::string(present) + " is set but " + absent +
           " is not; start ranks with 'cohort run', or unset both");
  }
  RankEnvironment environment;
  environment.rank_count = parse_number(kWorldSizeVariable, values[1]);
  if (environment.rank_count == 0 || environment.rank_count > kRankCountMax) {
    refuse(std::string(kWorldSizeVariable) + "=" + values[1] + " is not from 1 to " +
           std::to_string(kRankCountMax) + kRemedy);
  }
  environment.rank = WorldRank{parse_number(kRankVariable, values[0])};
  if (environment.rank.index() >= environment.rank_count) {
    refuse(std::string(kRankVariable) + "=" + values[0] + " is not below " + kWorldSizeVariable +
           "=" + values[1] + kRemedy);
  }
  const std::uint32_t socket = parse_number(kSocketVariable, values[2]);
  if (socket > 0x7fff'ffff || !is_open_unix_socket(static_cast<int>(socket))) {
    refuse(std::string(kSocketVariable) + "=" + values[2] +
           " is not the launcher's open socket; a program between 'cohort run' and this one must "
           "pass it on");
  }
  environment.socket = static_cast<int>(socket);
  return environment;
}

}  // namespace rendezvous

std::unique_ptr<Bootstrap> Bootstrap::from_environment() {
  const auto environment = rendezvous::process_environment();
  if (!environment) {
    const auto torchrun = rendezvous::torchrun_environment();
    return torchrun ? rendezvous::torchrun_bootstrap(*torchrun) : solo();
  }
  return std::make_unique<rendezvous::LauncherBootstrap>(*environment);
}

bool started_by_launcher() {
  return rendezvous::process_environment().has_value();
}

bool report_error(const Error& error) noexcept {
  try {
    const auto environment = rendezvous::process_environment();
    if (!environment) return false;
    rendezvous::LauncherConnection& launcher = rendezvous::connection(*environment);
    const std::lock_guard lock(launcher.mutex());
    return launcher.send(rendezvous::FrameType::error, rendezvous::encode_error(error),
                         std::chrono::steady_clock::now() + rendezvous::kAnswerPatience);
  } catch (...) {
    return false;
  }
}

}  // namespace cohort
