#pragma once

// What `cohort bench layer` measured, for people and for programs.

#include <iosfwd>
#include <string>

#include "bench_layer_run.hpp"

namespace cohort::bench {

/// A table of 80 columns. Local.
void print_layer_table(const LayerMeasurement& measurement, std::ostream& output);

/// The whole measurement as one JSON document. Pure.
std::string layer_document(const LayerMeasurement& measurement);

/// The page of --report: the measurement, the groups of the layout, and what each boundary of a
/// layer moves in it. Pure.
std::string layer_report(const LayerMeasurement& measurement);

}  // namespace cohort::bench
