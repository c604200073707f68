#pragma once

// Work of a library that cannot be interrupted, at the end of things: it gets a thread and some
// time. If it does not end, the thread is left behind rather than the caller stuck.

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>

namespace cohort::cuda {

/// Runs `work` on a thread of its own; whether it ended by `deadline`. `work` must not throw, and
/// owns what it touches.
inline bool end_within(std::chrono::steady_clock::time_point deadline,
                       const std::function<void()>& work) noexcept {
  struct Shared {
    std::mutex mutex;
    std::condition_variable changed;
    bool done = false;
  };
  try {
    const auto shared = std::make_shared<Shared>();
    std::thread thread([shared, work] {
      work();
      // Notified under the lock: the waiter may be the last to hold `shared` but for this thread.
      const std::scoped_lock lock(shared->mutex);
      shared->done = true;
      shared->changed.notify_all();
    });
    std::unique_lock lock(shared->mutex);
    const bool done = shared->changed.wait_until(lock, deadline, [&] { return shared->done; });
    lock.unlock();
    if (done) {
      thread.join();
    } else {
      thread.detach();
    }
    return done;
  } catch (...) {  // no memory or no thread: then here, however long it takes
    work();
    return true;
  }
}

}  // namespace cohort::cuda
