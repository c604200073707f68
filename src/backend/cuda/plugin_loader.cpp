#include "backend/cuda/plugin_loader.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>
#include <system_error>

#include <cohort/error.hpp>

namespace cohort::cuda {
namespace {

constexpr const char* kFileName = "libcohort_cuda.so";
constexpr const char* kFileVariable = "COHORT_CUDA_PLUGIN";

using Entry = const Api* (*)(std::uint32_t);
using NcclEntry = const nccl::Api* (*)(std::uint32_t);

/// The file that holds this function: the shared library, or what it is linked into.
std::filesystem::path own_file() {
  Dl_info info = {};
  if (::dladdr(reinterpret_cast<const void*>(&plugin_candidates), &info) == 0) return {};
  return info.dli_fname == nullptr ? "" : info.dli_fname;
}

LoadedPlugin refused(const std::string& path, const std::string& why) {
  return {
      .api = nullptr, .nccl = nullptr, .path = path, .missing = "GPU plugin " + path + ": " + why};
}

LoadedPlugin load_file(const std::string& path, void* file) {
  const auto entry = reinterpret_cast<Entry>(::dlsym(file, kEntrySymbol));
  if (entry == nullptr) {
    return refused(path, std::string("no plugin of cohort, it has no ") + kEntrySymbol);
  }
  const Api* const api = entry(kAbiVersion);
  if (api == nullptr || api->abi_version != kAbiVersion) {
    return refused(path,
                   "built for another version of cohort than this (its table is not version " +
                       std::to_string(kAbiVersion) + "); install both from one build");
  }
  const auto nccl_entry = reinterpret_cast<NcclEntry>(::dlsym(file, nccl::kEntrySymbol));
  const nccl::Api* const nccl = nccl_entry == nullptr ? nullptr : nccl_entry(nccl::kAbiVersion);
  return {.api = api, .nccl = nccl, .path = path, .missing = {}};
}

bool is_bare_name(const std::string& candidate) {
  return candidate.find('/') == std::string::npos;
}

std::string not_found(std::span<const std::string> candidates) {
  std::string text = "no GPU plugin: there is no";
  const char* before = " ";
  for (const std::string& candidate : candidates) {
    text += before + candidate + (is_bare_name(candidate) ? " in the library search path" : "");
    before = ", ";
  }
  return text + "; build cohort with nvcc, or name the file in " + kFileVariable;
}

}  // namespace

std::vector<std::string> plugin_candidates() {
  if (const char* const named = std::getenv(kFileVariable); named != nullptr && *named != '\0') {
    return {named};
  }
  std::vector<std::string> candidates;
  const auto add = [&](const std::filesystem::path& path) {
    const std::string text = path.lexically_normal().string();
    for (const std::string& known : candidates) {
      if (known == text) return;
    }
    candidates.push_back(text);
  };
  std::error_code error;
  if (const auto library = own_file(); library.has_parent_path()) {
    const auto resolved = std::filesystem::weakly_canonical(library, error);
    add((error ? library : resolved).parent_path() / kFileName);
  }
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error && program.has_parent_path()) {
    add(program.parent_path() / kFileName);
    // As installed: PREFIX/bin/cohort and PREFIX/lib/.
    add(program.parent_path().parent_path() / COHORT_INSTALL_LIBDIR / kFileName);
  }
  candidates.emplace_back(kFileName);
  return candidates;
}

LoadedPlugin load_plugin(std::span<const std::string> candidates) {
  for (const std::string& candidate : candidates) {
    std::error_code error;
    if (!is_bare_name(candidate) && !std::filesystem::exists(candidate, error)) continue;
    if (void* const file = ::dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL); file != nullptr) {
      return load_file(candidate, file);
    }
    const char* const reason = ::dlerror();
    // Of a bare name the reason is as a rule that it is nowhere.
    if (is_bare_name(candidate)) continue;
    return refused(candidate, reason == nullptr ? "cannot be loaded" : reason);
  }
  return {.api = nullptr, .nccl = nullptr, .path = {}, .missing = not_found(candidates)};
}

const LoadedPlugin& loaded_plugin() {
  static const LoadedPlugin plugin = load_plugin(plugin_candidates());
  return plugin;
}

const Api& require_devices() {
  const LoadedPlugin& plugin = loaded_plugin();
  if (plugin.api == nullptr) throw Error(ErrorCode::unsupported, plugin.missing);
  std::uint32_t count = 0;
  const Status status = plugin.api->device_count(&count);
  if (status.code != Status::Code::ok) throw Error(ErrorCode::unsupported, status.text);
  if (count == 0) {
    throw Error(ErrorCode::unsupported,
                "the CUDA driver shows no device to this process (CUDA_VISIBLE_DEVICES?)");
  }
  return *plugin.api;
}

}  // namespace cohort::cuda
