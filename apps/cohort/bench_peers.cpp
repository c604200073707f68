#include "bench_peers.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

#include <cohort/error.hpp>

namespace cohort::bench {
namespace {

namespace fs = std::filesystem;

/// One way to run a peer, beside its defaults.
struct Setting {
  const char* name;
  std::vector<std::string> arguments;  // of its launcher
  std::vector<std::pair<std::string, std::string>> environment;
};

std::string on_path(const std::string& program) {
  const char* path = std::getenv("PATH");
  std::istringstream folders(path == nullptr ? "" : path);
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string candidate = folder + "/" + program;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

/// The launcher of one MPI: with its name behind it where several are installed.
std::string launcher_of(const std::string& peer) {
  const std::string named = on_path("mpirun." + peer);
  return named.empty() ? on_path("mpirun") : named;
}

// Open MPI: its default copies large messages through the kernel (CMA) where that is allowed;
// without it, and with more of a message sent at once, medium sizes are much faster.
std::vector<Setting> openmpi_settings(bool oversubscribed) {
  const std::vector<std::string> no_cma{"--mca", "btl_vader_single_copy_mechanism", "none"};
  std::vector<std::string> eager = no_cma;
  for (const char* word : {"--mca", "btl_vader_eager_limit", "65536"}) eager.emplace_back(word);
  std::vector<Setting> settings{
      {"default", {}, {}}, {"no_cma", no_cma, {}}, {"eager64k", eager, {}}};
  for (Setting& setting : settings) {
    std::vector<std::string> more{"--allow-run-as-root", "--oversubscribe", "--bind-to",
                                  oversubscribed ? "none" : "core"};
    if (oversubscribed) {
      for (const char* word : {"--mca", "mpi_yield_when_idle", "1"}) more.emplace_back(word);
    }
    setting.arguments.insert(setting.arguments.begin(), more.begin(), more.end());
  }
  return settings;
}

std::vector<Setting> mpich_settings(bool oversubscribed) {
  if (oversubscribed) return {{"default", {}, {}}};
  const std::vector<std::string> bind{"-bind-to", "core"};
  return {{"default", bind, {}},
          {"shm", bind, {{"UCX_TLS", "self,sysv,posix"}}},
          {"shm_short", bind, {{"UCX_TLS", "self,sysv,posix"}, {"UCX_RNDV_THRESH", "inf"}}}};
}

std::vector<Implementation> implementations_of(const std::string& name, const fs::path& program,
                                               std::uint32_t rank_count, std::uint32_t cpu_count) {
  std::vector<Implementation> implementations;
  if (name == "gloo" || name == "shm") {
    implementations.push_back({name, "", program.string(), {program.string()}, false, {}});
    return implementations;
  }
  const bool oversubscribed = rank_count > cpu_count;
  const std::string launcher = launcher_of(name);
  if (launcher.empty()) return {};
  for (const Setting& setting :
       name == "openmpi" ? openmpi_settings(oversubscribed) : mpich_settings(oversubscribed)) {
    Implementation peer{name, setting.name, launcher, {launcher}, true, setting.environment};
    peer.arguments.insert(peer.arguments.end(), setting.arguments.begin(), setting.arguments.end());
    for (const std::string& word :
         {std::string("-n"), std::to_string(rank_count), program.string()}) {
      peer.arguments.push_back(word);
    }
    implementations.push_back(std::move(peer));
  }
  return implementations;
}

}  // namespace

PeerList find_peers(const BenchOptions& options, std::uint32_t rank_count,
                    std::uint32_t cpu_count) {
  PeerList list;
  if (!options.against.empty()) {
    list.implementations.push_back(
        {"against", "", options.against, {options.against, "bench"}, false, {}});
  }
  const bool any = options.peers == std::vector<std::string>{"auto"};
  const std::vector<std::string> names =
      any ? std::vector<std::string>{"openmpi", "mpich", "gloo", "shm"} : options.peers;
  std::error_code error;
  const fs::path folder =
      options.peer_folder.empty()
          ? fs::read_symlink("/proc/self/exe", error).parent_path() / "bench_peers"
          : fs::path(options.peer_folder);
  for (const std::string& name : names) {
    const fs::path program = folder / name;
    std::string why;
    if (!fs::exists(program, error)) {
      why = "no program " + program.string() + " (configure with -DCOHORT_BENCHMARKS=ON)";
    } else {
      const auto found = implementations_of(name, program, rank_count, cpu_count);
      if (found.empty()) why = "its launcher mpirun is not in PATH";
      list.implementations.insert(list.implementations.end(), found.begin(), found.end());
    }
    if (why.empty()) continue;
    if (!any) {
      throw Error(ErrorCode::usage, "--peers " + name + ": " + why, std::nullopt, "arguments");
    }
    list.missing.push_back({name, why});
  }
  return list;
}

}  // namespace cohort::bench
