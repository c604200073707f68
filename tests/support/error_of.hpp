#pragma once

#include <functional>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include <cohort/error.hpp>

namespace cohort::test {

/// The text of what `call` throws, which must be of that code.
inline std::string error_of(const std::function<void()>& call, ErrorCode code) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return {};
}

/// What `call` throws, if anything.
inline std::optional<Error> thrown_by(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  return std::nullopt;
}

}  // namespace cohort::test
