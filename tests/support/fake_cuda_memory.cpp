#include "support/fake_cuda_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

namespace cohort::test {
namespace {

using cuda::Address;
using cuda::Device;
using cuda::MemoryHandle;
using cuda::Status;

Status failure(Status::Code code, const std::string& text) {
  Status status;
  status.code = code;
  std::snprintf(status.text, sizeof status.text, "%s", text.c_str());
  return status;
}

Status system_failure(const char* call) {
  return failure(Status::Code::failed, std::string(call) + ": " + std::strerror(errno));  // NOLINT
}

bool fails(const char* function) {
  const char* const failing = fake_cuda().failing.load();
  return failing != nullptr && std::strcmp(failing, function) == 0;
}

#define FAIL_IF_WANTED(function) \
  if (fails(#function)) return failure(Status::Code::failed, #function ": as the test wants")

std::byte* pointer(Address address) {
  return reinterpret_cast<std::byte*>(static_cast<std::uintptr_t>(address));  // NOLINT
}

Status device_count(std::uint32_t* count) {
  FAIL_IF_WANTED(device_count);
  *count = fake_cuda().devices.load();
  return {};
}

Status describe(std::uint32_t device, cuda::DeviceFacts* facts) {
  if (device >= fake_cuda().devices.load()) {
    return failure(Status::Code::usage, "there is no CUDA device " + std::to_string(device));
  }
  *facts = {};
  std::snprintf(facts->name, sizeof facts->name, "%s", fake_cuda().name.load());
  std::snprintf(facts->pci, sizeof facts->pci, "0000:%02x:00.0", device + 1);
  facts->memory_bytes = fake_cuda().memory_bytes.load();
  facts->compute_major = 9;
  facts->multiprocessors = 132;
  facts->threads_per_multiprocessor = 2048;
  facts->driver_version = 13000;
  facts->runtime_version = 13000;
  facts->posix_handles = true;
  return {};
}

Status describe_link(std::uint32_t device, std::uint32_t peer, cuda::LinkFacts* facts) {
  const bool reaches = ((device ^ peer) & fake_cuda().island_bit.load()) == 0;
  *facts = {.can_access = reaches, .native_atomics = reaches, .performance_rank = reaches ? 0 : 3};
  return {};
}

Status open(std::uint32_t device, Device** opened) {
  FAIL_IF_WANTED(open);
  if (device >= fake_cuda().devices.load()) {
    return failure(Status::Code::usage, "there is no CUDA device " + std::to_string(device));
  }
  *opened = new Device{device};
  ++fake_cuda().open_devices;
  return {};
}

void close(Device* device) {
  delete device;
  --fake_cuda().open_devices;
}

Status granule(Device* /*device*/, std::size_t* bytes) {
  *bytes = kFakeGranuleBytes;
  return {};
}

Status reserve(Device* /*device*/, std::size_t bytes, Address* address) {
  FAIL_IF_WANTED(reserve);
  void* const memory =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return system_failure("mmap");
  *address = reinterpret_cast<std::uintptr_t>(memory);
  fake_cuda().reserved_bytes += static_cast<std::int64_t>(bytes);
  return {};
}

void free_range(Device* /*device*/, Address address, std::size_t bytes) {
  ::munmap(pointer(address), bytes);
  fake_cuda().reserved_bytes -= static_cast<std::int64_t>(bytes);
}

// A handle is a descriptor and whether this process took the memory.
constexpr MemoryHandle kOwn = MemoryHandle{1} << 32;

int fd_of(MemoryHandle memory) {
  return static_cast<int>(memory & ~kOwn);
}

std::int64_t size_of(MemoryHandle memory) {
  struct stat status = {};
  return ::fstat(fd_of(memory), &status) == 0 ? static_cast<std::int64_t>(status.st_size) : -1;
}

Status create(Device* /*device*/, std::size_t bytes, MemoryHandle* memory) {
  FAIL_IF_WANTED(create);
  const auto size = static_cast<std::int64_t>(bytes);
  if (fake_cuda().taken_bytes.load() + size >
      static_cast<std::int64_t>(fake_cuda().memory_bytes.load())) {
    return failure(Status::Code::out_of_memory, "create: out of memory");
  }
  const int fd = ::memfd_create("fake-gpu", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) return system_failure("memfd_create");
  if (::ftruncate(fd, size) != 0) {
    const Status status = system_failure("ftruncate");
    ::close(fd);
    return status;
  }
  *memory = kOwn | static_cast<MemoryHandle>(fd);
  fake_cuda().taken_bytes += size;
  ++fake_cuda().handles;
  return {};
}

Status export_fd(Device* /*device*/, MemoryHandle memory, int* fd) {
  FAIL_IF_WANTED(export_fd);
  *fd = ::fcntl(fd_of(memory), F_DUPFD_CLOEXEC, 3);
  return *fd < 0 ? system_failure("fcntl") : Status{};
}

Status import_fd(Device* /*device*/, int fd, MemoryHandle* memory) {
  FAIL_IF_WANTED(import_fd);
  if (::fcntl(fd, F_GET_SEALS) < 0) return system_failure("import_fd: no memory of a device");
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 3);
  if (own < 0) return system_failure("fcntl");
  *memory = static_cast<MemoryHandle>(own);
  ++fake_cuda().handles;
  return {};
}

void destroy(Device* /*device*/, MemoryHandle memory) {
  if ((memory & kOwn) != 0) fake_cuda().taken_bytes -= size_of(memory);
  ::close(fd_of(memory));
  --fake_cuda().handles;
}

Status map(Device* /*device*/, Address address, std::size_t bytes, MemoryHandle memory) {
  FAIL_IF_WANTED(map);
  if (size_of(memory) != static_cast<std::int64_t>(bytes)) {
    return failure(Status::Code::failed, "map: the memory is of another size");
  }
  if (::mmap(pointer(address), bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd_of(memory),
             0) == MAP_FAILED) {
    return system_failure("mmap");
  }
  fake_cuda().mapped_bytes += static_cast<std::int64_t>(bytes);
  return {};
}

void unmap(Device* /*device*/, Address address, std::size_t bytes) {
  // In place of what was there: the addresses stay taken.
  static_cast<void>(::mmap(pointer(address), bytes, PROT_NONE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0));
  fake_cuda().mapped_bytes -= static_cast<std::int64_t>(bytes);
}

Status fill(Device* /*device*/, Address address, std::uint32_t word, std::size_t bytes) {
  FAIL_IF_WANTED(fill);
  std::fill_n(reinterpret_cast<std::uint32_t*>(pointer(address)), bytes / sizeof word, word);
  return {};
}

Status copy(Device* /*device*/, Address to, Address from, std::size_t bytes) {
  FAIL_IF_WANTED(copy);
  std::memmove(pointer(to), pointer(from), bytes);
  return {};
}

// Byte by byte of the last word, as of the device's.
std::uint64_t stamp_at(std::uint64_t stamp, std::size_t byte) {
  return (stamp + byte / 8) >> 8 * (byte % 8) & 0xFF;
}

Status stamp(Device* /*device*/, Address address, std::size_t bytes, std::uint64_t stamp) {
  FAIL_IF_WANTED(stamp);
  for (std::size_t i = 0; i < bytes; ++i) {
    pointer(address)[i] = static_cast<std::byte>(stamp_at(stamp, i));
  }
  return {};
}

Status has_stamps(Device* /*device*/, Address address, std::size_t bytes, std::uint64_t stamp,
                  bool* shown) {
  FAIL_IF_WANTED(has_stamps);
  *shown = true;
  for (std::size_t i = 0; i < bytes; ++i) {
    *shown = *shown && pointer(address)[i] == static_cast<std::byte>(stamp_at(stamp, i));
  }
  return {};
}

Status allocate_mapped(Device* /*device*/, std::size_t bytes, void** host, Address* address) {
  FAIL_IF_WANTED(allocate_mapped);
  *host = ::operator new (bytes, std::align_val_t{256});
  std::memset(*host, 0, bytes);
  *address = reinterpret_cast<std::uintptr_t>(*host);
  return {};
}

void free_mapped(Device* /*device*/, void* host) {
  ::operator delete (host, std::align_val_t{256});
}

Status poke(Device* /*device*/, Address address, std::uint32_t word) {
  FAIL_IF_WANTED(poke);
  std::atomic_ref<std::uint32_t>(*reinterpret_cast<std::uint32_t*>(pointer(address)))
      .store(word, std::memory_order_release);
  return {};
}

}  // namespace

FakeCuda& fake_cuda() {
  static FakeCuda fake;
  return fake;
}

void set_memory_functions(cuda::Api& api) {
  api.abi_version = cuda::kAbiVersion;
  api.device_count = device_count;
  api.describe = describe;
  api.describe_link = describe_link;
  api.open = open;
  api.close = close;
  api.granule = granule;
  api.reserve = reserve;
  api.free_range = free_range;
  api.create = create;
  api.export_fd = export_fd;
  api.import_fd = import_fd;
  api.destroy = destroy;
  api.map = map;
  api.unmap = unmap;
  api.fill = fill;
  api.copy = copy;
  api.stamp = stamp;
  api.has_stamps = has_stamps;
  api.allocate_mapped = allocate_mapped;
  api.free_mapped = free_mapped;
  api.poke = poke;
}

}  // namespace cohort::test
