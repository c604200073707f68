#pragma once

// A report as one HTML page that needs nothing else: styles, script and data are within it, and its
// policy forbids it to load anything. The sources are in page/.

#include <string>
#include <string_view>

namespace cohort {

/// The page that shows `json`: a document of `job_document`, or {"schema", "version", "kind",
/// <kind>: the command's own document} of kind "bench" or "faults". Local, pure.
std::string report_page(std::string_view json);

/// The page of a command other than `generate`: its document `json` under the name `kind`.
std::string command_report(std::string_view kind, std::string_view json);

}  // namespace cohort
