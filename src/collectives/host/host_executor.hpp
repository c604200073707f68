#pragma once

// Runs collectives over host memory: chooses the path, finds or stages operands, and keeps the
// books. Invariants:
//   1. Nothing is stored into another rank's arena: peers read, owners write.
//   2. An entry of this rank is written by a call only after every peer has finished reading it.
//   3. A call that this rank must refuse still consumes its sequence, on every member.
// Thread safety: one thread per rank.

#include <memory>
#include <optional>
#include <vector>

#include <cohort/plan.hpp>

#include "collectives/channel_index.hpp"
#include "collectives/executor.hpp"
#include "collectives/host/channel.hpp"
#include "collectives/host/exchange.hpp"
#include "collectives/host/message.hpp"
#include "collectives/host/pair_channel.hpp"
#include "collectives/timeline.hpp"
#include "heap/arena_layout.hpp"
#include "heap/heap_view.hpp"
#include "heap/slot_rings.hpp"

namespace cohort::host {

struct HostExecutorOptions {
  std::uint32_t generation = 1;
  std::uint64_t first_sequence = 0;  ///< calls counted as done; tests start near the wrap
  bool crowded = false;              ///< the host has more ranks than CPUs; equal on all ranks
  /// Channels in this first part of the arena go on from an earlier generation.
  std::size_t kept_bytes = 0;
  /// Memory node of each world rank, the same on all of them; empty if all are on one.
  std::vector<std::uint32_t> nodes;
  heap::Pools* pools = nullptr;  ///< if blocks may be operands
};

class HostExecutor final : public collectives::Executor {
 public:
  /// Writes this rank's synchronisation words into its arena. Call `attach` once peers are mapped.
  HostExecutor(Domain& domain, const Arena& arena, const Plan& plan,
               const heap::ArenaLayout& layout, std::byte* slots, heap::SlotRings& rings,
               const HostExecutorOptions& options);
  void attach() override;

  Verdict run(GroupKind kind, const collectives::Call& call) override;
  void move(std::span<const LocalMove> moves, void* stream) override;
  void norm(ConstTensor input, const RmsNorm& norm, void* stream) override;
  void settle(heap::EntryId entry) override;
  void settle(heap::BlockId block) override;
  void check_idle() override;
  std::vector<std::string> lost_messages() override;
  void wait(void* stream) override;
  bool quiesce(Arena::TimePoint /*deadline*/) noexcept override { return true; }
  void inherit_ledger(const collectives::Executor& previous) override;
  void append_ledger(std::vector<LedgerRow>& rows) const override;
  void clear_ledger() override;

 private:
  /// Where this rank's operands lie, found before anything is published.
  struct Operands {
    std::optional<heap::HeapOperand> input;
    std::optional<heap::HeapOperand> output;
  };

  Verdict run_local(Channel& channel, const collectives::Call& call);
  Verdict run_shared(Channel& channel, const collectives::Call& call, PathChoice choice);
  std::optional<std::string> prepare(const Channel& channel, const collectives::Call& call,
                                     Path path, Operands& operands) const;
  /// Finds most operands; false for those of which there may be more to say.
  bool locate_quickly(GroupKind kind, const void* data, std::size_t bytes,
                      std::optional<heap::HeapOperand>& found) const noexcept;
  std::optional<std::string> locate(const Channel& channel, const void* data, std::size_t bytes,
                                    const char* what,
                                    std::optional<heap::HeapOperand>& found) const;
  Reason operand_reason(const collectives::Call& call) const noexcept;
  collectives::Place place_of(const heap::HeapOperand& operand) const noexcept;
  /// Why an operand outside the arena was staged on this rank alone.
  Reason staged_reason(const void* data) const noexcept;
  void note_use(const heap::HeapOperand& operand, std::size_t reader, std::uint64_t sequence);
  void publish(Exchange& exchange, const Operands& operands, Path path, Verdict& verdict);
  void publish_pull(Exchange& exchange, const Operands& operands, Verdict& verdict);
  void dispatch(Exchange& exchange, const Operands& found, Path path, Verdict& verdict);
  void run_all_reduce(Exchange& exchange, const Operands& operands, Verdict& verdict);
  void throw_if_strict_miss(const Exchange& exchange) const;
  [[noreturn]] static void throw_strict_miss(WorldRank rank, const std::string& what, Op op);
  PathChoice choice_of(const Channel& channel, const collectives::Call& call) const noexcept;
  void throw_if_strict_forbids(const Channel& channel, const collectives::Call& call,
                               PathChoice choice) const;
  struct CallTicks {
    std::uint64_t begin = 0;
    std::uint64_t total = 0;
    std::uint64_t wait = 0;
  };
  void book(Channel& channel, const collectives::Call& call, const Verdict& verdict,
            const CallTicks& ticks);

  // --- send and recv, in run_message.cpp -----------------------------------------------------

  void open_pairs(Channel& channel, const heap::SendRecvRegion& region);
  Verdict run_message(Channel& channel, const collectives::Call& call);
  void send(PairChannel& pairs, Message& message, const collectives::Call& call,
            const Operands& operands, const std::optional<std::string>& fault, Verdict& verdict);
  void publish_message(PairChannel& pairs, Message& message, const collectives::Call& call,
                       const Operands& operands, Verdict& verdict);
  void receive(Message& message, const collectives::Call& call,
               const std::optional<std::string>& fault, const Verdict& verdict);
  [[noreturn]] static void throw_refused(const PairChannel& pairs, std::uint32_t peer,
                                         const RefusedMessage& refused);
  std::pair<PairChannel*, std::uint32_t> pair_of(std::size_t reader) const;
  /// Settles what `settle_with(wait)` settles, then throws the refusal of a message sent from it.
  template <typename SettleWith>
  void settle_and_report(const SettleWith& settle_with);
  /// Waits until nobody reads an operand's memory any more; refused messages are reported
  /// elsewhere.
  void await_readers(const heap::HeapOperand& operand);

  std::shared_ptr<const Plan> plan_;  // its own: the session's changes with a recommit
  heap::HeapView view_;
  heap::SlotRings* rings_;
  heap::Pools* pools_;
  collectives::Timeline* timeline_ = nullptr;  // null: not recorded
  std::uint32_t timeline_session_ = 0;         // what its calls there carry
  bool slots_in_arena_;
  bool crowded_;
  std::vector<std::unique_ptr<Channel>> channels_;   // by (kind, lane)
  std::vector<std::unique_ptr<PairChannel>> pairs_;  // by channel; null without send_recv
  std::size_t reader_count_ = 0;                     // channels, then peers to send to
  collectives::ChannelIndex channel_index_;
  std::vector<const std::byte*> operand_scratch_;  // one per member of the largest group
  std::byte* result_ = nullptr;  // of the all_reduce or relayed broadcast in flight
};

}  // namespace cohort::host
