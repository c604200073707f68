#pragma once

// What the handles of the C interface stand for.

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <cohort/cohort.h>
#include <cohort/ledger.hpp>
#include <cohort/plan.hpp>
#include <cohort/session.hpp>
#include <cohort/world.hpp>

#include "capi/handles.hpp"
#include "capi/status.hpp"

namespace cohort::capi {

struct LayoutObject final : Object {
  static constexpr HandleKind kKind = HandleKind::layout;
  explicit LayoutObject(const LayoutSizes& sizes) : layout(sizes) {}
  Layout layout;
};

struct PlanObject final : Object {
  static constexpr HandleKind kKind = HandleKind::plan;
  explicit PlanObject(Plan planned) : plan(std::move(planned)) {}
  Plan plan;
};

struct WorldObject final : Object {
  static constexpr HandleKind kKind = HandleKind::world;
  explicit WorldObject(World joined) : world(std::make_shared<World>(std::move(joined))) {}
  std::shared_ptr<World> world;
  std::atomic<std::uint32_t> idle_marks{0};  // of cohort_idle_begin
};

struct SessionObject final : Object {
  static constexpr HandleKind kKind = HandleKind::session;
  SessionObject(std::shared_ptr<World> met, Session committed)
      : world(std::move(met)), session(std::move(committed)) {}
  std::shared_ptr<World> world;  // the caller may free its handle first
  Session session;
};

struct LedgerObject final : Object {
  static constexpr HandleKind kKind = HandleKind::ledger;
  std::vector<LedgerRow> rows;
  std::vector<std::vector<std::uint32_t>> ranks;  // of each row
};

struct ScopeObject final : Object {
  static constexpr HandleKind kKind = HandleKind::scope;
  explicit ScopeObject(Scope opened) : scope(std::move(opened)) {}
  Scope scope;
  std::vector<Buffer> live;  // what C names by its data
};

struct LeaseObject final : Object {
  static constexpr HandleKind kKind = HandleKind::lease;
  Lease lease;
};

template <typename T, typename Handle>
T& get(Handle handle) {
  return static_cast<T&>(object_of(T::kKind, reinterpret_cast<std::uintptr_t>(handle)));
}

/// Puts the object's handle where the caller wants it.
template <typename T, typename Handle>
void give(std::unique_ptr<T> object, Handle* handle) {
  // Never an address; see handles.hpp.
  *handle = std::bit_cast<Handle>(make_handle(T::kKind, std::move(object)));
}

/// Frees a handle; null is none.
template <typename T, typename Handle>
int free_handle(Handle handle) noexcept {
  return guarded([&] {
    if (handle != nullptr) release_handle(T::kKind, reinterpret_cast<std::uintptr_t>(handle));
  });
}

/// Tells a footprint to C.
void give_footprint(const Footprint& footprint, cohort_footprint* target);

/// 0 or 1. Throws: Error{usage} naming the argument.
inline bool flag_of(std::uint32_t value, const char* name) {
  if (value <= 1) return value == 1;
  throw Error(ErrorCode::usage,
              std::string(name) + " is " + std::to_string(value) + ", not 0 or 1");
}

/// Tells a buffer to C.
void give_buffer(const Buffer& buffer, cohort_buffer* target);

/// The kinds whose COHORT_GROUP_BIT is set. Throws: Error{usage} for bits that name none.
std::vector<GroupKind> groups_of(std::uint32_t bits);

/// The first `capacity - 1` bytes of a text and a null byte, and how long it is as a whole.
void give_text(const std::string& whole, char* text, std::size_t capacity, std::size_t* length);

/// The first `capacity` of `ranks`, and how many there are.
template <typename Ranks>
void give_ranks(const Ranks& ranks, std::uint32_t* target, std::size_t capacity,
                std::size_t* count) {
  if (capacity > 0) require(target, "ranks");
  require(count, "count");
  for (std::size_t i = 0; i < ranks.size() && i < capacity; ++i) target[i] = ranks[i].index();
  *count = ranks.size();
}

}  // namespace cohort::capi
