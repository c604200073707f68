#include "backend/host/shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <mutex>
#include <tuple>

#include "backend/host/system_error.hpp"

namespace cohort::host {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr std::size_t kReservePieceBytes = std::size_t{64} << 20;

/// Device, inode and size: what tells one object of the process from another.
using ObjectId = std::tuple<dev_t, ino_t, std::size_t>;

struct Registry {
  std::mutex mutex;
  std::map<ObjectId, std::weak_ptr<SharedMapping>> mappings;
};

// Never destroyed: a thread may still end a mapping while the process exits.
Registry& registry() {
  static auto* const instance = new Registry;
  return *instance;
}

struct stat status_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) throw_system_error("look at shared memory (fstat)");
  return status;
}

}  // namespace

UniqueFd create_shared_memory(const char* name, std::size_t bytes,
                              FunctionRef<void(std::size_t)> reserved) {
  UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd) throw_system_error("create shared memory (memfd_create)");
  if (::ftruncate(fd.get(), static_cast<off_t>(bytes)) != 0) {
    throw_system_error("size shared memory (ftruncate)");
  }
  for (std::size_t offset = 0; offset < bytes;) {
    const std::size_t piece = std::min(bytes - offset, kReservePieceBytes);
    if (::fallocate(fd.get(), 0, static_cast<off_t>(offset), static_cast<off_t>(piece)) != 0) {
      if (errno == EINTR) continue;
      throw_system_error("reserve " + std::to_string(bytes) + " bytes of shared memory");
    }
    offset += piece;
    reserved(piece);
  }
  if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0) {
    throw_system_error("seal shared memory (F_ADD_SEALS)");
  }
  return fd;
}

std::size_t shared_memory_held_bytes(int fd) {
  constexpr std::size_t kBlockBytes = 512;  // the unit of st_blocks, whatever the page size
  return static_cast<std::size_t>(status_of(fd).st_blocks) * kBlockBytes;
}

AddressRange::AddressRange(std::size_t bytes) : bytes_(bytes) {
  void* const data =
      ::mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    throw_system_error("reserve " + std::to_string(bytes) + " bytes of addresses");
  }
  data_ = static_cast<std::byte*>(data);
}

AddressRange::~AddressRange() {
  ::munmap(data_, bytes_);
}

std::shared_ptr<SharedMapping> SharedMapping::map(int fd, std::size_t bytes, WorldRank owner) {
  return map(fd, bytes, owner, {nullptr, 0, bytes});
}

std::shared_ptr<SharedMapping> SharedMapping::map(int fd, std::size_t bytes, WorldRank owner,
                                                  const Where& where) {
  const struct stat status = status_of(fd);
  const int seals = ::fcntl(fd, F_GET_SEALS);
  if (static_cast<std::size_t>(status.st_size) != bytes || (seals & F_SEAL_SHRINK) == 0) {
    throw Error(ErrorCode::mismatch,
                "rank " + std::to_string(owner.index()) + " shares " +
                    std::to_string(status.st_size) + " bytes of memory where " +
                    std::to_string(bytes) + " were agreed",
                owner, "map");
  }
  Registry& known = registry();
  const std::lock_guard lock(known.mutex);
  std::erase_if(known.mappings, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<SharedMapping>& entry =
      known.mappings[ObjectId{status.st_dev, status.st_ino, bytes}];
  if (std::shared_ptr<SharedMapping> mapping = entry.lock()) return mapping;
  auto range = where.range ? where.range : std::make_shared<AddressRange>(where.reserve_bytes);
  std::byte* const begin = range->data() + where.offset;
  if (::mmap(begin, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE | MAP_FIXED, fd, 0) ==
      MAP_FAILED) {
    throw_system_error("map shared memory (mmap)");
  }
  std::shared_ptr<SharedMapping> mapping(new SharedMapping(std::move(range), where.offset, bytes));
  mapping->range_->mapped_[where.offset] = mapping.get();
  entry = mapping;
  return mapping;
}

SharedMapping::~SharedMapping() {
  const std::lock_guard lock(registry().mutex);
  // Another rank of this process may have mapped something here since the last of us let go.
  const auto here = range_->mapped_.find(offset_);
  if (here == range_->mapped_.end() || here->second != this) return;
  range_->mapped_.erase(here);
  // The addresses stay reserved for what else the range holds or will hold.
  // If that fails they stay mapped, which nobody relies on.
  [[maybe_unused]] void* const mapped = ::mmap(
      data(), bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
}

}  // namespace cohort::host
