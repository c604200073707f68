#include "rendezvous/line_prefixer.hpp"

#include <gtest/gtest.h>

namespace cohort::rendezvous {
namespace {

TEST(LinePrefixer, PrefixesWholeLinesHoweverTheyArrive) {
  const std::string text = "one\n\nthree\nrest";
  for (std::size_t piece = 1; piece <= text.size(); ++piece) {
    LinePrefixer prefixer("[rank 2] ");
    std::string lines;
    for (std::size_t begin = 0; begin < text.size(); begin += piece) {
      lines += prefixer.feed(text.substr(begin, piece));
    }
    lines += prefixer.finish();
    EXPECT_EQ(lines, "[rank 2] one\n[rank 2] \n[rank 2] three\n[rank 2] rest\n");
    EXPECT_EQ(prefixer.finish(), "");
  }
}

TEST(LinePrefixer, CutsALineWithoutEnd) {
  LinePrefixer prefixer("> ");
  const std::string lines = prefixer.feed(std::string(100'000, 'x'));
  EXPECT_EQ(lines, "> " + std::string(64 * 1024, 'x') + "\n");
  EXPECT_EQ(prefixer.finish(), "> " + std::string(100'000 - 64 * 1024, 'x') + "\n");
}

}  // namespace
}  // namespace cohort::rendezvous
