#include "support/golden_reductions.hpp"

#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace cohort::test {
namespace {

class Reader {
 public:
  explicit Reader(const std::string& path) : file_(path) {
    if (!file_) throw std::runtime_error("cannot read " + path);
  }

  std::vector<GoldenReduction> read() {
    std::vector<GoldenReduction> cases;
    while (next_line()) {
      GoldenReduction golden;
      expect("case");
      golden.dtype = dtype(word());
      const std::size_t operand_count = number(word(), 10);
      golden.elements = number(word(), 10);
      for (std::size_t operand = 0; operand < operand_count; ++operand) {
        golden.operands.push_back(row("operand", golden));
      }
      golden.sum = row("sum", golden);
      golden.min = row("min", golden);
      golden.max = row("max", golden);
      cases.push_back(std::move(golden));
    }
    return cases;
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw std::runtime_error("golden reductions, line " + std::to_string(line_number_) + ": " +
                             what);
  }

  bool next_line() {
    std::string text;
    do {
      if (!std::getline(file_, text)) return false;
      ++line_number_;
    } while (text.empty() || text.front() == '#');
    line_ = std::istringstream(text);
    return true;
  }

  std::string word() {
    std::string text;
    if (!(line_ >> text)) fail("ends too early");
    return text;
  }

  void expect(std::string_view wanted) {
    const std::string found = word();
    if (found != wanted) fail(std::string(wanted) + " is wanted, not " + found);
  }

  std::uint64_t number(const std::string& text, int base) const {
    std::uint64_t value = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value, base);
    if (error != std::errc() || stop != end) fail(text + " is no number");
    return value;
  }

  DType dtype(const std::string& text) const {
    for (const DType candidate : all_dtypes()) {
      if (to_string(candidate) == text) return candidate;
    }
    fail(text + " is no type");
  }

  std::vector<std::byte> row(std::string_view name, const GoldenReduction& golden) {
    if (!next_line()) fail("the file ends within a case");
    expect(name);
    const std::size_t element_bytes = bytes_of(golden.dtype);
    std::vector<std::byte> bytes(golden.elements * element_bytes);
    for (std::size_t element = 0; element < golden.elements; ++element) {
      const std::string text = word();
      if (text.size() != 2 * element_bytes) fail(text + " has not this type's width");
      const std::uint64_t pattern = number(text, 16);
      std::memcpy(&bytes[element * element_bytes], &pattern, element_bytes);
    }
    if (std::string rest; line_ >> rest) fail("has more elements than the case");
    return bytes;
  }

  std::ifstream file_;
  std::istringstream line_;
  int line_number_ = 0;
};

}  // namespace

const std::vector<std::byte>& GoldenReduction::result(ReduceOp op) const {
  switch (op) {
    case ReduceOp::sum: return sum;
    case ReduceOp::min: return min;
    case ReduceOp::max: return max;
  }
  throw std::logic_error("no such reduction");
}

std::string GoldenReduction::name() const {
  return std::string(to_string(dtype)) + ", " + std::to_string(operands.size()) + " operands";
}

const std::vector<GoldenReduction>& golden_reductions() {
  // Tests that were built elsewhere are told where the data lie here.
  const char* named = std::getenv("COHORT_TEST_DATA");
  const std::string folder = named != nullptr ? named : COHORT_TEST_DATA;
  static const std::vector<GoldenReduction> cases =
      Reader(folder + "/collectives/golden/reductions.txt").read();
  return cases;
}

}  // namespace cohort::test
