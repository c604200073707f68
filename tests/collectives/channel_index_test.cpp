#include "collectives/channel_index.hpp"

#include <optional>
#include <string>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::collectives {
namespace {

TEST(ChannelIndex, FindsLanesBehindTheFirstChannelOfTheirGroup) {
  ChannelIndex index(2);
  index.add(GroupKind::tp, 0);
  index.add(GroupKind::tp, 1);
  index.add(GroupKind::world, 2);
  index.add(GroupKind::world, 3);
  EXPECT_EQ(index.at(GroupKind::tp, Lane(0)), 0U);
  EXPECT_EQ(index.at(GroupKind::tp, Lane(1)), 1U);
  EXPECT_EQ(index.at(GroupKind::world, Lane(0)), 2U);
  EXPECT_EQ(index.at(GroupKind::world, Lane(1)), 3U);
  EXPECT_EQ(index.first_of(GroupKind::world), 2U);
  EXPECT_EQ(index.first_of(GroupKind::pp), std::nullopt);
}

TEST(ChannelIndex, RefusesWhatWasNotPlanned) {
  ChannelIndex index(2);
  index.add(GroupKind::tp, 0);
  const auto text_of = [&index](GroupKind kind, Lane lane) -> std::string {
    try {
      (void)index.at(kind, lane);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage);
      return error.what();
    }
    return "nothing";
  };
  EXPECT_EQ(text_of(GroupKind::world, Lane(0)),
            "group world is named by no slot that this rank holds and by no pool, so no memory was "
            "planned for it");
  EXPECT_EQ(text_of(GroupKind::tp, Lane(2)), "lane 2 of a plan with 2 lanes");
}

}  // namespace
}  // namespace cohort::collectives
