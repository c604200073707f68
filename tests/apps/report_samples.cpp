// Writes pages for tests in a browser and for looking at: jobs of 1, 4 and 64 ranks that nobody
// ran, measurements and replays. report_samples FOLDER

#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench_layer_output.hpp"
#include "bench_output.hpp"
#include "faults/catalog.hpp"
#include "faults_output.hpp"
#include "report/job_document.hpp"
#include "report/page.hpp"
#include "report/sample_job.hpp"

namespace cohort {
namespace {

using Json = nlohmann::ordered_json;

std::string job_page(const LayoutSizes& sizes, std::uint32_t layers) {
  const test::SampleJob job = test::sample_job(sizes, layers);
  const Footprint planned = footprint(job.plan);
  std::vector<std::uint64_t> measured;
  for (std::uint32_t rank = 0; rank < job.plan.layout().world_size(); ++rank) {
    measured.push_back(planned.planned_bytes(WorldRank{rank}));
  }
  const Json run{
      {"prompts",
       {{{"prompt_tokens", 12},
         {"completion_tokens", 64},
         {"finish_reason", "length"},
         {"replica", 0}},
        {{"prompt_tokens", 7},
         {"completion_tokens", 31},
         {"finish_reason", "stop"},
         {"replica", 1}}}},
      {"stalls", {{{"rank", 0}, {"count", 2}, {"stalled_s", 3.1}, {"last_stalled_on", nullptr}}}},
      {"registrations_since_commit", 0},
      {"measured_bytes", measured},
      {"timing",
       {{"load_s", 0.4}, {"prefill_s", 0.31}, {"decode_s", 2.2}, {"tokens_per_s", 43.2}}}};
  return report_page(job_document(job.plan, job.communication, job.timelines, run).dump());
}

bench::Times times_of(double median_us) {
  return {median_us * 0.8, median_us, median_us * 1.1, median_us * 2.5, 1000};
}

std::string bench_page() {
  bench::Measurement measurement;
  measurement.table = "paths: built in";
  for (const char* op : {"all_reduce", "all_gather", "barrier"}) {
    for (const std::uint32_t ranks : {2U, 4U}) {
      for (std::size_t bytes = 8; bytes <= (std::size_t{8} << 20U); bytes *= 32) {
        bench::Row row;
        row.op = op;
        row.dtype = "f32";
        row.ranks = ranks;
        row.bytes = row.op == "barrier" ? 0 : bytes;
        row.path = bytes < 16'384 ? "host_inline" : "host_direct";
        const double us = 0.4 * ranks + static_cast<double>(bytes) / 6000;
        row.times = times_of(us);
        row.peers["openmpi"] = {times_of(us * 1.9), "eager64k"};
        row.peers["gloo"] = {times_of(us * 4 + 9), ""};
        row.references["memcpy"] = times_of(us * 0.7);
        measurement.rows.push_back(row);
        if (row.bytes == 0) break;
      }
    }
  }
  measurement.remarks.push_back({"mpich", "no program of that name"});
  return command_report("bench", bench::document_text(measurement));
}

std::string layer_page() {
  bench::LayerMeasurement measurement;
  measurement.options.sizes = {.tp = 4, .attn_dp = 2, .attn_cp = 2};
  measurement.options.memory = Memory::cuda;
  for (std::size_t rows = 1; rows <= 256; rows *= 2) {
    bench::LayerRow row;
    row.rows = rows;
    row.step = times_of(70 + static_cast<double>(rows) * 2);
    row.launched = times_of(160 + static_cast<double>(rows) * 2);
    row.calls = {{"tp", "all_gather", rows * 7168, "gpu_ll", "ok"},
                 {"tp", "reduce_scatter", rows * 14336, "gpu_lamport", "op_unsupported"}};
    measurement.rows.push_back(row);
  }
  return bench::layer_report(measurement);
}

std::string faults_page() {
  std::ostringstream unused;
  FaultsReport report({.ranks = 4, .scale = 1}, true, unused);
  bool kept = false;
  for (const faults::Fault& fault : faults::all_faults()) {
    report.add({.fault = &fault,
                .naive = {.outcome = faults::Outcome::hang,
                          .text = "ranks 0-2 waited for ever in the second call <here>",
                          .as_said = true,
                          .seconds = 2},
                .ours = {.outcome = kept ? faults::Outcome::refused : faults::Outcome::broken,
                         .text = "the same error on all ranks: \"group tp\" & slot 'kv'",
                         .as_said = kept,
                         .seconds = 0.125}});
    kept = true;
  }
  return command_report("faults", report.document_text());
}

void write(const std::filesystem::path& path, const std::string& text) {
  std::ofstream stream(path, std::ios::binary);
  if (!(stream << text).flush()) throw std::runtime_error("cannot write " + path.string());
}

void write_all(const std::filesystem::path& folder) {
  write(folder / "job_1.html", job_page({}, 6));
  write(folder / "job_4.html", job_page({.tp = 4, .attn_dp = 2, .attn_cp = 2}, 30));
  write(folder / "job_64.html", job_page({.tp = 32,
                                          .attn_dp = 4,
                                          .attn_cp = 2,
                                          .ep = 8,
                                          .moe_dp = 2,
                                          .pp = 2,
                                          .ranks_per_host = 8},
                                         60));
  write(folder / "bench.html", bench_page());
  write(folder / "layer.html", layer_page());
  write(folder / "faults.html", faults_page());
}

}  // namespace
}  // namespace cohort

int main(int argument_count, char** arguments) {
  if (argument_count != 2) {
    std::cerr << "usage: report_samples FOLDER\n";
    return 2;
  }
  try {
    cohort::write_all(arguments[1]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
  return 0;
}
