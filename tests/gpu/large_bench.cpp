// Times Algorithm::split, the fused norms and copies on two devices, each a graph of equal calls;
// NCCL's all-reduce with our norm behind it beside them, if a file with NCCL is named. Prints JSON
// lines.
//   large_bench [split|fused|copies|all] [libnccl.so.2]

#include <cuda_runtime_api.h>
#include <dlfcn.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "collectives/cuda/norm_shape.hpp"
#include "gpu/graph_timing.hpp"

namespace cohort::test {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

int calls_for(std::uint64_t bytes) {
  return bytes <= 8 * kMiB ? 100 : 20;
}

struct Config {
  cuda::Algorithm algorithm;
  std::uint32_t blocks;
  std::uint32_t threads;
  std::uint32_t lines;
  bool in_place = false;  // of all_reduce
};

struct Buffers {
  std::vector<Operand> input;
  std::vector<Operand> output;
  std::vector<Operand> residual;
  std::vector<Operand> normed;
  std::vector<Operand> weight;
  std::vector<Operand> scales;
};

Buffers make_buffers(const DeviceGroup& group, std::uint64_t bytes) {
  Buffers buffers;
  for (std::uint32_t member = 0; member < 2; ++member) {
    const int device = group.device_of(member);
    for (auto* operands : {&buffers.input, &buffers.output, &buffers.residual, &buffers.normed}) {
      operands->emplace_back(device, bytes);
    }
    buffers.weight.emplace_back(device, 2 * cuda::kHiddenMax);
    buffers.scales.emplace_back(device, 1 << 16);
  }
  return buffers;
}

void time_split(const cuda::Api& api) {
  using cuda::Algorithm;
  DeviceGroup group(api, 2, 128 * kMiB);
  const Buffers buffers = make_buffers(group, 128 * kMiB);
  const std::vector<Config> configs = {
      {Algorithm::split, 528, 256, 2},  {Algorithm::split, 132, 512, 2},
      {Algorithm::split, 128, 1024, 1}, {Algorithm::split, 132, 1024, 1},
      {Algorithm::split, 132, 1024, 2}, {Algorithm::split, 256, 512, 1},
      {Algorithm::split, 256, 512, 2},  {Algorithm::split, 256, 512, 1, true},
      {Algorithm::split, 264, 512, 1},  {Algorithm::split, 528, 512, 1},
      {Algorithm::once, 256, 512, 1},   {Algorithm::once, 512, 256, 1},
      {Algorithm::once, 512, 512, 1},   {Algorithm::once, 512, 512, 2}};
  for (const Op op : {Op::all_reduce, Op::all_gather, Op::reduce_scatter}) {
    for (const std::uint64_t total : {2 * kMiB, 8 * kMiB, 32 * kMiB, 128 * kMiB}) {
      const std::uint64_t bytes = op == Op::all_reduce ? total : total / 2;
      for (const Config& config : configs) {
        const std::uint64_t room =
            std::uint64_t{config.blocks} * config.threads * config.lines * 16;
        if (config.algorithm == Algorithm::once && (room < bytes || room > 4 * bytes)) continue;
        if (config.in_place && op != Op::all_reduce) continue;
        const double us = time_in_graph(group, calls_for(total), [&](std::uint32_t member) {
          cuda::KernelCall call = group.call(member);
          call.op = op;
          call.dtype = DType::bf16;
          call.algorithm = config.algorithm;
          call.protocol = cuda::Protocol::sentinel;
          call.blocks = config.blocks;
          call.threads = config.threads;
          call.lines_per_thread = config.lines;
          call.bytes = bytes;
          call.input = buffers.input[member].address();
          call.output = config.in_place ? call.input : buffers.output[member].address();
          check(api.launch(group.device(member), &call), "launch");
        });
        std::printf(
            "{\"op\": \"%s\", \"bytes\": %llu, \"algorithm\": \"%s\", \"blocks\": %u, "
            "\"threads\": %u, \"lines\": %u, \"in_place\": %s, \"us\": %.2f}\n",
            std::string(to_string(op)).c_str(), static_cast<unsigned long long>(total),
            config.algorithm == Algorithm::once ? "once" : "split", config.blocks, config.threads,
            config.lines, config.in_place ? "true" : "false", us);
      }
    }
  }
}

cuda::KernelCall make_sum(const DeviceGroup& group, const Buffers& buffers, std::uint64_t bytes,
                          std::uint32_t member) {
  cuda::KernelCall call = group.call(member);
  call.op = Op::all_reduce;
  call.dtype = DType::bf16;
  call.algorithm = cuda::Algorithm::once;
  call.protocol = cuda::Protocol::sentinel;
  call.bytes = bytes;
  const std::uint64_t lines = (bytes + 15) / 16;
  call.threads = lines <= 8192 ? 64 : lines <= 16384 ? 128 : 256;
  call.lines_per_thread = 1;
  call.blocks = static_cast<std::uint32_t>((lines + call.threads - 1) / call.threads);
  call.input = buffers.input[member].address();
  call.output = buffers.output[member].address();
  return call;
}

// A copy within each device, alone and behind an all_reduce of as much, as moves of layers have it.
void time_copies(const cuda::Api& api) {
  const DeviceGroup group(api, 2, 8 * kMiB);
  const Buffers buffers = make_buffers(group, 8 * kMiB);
  for (const std::uint64_t bytes : {kMiB / 64, kMiB / 4, 4 * kMiB}) {
    const auto copy = [&](std::uint32_t member) {
      const cuda::CopyPiece piece{
          buffers.normed[member].address(), buffers.output[member].address(), 1, bytes, 0, 0};
      check(api.copy_pieces(group.device(member), &piece, 1, group.stream(member)), "copy_pieces");
    };
    const double alone = time_in_graph(group, 100, copy);
    const double behind = time_in_graph(group, 100, [&](std::uint32_t member) {
      const cuda::KernelCall call = make_sum(group, buffers, bytes, member);
      check(api.launch(group.device(member), &call), "launch");
      copy(member);
    });
    std::printf("{\"copied_bytes\": %llu, \"us\": %.2f, \"behind_all_reduce_us\": %.2f}\n",
                static_cast<unsigned long long>(bytes), alone, behind);
  }
}

// What is used of NCCL, by its stable ABI.
class Nccl {
 public:
  explicit Nccl(const char* file) {
    void* library = dlopen(file, RTLD_NOW);
    if (library == nullptr) throw std::runtime_error(dlerror());
    find(library, "ncclCommInitAll", init_all_);
    find(library, "ncclAllReduce", all_reduce_);
    find(library, "ncclCommWindowRegister", window_register_);
    const int devices[] = {0, 1};
    check_result(init_all_(comms_, 2, devices), "ncclCommInitAll");
  }

