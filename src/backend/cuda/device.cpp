#include "backend/cuda/device.hpp"

#include "backend/cuda/status_code.hpp"
#include "base/bytes.hpp"

namespace cohort::cuda {
namespace {

std::string name_of(WorldRank rank) {
  return "rank " + std::to_string(rank.index());
}

}  // namespace

void throw_unless_ok(const Status& status, const std::string& doing,
                     std::optional<WorldRank> rank) {
  if (status.code == Status::Code::ok) return;
  throw Error(error_code_of(status.code, ErrorCode::cuda), doing + ": " + status.text, rank);
}

std::shared_ptr<OpenDevice> OpenDevice::open(const Api& api, std::uint32_t index,
                                             std::optional<WorldRank> rank) {
  std::shared_ptr<OpenDevice> device(new OpenDevice(api, index, rank));
  const std::string doing = "opening GPU " + std::to_string(index);
  throw_unless_ok(api.describe(index, &device->facts_), doing, rank);
  throw_unless_ok(api.open(index, &device->device_), doing, rank);
  device->check(api.granule(device->device_, &device->granule_bytes_), "asking for its granule");
  return device;
}

OpenDevice::~OpenDevice() {
  if (device_ != nullptr) api_->close(device_);
}

std::string OpenDevice::name() const {
  return "GPU " + std::to_string(index_) + " (" + facts_.name + ", " + facts_.pci + ")";
}

void OpenDevice::check(const Status& status, const char* doing) const {
  if (status.code == Status::Code::ok) return;
  throw_unless_ok(status, std::string(doing) + " on " + name(), rank_);
}

void OpenDevice::fill(Address address, std::uint32_t word, std::size_t bytes) const {
  check(api_->fill(device_, address, word, bytes), "filling memory");
}

void OpenDevice::copy(Address to, Address from, std::size_t bytes) const {
  check(api_->copy(device_, to, from, bytes), "copying memory");
}

void OpenDevice::stamp(Address address, std::size_t bytes, std::uint64_t stamp) const {
  check(api_->stamp(device_, address, bytes, stamp), "writing a pattern");
}

bool OpenDevice::has_stamps(Address address, std::size_t bytes, std::uint64_t stamp) const {
  bool shown = false;
  check(api_->has_stamps(device_, address, bytes, stamp, &shown), "looking at a pattern");
  return shown;
}

void OpenDevice::poke(Address address, std::uint32_t word) const {
  check(api_->poke(device_, address, word), "storing a word");
}

void OpenDevice::launch(const KernelCall& call) const {
  check(api_->launch(device_, &call), "launching a collective");
}

void OpenDevice::launch_fused(const FusedCall& call) const {
  check(api_->launch_fused(device_, &call), "launching a collective with a norm");
}

void OpenDevice::launch_norm(const Norm& norm, Address input, std::uint64_t rows,
                             StreamHandle stream) const {
  check(api_->launch_norm(device_, &norm, input, rows, stream), "launching a norm");
}

void OpenDevice::enqueue_copy(Address to, Address from, std::size_t bytes,
                              StreamHandle stream) const {
  check(api_->enqueue_copy(device_, to, from, bytes, stream), "copying in a stream");
}

void OpenDevice::reduce_alone(Address to, Address from, std::uint64_t elements, DType dtype,
                              StreamHandle stream) const {
  check(api_->reduce_alone(device_, to, from, elements, dtype, stream), "reducing in a stream");
}

void OpenDevice::copy_pieces(std::span<const CopyPiece> pieces, StreamHandle stream) const {
  check(
      api_->copy_pieces(device_, pieces.data(), static_cast<std::uint32_t>(pieces.size()), stream),
      "copying in a stream");
}

bool OpenDevice::is_done(StreamHandle stream) const {
  bool done = false;
  check(api_->is_done(device_, stream, &done), "asking a stream");
  return done;
}

bool OpenDevice::is_capturing(StreamHandle stream) const {
  bool capturing = false;
  check(api_->is_capturing(device_, stream, &capturing), "asking a stream");
  return capturing;
}

void OpenDevice::retain_in_graph(StreamHandle stream, void (*release)(void* held),
                                 void* held) const {
  check(api_->retain_in_graph(device_, stream, release, held), "giving something to a graph");
}

DeviceMemory DeviceMemory::create(std::shared_ptr<OpenDevice> device, std::size_t bytes) {
  MemoryHandle memory = 0;
  const Status status = device->api().create(device->handle(), bytes, &memory);
  if (status.code != Status::Code::ok) {
    throw_unless_ok(status, "taking " + format_bytes(bytes) + " of " + device->name(),
                    device->rank_);
  }
  return {std::move(device), memory};
}

DeviceMemory DeviceMemory::import(std::shared_ptr<OpenDevice> device, int fd, WorldRank owner) {
  MemoryHandle memory = 0;
  const Status status = device->api().import_fd(device->handle(), fd, &memory);
  if (status.code != Status::Code::ok) {
    throw_unless_ok(status, "importing memory of " + name_of(owner) + " on " + device->name(),
                    owner);
  }
  return {std::move(device), memory};
}

DeviceMemory::~DeviceMemory() {
  if (device_) device_->api().destroy(device_->handle(), memory_);
}

UniqueFd DeviceMemory::export_fd() const {
  int fd = -1;
  device_->check(device_->api().export_fd(device_->handle(), memory_, &fd), "exporting memory");
  return UniqueFd(fd);
}

DeviceRange::DeviceRange(std::shared_ptr<OpenDevice> device, std::size_t bytes)
    : device_(std::move(device)), bytes_(bytes) {
  const Status status = device_->api().reserve(device_->handle(), bytes, &base_);
  if (status.code != Status::Code::ok) {
    throw_unless_ok(status,
                    "reserving addresses for " + format_bytes(bytes) + " on " + device_->name(),
                    device_->rank_);
  }
}

DeviceRange::~DeviceRange() {
  device_->api().free_range(device_->handle(), base_, bytes_);
}

void DeviceRange::map(std::size_t offset, std::size_t bytes, const DeviceMemory& memory,
                      WorldRank owner) const {
  const Status status =
      device_->api().map(device_->handle(), base_ + offset, bytes, memory.handle());
  if (status.code == Status::Code::ok) return;
  throw_unless_ok(
      status, "mapping " + format_bytes(bytes) + " of " + name_of(owner) + " on " + device_->name(),
      owner);
}

void DeviceRange::unmap(std::size_t offset, std::size_t bytes) const noexcept {
  device_->api().unmap(device_->handle(), base_ + offset, bytes);
}

MappedWords::MappedWords(std::shared_ptr<OpenDevice> device, std::size_t bytes)
    : device_(std::move(device)) {
  device_->check(device_->api().allocate_mapped(device_->handle(), bytes, &host_, &address_),
                 "taking host memory that kernels can write");
}

MappedWords::~MappedWords() {
  device_->api().free_mapped(device_->handle(), host_);
}

}  // namespace cohort::cuda
