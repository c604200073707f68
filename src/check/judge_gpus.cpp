// GPUs, what connects them, and the libraries that reach them. Nothing of it is a problem: ranks in
// host memory need none of it.

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/bytes.hpp"
#include "check/judge.hpp"

namespace cohort::check {
namespace {

using cuda::nccl::Feature;

constexpr const char* kHostOnly = "Only paths over host memory here.";
/// The lowest compute capability that kernels are compiled for.
constexpr std::uint32_t kComputeMajorMin = 8;

std::string cuda_version(std::uint32_t version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : between) + part;
  return text;
}

std::string describe(const cuda::DeviceFacts& device) {
  return std::string(device.name) + " (" + format_bytes(device.memory_bytes) +
         ", compute capability " + std::to_string(device.compute_major) + "." +
         std::to_string(device.compute_minor) + ", " + std::to_string(device.multiprocessors) +
         " multiprocessors)";
}

/// "4 x NVIDIA H200 (...)", a part for each kind in the order of first sight.
std::vector<std::string> kinds_of(const std::vector<cuda::DeviceFacts>& devices) {
  std::vector<std::string> kinds;
  std::vector<std::size_t> counts;
  for (const cuda::DeviceFacts& device : devices) {
    const std::string kind = describe(device);
    const auto found = std::find(kinds.begin(), kinds.end(), kind);
    if (found == kinds.end()) {
      kinds.push_back(kind);
      counts.push_back(1);
    } else {
      ++counts[static_cast<std::size_t>(found - kinds.begin())];
    }
  }
  for (std::size_t i = 0; i < kinds.size(); ++i)
    kinds[i] = std::to_string(counts[i]) + " x " + kinds[i];
  return kinds;
}

enum class Link : std::uint8_t { none, pcie, nvlink };

Link kind_of(const cuda::LinkFacts& there, const cuda::LinkFacts& back) {
  if (!there.can_access || !back.can_access) return Link::none;
  return there.native_atomics && back.native_atomics ? Link::nvlink : Link::pcie;
}

struct Links {
  std::size_t pairs = 0;
  std::array<std::vector<std::string>, 3> by_kind;  // "0-1"

  const std::vector<std::string>& of(Link kind) const {
    return by_kind[static_cast<std::size_t>(kind)];
  }
};

Links sort_links(const GpuFacts& facts) {
  Links links;
  for (std::size_t one = 0; one < facts.links.size(); ++one) {
    for (std::size_t two = one + 1; two < facts.links.size(); ++two) {
      const Link kind = kind_of(facts.links[one][two], facts.links[two][one]);
      links.by_kind[static_cast<std::size_t>(kind)].push_back(std::to_string(one) + "-" +
                                                              std::to_string(two));
      ++links.pairs;
    }
  }
  return links;
}

std::string list_pairs(const std::vector<std::string>& pairs, std::size_t of, const char* what) {
  constexpr std::size_t kNamedMax = 8;
  if (pairs.size() == of) return std::string(what) + " between all";
  std::vector<std::string> named(
      pairs.begin(),
      pairs.begin() + static_cast<std::ptrdiff_t>(std::min(pairs.size(), kNamedMax)));
  std::string text = std::string(what) + " " + joined(named, ", ");
  if (pairs.size() > kNamedMax)
    text += " and " + std::to_string(pairs.size() - kNamedMax) + " more";
  return text;
}

/// Of a machine without devices that can be used.
Row no_gpus_row(const GpuFacts& facts) {
  Row row{"gpus", "none", Status::ok, "", ""};
  if (facts.cards.empty() && !facts.has_driver) {
    row.meaning = std::string("There is no CUDA driver. ") + kHostOnly;
    return row;
  }
  row.value = facts.cards.empty() ? "a CUDA driver"
                                  : std::to_string(facts.cards.size()) + " by NVIDIA (" +
                                        joined(facts.cards, ", ") + ")";
  row.value += ", not usable";
  row.status = Status::warning;
  row.meaning = facts.missing + ". " + kHostOnly;
  if (!facts.has_driver) {
    row.remedy = "Install NVIDIA's driver; in a container, start it with the host's GPUs.";
  } else if (facts.plugin.empty()) {
    row.remedy = "Install libcohort_cuda.so beside libcohort.so, from the same build.";
  } else {
    row.remedy =
        "See that `nvidia-smi` works, that CUDA_VISIBLE_DEVICES does not hide the GPUs, and that "
        "the driver is as new as the plugin's CUDA.";
  }
  return row;
}

}  // namespace

Row gpus_row(const GpuFacts& facts) {
  if (facts.devices.empty()) return no_gpus_row(facts);
  const std::vector<std::string> kinds = kinds_of(facts.devices);
  Row row{"gpus", joined(kinds, ", "), Status::ok,
          "Ranks can plan symmetric memory on these; several ranks may share one.", ""};
  const auto too_old = std::any_of(
      facts.devices.begin(), facts.devices.end(),
      [](const cuda::DeviceFacts& device) { return device.compute_major < kComputeMajorMin; });
  if (too_old) {
    row.status = Status::warning;
    row.meaning = "Kernels need compute capability 8.0, which not all of these have.";
    row.remedy = "Leave the older ones out by CUDA_VISIBLE_DEVICES.";
  } else if (kinds.size() > 1) {
    row.status = Status::warning;
    row.meaning = "Ranks on different GPUs take what all of them can do, and wait for the slowest.";
    row.remedy = "Choose GPUs of one kind by CUDA_VISIBLE_DEVICES.";
  }
  return row;
}