  // An arena becomes a window of the communicator, one call by each rank's own thread.
  void open_window(std::uint32_t member, const cuda::Members& members) {
    void* window = nullptr;
    auto* arena = std::bit_cast<void*>(members.arenas + member * members.stride);
    check_result(window_register_(comms_[member], arena, members.stride, &window, 1),
                 "ncclCommWindowRegister");
  }

  void all_reduce(std::uint32_t member, const void* from, void* to, std::size_t elements,
                  cudaStream_t stream) {
    constexpr int kBf16 = 9;
    constexpr int kSum = 0;
    check_result(all_reduce_(from, to, elements, kBf16, kSum, comms_[member], stream),
                 "ncclAllReduce");
  }

 private:
  template <typename Function>
  static void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) throw std::runtime_error(std::string("no ") + name);
  }
  static void check_result(int result, const char* what) {
    if (result != 0) throw std::runtime_error(std::string(what) + ": " + std::to_string(result));
  }

  int (*init_all_)(void**, int, const int*) = nullptr;
  int (*all_reduce_)(const void*, void*, std::size_t, int, int, void*, cudaStream_t) = nullptr;
  int (*window_register_)(void*, void*, std::size_t, void**, int) = nullptr;
  void* comms_[2] = {};
};

struct Rows {
  std::uint32_t hidden;
  std::uint64_t rows;
  cuda::NormOutput output;
  std::uint64_t bytes() const { return rows * hidden * 2; }
};

cuda::Norm make_norm(const Buffers& buffers, const Rows& rows, std::uint32_t member) {
  cuda::Norm norm{};
  norm.dtype = DType::bf16;
  norm.output = rows.output;
  norm.hidden = rows.hidden;
  norm.epsilon = 1e-6F;
  norm.residual = buffers.residual[member].address();
  norm.residual_out = buffers.residual[member].address();
  norm.weight = buffers.weight[member].address();
  norm.normed = buffers.normed[member].address();
  norm.scales = buffers.scales[member].address();
  return norm;
}

double time_fused(const cuda::Api& api, const DeviceGroup& group, const Buffers& buffers,
                  const Rows& rows, std::uint32_t blocks_per_row) {
  return time_in_graph(group, 100, [&](std::uint32_t member) {
    cuda::FusedCall fused{make_sum(group, buffers, rows.bytes(), member),
                          make_norm(buffers, rows, member), blocks_per_row};
    const cuda::NormShape shape = cuda::norm_shape(rows.hidden);
    const auto teams = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(rows.rows, cuda::kBlocksMax / blocks_per_row));
    fused.call.blocks = teams * blocks_per_row;
    fused.call.threads = shape.threads;
    fused.call.lines_per_thread = shape.lines_per_thread;
    check(api.launch_fused(group.device(member), &fused), "launch_fused");
  });
}

