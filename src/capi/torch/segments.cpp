#include "capi/torch/segments.hpp"

#include <algorithm>
#include <set>
#include <string>

#include "capi/torch/driver_memory.hpp"
#include "capi/torch/failure.hpp"

namespace cohort::torch {
namespace {

bool is_symmetric(cohort_session session, std::uint32_t kind, const cohort_buffer& block,
                  std::size_t bytes) {
  std::uint32_t symmetric = 0;
  return cohort_is_symmetric(session, block.data, bytes, kind, &symmetric) == COHORT_OK &&
         symmetric == 1;
}

}  // namespace

Segments& Segments::instance() {
  static auto* const segments = new Segments;
  return *segments;
}

cohort_scope Segments::scope_of(GroupKey group) {
  {
    const std::lock_guard lock(mutex_);
    if (const auto found = scopes_.find(group); found != scopes_.end()) return found->second;
  }
  cohort_scope scope = nullptr;
  if (const int code = cohort_scope_open(group.first, group.second, 0, &scope); code != COHORT_OK) {
    pass_on(code);
    return nullptr;
  }
  const std::lock_guard lock(mutex_);
  scopes_.emplace(group, scope);
  return scope;
}

void* Segments::allocate(cohort_session session, std::uint32_t kind, std::size_t bytes, int device,
                         void* stream) {
  const cohort_scope scope = scope_of({session, kind});
  if (scope == nullptr) return nullptr;
  cohort_buffer block{};
  block.size = sizeof block;
  Segment segment;
  segment.group = {session, kind};
  segment.bytes = bytes;
  segment.device = device;
  segment.stream = stream;
  const int code = cohort_scope_allocate(scope, COHORT_DTYPE_U8, bytes, 1, &block);
  if (code == COHORT_OK) {
    segment.is_symmetric = is_symmetric(session, kind, block, bytes);
    return add(block.data, segment);
  }
  if (code != COHORT_ERROR_OUT_OF_MEMORY || device < 0) {
    pass_on(code);
    return nullptr;
  }
  std::string error;
  void* const data = allocate_on_device(bytes, error);
  if (data == nullptr) {
    fail(COHORT_ERROR_OUT_OF_MEMORY, "the pool of group " + std::string(cohort_group_name(kind)) +
                                         " has no room for a segment of " + std::to_string(bytes) +
                                         " bytes, and neither has the device: " + error);
    return nullptr;
  }
  segment.is_block = false;
  segment.is_symmetric = false;
  return add(data, segment);
}

void* Segments::add(void* data, Segment segment) {
  const std::lock_guard lock(mutex_);
  segment.serial = ++serial_;
  segments_.insert_or_assign(data, segment);
  return data;
}

void Segments::note_free(void* data) noexcept {
  const std::lock_guard lock(mutex_);
  // Of a session that is forgotten nothing is left to note.
  if (const auto found = segments_.find(data); found != segments_.end()) {
    found->second.is_freed = true;
  }
}

std::vector<Segments::SegmentAt> Segments::freed_of(cohort_session session) const {
  std::vector<SegmentAt> freed;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [data, segment] : segments_) {
      if (segment.is_freed && segment.group.first == session) freed.emplace_back(data, segment);
    }
  }
  std::sort(freed.begin(), freed.end(), [](const SegmentAt& left, const SegmentAt& right) {
    return left.second.serial < right.second.serial;
  });
  return freed;
}

int Segments::give_back(const SegmentAt& freed) {
  const auto& [data, segment] = freed;
  cohort_scope scope = nullptr;
  {
    // First out of the list: its address may come back from the next allocation.
    const std::lock_guard lock(mutex_);
    segments_.erase(data);
    scope = scopes_.at(segment.group);
  }
  if (!segment.is_block) {
    free_on_device(data);
    return COHORT_OK;
  }
  const int code = cohort_scope_release(scope, data);
  return code == COHORT_OK ? code : pass_on(code);
}

int Segments::await_streams(const std::vector<SegmentAt>& freed) {
  std::set<void*> awaited;
  for (const auto& [data, segment] : freed) {
    // The driver waits by itself before it frees.
    if (segment.device < 0 || !segment.is_block) continue;
    if (!awaited.insert(segment.stream).second) continue;
    const int code = cohort_wait(segment.group.first, segment.stream);
    if (code != COHORT_OK) return pass_on(code);
  }
  return COHORT_OK;
}

int Segments::collect(cohort_session session) {
  const std::vector<SegmentAt> freed = freed_of(session);
  if (const int code = await_streams(freed); code != COHORT_OK) return code;
  return give_back(freed);
}

int Segments::give_back(const std::vector<SegmentAt>& freed) {
  for (const SegmentAt& segment : freed) {
    if (const int code = give_back(segment); code != COHORT_OK) return code;
  }
  return COHORT_OK;
}

int Segments::forget(cohort_session session) {
  const cohort_torch_use use = use_of(session, 0);
  if (use.segments > use.freed_segments) {
    return fail(COHORT_ERROR_USAGE,
                std::to_string(use.segments - use.freed_segments) + " segments of " +
                    std::to_string(use.bytes - use.freed_bytes) +
                    " bytes still hold tensors; drop the tensors and MemPools first, then call "
                    "torch.cuda.empty_cache()");
  }
  // A session of a job that has failed is closed all the same: it is not waited for.
  const std::vector<SegmentAt> freed = freed_of(session);
  static_cast<void>(await_streams(freed));
  if (const int code = give_back(freed); code != COHORT_OK) return code;
  std::vector<cohort_scope> scopes;
  {
    const std::lock_guard lock(mutex_);
    for (auto at = scopes_.begin(); at != scopes_.end();) {
      if (at->first.first != session) {
        ++at;
        continue;
      }
      scopes.push_back(at->second);
      at = scopes_.erase(at);
    }
  }
  for (const cohort_scope scope : scopes) {
    if (const int code = cohort_scope_free(scope); code != COHORT_OK) return pass_on(code);
  }
  return COHORT_OK;
}

cohort_torch_use Segments::use_of(cohort_session session, std::uint32_t kind) const {
  cohort_torch_use use{};
  const std::lock_guard lock(mutex_);
  for (const auto& [data, segment] : segments_) {
    if (segment.group.first != session || (kind != 0 && segment.group.second != kind)) continue;
    ++use.segments;
    use.bytes += segment.bytes;
    if (segment.is_freed) {
      ++use.freed_segments;
      use.freed_bytes += segment.bytes;
    } else if (!segment.is_symmetric) {
      ++use.ordinary_segments;
      use.ordinary_bytes += segment.bytes;
    }
  }
  return use;
}

}  // namespace cohort::torch
