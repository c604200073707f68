#pragma once

// Handles of the C interface: numbers in the guise of pointers, looked up in one table for the
// process, so that a stale or made-up one is found out instead of followed.
//
// Invariants:
//   1. A place of the table is never freed, so looking at any number is safe at any time.
//   2. A place's ticket changes with every object it holds; a handle carries the ticket it was made
//      with. Tickets repeat after 2^32 objects in one place.
// Thread safety: any thread, but nobody frees a handle while another thread uses it.

#include <atomic>
#include <cstdint>
#include <memory>

namespace cohort::capi {

enum class HandleKind : std::uint8_t { layout = 1, plan, world, session, ledger, scope, lease };

/// What a handle stands for.
class Object {
 public:
  virtual ~Object() = default;
};

/// The object's handle. Throws: Error{out_of_memory} if the table is full.
std::uint64_t make_handle(HandleKind kind, std::unique_ptr<Object> object);

/// Throws: Error{usage} unless it is a live handle of that kind.
Object& object_of(HandleKind kind, std::uint64_t handle);

/// Takes the object out of the table; the handle is dead from now on. Throws as `object_of`.
std::unique_ptr<Object> release_handle(HandleKind kind, std::uint64_t handle);

}  // namespace cohort::capi
