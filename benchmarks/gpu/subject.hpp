#pragma once

// One implementation, or one path of it, that is measured. All ranks hold the same subjects in the
// same order; every function is collective unless it says otherwise.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "point.hpp"

namespace cohort::gpu_bench {

class Subject {
 public:
  explicit Subject(std::string name) : name_(std::move(name)) {}
  virtual ~Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  const std::string& name() const noexcept { return name_; }
  /// Why it has no answer to a point; nothing if it has. Local, the same on all ranks.
  virtual std::optional<std::string> refuses(const Point& point) = 0;
  /// Makes ready a replay of `calls` calls. Throws: std::runtime_error.
  virtual void prepare(const Point& point, std::uint32_t calls) = 0;
  /// Fills operands afresh, poisons results, runs every call that a replay has, and counts the
  /// elements of this rank's results that are wrong.
  virtual std::uint64_t verify(std::uint32_t seed) = 0;
  /// Time of one replay on this rank, microseconds: the second of two in a row, so that the ranks
  /// begin it together and its launch is hidden behind the first.
  virtual double replay_us() = 0;
  /// CPU time of one call outside graphs, nanoseconds; nothing where that makes no sense. Local.
  virtual std::optional<double> host_ns() { return std::nullopt; }
  /// What there is to say about how the last call was done. Local.
  virtual std::string note() const { return {}; }
  /// Local.
  virtual void release() = 0;
  /// After the last point.
  virtual void finish() {}

 private:
  std::string name_;
};

}  // namespace cohort::gpu_bench
