#include "backend/cuda/plugin_loader.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace cohort::cuda {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

LoadedPlugin load(const std::vector<std::string>& candidates) {
  return load_plugin(candidates);
}

TEST(PluginLoader, LooksBesideTheLibraryAndTheProgramAndThenWhereTheSystemDoes) {
  ::unsetenv("COHORT_CUDA_PLUGIN");
  const auto candidates = plugin_candidates();
  ASSERT_GE(candidates.size(), 3U);
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  EXPECT_EQ(candidates.front(), (program.parent_path() / "libcohort_cuda.so").string())
      << "linked into the test, the library is the program";
  EXPECT_EQ(candidates.back(), "libcohort_cuda.so");
}

TEST(PluginLoader, TakesWhatTheEnvironmentNamesAndNothingElse) {
  ::setenv("COHORT_CUDA_PLUGIN", "/nowhere/plugin.so", 1);
  const auto candidates = plugin_candidates();
  ::unsetenv("COHORT_CUDA_PLUGIN");
  EXPECT_THAT(candidates, testing::ElementsAre("/nowhere/plugin.so"));
  const LoadedPlugin plugin = load(candidates);
  EXPECT_EQ(plugin.api, nullptr);
  EXPECT_THAT(plugin.missing, HasSubstr("no GPU plugin: there is no /nowhere/plugin.so"));
}

TEST(PluginLoader, LoadsTheFirstThatIsThere) {
  const LoadedPlugin plugin = load({"/nowhere/libcohort_cuda.so", FAKE_PLUGIN});
  ASSERT_NE(plugin.api, nullptr) << plugin.missing;
  EXPECT_EQ(plugin.path, FAKE_PLUGIN);
  EXPECT_THAT(plugin.missing, IsEmpty());
  std::uint32_t count = 0;
  EXPECT_EQ(plugin.api->device_count(&count).code, Status::Code::ok);
  EXPECT_EQ(count, 4);
}

TEST(PluginLoader, RefusesAnotherVersion) {
  const LoadedPlugin plugin = load({FAKE_OLD_PLUGIN});
  EXPECT_EQ(plugin.api, nullptr);
  EXPECT_THAT(plugin.missing, HasSubstr("built for another version of cohort"));
  EXPECT_THAT(plugin.missing, HasSubstr(FAKE_OLD_PLUGIN));
}

TEST(PluginLoader, RefusesWhatIsNoPlugin) {
  const LoadedPlugin library = load({"libm.so.6"});
  EXPECT_EQ(library.api, nullptr);
  EXPECT_THAT(library.missing, HasSubstr("no plugin of cohort"));

  const auto file = std::filesystem::path(testing::TempDir()) /
                    ("no_plugin_" + std::to_string(::getpid()) + ".so");
  std::ofstream(file) << "text";
  const LoadedPlugin text = load({file.string()});
  std::filesystem::remove(file);
  EXPECT_EQ(text.api, nullptr);
  EXPECT_THAT(text.missing, HasSubstr(file.string()));
}

TEST(PluginLoader, SaysInOneLineWhereItLooked) {
  const LoadedPlugin plugin = load({"/nowhere/libcohort_cuda.so", "libcohort_nowhere.so"});
  EXPECT_EQ(plugin.missing,
            "no GPU plugin: there is no /nowhere/libcohort_cuda.so, libcohort_nowhere.so in the "
            "library search path; build cohort with nvcc, or name the file in COHORT_CUDA_PLUGIN");
}

}  // namespace
}  // namespace cohort::cuda
