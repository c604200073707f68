#include "gpu/device_group.hpp"

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>
#include <utility>

#include "gpu/check_cuda.hpp"

namespace cohort::test {

namespace {

constexpr std::uint32_t kGeneration = 7;
constexpr std::uint64_t kFirstSequence = (std::uint64_t{1} << 32) - 1000;
constexpr std::uint32_t kNeverWritten = 0xA5A5A5A5;
constexpr std::byte kCanary{0x5C};
constexpr std::byte kPoison{0x3D};

template <typename Pointer>
Pointer as_pointer(cuda::Address address) {
  return std::bit_cast<Pointer>(address);
}

std::uint64_t rounded_up(std::uint64_t bytes, std::uint64_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

std::string plugin_file() {
  const char* named = std::getenv("COHORT_CUDA_PLUGIN");
  return named != nullptr ? named : COHORT_BUILD_DIR "/libcohort_cuda.so";
}

}  // namespace

const cuda::Api* find_plugin(std::string* why_not) {
  void* library = dlopen(plugin_file().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    *why_not = dlerror();
    return nullptr;
  }
  using Entry = const cuda::Api* (*)(std::uint32_t);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, cuda::kEntrySymbol));
  const cuda::Api* api = entry == nullptr ? nullptr : entry(cuda::kAbiVersion);
  if (api == nullptr) {
    *why_not = "the plugin was built for another version";
    return nullptr;
  }
  std::uint32_t devices = 0;
  const cuda::Status status = api->device_count(&devices);
  if (status.code != cuda::Status::Code::ok) *why_not = status.text;
  if (status.code == cuda::Status::Code::ok && devices == 0) *why_not = "no device";
  return devices == 0 ? nullptr : api;
}

std::string describe_fault(const cuda::FaultRecord& fault) {
  if (fault.complete == 0) return {};
  return "fault " + std::to_string(static_cast<int>(fault.kind)) + " with member " +
         std::to_string(fault.member) + " in call " + std::to_string(fault.sequence) + " after " +
         std::to_string(fault.waited_ns) + " ns";
}

void check(const cuda::Status& status, const char* what) {
  if (status.code != cuda::Status::Code::ok) {
    throw std::runtime_error(std::string(what) + ": " + status.text);
  }
}

