#include "backend/cuda/plugin/driver.hpp"

#include <dlfcn.h>

namespace cohort::cuda {

namespace {

// Every function above has had its present form since then.
constexpr unsigned kInterfaceVersion = 12000;

Status find(const char* name, void** function) noexcept {
  auto result = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion(name, function, kInterfaceVersion,
                                                             cudaEnableLegacyStream, &result);
  if (error != cudaSuccess) return status_of("cudaGetDriverEntryPointByVersion", error);
  if (result == cudaDriverEntryPointSuccess && *function != nullptr) return succeeded();
  return failure(Status::Code::unsupported, "the CUDA driver has no %s: it is too old", name);
}

struct Wanted {
  const char* name;
  void** function;
};

struct Loaded {
  Status status;
  Driver driver;
};

Status load(Driver& driver) noexcept {
  if (::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL) == nullptr) {
    return failure(Status::Code::unsupported, "no CUDA driver: %s", ::dlerror());
  }
  const Wanted all[] = {
#define COHORT_WANTED(name) {#name, reinterpret_cast<void**>(&driver.name)},
      COHORT_DRIVER_FUNCTIONS(COHORT_WANTED)
#undef COHORT_WANTED
          {"cuStreamGetCaptureInfo", reinterpret_cast<void**>(&driver.capture_info)},
  };
  for (const Wanted& wanted : all) {
    const Status status = find(wanted.name, wanted.function);
    if (!is_ok(status)) return status;
  }
  return status_of("cuInit", driver.cuInit(0));
}

const Loaded& loaded() noexcept {
  static const Loaded loaded = [] {
    Loaded made;
    made.status = load(made.driver);
    return made;
  }();
  return loaded;
}

}  // namespace

Status load_driver() noexcept {
  return loaded().status;
}

const Driver& driver() noexcept {
  return loaded().driver;
}

}  // namespace cohort::cuda
