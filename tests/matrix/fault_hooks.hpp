#pragma once

// Makes the fault of a case happen on its victim.

#include <cstdint>
#include <string_view>
#include <vector>

#include <cohort/plan.hpp>

#include "base/test_message.hpp"
#include "base/test_point.hpp"
#include "base/unique_fd.hpp"
#include "matrix/board.hpp"
#include "matrix/fault_case.hpp"

namespace cohort::matrix {

class FaultHooks final : public TestHooks, public TestMessages {
 public:
  /// On the victim; `honest` is the plan of all others.
  FaultHooks(const FaultCase& fault_case, Board& board, const Plan& honest);
  /// Takes what limits it has set back.
  ~FaultHooks() override;

  /// The script has come to a phase; steps count from there.
  void enter(Phase phase) noexcept;

  void reach(std::string_view point) override;
  void alter(std::string_view name, std::vector<std::byte>& bytes, int& fd) override;
  void alter_words(std::string_view name, std::span<std::byte> bytes) override;

 private:
  bool is_time(std::string_view name) noexcept;
  void fire();
  void wait_for_others() const;
  void alter_mail(std::span<std::byte> bytes) const;
  void alter_header(std::span<std::byte> bytes) const;

  const FaultCase* case_;
  Board* board_;
  const Plan* honest_;
  Phase phase_ = Phase::join;
  std::uint32_t seen_ = 0;
  std::uint32_t messages_seen_ = 0;
  UniqueFd object_;
};

}  // namespace cohort::matrix