Operand::Operand(int device, std::size_t bytes, std::size_t shift)
    : device_(device), bytes_(bytes), shift_(shift) {
  check_cuda(cudaSetDevice(device), "cudaSetDevice");
  void* memory = nullptr;
  check_cuda(cudaMalloc(&memory, bytes + shift + 2 * kMargin), "cudaMalloc");
  base_ = reinterpret_cast<cuda::Address>(memory);
  check_cuda(cudaMemset(memory, static_cast<int>(kCanary), bytes + shift + 2 * kMargin),
             "cudaMemset");
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

Operand::~Operand() {
  if (base_ == 0) return;
  (void)cudaSetDevice(device_);
  (void)cudaFree(as_pointer<void*>(base_));
}

Operand::Operand(Operand&& other) noexcept
    : device_(other.device_),
      bytes_(other.bytes_),
      shift_(other.shift_),
      base_(std::exchange(other.base_, 0)) {}

void Operand::write(std::span<const std::byte> content) {
  if (content.size() != bytes_) throw std::runtime_error("an operand of another size");
  check_cuda(cudaSetDevice(device_), "cudaSetDevice");
  check_cuda(
      cudaMemcpy(as_pointer<void*>(address()), content.data(), bytes_, cudaMemcpyHostToDevice),
      "cudaMemcpy");
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

void Operand::poison() {
  check_cuda(cudaSetDevice(device_), "cudaSetDevice");
  check_cuda(cudaMemset(as_pointer<void*>(address()), static_cast<int>(kPoison), bytes_),
             "cudaMemset");
  check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

std::vector<std::byte> Operand::read() const {
  std::vector<std::byte> content(bytes_);
  check_cuda(cudaSetDevice(device_), "cudaSetDevice");
  check_cuda(cudaMemcpy(content.data(), as_pointer<const void*>(address()), bytes_,
                        cudaMemcpyDeviceToHost),
             "cudaMemcpy");
  return content;
}

bool Operand::is_intact() const {
  const std::size_t before = kMargin + shift_;
  std::vector<std::byte> around(before + kMargin);
  check_cuda(cudaSetDevice(device_), "cudaSetDevice");
  check_cuda(
      cudaMemcpy(around.data(), as_pointer<const void*>(base_), before, cudaMemcpyDeviceToHost),
      "cudaMemcpy");
  check_cuda(cudaMemcpy(around.data() + before, as_pointer<const void*>(address() + bytes_),
                        kMargin, cudaMemcpyDeviceToHost),
             "cudaMemcpy");
  return std::all_of(around.begin(), around.end(), [](std::byte b) { return b == kCanary; });
}

DeviceGroup::DeviceGroup(const cuda::Api& api, std::uint32_t members, std::uint64_t data_bytes)
    : api_(api), ranks_(members) {
  std::uint32_t devices = 0;
  check(api.device_count(&devices), "device_count");
  crowd_ = (members + devices - 1) / devices;
  const std::uint64_t chunk = std::uint64_t{cuda::kChunkLines} * cuda::kLineBytes;
  map_.data_bytes = rounded_up(data_bytes, chunk);
  map_.words = 256;
  map_.headers = 512;
  map_.flag_lines = map_.headers + cuda::headers_bytes(members);
  map_.chunks = map_.flag_lines + cuda::flag_lines_bytes(members);
  map_.data = rounded_up(map_.chunks + cuda::chunks_bytes(map_.data_bytes), chunk);
  const std::uint64_t needed = map_.data + cuda::kBuffers * map_.data_bytes;
  for (std::uint32_t member = 0; member < members; ++member) {
    Rank& rank = ranks_[member];
    rank.device_index = static_cast<int>(member % devices);
    check(api.open(member % devices, &rank.device), "open");
    std::size_t granule = 0;
    check(api.granule(rank.device, &granule), "granule");
    stride_ = rounded_up(needed, granule);
    check(api.create(rank.device, stride_, &rank.memory), "create");
    check(api.allocate_mapped(rank.device, 4096, &rank.mapped, &rank.mapped_address),
          "allocate_mapped");
    check_cuda(cudaSetDevice(rank.device_index), "cudaSetDevice");
    cudaStream_t stream = nullptr;
    check_cuda(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreate");
    rank.stream = stream;
  }
  for (Rank& rank : ranks_) {
    check(api.reserve(rank.device, stride_ * members, &rank.arenas), "reserve");
    for (std::uint32_t other = 0; other < members; ++other) {
      check(api.map(rank.device, rank.arenas + other * stride_, stride_, ranks_[other].memory),
            "map");
    }
  }
  reset();
}

DeviceGroup::~DeviceGroup() {
  for (const Rank& rank : ranks_) {
    (void)cudaSetDevice(rank.device_index);
    (void)cudaDeviceSynchronize();
    (void)cudaStreamDestroy(static_cast<cudaStream_t>(rank.stream));
    for (std::uint32_t other = 0; other < members(); ++other) {
      api_.unmap(rank.device, rank.arenas + other * stride_, stride_);
    }
    api_.free_range(rank.device, rank.arenas, stride_ * members());
    api_.free_mapped(rank.device, rank.mapped);
  }
  for (const Rank& rank : ranks_) {
    api_.destroy(rank.device, rank.memory);
    api_.close(rank.device);
  }
}

void DeviceGroup::reset() {
  const std::uint64_t counter = (kFirstSequence - 1) * cuda::kCounterStep;
  for (std::uint32_t member = 0; member < members(); ++member) {
    const Rank& rank = ranks_[member];
    const cuda::Address base = arena(member);
    check(api_.fill(rank.device, base, 0, map_.headers), "fill");
    check(api_.fill(rank.device, base + map_.headers, kNeverWritten, map_.data - map_.headers),
          "fill");
    check(
        api_.fill(rank.device, base + map_.data, cuda::kSentinel, cuda::kBuffers * map_.data_bytes),
        "fill");
    const cuda::ChannelWords words{counter, kGeneration, {}};
    check(api_.copy(rank.device, base + map_.words, reinterpret_cast<cuda::Address>(&words),
                    sizeof words),
          "copy");
    std::memset(rank.mapped, 0, 4096);
    check_cuda(cudaSetDevice(rank.device_index), "cudaSetDevice");
    check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
  }
}

cuda::Address DeviceGroup::arena(std::uint32_t member) const {
  return ranks_[member].arenas + member * stride_;
}

cuda::KernelCall DeviceGroup::call(std::uint32_t member) const {
  cuda::KernelCall call{};
  call.members.arenas = ranks_[member].arenas;
  call.members.stride = stride_;
  call.members.count = members();
  call.members.self = member;
  for (std::uint32_t rank = 0; rank < members(); ++rank) {
    call.members.ranks[rank] = static_cast<std::uint8_t>(rank);
  }
  call.map = map_;
  call.channel = 3;
  call.generation = kGeneration;
  call.hash = 0x123456789abcdef0;
  call.deadline_ns = 20'000'000'000;
  call.fault = ranks_[member].mapped_address;
  call.tally = arena(member) + map_.words + sizeof(cuda::ChannelWords);
  call.tally_bytes = 1;
  call.stream = ranks_[member].stream;
  return call;
}

cuda::FaultRecord DeviceGroup::fault(std::uint32_t member) const {
  cuda::FaultRecord record{};
  std::memcpy(&record, ranks_[member].mapped, sizeof record);
  return record;
}

cuda::Tally DeviceGroup::tally(std::uint32_t member) const {
  cuda::Tally tally{};
  check(api_.copy(ranks_[member].device, reinterpret_cast<cuda::Address>(&tally),
                  call(member).tally, sizeof tally),
        "copy");
  return tally;
}

void DeviceGroup::wait() const {
  const auto began = std::chrono::steady_clock::now();
  for (const Rank& rank : ranks_) {
    bool done = false;
    while (!done) {
      check(api_.is_done(rank.device, rank.stream, &done), "is_done");
      if (std::chrono::steady_clock::now() - began > std::chrono::seconds(60)) {
        throw std::runtime_error("the streams are still busy after a minute");
      }
    }
  }
}

std::string DeviceGroup::what_is_left() const {
  std::vector<std::uint32_t> words(cuda::kBuffers * map_.data_bytes / sizeof(std::uint32_t));
  for (std::uint32_t member = 0; member < members(); ++member) {
    check(api_.copy(ranks_[member].device, reinterpret_cast<cuda::Address>(words.data()),
                    arena(member) + map_.data, words.size() * sizeof(std::uint32_t)),
          "copy");
    const auto found = std::find_if(words.begin(), words.end(),
                                    [](std::uint32_t word) { return word != cuda::kSentinel; });
    if (found != words.end()) {
      return "member " + std::to_string(member) + ": word " +
             std::to_string(found - words.begin()) + " of the scratch was not cleared";
    }
  }
  return {};
}

}  // namespace cohort::test
