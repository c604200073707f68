#pragma once

// Where a rank's rows lie, and how its steps are run there: at once on host memory, as a graph in a
// stream on a GPU.

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include <cohort/ids.hpp>
#include <cohort/memory.hpp>
#include <cohort/session.hpp>

namespace cohort::bench {

class LayerPlace {
 public:
  /// A step recorded once; `run` repeats it. Ends before its place and session do.
  class Recorded {
   public:
    virtual ~Recorded() = default;
    virtual void run() = 0;
  };

  virtual ~LayerPlace() = default;
  virtual std::optional<Stream> stream() const = 0;
  virtual void write(void* to, const void* from, std::size_t bytes) = 0;
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;
  /// Until all that was put into the stream has ended; throws the job's fault.
  virtual void wait(Session& session) = 0;
  /// `step` is called now; on host memory in every run too.
  virtual std::unique_ptr<Recorded> record(const std::function<void()>& step) = 0;
};

/// The place of one rank. Throws: Error{unsupported, cuda} for memory that this machine has not.
std::unique_ptr<LayerPlace> make_place(Memory memory, WorldRank rank);

}  // namespace cohort::bench