// A collective, if any, then the norm.
double time_unfused(const cuda::Api& api, const DeviceGroup& group, const Buffers& buffers,
                    const Rows& rows, const Enqueue& collective) {
  return time_in_graph(group, 100, [&](std::uint32_t member) {
    if (collective) collective(member);
    const cuda::Norm norm = make_norm(buffers, rows, member);
    check(api.launch_norm(group.device(member), &norm, buffers.output[member].address(), rows.rows,
                          group.stream(member)),
          "launch_norm");
  });
}

void time_all_fused(const cuda::Api& api, const char* nccl_file) {
  DeviceGroup group(api, 2, 8 * kMiB);
  const Buffers buffers = make_buffers(group, 8 * kMiB);
  Nccl* nccl = nccl_file == nullptr ? nullptr : new Nccl(nccl_file);
  const DeviceGroup windows(api, 2, 8 * kMiB);  // its scratch serves as operands of NCCL
  if (nccl != nullptr) {
    run_on_ranks(windows, [&](std::uint32_t member) {
      nccl->open_window(member, windows.call(member).members);
    });
  }
  for (const std::uint32_t hidden : {7168U, 4096U, 2048U}) {
    for (const std::uint64_t count : {1U, 4U, 16U, 36U, 64U, 146U}) {
      const Rows rows{hidden, count, cuda::NormOutput::plain};
      double fused = 1e9;
      std::uint32_t best = 0;
      for (const std::uint32_t blocks_per_row : {1U, 2U, 4U, 8U}) {
        const double us = time_fused(api, group, buffers, rows, blocks_per_row);
        std::printf("{\"hidden\": %u, \"rows\": %llu, \"blocks_per_row\": %u, \"us\": %.2f}\n",
                    hidden, static_cast<unsigned long long>(count), blocks_per_row, us);
        if (us >= fused) continue;
        fused = us;
        best = blocks_per_row;
      }
      const double f8 =
          time_fused(api, group, buffers, {hidden, count, cuda::NormOutput::f8_by_row}, best);
      const double norm = time_unfused(api, group, buffers, rows, nullptr);
      const double unfused = time_unfused(api, group, buffers, rows, [&](std::uint32_t member) {
        const cuda::KernelCall call = make_sum(group, buffers, rows.bytes(), member);
        check(api.launch(group.device(member), &call), "launch");
      });
      double plain = 0;
      double symmetric = 0;
      if (nccl != nullptr) {
        const auto with_nccl = [&](bool in_window) {
          return time_unfused(api, group, buffers, rows, [&, in_window](std::uint32_t member) {
            auto* from = std::bit_cast<char*>(buffers.input[member].address());
            auto* to = std::bit_cast<char*>(buffers.output[member].address());
            if (in_window) {
              from = std::bit_cast<char*>(windows.arena(member) + windows.map().data);
              to = from + 8 * kMiB;
            }
            nccl->all_reduce(member, from, to, rows.bytes() / 2,
                             static_cast<cudaStream_t>(group.stream(member)));
          });
        };
        plain = with_nccl(false);
        symmetric = with_nccl(true);
      }
      std::printf(
          "{\"hidden\": %u, \"rows\": %llu, \"best_blocks_per_row\": %u, "
          "\"fused_us\": %.2f, \"fused_f8_us\": %.2f, \"norm_us\": %.2f, \"own_unfused_us\": %.2f, "
          "\"nccl_plain_norm_us\": %.2f, "
          "\"nccl_symmetric_norm_us\": %.2f}\n",
          hidden, static_cast<unsigned long long>(count), best, fused, f8, norm, unfused, plain,
          symmetric);
    }
  }
}

int run(const std::string& what, const char* nccl_file) {
  std::string why_not;
  const cuda::Api* api = find_plugin(&why_not);
  std::uint32_t devices = 0;
  if (api != nullptr) check(api->device_count(&devices), "device_count");
  if (devices < 2) {
    std::fprintf(stderr, "large_bench: needs two devices: %s\n", why_not.c_str());
    return 1;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const bool all = what == "all";
  if (all || what == "split") time_split(*api);
  if (all || what == "fused") time_all_fused(*api, nccl_file);
  if (all || what == "copies") time_copies(*api);
  return 0;
}

}  // namespace
}  // namespace cohort::test

int main(int count, char** arguments) {
  try {
    return cohort::test::run(count > 1 ? arguments[1] : "all", count > 2 ? arguments[2] : nullptr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "large_bench: %s\n", error.what());
    return 1;
  }
}
