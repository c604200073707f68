#include "capi/handles.hpp"

#include <array>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <cohort/error.hpp>

namespace cohort::capi {
namespace {

// A handle is {ticket : 32, place : 24, kind : 8}: never 0, since kinds begin at 1.
constexpr std::uint64_t kKindBits = 8;
constexpr std::uint64_t kPlaceBits = 24;
constexpr std::uint32_t kChunkPlaces = 256;
constexpr std::uint32_t kChunks = 256;

struct Entry {
  std::atomic<std::uint64_t> handle{0};  // of the object held; 0 while free
  std::unique_ptr<Object> object;
  std::uint32_t ticket = 0;
};

using Chunk = std::array<Entry, kChunkPlaces>;

struct Table {
  std::mutex mutex;  // for making and releasing; looking up takes no lock
  std::array<std::atomic<Chunk*>, kChunks> chunks{};
  std::vector<std::uint32_t> free_places;
  std::uint32_t used_places = 0;
};

// Never destroyed: a handle may be used by a thread that outlives static objects.
Table& table() {
  static auto* const instance = new Table;
  return *instance;
}

std::string name_of(HandleKind kind) {
  switch (kind) {
    case HandleKind::layout: return "layout";
    case HandleKind::plan: return "plan";
    case HandleKind::world: return "world";
    case HandleKind::session: return "session";
    case HandleKind::ledger: return "ledger";
    case HandleKind::scope: return "scope";
    case HandleKind::lease: return "lease";
  }
  return "handle";
}

[[noreturn]] void refuse(HandleKind kind, std::uint64_t handle) {
  if (handle == 0) throw Error(ErrorCode::usage, "the " + name_of(kind) + " is null");
  throw Error(ErrorCode::usage,
              "not a " + name_of(kind) + " that is in use: it was freed, or is something else");
}

Entry& entry_of(HandleKind kind, std::uint64_t handle) {
  const auto place = static_cast<std::uint32_t>(handle >> kKindBits) & ((1U << kPlaceBits) - 1);
  const bool right_kind = (handle & ((1U << kKindBits) - 1)) == static_cast<std::uint64_t>(kind);
  if (!right_kind || place / kChunkPlaces >= kChunks) refuse(kind, handle);
  Chunk* const chunk = table().chunks[place / kChunkPlaces].load(std::memory_order_acquire);
  if (chunk == nullptr) refuse(kind, handle);
  Entry& entry = (*chunk)[place % kChunkPlaces];
  if (entry.handle.load(std::memory_order_acquire) != handle) refuse(kind, handle);
  return entry;
}

std::uint32_t take_place(Table& places) {
  if (!places.free_places.empty()) {
    const std::uint32_t place = places.free_places.back();
    places.free_places.pop_back();
    return place;
  }
  const std::uint32_t place = places.used_places;
  if (place == kChunks * kChunkPlaces) {
    throw Error(ErrorCode::out_of_memory, std::to_string(place) +
                                              " handles are in use, which is the most; free what "
                                              "is no longer needed");
  }
  auto& chunk = places.chunks[place / kChunkPlaces];
  if (chunk.load(std::memory_order_relaxed) == nullptr) {
    chunk.store(new Chunk, std::memory_order_release);
    // So that freeing a handle never has to allocate.
    places.free_places.reserve(place + kChunkPlaces);
  }
  ++places.used_places;
  return place;
}

}  // namespace

std::uint64_t make_handle(HandleKind kind, std::unique_ptr<Object> object) {
  Table& places = table();
  const std::lock_guard lock(places.mutex);
  const std::uint32_t place = take_place(places);
  Entry& entry = (*places.chunks[place / kChunkPlaces].load())[place % kChunkPlaces];
  const std::uint64_t handle = std::uint64_t{++entry.ticket} << (kKindBits + kPlaceBits) |
                               std::uint64_t{place} << kKindBits | static_cast<std::uint64_t>(kind);
  entry.object = std::move(object);
  entry.handle.store(handle, std::memory_order_release);
  return handle;
}

Object& object_of(HandleKind kind, std::uint64_t handle) {
  return *entry_of(kind, handle).object;
}

std::unique_ptr<Object> release_handle(HandleKind kind, std::uint64_t handle) {
  Table& places = table();
  const std::lock_guard lock(places.mutex);
  Entry& entry = entry_of(kind, handle);
  entry.handle.store(0, std::memory_order_release);
  places.free_places.push_back(static_cast<std::uint32_t>(handle >> kKindBits) &
                               ((1U << kPlaceBits) - 1));
  return std::move(entry.object);
}

}  // namespace cohort::capi
