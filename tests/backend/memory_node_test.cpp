#include "backend/host/memory_node.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace cohort::host {
namespace {

namespace fs = std::filesystem;

TEST(MemoryNode, ReadsListsOfCpus) {
  using List = std::vector<std::uint32_t>;
  EXPECT_EQ(parse_cpu_list("0-3,8\n"), (List{0, 1, 2, 3, 8}));
  EXPECT_EQ(parse_cpu_list("5"), List{5});
  EXPECT_EQ(parse_cpu_list(""), List{});
  EXPECT_EQ(parse_cpu_list("a,2-x,-,7-6,4,99999999999,0-4000000000"), List{4});
}

class MadeUpNodes : public testing::Test {
 protected:
  MadeUpNodes() {
    std::string name = (fs::temp_directory_path() / "cohort-nodes-XXXXXX").string();
    directory_ = ::mkdtemp(name.data());
    put("node0", "0-3,8-11");
    put("node1", "4-7");
    put("node12", "12-15");
    put("node13", "");
    put("nodes", "0-15");
    fs::create_directories(directory_ / "node7");  // no list in it
    std::ofstream(directory_ / "online") << "0-1";
  }
  ~MadeUpNodes() override { fs::remove_all(directory_); }

  void put(const std::string& node, const std::string& cpus) const {
    fs::create_directories(directory_ / node);
    std::ofstream(directory_ / node / "cpulist") << cpus << "\n";
  }
  std::uint32_t node_of(const std::vector<std::uint32_t>& cpus) const {
    return memory_node_of(cpus, directory_);
  }

  fs::path directory_;
};

TEST_F(MadeUpNodes, ARankBelongsToTheNodeThatHasAllItsCpus) {
  EXPECT_EQ(node_of({0}), 0U);
  EXPECT_EQ(node_of({1, 11}), 0U);
  EXPECT_EQ(node_of({4, 5, 6, 7}), 1U);
  EXPECT_EQ(node_of({13}), 12U);
  EXPECT_EQ(node_of({3, 4}), kAnyNode);
  EXPECT_EQ(node_of({99}), kAnyNode);
  EXPECT_EQ(node_of({}), kAnyNode);
  EXPECT_EQ(memory_node_of(std::vector<std::uint32_t>{0}, directory_ / "missing"), kAnyNode);
}

}  // namespace
}  // namespace cohort::host
