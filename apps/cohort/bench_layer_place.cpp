#include "bench_layer_place.hpp"

#include <cstring>
#include <utility>

#include <cohort/error.hpp>

#include "backend/cuda/device.hpp"
#include "session/device_api.hpp"

namespace cohort::bench {

namespace {

class HostPlace final : public LayerPlace {
 public:
  std::optional<Stream> stream() const override { return std::nullopt; }
  void write(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    std::memcpy(to, from, bytes);
  }
  void wait(Session& /*session*/) override {}
  std::unique_ptr<Recorded> record(const std::function<void()>& step) override {
    return std::make_unique<Step>(step);
  }

 private:
  class Step final : public Recorded {
   public:
    explicit Step(std::function<void()> step) : step_(std::move(step)) {}
    void run() override { step_(); }

   private:
    std::function<void()> step_;
  };
};

class GpuPlace final : public LayerPlace {
 public:
  explicit GpuPlace(WorldRank rank) : device_(open(rank)) {
    check(device_->api().create_stream(device_->handle(), &stream_), "making a stream");
  }
  ~GpuPlace() override { device_->api().destroy_stream(device_->handle(), stream_); }

  std::optional<Stream> stream() const override { return Stream{stream_}; }
  void write(void* to, const void* from, std::size_t bytes) override {
    device_->write(cuda::OpenDevice::host(to), from, bytes);
  }
  void read(void* to, const void* from, std::size_t bytes) override {
    device_->read(to, cuda::OpenDevice::host(from), bytes);
  }
  void wait(Session& session) override { session.wait(Stream{stream_}); }

  std::unique_ptr<Recorded> record(const std::function<void()>& step) override {
    auto graph = std::make_unique<Graph>(*this);
    const cuda::Api& api = device_->api();
    check(api.begin_capture(device_->handle(), stream_), "beginning a graph");
    try {
      step();
    } catch (...) {
      static_cast<void>(api.end_capture(device_->handle(), stream_, &graph->handle));
      throw;
    }
    check(api.end_capture(device_->handle(), stream_, &graph->handle), "making a graph");
    return graph;
  }

 private:
  struct Graph final : Recorded {
    explicit Graph(GpuPlace& of) : place(&of) {}
    ~Graph() override {
      const cuda::OpenDevice& device = *place->device_;
      if (handle != nullptr) device.api().destroy_graph(device.handle(), handle);
    }
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;
    void run() override {
      const cuda::OpenDevice& device = *place->device_;
      check(device.api().launch_graph(device.handle(), handle, place->stream_), "running a graph");
    }
    GpuPlace* place;
    cuda::GraphHandle handle = nullptr;
  };

  static void check(const cuda::Status& status, const char* doing) {
    cuda::throw_unless_ok(status, doing);
  }

  /// As `commit` chooses it.
  static std::shared_ptr<cuda::OpenDevice> open(WorldRank rank) {
    const cuda::Api& api = device_api();
    std::uint32_t count = 0;
    check(api.device_count(&count), "counting devices");
    return cuda::OpenDevice::open(api, rank.index() % count, rank);
  }

  std::shared_ptr<cuda::OpenDevice> device_;
  cuda::StreamHandle stream_ = nullptr;
};

}  // namespace

std::unique_ptr<LayerPlace> make_place(Memory memory, WorldRank rank) {
  if (memory == Memory::host) return std::make_unique<HostPlace>();
  return std::make_unique<GpuPlace>(rank);
}

}  // namespace cohort::bench
