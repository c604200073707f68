#include "kernel_subject.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

#include "backend/cuda/abi.hpp"
#include "collectives/cuda/norm_shape.hpp"

namespace cohort::gpu_bench {
namespace {

constexpr std::uint64_t kDeadlineNs = 10'000'000'000;
constexpr std::uint64_t kOperandBytesMax = std::uint64_t{132} << 20;
constexpr std::uint32_t kGeneration = 1;
/// Threads that run at once on the smallest device that this is meant for.
constexpr std::uint64_t kResidentThreads = 132 * 2048;

void require(const cuda::Status& status, const char* what) {
  if (status.code != cuda::Status::Code::ok)
    throw std::runtime_error(std::string(what) + ": " + status.text);
}

std::uint64_t aligned(std::uint64_t bytes, std::uint64_t to) {
  return (bytes + to - 1) / to * to;
}

/// One channel in an arena of its own, as a session would plan it.
class Channel {
 public:
  Channel(Ranks& ranks, const std::string& plugin) {
    open(ranks, plugin);
    const std::uint32_t sources = ranks.count() - 1;
    map.words = sizeof(cuda::SessionWords);
    map.headers = map.words + sizeof(cuda::ChannelWords);
    map.flag_lines = map.headers + cuda::headers_bytes(ranks.count());
    map.chunks = map.flag_lines + cuda::flag_lines_bytes(ranks.count());
    map.data_bytes = sources * kOperandBytesMax;
    map.data = aligned(map.chunks + cuda::chunks_bytes(map.data_bytes), 512);
    std::size_t granule = 0;
    require(api->granule(device, &granule), "granule");
    stride = aligned(map.data + cuda::kBuffers * map.data_bytes, granule);
    map_all(ranks);

    const cuda::Address own = arenas + ranks.rank() * stride;
    require(api->fill(device, own, 0, map.data), "fill");
    require(api->fill(device, own + map.data, cuda::kSentinel, stride - map.data), "fill");
    require(api->fill(device, own + map.words + offsetof(cuda::ChannelWords, generation),
                      kGeneration, sizeof(kGeneration)),
            "fill");
    void* host = nullptr;
    require(api->allocate_mapped(device, sizeof(cuda::FaultRecord), &host, &fault), "mapped");
    record = static_cast<const volatile cuda::FaultRecord*>(host);
    ranks.barrier();
  }

  void check_fault() const {
    if (record->complete == 0) return;
    throw std::runtime_error("fault of kind " +
                             std::to_string(static_cast<std::uint32_t>(record->kind)) +
                             " in call " + std::to_string(record->sequence));
  }

  const cuda::Api* api = nullptr;
  cuda::Device* device = nullptr;
  cuda::Address arenas = 0;
  std::uint64_t stride = 0;
  cuda::ChannelMap map{};
  cuda::Address fault = 0;
  const volatile cuda::FaultRecord* record = nullptr;

 private:
  void open(const Ranks& ranks, const std::string& plugin) {
    void* library = ::dlopen(plugin.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) throw std::runtime_error(std::string("no plugin: ") + ::dlerror());
    using Entry = const cuda::Api*(std::uint32_t);
    auto* entry = reinterpret_cast<Entry*>(::dlsym(library, cuda::kEntrySymbol));
    api = entry != nullptr ? entry(cuda::kAbiVersion) : nullptr;
    if (api == nullptr) throw std::runtime_error("the plugin is of another version");
    require(api->open(ranks.rank(), &device), "open");
  }

