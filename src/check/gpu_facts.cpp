#include "check/gpu_facts.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

namespace cohort::check {
namespace {

namespace fs = std::filesystem;

std::string first_word(const fs::path& path) {
  std::string word;
  std::ifstream(path) >> word;
  return word;
}

/// Display controllers (class 03) of NVIDIA (vendor 10de).
std::vector<std::string> find_cards() {
  std::vector<std::string> cards;
  std::error_code error;
  for (fs::directory_iterator entry("/sys/bus/pci/devices", error), end; !error && entry != end;
       entry.increment(error)) {
    const fs::path& path = entry->path();
    if (first_word(path / "vendor") == "0x10de" && first_word(path / "class").starts_with("0x03")) {
      cards.push_back(path.filename());
    }
  }
  std::sort(cards.begin(), cards.end());
  return cards;
}

bool can_load(const char* library) {
  // Never unloaded again: neither of them likes that.
  return ::dlopen(library, RTLD_NOW | RTLD_LOCAL) != nullptr;
}

void ask_nccl(GpuFacts& facts) {
  const char* const named = std::getenv("COHORT_NCCL_LIBRARY");
  const char* const library = named != nullptr && *named != '\0' ? named : "libnccl.so.2";
  void* const file = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (file == nullptr) {
    facts.nccl_missing = ::dlerror();
    return;
  }
  using GetVersion = int (*)(int*);
  const auto get_version = reinterpret_cast<GetVersion>(::dlsym(file, "ncclGetVersion"));
  int code = 0;
  if (get_version == nullptr || get_version(&code) != 0) {
    facts.nccl_missing = std::string(library) + " does not tell its version";
    return;
  }
  facts.nccl = nccl_version_of(code);
}

bool ask_devices(const cuda::Api& api, GpuFacts& facts) {
  std::uint32_t count = 0;
  cuda::Status status = api.device_count(&count);
  for (std::uint32_t device = 0; status.code == cuda::Status::Code::ok && device < count;
       ++device) {
    facts.devices.emplace_back();
    status = api.describe(device, &facts.devices.back());
  }
  if (status.code == cuda::Status::Code::ok && count > 0) return true;
  facts.devices.clear();
  facts.missing = status.code == cuda::Status::Code::ok ? "the CUDA driver shows no device"
                                                        : std::string(status.text);
  return false;
}

void ask_links(const cuda::Api& api, GpuFacts& facts) {
  const auto count = static_cast<std::uint32_t>(facts.devices.size());
  std::vector<std::vector<cuda::LinkFacts>> links(count, std::vector<cuda::LinkFacts>(count));
  for (std::uint32_t device = 0; device < count; ++device) {
    for (std::uint32_t peer = 0; peer < count; ++peer) {
      const cuda::Status status = api.describe_link(device, peer, &links[device][peer]);
      if (status.code == cuda::Status::Code::ok) continue;
      facts.link_problem = status.text;
      return;
    }
  }
  facts.links = std::move(links);
}

}  // namespace

GpuFacts ask_plugin(const cuda::LoadedPlugin& plugin) {
  GpuFacts facts;
  if (plugin.api == nullptr) {
    facts.missing = plugin.missing;
    return facts;
  }
  facts.plugin = plugin.path;
  if (ask_devices(*plugin.api, facts)) ask_links(*plugin.api, facts);
  return facts;
}

GpuFacts read_gpu_facts() {
  GpuFacts facts = ask_plugin(cuda::loaded_plugin());
  facts.cards = find_cards();
  facts.has_driver = can_load("libcuda.so.1");
  if (!facts.devices.empty()) ask_nccl(facts);
  return facts;
}

cuda::nccl::Version nccl_version_of(int code) noexcept {
  return code < 10'000 ? cuda::nccl::version(code / 1000, code % 1000 / 100, code % 100)
                       : cuda::nccl::Version{code};
}

}  // namespace cohort::check
