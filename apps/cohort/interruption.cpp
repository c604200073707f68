#include "interruption.hpp"

namespace cohort {

namespace {

Interruption* current = nullptr;

}  // namespace

Interruption::Interruption() {
  current = this;
}

Interruption::~Interruption() {
  current = nullptr;
}

int Interruption::fd() noexcept {
  return current == nullptr ? -1 : current->signals_.fd();
}

bool Interruption::came() noexcept {
  if (current == nullptr) return false;
  if (!current->number_) current->number_ = current->signals_.next();
  return current->number_.has_value();
}

void Interruption::check() {
  if (came()) throw Interrupted{*current->number_};
}

}  // namespace cohort