  void map_all(Ranks& ranks) {
    cuda::MemoryHandle own = 0;
    int descriptor = -1;
    require(api->reserve(device, ranks.count() * stride, &arenas), "reserve");
    require(api->create(device, stride, &own), "create");
    require(api->export_fd(device, own, &descriptor), "export");
    const UniqueFd owned(descriptor);
    const std::vector<UniqueFd> others = ranks.exchange(owned.get());
    for (std::uint32_t rank = 0; rank < ranks.count(); ++rank) {
      cuda::MemoryHandle memory = own;
      if (rank != ranks.rank())
        require(api->import_fd(device, others[rank].get(), &memory), "import");
      require(api->map(device, arenas + rank * stride, stride, memory), "map");
    }
  }
};

struct Shape {
  std::uint32_t blocks = 1;
  std::uint32_t threads = 32;
  std::uint32_t lines_per_thread = 1;
};

/// Wide and thin while a call is short; as many threads as run at once where it is not.
Shape once_shape(std::uint64_t lines) {
  Shape shape;
  shape.lines_per_thread = lines > kResidentThreads ? 2 : 1;
  const std::uint64_t threads = (lines + shape.lines_per_thread - 1) / shape.lines_per_thread;
  if (shape.lines_per_thread == 2) {
    shape.threads = 512;
  } else if (threads >= 32768) {
    shape.threads = 256;
  } else if (threads >= 16384) {
    shape.threads = 192;
  } else if (threads >= 1024) {
    shape.threads =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(aligned(threads / 32, 32), 32, 128));
  } else {
    shape.threads =
        static_cast<std::uint32_t>(std::clamp<std::uint64_t>(aligned(threads, 32), 32, 128));
  }
  shape.blocks = static_cast<std::uint32_t>(
      std::max<std::uint64_t>((threads + shape.threads - 1) / shape.threads, 1));
  return shape;
}

class KernelSubject final : public GraphSubject {
 public:
  KernelSubject(std::string name, Ranks& ranks, Gpu& gpu, std::byte* pool,
                std::shared_ptr<const Channel> channel, cuda::Algorithm algorithm,
                cuda::Protocol protocol, std::uint32_t blocks_per_row)
      : GraphSubject(std::move(name), ranks, gpu, pool),
        channel_(std::move(channel)),
        algorithm_(algorithm),
        protocol_(protocol),
        blocks_per_row_(blocks_per_row) {}

  std::optional<std::string> refuses(const Point& point) override {
    if (is_layers(point.operation)) return "several calls";
    if (fuses() != (point.operation == Operation::all_reduce_norm) &&
        (fuses() || algorithm_ != cuda::Algorithm::once || protocol_ != cuda::Protocol::sentinel))
      return "another operation";
    if (algorithm_ == cuda::Algorithm::two_shot &&
        (ranks().count() == 2 || point.operation != Operation::all_reduce))
      return "for all_reduce of more than two ranks";
    const std::uint64_t part = part_bytes(point);
    if (protocol_ == cuda::Protocol::flags && part > cuda::kFlagLines * std::uint64_t{8})
      return "larger than its scratch";
    if (algorithm_ == cuda::Algorithm::split && part < (std::uint64_t{256} << 10))
      return "meant for large operands";
    const std::uint64_t lines = part / cuda::kLineBytes;
    if (algorithm_ == cuda::Algorithm::once && lines > 2 * kResidentThreads)
      return "more lines than threads that run at once";
    if (aligned(part, 512) > kOperandBytesMax) return "larger than its scratch";
    return GraphSubject::refuses(point);
  }
  std::uint64_t verify(std::uint32_t seed) override {
    const std::uint64_t wrong = GraphSubject::verify(seed);
    channel_->check_fault();
    return wrong;
  }
  double replay_us() override {
    const double us = GraphSubject::replay_us();
    channel_->check_fault();
    return us;
  }

 private:
  std::uint64_t part_bytes(const Point& point) const {
    const Shares shares = shares_of(point, ranks().count());
    if (!is_gather(point.operation) && !is_scatter(point.operation)) return point.bytes;
    std::uint64_t most = 0;
    for (std::uint32_t rank = 0; rank < ranks().count(); ++rank)
      most = std::max(most, shares.of(rank));
    return most * bytes_of(point.dtype);
  }

  bool fuses() const override { return blocks_per_row_ > 0; }

  void enqueue(const Point& point, std::byte* input, std::byte* output) override {
    cuda::KernelCall call{};
    call.op = op_of(point.operation);
    call.reduce_op = ReduceOp::sum;
    call.dtype = point.dtype;
    call.algorithm = algorithm_;
    call.protocol = protocol_;
    call.bytes = part_bytes(point);
    const std::uint64_t line = protocol_ == cuda::Protocol::flags ? 8 : cuda::kLineBytes;
    std::uint64_t lines = (call.bytes + line - 1) / line;
    if (algorithm_ == cuda::Algorithm::two_shot) lines = (lines - 1) / ranks().count() + 1;
    const Shape shape =
        algorithm_ == cuda::Algorithm::split ? Shape{256, 512, 1} : once_shape(lines);
    call.blocks = shape.blocks;
    call.threads = shape.threads;
    call.lines_per_thread = shape.lines_per_thread;
    std::array<std::uint64_t, kRanksMax> counts{};
    if (call.op == Op::all_gatherv || call.op == Op::reduce_scatterv) {
      const Shares shares = shares_of(point, ranks().count());
      for (std::uint32_t rank = 0; rank < ranks().count(); ++rank)
        counts[rank] = shares.of(rank) * bytes_of(point.dtype);
      call.counts = counts.data();
    }
    call.input = reinterpret_cast<cuda::Address>(input);
    call.output = reinterpret_cast<cuda::Address>(output);
    fill_common(call);
    if (fuses()) {
      launch_fused(call, output);
    } else {
      require(channel_->api->launch(channel_->device, &call), "launch");
    }
  }

