#include "session/session_memory.hpp"

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <cohort/error.hpp>

#include "backend/cuda/cuda_backend.hpp"
#include "backend/cuda/device.hpp"
#include "backend/cuda/plugin_loader.hpp"
#include "backend/host/host_backend.hpp"
#include "collectives/cuda/cuda_executor.hpp"
#include "collectives/cuda/fault_watch.hpp"
#include "collectives/host/host_executor.hpp"
#include "session/device_api.hpp"
#include "session/gpus.hpp"
#include "session/nccl_setup.hpp"

namespace cohort {
namespace {

std::atomic<const cuda::Api*> api_of_tests{nullptr};
std::atomic<const cuda::nccl::Api*> nccl_of_tests{nullptr};

class HostMemory final : public SessionMemory {
 public:
  explicit HostMemory(host::Domain& domain)
      : domain_(&domain), backend_(domain.shared_from_this()) {}

  void agree(const Plan& /*plan*/, host::Domain::TimePoint /*deadline*/) override {}
  Backend& backend() override { return backend_; }

  std::unique_ptr<collectives::Executor> make_executor(const ExecutorParts& parts) override {
    host::HostExecutorOptions options;
    options.generation = parts.generation;
    options.first_sequence = parts.first_sequence;
    options.crowded = parts.crowded;
    options.kept_bytes = parts.kept_bytes;
    options.nodes = parts.nodes;
    options.pools = &parts.pools;
    return std::make_unique<host::HostExecutor>(*domain_, parts.arena, parts.plan, parts.layout,
                                                parts.slots, parts.rings, options);
  }
  void start(Arena& /*arena*/) override {}
  void stop() noexcept override {}
  void give_to_graph(void* /*stream*/, void (* /*release*/)(void*), void* /*held*/) override {
    throw Error(ErrorCode::usage, "calls on host memory take no stream, so no graph captures them",
                domain_->rank(), "give_to_graph");
  }

  void write_stamps(void* memory, std::size_t bytes, std::uint64_t stamp) const override {
    auto* const words = static_cast<std::uint64_t*>(memory);
    const std::size_t count = bytes / sizeof(stamp);
    for (std::size_t i = 0; i < count; ++i) words[i] = stamp + i;
    const std::uint64_t last = stamp + count;
    std::memcpy(words + count, &last, bytes % sizeof(last));
  }
  bool has_stamps(const void* memory, std::size_t bytes, std::uint64_t stamp) const override {
    const auto* const words = static_cast<const std::uint64_t*>(memory);
    const std::size_t count = bytes / sizeof(stamp);
    std::uint64_t difference = 0;
    for (std::size_t i = 0; i < count; ++i) difference |= words[i] ^ (stamp + i);
    const std::uint64_t last = stamp + count;
    return difference == 0 && std::memcmp(words + count, &last, bytes % sizeof(last)) == 0;
  }

 private:
  host::Domain* domain_;
  host::HostBackend backend_;
};

class CudaMemory final : public SessionMemory {
 public:
  CudaMemory(host::Domain& domain, std::shared_ptr<cuda::OpenDevice> device)
      : domain_(&domain),
        device_(std::move(device)),
        backend_(domain.shared_from_this(), device_),
        watch_(domain, device_) {
    const cuda::Api& api = device_->api();
    cuda::throw_unless_ok(api.create_stream(device_->handle(), &stream_), "making a stream",
                          domain.rank());
  }
  ~CudaMemory() override { device_->api().destroy_stream(device_->handle(), stream_); }
  CudaMemory(const CudaMemory&) = delete;
  CudaMemory& operator=(const CudaMemory&) = delete;

