#include "bound_subject.hpp"

#include <stdexcept>
#include <utility>

#include "kernels.hpp"

namespace cohort::gpu_bench {
namespace {

enum class Bound : std::uint8_t { push, exchange, empty };

class BoundSubject final : public GraphSubject {
 public:
  BoundSubject(std::string name, Bound bound, Ranks& ranks, Gpu& gpu, const Arena& arena)
      : GraphSubject(std::move(name), ranks, gpu, arena.of(ranks.rank())),
        bound_(bound),
        mine_(arena.of(ranks.rank()) + kPoolBytes),
        next_(arena.of((ranks.rank() + 1) % ranks.count()) + kPoolBytes) {
    require(cudaMalloc(reinterpret_cast<void**>(&words_), kWordsBytes), "cudaMalloc");
    require(cudaMemset(words_, 0, kWordsBytes), "cudaMemset");
  }

  std::optional<std::string> refuses(const Point& point) override {
    if (point.bytes > kPoolBytes / 2) return "larger than the memory for it";
    return std::nullopt;
  }
  double replay_us() override {
    const double us = GraphSubject::replay_us();
    if (bound_ != Bound::exchange) return us;
    std::uint32_t words[2] = {};
    require(cudaMemcpy(words, words_, sizeof(words), cudaMemcpyDeviceToHost), "cudaMemcpy");
    if (words[1] != 0) throw std::runtime_error("the peer's flag never came");
    return us;
  }

 private:
  static constexpr std::size_t kWordsBytes = 256;
  /// Behind the flags.
  static constexpr std::size_t kPushOffset = 4096;

  bool has_result() const override { return false; }
  void enqueue(const Point& point, std::byte* input, std::byte* /*output*/) override {
    switch (bound_) {
      case Bound::push:
        push(next_ + kPushOffset, input, wire_bytes(point, ranks().count()), gpu().stream);
        break;
      case Bound::exchange:
        exchange_flags(reinterpret_cast<std::uint32_t*>(mine_),
                       reinterpret_cast<std::uint32_t*>(next_), words_, gpu().stream);
        break;
      case Bound::empty: empty(gpu().stream); break;
    }
  }

  Bound bound_;
  std::byte* mine_;
  std::byte* next_;
  std::uint32_t* words_ = nullptr;
};

}  // namespace

std::vector<std::unique_ptr<Subject>> bound_subjects(Ranks& ranks, Gpu& gpu, const Arena& arena) {
  std::vector<std::unique_ptr<Subject>> subjects;
  subjects.push_back(std::make_unique<BoundSubject>("push", Bound::push, ranks, gpu, arena));
  subjects.push_back(
      std::make_unique<BoundSubject>("exchange", Bound::exchange, ranks, gpu, arena));
  subjects.push_back(std::make_unique<BoundSubject>("empty", Bound::empty, ranks, gpu, arena));
  return subjects;
}

}  // namespace cohort::gpu_bench
