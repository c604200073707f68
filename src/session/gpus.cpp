#include "session/gpus.hpp"

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "backend/cuda/device.hpp"

namespace cohort {
namespace {

bool is_same(const cuda::DeviceFacts& left, const cuda::DeviceFacts& right) {
  return std::strncmp(left.pci, right.pci, sizeof(left.pci)) == 0;
}

std::vector<cuda::DeviceFacts> devices_of(const cuda::Api& api) {
  std::uint32_t count = 0;
  cuda::throw_unless_ok(api.device_count(&count), "counting GPUs");
  std::vector<cuda::DeviceFacts> devices(count);
  for (std::uint32_t device = 0; device < count; ++device) {
    cuda::throw_unless_ok(api.describe(device, &devices[device]), "asking what a GPU is");
  }
  return devices;
}

/// What `text` says of each device, each answer once.
std::string all_of(std::span<const cuda::DeviceFacts> devices,
                   const std::function<std::string(const cuda::DeviceFacts&)>& text) {
  std::set<std::string> answers;
  for (const cuda::DeviceFacts& device : devices) answers.insert(text(device));
  std::string all;
  for (const std::string& answer : answers) all += (all.empty() ? "" : " and ") + answer;
  return all;
}

}  // namespace

GpuLink link_between(const cuda::Api& api, std::uint32_t device, std::uint32_t peer) {
  cuda::LinkFacts link = {};
  cuda::throw_unless_ok(api.describe_link(device, peer, &link), "asking how two GPUs are linked");
  if (!link.can_access) return GpuLink::unknown;
  return link.native_atomics ? GpuLink::nvlink : GpuLink::pcie;
}

GpuLink least_link(const cuda::Api& api, std::uint32_t device,
                   std::span<const cuda::DeviceFacts> others) {
  const std::vector<cuda::DeviceFacts> visible = devices_of(api);
  const cuda::DeviceFacts& own = visible.at(device);
  std::optional<GpuLink> least;
  std::size_t same = 0;
  for (const cuda::DeviceFacts& other : others) {
    if (is_same(other, own)) {
      if (++same > 1) least = std::min(least.value_or(GpuLink::shared), GpuLink::shared);
      continue;
    }
    const auto found =
        std::find_if(visible.begin(), visible.end(),
                     [&](const cuda::DeviceFacts& seen) { return is_same(seen, other); });
    if (found == visible.end()) return GpuLink::unknown;
    const auto peer = static_cast<std::uint32_t>(found - visible.begin());
    const GpuLink link = link_between(api, device, peer);
    least = std::min(least.value_or(link), link);
  }
  return least.value_or(GpuLink::unknown);
}

Gpus gpus_of(std::span<const cuda::DeviceFacts> devices, GpuLink link) {
  Gpus gpus;
  gpus.link = link;
  gpus.name = all_of(devices, [](const cuda::DeviceFacts& device) {
    return std::string(device.name, ::strnlen(device.name, sizeof(device.name)));
  });
  gpus.compute = all_of(devices, [](const cuda::DeviceFacts& device) {
    return std::to_string(device.compute_major) + "." + std::to_string(device.compute_minor);
  });
  gpus.driver = all_of(devices, [](const cuda::DeviceFacts& device) {
    return std::to_string(device.driver_version / 1000) + "." +
           std::to_string(device.driver_version % 1000 / 10);
  });
  return gpus;
}

Gpus gpus_of_process(const cuda::Api& api) {
  const std::vector<cuda::DeviceFacts> devices = devices_of(api);
  GpuLink least = devices.size() < 2 ? GpuLink::unknown : GpuLink::nvlink;
  for (std::uint32_t device = 0; device < devices.size(); ++device) {
    least = std::min(least, least_link(api, device, devices));
  }
  return gpus_of(devices, least);
}

}  // namespace cohort