  void agree(const Plan& plan, host::Domain::TimePoint deadline) override {
    check_granule();
    const std::vector<cuda::DeviceFacts> devices = exchange(device_->facts(), deadline);
    cuda::DeviceShare least{~0U, ~0U};
    for (const cuda::DeviceFacts& device : devices) {
      std::uint64_t sharers = 0;
      for (const cuda::DeviceFacts& other : devices) {
        sharers += std::memcmp(device.pci, other.pci, sizeof(device.pci)) == 0 ? 1 : 0;
      }
      const cuda::DeviceShare share = cuda::device_share(
          std::uint64_t{device.multiprocessors} * device.threads_per_multiprocessor,
          sharers * plan.options().lanes);
      least.resident = std::min(least.resident, share.resident);
      least.early = std::min(least.early, share.early);
    }
    limits_.resident_threads = least.resident;
    cuda::throw_unless_ok(device_->api().limit_early(device_->handle(), least.early),
                          "limiting early kernels", domain_->rank());
    const GpuLink link = agree_on_link(devices, deadline);
    shipped_ = PathTable::shipped(gpus_of(devices, link));
    if (plan.options().nccl == NcclUse::off) return;
    nccl_ = std::make_unique<NcclSetup>(*domain_, device_, nccl_api(), stream_, plan,
                                        link == GpuLink::nvlink);
  }

  /// All ranks have one plan and one idea of their GPUs, so they take the same table.
  const PathTable& table_of(const Plan& plan) const override {
    const PathTable& table = plan.options().path_table;
    const bool is_built_in = !table.pin() && !table.machine() && !table.gpus();
    return is_built_in && shipped_ ? *shipped_ : table;
  }

  Backend& backend() override { return backend_; }

  std::unique_ptr<collectives::Executor> make_executor(const ExecutorParts& parts) override {
    cuda::CudaExecutorOptions options;
    options.generation = parts.generation;
    options.first_sequence = parts.first_sequence;
    options.crowded = parts.crowded;
    options.kept_bytes = parts.kept_bytes;
    options.limits = limits_;
    options.table = table_of(parts.plan);
    if (shipped_) options.own_table = *shipped_;
    options.pools = &parts.pools;
    options.nccl = nccl_ ? &nccl_->calls() : nullptr;
    return std::make_unique<cuda::CudaExecutor>(
        cuda::CudaRank{*domain_, *device_, watch_, parts.arena, *parts.host_words}, parts.plan,
        parts.layout, parts.slots, static_cast<const cuda::CudaExecutor*>(parts.previous), options);
  }

  void connect_nccl(const Plan& plan, const heap::ArenaLayout& layout, const Arena& arena,
                    host::Domain::TimePoint deadline) override {
    if (nccl_) nccl_->connect(plan, layout, on_device(arena), deadline);
  }
  std::string nccl_refusal() const override { return nccl_ ? nccl_->refusal() : std::string(); }
  void extend_nccl(const Arena& arena, host::Domain::TimePoint deadline) override {
    if (nccl_) nccl_->extend(on_device(arena), deadline);
  }
  void shrink_nccl(const Arena& arena, std::size_t bytes) noexcept override {
    if (nccl_) nccl_->shrink(on_device(arena), bytes);
  }
  void close_nccl(host::Domain::TimePoint deadline) override {
    if (nccl_) nccl_->close(deadline);
  }
  void abandon_nccl() noexcept override {
    if (nccl_) nccl_->abandon();
  }

  void start(Arena& arena) override { watch_.start(cuda::OpenDevice::host(arena.local())); }
  void stop() noexcept override { watch_.stop(); }
  void* own_stream() const noexcept override { return stream_; }

  void give_to_graph(void* stream, void (*release)(void* held), void* held) override {
    watch_.check("give_to_graph");
    if (stream == nullptr || !device_->is_capturing(stream)) {
      throw Error(ErrorCode::usage,
                  "the stream is not being captured, so there is no graph to own a lease",
                  domain_->rank(), "give_to_graph");
    }
    device_->retain_in_graph(stream, release, held);
  }

  void write_stamps(void* memory, std::size_t bytes, std::uint64_t stamp) const override {
    device_->stamp(cuda::OpenDevice::host(memory), bytes, stamp);
  }
  bool has_stamps(const void* memory, std::size_t bytes, std::uint64_t stamp) const override {
    return device_->has_stamps(cuda::OpenDevice::host(memory), bytes, stamp);
  }

 private:
  /// Of this memory's own making.
  static const cuda::CudaArena& on_device(const Arena& arena) {
    return static_cast<const cuda::CudaArena&>(arena);
  }

