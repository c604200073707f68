// Times the kernels that push once over grids, to find the launch table's: calls in a graph, the
// maximum over ranks of each replay, the median over replays. Prints every shape tried with
// --verbose, else the best one of each point. One rank for each device.
//
// kernel_bench [--verbose] [--types] [--op NAME] [largest bytes]

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "gpu/graph_timing.hpp"

namespace cohort::test {
namespace {

using cuda::Protocol;

struct Shape {
  Protocol protocol = Protocol::sentinel;
  std::uint32_t threads = 0;
  std::uint32_t lines_per_thread = 1;
};

struct Point {
  Op op = Op::all_reduce;
  DType dtype = DType::bf16;
  std::uint64_t bytes = 0;  ///< of the whole operand
};

class Bench {
 public:
  Bench(const cuda::Api& api, std::uint32_t members, std::uint64_t largest)
      : api_(api), group_(api, members, 2 * largest) {
    for (std::uint32_t member = 0; member < members; ++member) {
      inputs_.emplace_back(group_.device_of(member), largest);
      outputs_.emplace_back(group_.device_of(member), largest);
      inputs_.back().write(std::vector<std::byte>(largest));
    }
  }

  std::uint32_t members() const { return group_.members(); }

  cuda::KernelCall call(std::uint32_t member, const Point& point, const Shape& shape) const {
    cuda::KernelCall call = group_.call(member);
    call.op = point.op;
    call.dtype = point.dtype;
    call.protocol = shape.protocol;
    call.threads = shape.threads;
    call.lines_per_thread = shape.lines_per_thread;
    call.bytes = point.op == Op::all_reduce ? point.bytes : point.bytes / members();
    call.input = inputs_[member].address();
    call.output = outputs_[member].address();
    const std::uint64_t line_bytes = shape.protocol == Protocol::flags ? 8 : 16;
    const std::uint64_t of_block = line_bytes * shape.threads * shape.lines_per_thread;
    call.blocks = static_cast<std::uint32_t>((call.bytes + of_block - 1) / of_block);
    return call;
  }

  /// Microseconds of a call.
  double time(const Point& point, const Shape& shape) {
    const int calls = point.bytes <= 131072 ? 400 : point.bytes <= 2097152 ? 150 : 50;
    return time_in_graph(group_, calls, [&](std::uint32_t member) {
      const cuda::KernelCall one = call(member, point, shape);
      check(api_.launch(group_.device(member), &one), "launch");
    });
  }

 private:
  const cuda::Api& api_;
  DeviceGroup group_;
  std::vector<Operand> inputs_;
  std::vector<Operand> outputs_;
};

std::vector<Shape> shapes_for(const Bench& bench, const Point& point) {
  std::vector<Shape> shapes;
  for (const std::uint32_t threads : {32U, 64U, 96U, 128U, 192U, 256U, 384U, 512U, 1024U}) {
    for (const std::uint32_t lines : {1U, 2U}) {
      for (const Protocol protocol : {Protocol::sentinel, Protocol::flags}) {
        const Shape shape{protocol, threads, lines};
        const std::uint64_t blocks = bench.call(0, point, shape).blocks;
        const bool is_flagged = protocol == Protocol::flags;
        if (blocks > cuda::kBlocksMax || blocks * threads > 132 * 2048) continue;
        if (is_flagged && (lines == 2 || bench.call(0, point, shape).bytes > 4096)) continue;
        if (lines == 2 && (bench.members() > 2 || point.bytes < 262144)) continue;
        if (point.bytes >= 1048576 && threads < 128) continue;
        if (point.bytes <= 65536 && threads > 256) continue;
        shapes.push_back(shape);
      }
    }
  }
  return shapes;
}

void print(const char* what, const Bench& bench, const Point& point, const Shape& shape,
           double time_us) {
  std::printf("%s %-14s %-4s %8llu bytes %s U%u %4u x %4u %8.2f us\n", what,
              std::string(to_string(point.op)).c_str(), std::string(to_string(point.dtype)).c_str(),
              static_cast<unsigned long long>(point.bytes),
              shape.protocol == Protocol::flags ? "flags   " : "sentinel", shape.lines_per_thread,
              bench.call(0, point, shape).blocks, shape.threads, time_us);
  std::fflush(stdout);
}

int run(bool verbose, bool types, const std::string& only, std::uint64_t largest) {
  std::string why_not;
  const cuda::Api* api = find_plugin(&why_not);
  if (api == nullptr) throw std::runtime_error(why_not);
  std::uint32_t devices = 0;
  check(api->device_count(&devices), "device_count");
  if (devices < 2) throw std::runtime_error("needs two devices");
  Bench bench(*api, devices, largest);
  for (const Op op : {Op::all_reduce, Op::all_gather, Op::reduce_scatter}) {
    if (!only.empty() && only != to_string(op)) continue;
    for (std::uint64_t bytes = 1024; bytes <= largest; bytes *= 2) {
      const Point point{op, DType::bf16, bytes};
      Shape best;
      double best_us = 1e9;
      for (const Shape& shape : shapes_for(bench, point)) {
        const double time_us = bench.time(point, shape);
        if (verbose) print("tried", bench, point, shape, time_us);
        if (time_us >= best_us) continue;
        best = shape;
        best_us = time_us;
      }
      print("best ", bench, point, best, bench.time(point, best));
      if (!types || op == Op::all_gather) continue;
      for (const DType dtype : {DType::f32, DType::f16, DType::i32}) {
        const Point other{op, dtype, bytes};
        print("same ", bench, other, best, bench.time(other, best));
      }
    }
  }
  return 0;
}

}  // namespace
}  // namespace cohort::test

int main(int argc, char** argv) {
  bool verbose = false;
  bool types = false;
  std::string only;
  std::uint64_t largest = 8 << 20;
  for (int k = 1; k < argc; ++k) {
    if (std::strcmp(argv[k], "--verbose") == 0) {
      verbose = true;
    } else if (std::strcmp(argv[k], "--types") == 0) {
      types = true;
    } else if (std::strcmp(argv[k], "--op") == 0 && k + 1 < argc) {
      only = argv[++k];
    } else {
      largest = std::strtoull(argv[k], nullptr, 10);
    }
  }
  try {
    return cohort::test::run(verbose, types, only, largest);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kernel_bench: %s\n", error.what());
    return 1;
  }
}
