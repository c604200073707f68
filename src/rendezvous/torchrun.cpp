// One meeting per process, opened when first needed and never closed: a process may join as often
// as it likes, and rounds go on counting.

#include "rendezvous/torchrun.hpp"

#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <mutex>
#include <system_error>
#include <utility>

#include <cohort/error.hpp>

#include "base/unique_fd.hpp"
#include "rendezvous/torchrun_hub.hpp"
#include "rendezvous/wire.hpp"

namespace cohort::rendezvous {
namespace {

using TimePoint = Bootstrap::TimePoint;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

// Between attempts to reach rank 0, which may not listen yet.
constexpr milliseconds kConnectPause{10};
// For rank 0 to say who is missing: its deadline passes at about the same time.
constexpr milliseconds kAnswerPatience{1000};

[[noreturn]] void fail_without_first_rank(ErrorCode code, const std::string& text) {
  throw Error(code, "rank 0 " + text, WorldRank{0}, "join");
}

/// Empty if rank 0 does not listen yet.
UniqueFd try_connect(const TorchrunEnvironment& environment) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) {
    throw Error(ErrorCode::system,
                "could not open a socket: " + std::system_category().message(errno),
                environment.rank, "join");
  }
  const int connected =
      with_abstract_address(environment.socket_name, [&](const void* address, std::uint32_t bytes) {
        return ::connect(socket.get(), static_cast<const sockaddr*>(address), bytes);
      });
  return connected == 0 && is_of_this_user(socket.get()) ? std::move(socket) : UniqueFd();
}

class Meeting {
 public:
  explicit Meeting(TorchrunEnvironment environment) : environment_(std::move(environment)) {}

  /// Every rank's bytes. Throws: the error by which rank 0 says that the round has failed, and
  /// Error{timeout, peer_failed, corrupt} about rank 0 itself.
  std::vector<std::vector<std::byte>> gather(std::span<const std::byte> mine, TimePoint deadline) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t round = next_round_++;
    if (environment_.rank == WorldRank{0}) {
      if (!hub_) hub_.emplace(environment_);
      return opened(hub_->gather(round, mine, deadline));
    }
    connect(deadline);
    if (!first_rank_->send(encode_gather(environment_.rank, environment_.rank_count, round, mine),
                           deadline)) {
      fail_without_first_rank(ErrorCode::peer_failed, "does not answer any more");
    }
    if (auto frame = receive_answer(round, deadline + kAnswerPatience)) return opened(*frame);
    if (!first_rank_->ended()) {
      fail_without_first_rank(ErrorCode::timeout, "did not join in time");
    }
    fail_without_first_rank(ErrorCode::peer_failed, "ended before all had joined");
  }

 private:
  [[noreturn]] static void fail_not_understood() {
    fail_without_first_rank(ErrorCode::corrupt,
                            "sent what is no answer to ranks that meet; start all from the same "
                            "build");
  }

  std::optional<Frame> receive_answer(std::uint64_t round, TimePoint deadline) {
    try {
      while (auto frame = first_rank_->receive(deadline)) {
        if (frame->type == FrameType::failed) return frame;
        if (frame->type != FrameType::gathered) fail_not_understood();
        // Other rounds are those that this rank has given up, whose answers come late.
        if (wire::Reader(frame->payload).get<std::uint64_t>() == round) return frame;
      }
      return std::nullopt;
    } catch (const Error&) {
      fail_not_understood();
    }
  }

  std::vector<std::vector<std::byte>> opened(const Frame& answer) const {
    std::vector<std::vector<std::byte>> all;
    std::optional<Error> failure;
    try {
      wire::Reader reader(answer.payload);
      if (answer.type == FrameType::failed) {
        failure = decode_error(answer.payload);
      } else {
        static_cast<void>(reader.get<std::uint64_t>());  // the round
        for (std::uint32_t index = 0; index < environment_.rank_count; ++index) {
          const auto bytes = reader.get_bytes();
          all.emplace_back(bytes.begin(), bytes.end());
        }
      }
    } catch (const Error&) {
      fail_not_understood();
    }
    if (failure) throw *failure;
    return all;
  }

  void connect(TimePoint deadline) {
    while (!first_rank_) {
      socket_ = try_connect(environment_);
      if (socket_) {
        first_rank_.emplace(socket_.get());
      } else if (steady_clock::now() >= deadline) {
        fail_without_first_rank(
            ErrorCode::timeout,
            "did not join in time: on this host nobody has RANK=0 with " + environment_.meeting);
      } else {
        ::poll(nullptr, 0, static_cast<int>(kConnectPause.count()));
      }
    }
  }

  TorchrunEnvironment environment_;
  std::mutex mutex_;
  std::uint64_t next_round_ = 0;
  std::optional<TorchrunHub> hub_;             // of rank 0
  UniqueFd socket_;                            // of the others
  std::optional<FrameConnection> first_rank_;  // over it
};

class TorchrunBootstrap final : public Bootstrap {
 public:
  TorchrunBootstrap(const TorchrunEnvironment& environment, Meeting& meeting)
      : rank_(environment.rank), rank_count_(environment.rank_count), meeting_(meeting) {}

  WorldRank rank() const noexcept override { return rank_; }
  std::uint32_t world_size() const noexcept override { return rank_count_; }

  std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                 TimePoint deadline) override {
    return meeting_.gather(mine, deadline);
  }

 private:
  WorldRank rank_;
  std::uint32_t rank_count_;
  Meeting& meeting_;
};

}  // namespace

std::unique_ptr<Bootstrap> torchrun_bootstrap(const TorchrunEnvironment& environment) {
  static auto* const meeting = new Meeting(environment);
  return std::make_unique<TorchrunBootstrap>(environment, *meeting);
}

}  // namespace cohort::rendezvous