  void check_granule() const {
    if (heap::kDeviceGranuleBytes % device_->granule_bytes() == 0) return;
    domain_->fail(Error(ErrorCode::unsupported,
                        device_->name() + " gives memory in pieces of " +
                            std::to_string(device_->granule_bytes()) + " bytes, plans count in " +
                            std::to_string(heap::kDeviceGranuleBytes),
                        domain_->rank(), "commit"));
  }

  /// What every rank says, by rank.
  template <typename Word>
  std::vector<Word> exchange(const Word& mine, host::Domain::TimePoint deadline) {
    std::vector<Word> words;
    for (const auto& bytes :
         domain_->all_gather(std::as_bytes(std::span(&mine, 1)), "commit", deadline)) {
      std::memcpy(&words.emplace_back(), bytes.data(), std::min(bytes.size(), sizeof(Word)));
    }
    return words;
  }

  /// A rank may not see the devices of others: the least that any of them knows holds.
  GpuLink agree_on_link(std::span<const cuda::DeviceFacts> devices,
                        host::Domain::TimePoint deadline) {
    GpuLink least = GpuLink::unknown;
    try {
      least = least_link(device_->api(), device_->index(), devices);
    } catch (const Error&) {
      least = GpuLink::unknown;  // mapping will say what is wrong
    }
    for (const GpuLink link : exchange(least, deadline)) least = std::min(least, link);
    return least;
  }

  host::Domain* domain_;
  std::shared_ptr<cuda::OpenDevice> device_;
  cuda::CudaBackend backend_;
  cuda::FaultWatch watch_;
  cuda::GridLimits limits_;
  std::optional<PathTable> shipped_;  // for the GPUs of all ranks
  cuda::StreamHandle stream_ = nullptr;
  std::unique_ptr<NcclSetup> nccl_;  // of plans that ask for it
};

/// Throws: Error{usage} if what the environment says is no number.
std::optional<std::uint32_t> device_from_environment() {
  const char* const text = std::getenv("COHORT_DEVICE");
  if (text == nullptr) return std::nullopt;
  std::uint32_t device = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, device);
  if (error == std::errc{} && rest == end && text != end) return device;
  throw Error(ErrorCode::usage,
              "COHORT_DEVICE is '" + std::string(text) +
                  "', which is no device's number; unset it, or "
                  "give one from 0 to below the count of GPUs",
              std::nullopt, "commit");
}

std::uint32_t device_of(const cuda::Api& api, WorldRank rank, const CommitOptions& options) {
  std::uint32_t count = 0;
  cuda::throw_unless_ok(api.device_count(&count), "counting GPUs", rank);
  const auto wanted = device_from_environment();
  const std::uint32_t device =
      wanted ? *wanted : options.device.value_or(count == 0 ? 0 : rank.index() % count);
  if (device < count) return device;
  throw Error(ErrorCode::usage,
              "rank " + std::to_string(rank.index()) + " is to use device " +
                  std::to_string(device) + " of " + std::to_string(count) +
                  "; give another by COHORT_DEVICE or CommitOptions::device",
              rank, "commit");
}

}  // namespace

const cuda::Api& device_api() {
  const cuda::Api* const api = api_of_tests.load();
  return api != nullptr ? *api : cuda::require_devices();
}

const cuda::nccl::Api* nccl_api() {
  return api_of_tests.load() != nullptr ? nccl_of_tests.load() : cuda::loaded_plugin().nccl;
}

void set_device_api(const cuda::Api* api, const cuda::nccl::Api* nccl) noexcept {
  api_of_tests.store(api);
  nccl_of_tests.store(nccl);
}

std::unique_ptr<SessionMemory> make_session_memory(host::Domain& domain, Memory memory,
                                                   const CommitOptions& options) {
  if (memory == Memory::host) return std::make_unique<HostMemory>(domain);
  const cuda::Api& api = device_api();
  const std::uint32_t index = device_of(api, domain.rank(), options);
  return std::make_unique<CudaMemory>(domain, cuda::OpenDevice::open(api, index, domain.rank()));
}

}  // namespace cohort