Row gpu_driver_row(const GpuFacts& facts) {
  const cuda::DeviceFacts& device = facts.devices.front();
  Row row{"gpu_driver",
          "CUDA " + cuda_version(device.driver_version) + ", plugin built with CUDA " +
              cuda_version(device.runtime_version),
          Status::ok, "The driver is as new as what the plugin was built with.", ""};
  if (device.driver_version / 1000 < device.runtime_version / 1000) {
    row.status = Status::warning;
    row.meaning = "The driver is of an older generation of CUDA: kernels may not load.";
    row.remedy = "Update the driver, or build the plugin with the driver's CUDA.";
  } else if (device.driver_version < device.runtime_version) {
    row.meaning = "The driver is older, of the same generation of CUDA: that works.";
  }
  row.meaning += " The plugin is " + facts.plugin + ".";
  return row;
}

Row gpu_links_row(const GpuFacts& facts) {
  Row row{"gpu_links", "", Status::ok, "", ""};
  if (!facts.link_problem.empty()) {
    row.value = "unknown";
    row.status = Status::warning;
    row.meaning = facts.link_problem + ".";
    row.remedy = "See `nvidia-smi topo -m`.";
    return row;
  }
  const Links links = sort_links(facts);
  if (links.pairs == 0) {
    row.value = "one GPU";
    row.meaning = "Nothing to link: ranks can only share it.";
    return row;
  }
  std::vector<std::string> parts;
  if (!links.of(Link::nvlink).empty()) {
    parts.push_back(list_pairs(links.of(Link::nvlink), links.pairs, "NVLink"));
  }
  if (!links.of(Link::pcie).empty()) {
    parts.push_back(list_pairs(links.of(Link::pcie), links.pairs, "PCIe"));
  }
  if (!links.of(Link::none).empty()) {
    parts.push_back(list_pairs(links.of(Link::none), links.pairs, "no access"));
  }
  row.value = joined(parts, "; ");
  row.meaning = "Kernels store into each other's memory over NVLink.";
  if (!links.of(Link::none).empty()) {
    row.status = Status::warning;
    row.meaning =
        "Ranks on GPUs without access to each other's memory cannot be in one world with GPU "
        "plans.";
    row.remedy =
        "See `nvidia-smi topo -p2p r`; an IOMMU, ACS on PCIe switches, or a virtual machine may "
        "stand in the way. Or choose GPUs by CUDA_VISIBLE_DEVICES.";
  } else if (!links.of(Link::pcie).empty()) {
    row.meaning =
        "Kernels store into each other's memory, over PCIe where there is no NVLink: it works, but "
        "every byte and every arrival takes several times as long.";
  }
  return row;
}

Row gpu_memory_row(const GpuFacts& facts) {
  std::vector<std::string> without;
  for (std::size_t device = 0; device < facts.devices.size(); ++device) {
    if (!facts.devices[device].posix_handles) without.push_back(std::to_string(device));
  }
  Row row{"gpu_memory", "can be passed on as descriptors", Status::ok,
          "Ranks share GPU memory as they share host memory: by file descriptors.", ""};
  if (!without.empty()) {
    row.value = "cannot be passed on as descriptors by GPU " + joined(without, ", ");
    row.status = Status::warning;
    row.meaning = "Ranks share GPU memory by file descriptors and by nothing else.";
    row.remedy =
        "Use a driver and a kernel with CUDA's virtual memory management (Linux, no vGPU).";
  }
  return row;
}

Row nccl_row(const GpuFacts& facts) {
  if (!facts.nccl) {
    return {
        "nccl", "not found", Status::ok,
        "cohort's own kernels need none; the paths nccl_symmetric and nccl_plain are missing (" +
            facts.nccl_missing + "). COHORT_NCCL_LIBRARY names the file where it is elsewhere.",
        ""};
  }
  Row row{"nccl", cuda::nccl::to_string(*facts.nccl), Status::ok, "", ""};
  const std::string trusted = "from " + cuda::nccl::to_string(cuda::nccl::kOldestKnown) + " to " +
                              cuda::nccl::to_string(cuda::nccl::kNewestKnown);
  for (const Feature feature : {Feature::plain_calls, Feature::windows}) {
    const auto support = cuda::nccl::support_of(*facts.nccl, feature);
    if (support.supported) continue;
    row.status = Status::warning;
    row.meaning =
        (feature == Feature::windows ? "No path nccl_symmetric: " : "No path over NCCL: ") +
        std::string(support.reason) + ".";
    row.remedy = "Use a version " + trusted + "; COHORT_NCCL_LIBRARY names its file.";
    return row;
  }
  row.meaning = "Serves what cohort's own kernels do not.";
  // What calls notice; the other features are the library's own affair.
  std::vector<std::string> limits;
  for (const Feature feature : {Feature::one_operand, Feature::early_predecessor}) {
    const auto support = cuda::nccl::support_of(*facts.nccl, feature);
    if (!support.supported) limits.emplace_back(support.reason);
  }
  if (!limits.empty())
    row.meaning += " Of this version it is heeded that " + joined(limits, ", and that ") + ".";
  return row;
}

std::vector<Row> judge_gpus(const GpuFacts& facts) {
  if (facts.devices.empty()) return {gpus_row(facts)};
  return {gpus_row(facts), gpu_driver_row(facts), gpu_links_row(facts), gpu_memory_row(facts),
          nccl_row(facts)};
}

}  // namespace cohort::check
