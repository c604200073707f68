#pragma once

#include <optional>
#include <string>

namespace cohort {

/// The descriptor of this process that a path such as /dev/stdout or /dev/fd/63 stands for, also by
/// way of links; nothing for a path of any other kind. Local.
std::optional<int> descriptor_of(const std::string& path);

}  // namespace cohort
