// What code blocks of the pages may use without saying where it comes from: each fragment becomes
// the body of a member function.
#pragma once

#include <cstddef>
#include <exception>
#include <iostream>
#include <span>
#include <string>
#include <vector>

#include <cohort/cohort.hpp>

using namespace cohort;

struct Context {
  // An engine that cohort is put into.
  struct Store {
    std::vector<std::vector<std::byte>> all_gather(std::span<const std::byte> mine,
                                                   Bootstrap::TimePoint deadline);
  };
  struct Socket {
    std::string next_request();
  };
  struct Response {
    std::string body;
  };
  void load_weights();
  void compute(float* rows, std::size_t row_count);

  Store store;
  Socket socket;
  Response response;
  std::string request;
  std::size_t budget_bytes = 0;
  std::size_t row_count = 0;
  std::size_t missed = 0;

  // What earlier fragments of a page have made.
  Layout layout;
  World world;
  Session session;
  Buffer tokens;
  WorldRank rank;
  std::uint32_t world_size = 1;
};
