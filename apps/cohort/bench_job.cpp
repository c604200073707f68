#include "bench_job.hpp"

#include <sstream>
#include <stdexcept>

namespace cohort::bench {

std::size_t element_bytes(std::string_view dtype) noexcept {
  if (dtype == "f32" || dtype == "i32") return 4;
  return dtype == "i64" ? 8 : 0;
}

bool has_result(std::string_view op) noexcept {
  return op == "all_reduce" || op == "all_gather" || op == "reduce_scatter" || op == "broadcast" ||
         op == "agreement";
}

bool has_in_place_form(std::string_view op) noexcept {
  return op == "all_reduce" || op == "all_gather";
}

std::size_t in_place_offset(const Job& job, std::uint32_t rank, std::uint32_t ranks) noexcept {
  return job.op == "all_gather" ? job.bytes / ranks * rank : 0;
}

std::size_t input_bytes(const Job& job, std::uint32_t ranks) noexcept {
  return job.op == "all_gather" ? job.bytes / ranks : job.bytes;
}

std::size_t output_bytes(const Job& job, std::uint32_t ranks) noexcept {
  return job.op == "reduce_scatter" ? job.bytes / ranks : job.bytes;
}

std::size_t received_bytes(const Job& job, std::uint32_t ranks) noexcept {
  const std::size_t others = job.bytes / ranks * (ranks - 1);
  if (job.op == "all_reduce") return 2 * others;
  if (job.op == "all_gather" || job.op == "reduce_scatter") return others;
  return job.op == "broadcast" ? job.bytes : 0;
}

std::size_t rounded_bytes(std::string_view op, std::string_view dtype, std::size_t bytes,
                          std::uint32_t ranks) noexcept {
  if (op == "agreement") return 256;
  if (!has_result(op) && op != "memcpy") return 0;
  std::size_t unit = element_bytes(dtype);
  if (op == "all_gather" || op == "reduce_scatter") unit *= ranks;
  return (bytes + unit - 1) / unit * unit;
}

std::string to_line(const Job& job) {
  return job.op + ' ' + job.dtype + ' ' + std::to_string(job.bytes) +
         (job.rotating ? " rotating" : " warm") + (job.in_heap ? " heap" : " ordinary") +
         (job.in_place ? " in_place " : " apart ") + std::to_string(job.count) + ' ' +
         std::to_string(job.seed);
}

Job parse_job(const std::string& line) {
  std::istringstream words(line);
  Job job;
  std::string buffers;
  std::string operands;
  std::string placement;
  words >> job.op >> job.dtype >> job.bytes >> buffers >> operands >> placement >> job.count >>
      job.seed;
  const bool known = (buffers == "warm" || buffers == "rotating") &&
                     (operands == "heap" || operands == "ordinary") &&
                     (placement == "apart" || placement == "in_place") &&
                     element_bytes(job.dtype) != 0;
  if (words.fail() || !known) throw std::invalid_argument("not a job: '" + line + "'");
  job.rotating = buffers == "rotating";
  job.in_heap = operands == "heap";
  job.in_place = placement == "in_place";
  return job;
}

}  // namespace cohort::bench
