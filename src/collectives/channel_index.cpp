#include "collectives/channel_index.hpp"

#include <string>

#include <cohort/error.hpp>

namespace cohort::collectives {

void ChannelIndex::refuse(GroupKind kind, Lane lane) const {
  if (!first_of(kind)) {
    throw Error(ErrorCode::usage,
                "group " + std::string(to_string(kind)) +
                    " is named by no slot that this rank holds and by no pool, so no memory was "
                    "planned for it");
  }
  throw Error(ErrorCode::usage, "lane " + std::to_string(lane.index()) + " of a plan with " +
                                    std::to_string(lanes_) + " lanes");
}

}  // namespace cohort::collectives
