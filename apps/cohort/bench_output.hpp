#pragma once

#include <iosfwd>
#include <string>

#include "bench_run.hpp"

namespace cohort::bench {

/// Tables for people: one for each number of ranks and kind of buffers.
void print_tables(const Measurement& measurement, std::ostream& output);

/// One JSON document: {"schema", "version", "machine", "rows", "remarks", "ranks"}.
void print_document(const Measurement& measurement, std::ostream& output);

/// What `print_document` prints. Pure, but for what it says of the machine.
std::string document_text(const Measurement& measurement);

/// Time over bytes, both axes logarithmic, one picture for each operation and number of ranks, as
/// one SVG document. Rows of warm buffers and heap operands. Pure.
std::string draw_plot(const Measurement& measurement);

}  // namespace cohort::bench
