#include "backend/cuda/nccl/plugin/nccl_library.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "backend/cuda/plugin/status.hpp"

namespace cohort::cuda::nccl {
namespace {

constexpr const char* kUsualName = "libnccl.so.2";

struct Loaded {
  std::once_flag once;
  Status status;
  LibraryFacts facts{};
  NcclLibrary functions{};
};

Loaded& loaded() noexcept {
  static Loaded instance;
  return instance;
}

template <typename Function>
bool find(void* library, const char* name, Function& function) noexcept {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  return function != nullptr;
}

/// The name of the first function that is missing, or null.
const char* find_all(void* library, NcclLibrary& functions) noexcept {
#define COHORT_FIND(member, name) \
  if (!find(library, #name, functions.member)) return #name
  COHORT_FIND(get_version, ncclGetVersion);
  COHORT_FIND(error_string, ncclGetErrorString);
  COHORT_FIND(last_error, ncclGetLastError);
  COHORT_FIND(get_unique_id, ncclGetUniqueId);
  COHORT_FIND(group_start, ncclGroupStart);
  COHORT_FIND(group_end, ncclGroupEnd);
  COHORT_FIND(init_rank, ncclCommInitRankConfig);
  COHORT_FIND(async_error, ncclCommGetAsyncError);
  COHORT_FIND(window_register, ncclCommWindowRegister);
  COHORT_FIND(window_deregister, ncclCommWindowDeregister);
  COHORT_FIND(finalize, ncclCommFinalize);
  COHORT_FIND(destroy, ncclCommDestroy);
  COHORT_FIND(abort, ncclCommAbort);
  COHORT_FIND(all_reduce, ncclAllReduce);
  COHORT_FIND(all_gather, ncclAllGather);
  COHORT_FIND(reduce_scatter, ncclReduceScatter);
  COHORT_FIND(broadcast, ncclBroadcast);
#undef COHORT_FIND
  find(library, "ncclAlltoAll", functions.all_to_all);  // may be missing
  return nullptr;
}

void note_path(void* library, LibraryFacts& facts) noexcept {
  link_map* map = nullptr;
  const bool known = ::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr;
  std::snprintf(facts.path, sizeof facts.path, "%s", known ? map->l_name : "");
}

bool is_set_to(const char* name, const char* value) noexcept {
  const char* const set = std::getenv(name);
  return set != nullptr && std::strcmp(set, value) == 0;
}

/// NCCL reads these itself and says nothing when they take symmetric kernels away.
void note_environment(LibraryFacts& facts) noexcept {
  const char* reason = "";
  if (is_set_to("NCCL_WIN_ENABLE", "0")) {
    reason = "NCCL_WIN_ENABLE=0 switches windows off";
  } else if (is_set_to("NCCL_CUMEM_ENABLE", "0")) {
    reason = "NCCL_CUMEM_ENABLE=0 switches windows off";
  } else if (std::getenv("NCCL_SYM_KERNEL") != nullptr) {
    reason = "NCCL_SYM_KERNEL picks kernels by hand";
  }
  std::snprintf(facts.windows_off, sizeof facts.windows_off, "%s", reason);
  facts.registers_operands =
      !is_set_to("NCCL_LOCAL_REGISTER", "0") || !is_set_to("NCCL_GRAPH_REGISTER", "0");
}

/// PyTorch's wheel has its NCCL where no search looks: what the process has already loaded goes
/// first, so that there are never two of them.
void* open_library(Status& status) noexcept {
  const char* const wanted = std::getenv(kLibraryVariable);
  if (wanted != nullptr && *wanted != '\0') {
    void* const named = ::dlopen(wanted, RTLD_NOW | RTLD_LOCAL);
    if (named == nullptr) {
      status =
          failure(Status::Code::unsupported, "%s: cannot load: %s", kLibraryVariable, ::dlerror());
    }
    return named;
  }
  void* found = ::dlopen(kUsualName, RTLD_NOW | RTLD_LOCAL | RTLD_NOLOAD);
  if (found == nullptr) found = ::dlopen(kUsualName, RTLD_NOW | RTLD_LOCAL);
  if (found == nullptr) {
    status = failure(Status::Code::unsupported, "no NCCL: %s; install it, or name the file in %s",
                     ::dlerror(), kLibraryVariable);
  }
  return found;
}

void load(Loaded& into) noexcept {
  void* const library = open_library(into.status);
  if (library == nullptr) return;
  if (const char* const missing = find_all(library, into.functions)) {
    into.status = failure(Status::Code::unsupported, "NCCL is too old: it has no %s", missing);
    return;
  }
  note_path(library, into.facts);
  note_environment(into.facts);
  into.facts.has_all_to_all = into.functions.all_to_all != nullptr;
  int version = 0;
  const ncclResult_t result = into.functions.get_version(&version);
  into.facts.version = version;
  if (result != ncclSuccess) {
    into.status =
        failure(Status::Code::failed, "ncclGetVersion: %s", into.functions.error_string(result));
  }
}

}  // namespace

Status load_library(LibraryFacts* facts) noexcept {
  Loaded& instance = loaded();
  std::call_once(instance.once, [&] { load(instance); });
  *facts = instance.facts;
  return instance.status;
}

const NcclLibrary& library() noexcept {
  return loaded().functions;
}

}  // namespace cohort::cuda::nccl
