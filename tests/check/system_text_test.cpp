#include "check/system_text.hpp"

#include <vector>

#include <gtest/gtest.h>

namespace cohort::check {
namespace {

TEST(ParseKernelVersion, ReadsTheFirstTwoNumbers) {
  EXPECT_EQ(parse_kernel_version("6.1.0-37-amd64"), (KernelVersion{6, 1}));
  EXPECT_EQ(parse_kernel_version("5.15.153.1-microsoft-standard-WSL2"), (KernelVersion{5, 15}));
  EXPECT_EQ(parse_kernel_version("3.10.0-1160.el7.x86_64"), (KernelVersion{3, 10}));
  EXPECT_EQ(parse_kernel_version("6.18"), (KernelVersion{6, 18}));
}

TEST(ParseKernelVersion, RefusesWhatIsNoVersion) {
  for (const char* text : {"", "6", "6.", ".1", "six.one", "v6.1", "6-1", "-6.1", "6.-1",
                           "99999999999999999999.1", "4294967296.1", "6.4294967296"}) {
    EXPECT_FALSE(parse_kernel_version(text)) << text;
  }
}

TEST(ParseKernelVersion, VersionsCompareByNumberNotByText) {
  EXPECT_LT(*parse_kernel_version("5.3.1"), *parse_kernel_version("5.15.0"));
  EXPECT_LT(*parse_kernel_version("5.15.0"), *parse_kernel_version("6.1.0"));
}

TEST(ParseNumber, ReadsOneNumberAndNothingElse) {
  EXPECT_EQ(parse_number("1\n"), 1u);
  EXPECT_EQ(parse_number(" 65530 \n"), 65530u);
  EXPECT_EQ(parse_number("18446744073709551615"), 18446744073709551615u);
  for (const char* text : {"", "\n", "max\n", "1 2", "1x", "-1", "+1", "18446744073709551616"}) {
    EXPECT_FALSE(parse_number(text)) << text;
  }
}

constexpr const char* kMeminfo =
    "MemTotal:       24684092 kB\n"
    "MemAvailable:   23617904 kB\n"
    "CommitLimit:    12342044 kB\n"
    "Committed_AS:     812345 kB\n"
    "HugePages_Total:       0\n";

TEST(NumberAfter, ReadsWithAndWithoutUnit) {
  EXPECT_EQ(number_after(kMeminfo, "MemTotal:"), 24684092u);
  EXPECT_EQ(number_after(kMeminfo, "Committed_AS:"), 812345u);
  EXPECT_EQ(number_after(kMeminfo, "HugePages_Total:"), 0u);
}

TEST(NumberAfter, ReadsWhatTabsSeparate) {
  const char* status = "Name:\tcohort\nVmSize:\t   45124 kB\nSeccomp:\t2\nSeccomp_filters:\t7\n";
  EXPECT_EQ(number_after(status, "Seccomp:"), 2u);
  EXPECT_EQ(number_after(status, "VmSize:"), 45124u);
}

TEST(NumberAfter, SaysNothingWhereThereIsNone) {
  EXPECT_FALSE(number_after(kMeminfo, "MemFree:"));
  EXPECT_FALSE(number_after(kMeminfo, "Available:"));  // not at the beginning of a line
  EXPECT_FALSE(number_after("", "MemTotal:"));
  EXPECT_FALSE(number_after("MemTotal:", "MemTotal:"));
  EXPECT_FALSE(number_after("MemTotal: many kB\n", "MemTotal:"));
  EXPECT_FALSE(number_after("MemTotal: 12x\n", "MemTotal:"));
  EXPECT_FALSE(number_after("MemTotal: -12\n", "MemTotal:"));
}

TEST(NumberAfter, ReadsTheFirstOfSeveralLines) {
  EXPECT_EQ(number_after("a: 1\na: 2\n", "a:"), 1u);
}

TEST(SelectedChoice, IsTheOneInBrackets) {
  EXPECT_EQ(selected_choice("always within_size advise [never] deny force\n"), "never");
  EXPECT_EQ(selected_choice("[always] madvise never"), "always");
  EXPECT_EQ(selected_choice("advise"), "");
  EXPECT_EQ(selected_choice(""), "");
  EXPECT_EQ(selected_choice("[open"), "");
  EXPECT_EQ(selected_choice("]["), "");
  EXPECT_EQ(selected_choice("[]"), "");
}

TEST(CpuHasFlag, ComparesWholeWords) {
  const char* cpuinfo =
      "processor\t: 0\nmodel name\t: A Processor\n"
      "flags\t\t: fpu tsc constant_tsc nonstop_tsc avx\nbugs\t\t: none\n\n"
      "processor\t: 1\nflags\t\t: fpu rdtscp\n";
  EXPECT_EQ(cpu_has_flag(cpuinfo, "nonstop_tsc"), true);
  EXPECT_EQ(cpu_has_flag(cpuinfo, "avx"), true);
  EXPECT_EQ(cpu_has_flag(cpuinfo, "fpu"), true);
  EXPECT_EQ(cpu_has_flag(cpuinfo, "rdtscp"), false);  // only of the second
  EXPECT_EQ(cpu_has_flag(cpuinfo, "stop_tsc"), false);
  EXPECT_EQ(cpu_has_flag(cpuinfo, "av"), false);
}

TEST(CpuHasFlag, SaysNothingWhereNoFlagsAreListed) {
  EXPECT_EQ(cpu_has_flag("processor\t: 0\nFeatures\t: fp asimd\n", "tsc"), std::nullopt);
  EXPECT_EQ(cpu_has_flag("", "tsc"), std::nullopt);
  EXPECT_EQ(cpu_has_flag("flags", "tsc"), std::nullopt);
  EXPECT_EQ(cpu_has_flag("flags\t\t:\n", "tsc"), false);
}

TEST(CountCores, CountsDistinctListsOfSiblings) {
  EXPECT_EQ(count_cores(std::vector<std::string>{"0,2", "1,3", "0,2", "1,3"}), 2u);
  EXPECT_EQ(count_cores(std::vector<std::string>{"0-1\n", "0-1\n"}), 1u);
  EXPECT_EQ(count_cores(std::vector<std::string>{"0", "1", "2"}), 3u);
  // The same core, written in two ways.
  EXPECT_EQ(count_cores(std::vector<std::string>{"0-1", "0,1"}), 1u);
}

TEST(CountCores, IsUnknownIfOneListIs) {
  EXPECT_EQ(count_cores(std::vector<std::string>{}), 0u);
  EXPECT_EQ(count_cores(std::vector<std::string>{"0", ""}), 0u);
  EXPECT_EQ(count_cores(std::vector<std::string>{"none"}), 0u);
}

}  // namespace
}  // namespace cohort::check
