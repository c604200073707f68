#include "capi/torch/driver_memory.hpp"

#include <dlfcn.h>

#include <cstdint>

namespace cohort::torch {
namespace {

// Of the driver's interface, which has kept these since it has them.
// A CUdeviceptr is an integer as large as a pointer, and passed like one.
using DeviceAddress = void*;
static_assert(sizeof(DeviceAddress) == sizeof(std::uint64_t));
constexpr int kCaptureModeRelaxed = 2;
constexpr int kSuccess = 0;

struct Driver {
  int (*allocate)(DeviceAddress* address, std::size_t bytes) = nullptr;
  int (*free)(DeviceAddress address) = nullptr;
  int (*exchange_capture_mode)(int* mode) = nullptr;
  bool is_complete() const noexcept { return allocate && free && exchange_capture_mode; }
};

template <typename Function>
void look_up(void* library, const char* name, Function& function) noexcept {
  function = reinterpret_cast<Function>(dlsym(library, name));
}

const Driver& driver() noexcept {
  static const Driver loaded = [] {
    Driver found;
    // Stays loaded: segments may be freed while the process ends.
    if (void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
      look_up(library, "cuMemAlloc_v2", found.allocate);
      look_up(library, "cuMemFree_v2", found.free);
      look_up(library, "cuThreadExchangeStreamCaptureMode", found.exchange_capture_mode);
    }
    return found;
  }();
  return loaded;
}

/// Without it the driver takes an allocation for a mistake while this thread captures a stream.
class RelaxedCapture {
 public:
  RelaxedCapture() noexcept { driver().exchange_capture_mode(&mode_); }
  ~RelaxedCapture() { driver().exchange_capture_mode(&mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  int mode_ = kCaptureModeRelaxed;
};

}  // namespace

void* allocate_on_device(std::size_t bytes, std::string& error) {
  if (!driver().is_complete()) {
    error = "libcuda.so.1 cannot be loaded";
    return nullptr;
  }
  const RelaxedCapture relaxed;
  DeviceAddress address = nullptr;
  const int status = driver().allocate(&address, bytes);
  if (status != kSuccess) {
    error = "cuMemAlloc of " + std::to_string(bytes) + " bytes returned " + std::to_string(status);
    return nullptr;
  }
  return address;
}

void free_on_device(void* data) noexcept {
  if (driver().is_complete()) driver().free(data);
}

}  // namespace cohort::torch
