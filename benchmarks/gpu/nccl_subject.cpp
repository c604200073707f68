#include "nccl_subject.hpp"

#include <dlfcn.h>
#include <nccl.h>

#include <stdexcept>
#include <utility>

namespace cohort::gpu_bench {
namespace {

/// The functions that are used, loaded: nothing here is linked with NCCL.
struct Nccl {
  explicit Nccl(const std::string& file)
      : library(::dlopen(file.empty() ? "libnccl.so.2" : file.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    if (library == nullptr) throw std::runtime_error(std::string("no NCCL: ") + ::dlerror());
  }
  template <typename Function>
  Function* find(const char* name) const {
    void* found = ::dlsym(library, name);
    if (found == nullptr) throw std::runtime_error(std::string("this NCCL has no ") + name);
    return reinterpret_cast<Function*>(found);
  }

  void* library;
  // NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration
#define COHORT_NCCL(function) decltype(::function)* function = find<decltype(::function)>(#function)
  COHORT_NCCL(ncclGetVersion);
  COHORT_NCCL(ncclGetErrorString);
  COHORT_NCCL(ncclGetUniqueId);
  COHORT_NCCL(ncclCommInitRank);
  COHORT_NCCL(ncclMemAlloc);
  COHORT_NCCL(ncclCommWindowRegister);
  COHORT_NCCL(ncclGroupStart);
  COHORT_NCCL(ncclGroupEnd);
  COHORT_NCCL(ncclAllReduce);
  COHORT_NCCL(ncclAllGather);
  COHORT_NCCL(ncclReduceScatter);
  COHORT_NCCL(ncclBroadcast);
  COHORT_NCCL(ncclReduce);
#undef COHORT_NCCL

  void require(ncclResult_t result, const char* what) const {
    if (result != ncclSuccess)
      throw std::runtime_error(std::string(what) + ": " + ncclGetErrorString(result));
  }
};

ncclDataType_t type_of(DType dtype) {
  switch (dtype) {
    case DType::f32: return ncclFloat32;
    case DType::bf16: return ncclBfloat16;
    case DType::f16: return ncclFloat16;
    default: throw std::runtime_error("only floats are measured");
  }
}

class NcclSubject final : public GraphSubject {
 public:
  NcclSubject(std::string name, Ranks& ranks, Gpu& gpu, std::byte* pool,
              std::shared_ptr<const Nccl> nccl, ncclComm_t communicator)
      : GraphSubject(std::move(name), ranks, gpu, pool),
        nccl_(std::move(nccl)),
        communicator_(communicator) {}

 private:
  void enqueue(const Point& point, std::byte* input, std::byte* output) override {
    const ncclDataType_t type = type_of(point.dtype);
    const Shares shares = shares_of(point, ranks().count());
    cudaStream_t stream = gpu().stream;
    switch (point.operation) {
      case Operation::all_reduce:
      case Operation::all_reduce_norm:
        nccl_->require(
            nccl_->ncclAllReduce(input, output, shares.total, type, ncclSum, communicator_, stream),
            "ncclAllReduce");
        break;
      case Operation::all_gather:
        nccl_->require(
            nccl_->ncclAllGather(input, output, shares.of(0), type, communicator_, stream),
            "ncclAllGather");
        break;
      case Operation::reduce_scatter:
        nccl_->require(nccl_->ncclReduceScatter(input, output, shares.of(0), type, ncclSum,
                                                communicator_, stream),
                       "ncclReduceScatter");
        break;
      case Operation::all_gatherv:
      case Operation::reduce_scatterv: enqueue_uneven(point, shares, input, output); break;
      case Operation::layer_step:
      case Operation::layer_step_tp: break;  // several calls
    }
  }

  /// As engines do it, for NCCL has no such call: one operation for each root, in a group.
  void enqueue_uneven(const Point& point, const Shares& shares, const std::byte* input,
                      std::byte* output) const {
    const ncclDataType_t type = type_of(point.dtype);
    const std::size_t width = bytes_of(point.dtype);
    nccl_->require(nccl_->ncclGroupStart(), "ncclGroupStart");
    for (std::uint32_t root = 0; root < ranks().count(); ++root) {
      const auto to = static_cast<int>(root);
      const std::size_t begin = shares.begins[root] * width;
      const ncclResult_t result =
          is_gather(point.operation)
              ? nccl_->ncclBroadcast(input, output + begin, shares.of(root), type, to,
                                     communicator_, gpu().stream)
              : nccl_->ncclReduce(input + begin, output, shares.of(root), type, ncclSum, to,
                                  communicator_, gpu().stream);
      nccl_->require(result, "a group of NCCL calls");
    }
    nccl_->require(nccl_->ncclGroupEnd(), "ncclGroupEnd");
  }

  std::shared_ptr<const Nccl> nccl_;
  ncclComm_t communicator_;
};

ncclComm_t connect(const Nccl& nccl, Ranks& ranks) {
  ncclUniqueId id{};
  if (ranks.rank() == 0) nccl.require(nccl.ncclGetUniqueId(&id), "ncclGetUniqueId");
  ranks.broadcast(&id, sizeof(id));
  ncclComm_t communicator = nullptr;
  nccl.require(nccl.ncclCommInitRank(&communicator, static_cast<int>(ranks.count()), id,
                                     static_cast<int>(ranks.rank())),
               "ncclCommInitRank");
  return communicator;
}

void register_window(const Nccl& nccl, ncclComm_t communicator, void* memory, std::size_t bytes) {
  ncclWindow_t window = nullptr;
  nccl.require(
      nccl.ncclCommWindowRegister(communicator, memory, bytes, &window, NCCL_WIN_COLL_SYMMETRIC),
      "ncclCommWindowRegister");
  if (window == nullptr) throw std::runtime_error("NCCL gives no symmetric window here");
}

}  // namespace

std::vector<std::unique_ptr<Subject>> nccl_subjects(Ranks& ranks, Gpu& gpu, const Arena& arena,
                                                    const std::string& library, int& version) {
  const auto nccl = std::make_shared<const Nccl>(library);
  nccl->require(nccl->ncclGetVersion(&version), "ncclGetVersion");
  ncclComm_t first = connect(*nccl, ranks);
  ncclComm_t second = connect(*nccl, ranks);
  std::byte* own = arena.of(ranks.rank());
  register_window(*nccl, first, own, arena.bytes());
  void* allocated = nullptr;
  nccl->require(nccl->ncclMemAlloc(&allocated, kPoolBytes), "ncclMemAlloc");
  register_window(*nccl, first, allocated, kPoolBytes);

  std::vector<std::unique_ptr<Subject>> subjects;
  const auto add = [&](const char* name, std::byte* pool, ncclComm_t communicator) {
    subjects.push_back(std::make_unique<NcclSubject>(name, ranks, gpu, pool, nccl, communicator));
  };
  add("nccl_symmetric", own, first);
  add("nccl_memalloc", static_cast<std::byte*>(allocated), first);
  add("nccl_wrong_group", own, second);
  add("nccl_plain", ordinary_pool(), second);
  return subjects;
}

}  // namespace cohort::gpu_bench
