#include "collectives/cuda/fault_watch.hpp"

#include <chrono>
#include <string>

#include "backend/host/quiet_thread.hpp"
#include "base/log.hpp"

namespace cohort::cuda {
namespace {

/// A dead rank's peers learn of it that much later, which is nothing beside a deadline.
constexpr std::chrono::milliseconds kPause{2};
/// A kernel that found itself poisoned knows less than the rank that did it: time for that rank to
/// say why.
constexpr std::chrono::milliseconds kPatience{1000};

}  // namespace

FaultWatch::FaultWatch(host::Domain& domain, std::shared_ptr<OpenDevice> device)
    : domain_(&domain), device_(std::move(device)), words_(device_, sizeof(FaultRecord)) {}

FaultWatch::~FaultWatch() {
  stop();
}

void FaultWatch::start(Address session_words) {
  session_words_ = session_words;
  thread_ = host::start_without_signals("watches for faults of kernels", [this] { run(); });
}

void FaultWatch::stop() noexcept {
  ending_.store(true);
  if (thread_.joinable()) thread_.join();
}

void FaultWatch::set_reader(const FaultReader* reader) noexcept {
  const std::lock_guard lock(mutex_);
  reader_ = reader;
}

void FaultWatch::forget_reader(const FaultReader* reader) noexcept {
  const std::lock_guard lock(mutex_);
  if (reader_ == reader) reader_ = nullptr;
}

/// Nothing if the record only says that a peer, or this host, has poisoned this rank.
std::optional<Error> FaultWatch::read_fault() const {
  const auto& record = *static_cast<const FaultRecord*>(words_.host());
  if (record.kind == FaultRecord::Kind::poisoned) return std::nullopt;
  const std::lock_guard lock(mutex_);
  if (reader_ != nullptr) return reader_->error_of(record);
  return Error(ErrorCode::cuda, "a kernel of an earlier plan ended with a fault", domain_->rank());
}

void FaultWatch::raise(std::string_view phase) {
  if (const auto error = read_fault()) domain_->fail(*error);
  const auto patience = domain_->deadline_after(kPatience);
  while (!domain_->poisoned() && std::chrono::steady_clock::now() < patience) {
    std::this_thread::sleep_for(kPause);
  }
  domain_->check({}, phase);
  domain_->fail(Error(ErrorCode::cuda,
                      "a kernel of rank " + std::to_string(domain_->rank().index()) +
                          " was ended by a peer, which does not say why",
                      std::nullopt, std::string(phase)));
}

void FaultWatch::run() noexcept {
  while (!ending_.load()) {
    look();
    std::this_thread::sleep_for(kPause);
  }
}

void FaultWatch::look() noexcept {
  try {
    if (!published_ && is_complete()) {
      published_ = true;
      if (const auto error = read_fault()) domain_->publish_fault(*error);
    }
    if (poked_ || !domain_->poisoned()) return;
    poked_ = true;
    device_->poke(session_words_, 1);
  } catch (const std::exception& error) {
    log(LogLevel::error,
        std::string("kernels that wait may do so until their deadline: ") + error.what());
  }
}

}  // namespace cohort::cuda
