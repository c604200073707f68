// What a host executor's books are asked between calls; a call writes them in host_executor.cpp.

#include "collectives/host/host_executor.hpp"

namespace cohort::host {

void HostExecutor::inherit_ledger(const collectives::Executor& previous) {
  const auto& host = static_cast<const HostExecutor&>(previous);
  timeline_ = host.timeline_;
  timeline_session_ = host.timeline_session_;
  for (const auto& channel : channels_) {
    for (const auto& old : host.channels_) {
      const bool same = old->region().kind == channel->region().kind &&
                        old->region().lane == channel->region().lane;
      if (same) channel->ledger() = old->ledger();
    }
  }
}

void HostExecutor::append_ledger(std::vector<LedgerRow>& rows) const {
  for (const auto& channel : channels_) {
    channel->ledger().append_rows(channel->identity().kind, channel->ranks(), rows);
  }
}

void HostExecutor::clear_ledger() {
  for (const auto& channel : channels_) channel->ledger().clear();
  // Recorded is what comes after what commit proves. Nothing is cleared there: other sessions may
  // have recorded into the same timeline.
  timeline_ = collectives::timeline_of_thread();
  if (timeline_ != nullptr) timeline_session_ = timeline_->begin_session();
}

}  // namespace cohort::host