  void fill_common(cuda::KernelCall& call) const {
    call.members.arenas = channel_->arenas;
    call.members.stride = channel_->stride;
    call.members.count = ranks().count();
    call.members.self = ranks().rank();
    for (std::uint32_t rank = 0; rank < ranks().count(); ++rank)
      call.members.ranks[rank] = static_cast<std::uint8_t>(rank);
    call.map = channel_->map;
    call.generation = kGeneration;
    call.hash = (static_cast<std::uint64_t>(call.op) << 56) ^ (call.bytes << 16) ^ call.blocks;
    call.deadline_ns = kDeadlineNs;
    call.fault = channel_->fault;
    call.stream = gpu().stream;
  }

  void launch_fused(const cuda::KernelCall& call, std::byte* normed) const {
    cuda::FusedCall fused{};
    fused.call = call;
    fused.call.output = 0;
    const cuda::NormShape shape = cuda::norm_shape(kHidden);
    const std::uint64_t rows = call.bytes / kHidden / bytes_of(call.dtype);
    fused.blocks_per_row = blocks_per_row_;
    const std::uint64_t rows_max = cuda::kBlocksMax / blocks_per_row_;
    fused.call.blocks = static_cast<std::uint32_t>(std::min(rows, rows_max)) * blocks_per_row_;
    fused.call.threads = shape.threads;
    fused.call.lines_per_thread = shape.lines_per_thread;
    fused.norm.dtype = call.dtype;
    fused.norm.output = cuda::NormOutput::plain;
    fused.norm.hidden = kHidden;
    fused.norm.epsilon = 1e-6F;
    fused.norm.residual = reinterpret_cast<cuda::Address>(gpu().residual);
    fused.norm.residual_out = reinterpret_cast<cuda::Address>(gpu().residual_out);
    fused.norm.weight = reinterpret_cast<cuda::Address>(gpu().weight);
    fused.norm.normed = reinterpret_cast<cuda::Address>(normed);
    require(channel_->api->launch_fused(channel_->device, &fused), "launch_fused");
  }

  std::shared_ptr<const Channel> channel_;
  cuda::Algorithm algorithm_;
  cuda::Protocol protocol_;
  std::uint32_t blocks_per_row_;  // of a call with its norm; 0 of one without
};

}  // namespace

std::vector<std::unique_ptr<Subject>> kernel_subjects(Ranks& ranks, Gpu& gpu,
                                                      const std::string& plugin) {
  const auto channel = std::make_shared<const Channel>(ranks, plugin);
  std::byte* pool = ordinary_pool();
  std::vector<std::unique_ptr<Subject>> subjects;
  const auto add = [&](const char* name, cuda::Algorithm algorithm, cuda::Protocol protocol,
                       std::uint32_t blocks_per_row) {
    subjects.push_back(std::make_unique<KernelSubject>(name, ranks, gpu, pool, channel, algorithm,
                                                       protocol, blocks_per_row));
  };
  add("kernel_flags", cuda::Algorithm::once, cuda::Protocol::flags, 0);
  add("kernel_once", cuda::Algorithm::once, cuda::Protocol::sentinel, 0);
  add("kernel_two_shot", cuda::Algorithm::two_shot, cuda::Protocol::sentinel, 0);
  add("kernel_split", cuda::Algorithm::split, cuda::Protocol::sentinel, 0);
  add("kernel_fused", cuda::Algorithm::once, cuda::Protocol::sentinel, 1);
  add("kernel_fused_4", cuda::Algorithm::once, cuda::Protocol::sentinel, 4);
  return subjects;
}

}  // namespace cohort::gpu_bench
