#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>
#include <cohort/version.hpp>

#include "heap/arena_layout.hpp"
#include "support/error_of.hpp"

namespace cohort {
namespace {

using test::error_of;
using testing::HasSubstr;
using Json = nlohmann::ordered_json;

const Machine kMachine{"Some CPU", 8, 2};

std::vector<PathRow> some_rows() {
  return {
      {Op::all_reduce, 4, true, {{Path::host_inline, 512}, {Path::host_direct}}},
      {Op::all_reduce, 2, false, {{Path::host_inline, 4096}, {Path::host_direct}}},
      {Op::all_reduce, 8, true, {{Path::host_direct}}},
      {Op::all_reduce,
       4,
       false,
       {{Path::host_inline, 16384}, {Path::host_direct, 100000}, {Path::host_staged}}},
      {Op::broadcast,
       3,
       true,
       {{Path::host_staged, 64}, {Path::host_inline, 128}, {Path::host_direct}}},
  };
}

PathTable some_table() {
  return {some_rows(), kMachine, "0.9"};
}

TEST(PathTable, BuiltInSendsSmallOperandsWithTheHeader) {
  const PathTable table;
  EXPECT_FALSE(table.pin() || table.machine());
  for (std::size_t i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const std::size_t limit = op == Op::send || op == Op::recv ? 4096 : 256;
    for (const std::uint32_t ranks : {2U, 3U, 64U}) {
      for (const bool crowded : {false, true}) {
        EXPECT_EQ(table.choose(op, ranks, crowded, 0).path, Path::host_inline);
        EXPECT_EQ(table.choose(op, ranks, crowded, limit).path, Path::host_inline);
        EXPECT_EQ(table.choose(op, ranks, crowded, limit + 1),
                  (PathChoice{Path::host_direct, Reason::ok}));
      }
    }
  }
}

TEST(PathTable, APinHoldsForEveryOperationAndSize) {
  for (const Path path : {Path::host_inline, Path::host_direct, Path::host_staged}) {
    const PathTable table = PathTable::pinned(path);
    EXPECT_EQ(table.pin(), path);
    for (std::size_t i = 0; i < kOpCount; ++i) {
      for (const std::size_t bytes : {0UL, 1UL, 16384UL, 16385UL, 1UL << 40U}) {
        const PathChoice choice = table.choose(static_cast<Op>(i), 3, false, bytes);
        if (path == Path::host_inline && bytes > heap::kInlineBytesMax) {
          EXPECT_EQ(choice, (PathChoice{Path::host_direct, Reason::over_inline_limit}));
        } else {
          EXPECT_EQ(choice, (PathChoice{path, Reason::ok}));
        }
      }
    }
  }
  EXPECT_THAT(error_of([] { PathTable::pinned(Path::local); }, ErrorCode::usage),
              HasSubstr("one rank"));
}

// What the header promises of `steps`, said another way.
const PathRow& nearest_row(const std::vector<PathRow>& rows, std::uint32_t ranks, bool crowded) {
  const PathRow* best = nullptr;
  const auto distance = [&](const PathRow& row) {
    const bool larger = row.ranks > ranks;
    return std::tuple(row.crowded != crowded, larger,
                      larger ? row.ranks - ranks : ranks - row.ranks);
  };
  for (const PathRow& row : rows) {
    if (best == nullptr || distance(row) < distance(*best)) best = &row;
  }
  return *best;
}

TEST(PathTable, TakesTheNearestRowForEverySizeOfGroup) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<PathRow> rows;
    for (std::uint32_t ranks = 2; ranks < 12; ++ranks) {
      for (const bool crowded : {false, true}) {
        if (random() % 4 != 0) continue;
        const std::size_t limit = 1 + random() % 16384;
        rows.push_back(
            {Op::all_gather, ranks, crowded, {{Path::host_inline, limit}, {Path::host_direct}}});
      }
    }
    if (rows.empty()) continue;
    std::shuffle(rows.begin(), rows.end(), random);
    const PathTable table(rows, kMachine, "1");
    for (std::uint32_t ranks = 2; ranks < 16; ++ranks) {
      for (const bool crowded : {false, true}) {
        const PathRow& row = nearest_row(rows, ranks, crowded);
        const auto steps = table.steps(Op::all_gather, ranks, crowded);
        ASSERT_TRUE(std::equal(steps.begin(), steps.end(), row.steps.begin(), row.steps.end()));
        const std::size_t limit = row.steps.front().bytes_max;
        ASSERT_EQ(table.choose(Op::all_gather, ranks, crowded, limit).path, Path::host_inline);
        ASSERT_EQ(table.choose(Op::all_gather, ranks, crowded, limit + 1).path, Path::host_direct);
      }
    }
  }
}

TEST(PathTable, OperationsWithoutRowsKeepTheBuiltInOnes) {
  const PathTable table = some_table();
  const PathTable built_in;
  for (const std::size_t bytes : {0UL, 1024UL, 1025UL}) {
    EXPECT_EQ(table.choose(Op::all_gather, 4, true, bytes),
              built_in.choose(Op::all_gather, 4, true, bytes));
  }
  EXPECT_EQ(table.choose(Op::broadcast, 2, false, 64).path, Path::host_staged);
  EXPECT_EQ(table.choose(Op::broadcast, 2, false, 65).path, Path::host_inline);
  EXPECT_EQ(table.choose(Op::broadcast, 2, false, 129).path, Path::host_direct);
}

TEST(PathTable, RefusesRowsThatMakeNoSense) {
  const auto refusal = [](PathRow row) {
    return error_of([&] { PathTable({std::move(row)}, kMachine, "1"); }, ErrorCode::usage);
  };
  EXPECT_THAT(refusal({Op::barrier, 1, false, {{Path::host_direct}}}), HasSubstr("fewer than 2"));
  EXPECT_THAT(refusal({Op::barrier, 2, false, {}}), HasSubstr("0 paths"));
  EXPECT_THAT(refusal({Op::recv, 2, false, {{Path::host_direct}}}), HasSubstr("of its send"));
  EXPECT_THAT(refusal({Op::barrier, 2, false, {{Path::local}}}), HasSubstr("one rank only"));
  EXPECT_THAT(refusal({Op::barrier, 2, false, {{Path::host_inline}}}), HasSubstr("at most 16384"));
  EXPECT_THAT(refusal({Op::barrier, 2, false, {{Path::host_direct, 5}}}),
              HasSubstr("the last path"));
  EXPECT_THAT(refusal({Op::barrier,
                       2,
                       false,
                       {{Path::host_direct, 5}, {Path::host_staged, 5}, {Path::host_direct}}}),
              HasSubstr("must grow"));
  EXPECT_THAT(refusal({static_cast<Op>(99), 2, false, {{Path::host_direct}}}),
              HasSubstr("no such operation"));
  std::vector<PathRow> twice = some_rows();
  twice.push_back(twice.front());
  EXPECT_THAT(error_of([&] { PathTable(twice, kMachine, "1"); }, ErrorCode::usage),
              HasSubstr("all_reduce, 4 ranks, crowded: it is there twice"));
}

TEST(PathTable, SurvivesJson) {
  const PathTable table = some_table();
  const PathTable again = PathTable::parse(table.to_json());
  EXPECT_TRUE(std::equal(table.rows().begin(), table.rows().end(), again.rows().begin(),
                         again.rows().end()));
  EXPECT_EQ(again.machine(), kMachine);
  EXPECT_EQ(again.version(), "0.9");
  EXPECT_EQ(again.lines(), table.lines());
  EXPECT_EQ(again.to_json(), table.to_json());
  EXPECT_EQ(again, table);
  EXPECT_NE(PathTable(), table);
  EXPECT_NE(PathTable(), PathTable::pinned(Path::host_direct));
  EXPECT_THAT(error_of([] { static_cast<void>(PathTable::pinned(Path::host_direct).to_json()); },
                       ErrorCode::usage),
              HasSubstr("pinned"));
}

TEST(PathTable, LinesSayWhatDiffers) {
  EXPECT_EQ(PathTable().lines(), std::vector<std::string>{"paths: built-in table"});
  EXPECT_EQ(PathTable::pinned(Path::host_staged).lines(),
            std::vector<std::string>{"paths: pinned to host_staged"});
  const auto lines = some_table().lines();
  EXPECT_EQ(lines.front(), "paths: measured on Some CPU, 8 CPUs, 2 NUMA nodes, by cohort 0.9");
  EXPECT_THAT(lines, testing::Contains("path of all_reduce, 4 ranks: host_inline to 16384 bytes, "
                                       "then host_direct to 100000 bytes, then host_staged"));
}

std::string refusal_of(const Json& document) {
  return error_of([&] { static_cast<void>(PathTable::parse(document.dump())); },
                  ErrorCode::corrupt);
}

TEST(PathTableJson, NamesTheFieldThatIsWrong) {
  const Json good = Json::parse(some_table().to_json());
  const auto changed = [&](const char* pointer, const Json& value) {
    Json copy = good;
    copy[Json::json_pointer(pointer)] = value;
    return refusal_of(copy);
  };
  EXPECT_THAT(changed("/schema", 3), HasSubstr("'schema' is neither 1 nor 2"));
  EXPECT_THAT(changed("/schema", "1"), HasSubstr("'schema' is not a whole number"));
  EXPECT_THAT(changed("/version", 1), HasSubstr("'version' is not a string"));
  EXPECT_THAT(changed("/version", "a\nb"), HasSubstr("'version' is not one line"));
  EXPECT_THAT(changed("/machine", Json::array()), HasSubstr("'machine' is no object"));
  EXPECT_THAT(changed("/machine/cpus", -1), HasSubstr("'machine.cpus' is not a whole number"));
  EXPECT_THAT(changed("/rows", 3), HasSubstr("'rows' is not an array"));
  EXPECT_THAT(changed("/rows/1", 3), HasSubstr("'rows[1]' is no object"));
  EXPECT_THAT(changed("/rows/1/op", "all_seduce"),
              HasSubstr("'rows[1].op' is 'all_seduce', which is none of all_reduce"));
  EXPECT_THAT(changed("/rows/1/ranks", 2.5), HasSubstr("'rows[1].ranks'"));
  EXPECT_THAT(changed("/rows/1/crowded", 0), HasSubstr("'rows[1].crowded' is not true or false"));
  EXPECT_THAT(changed("/rows/1/paths", nullptr), HasSubstr("'rows[1].paths' is not an array"));
  EXPECT_THAT(changed("/rows/1/paths/0/path", "no_path"), HasSubstr("'rows[1].paths[0].path'"));
  EXPECT_THAT(changed("/rows/1/paths/0/bytes_max", "many"),
              HasSubstr("'rows[1].paths[0].bytes_max'"));
  EXPECT_THAT(changed("/rows/1/paths/0/bytes", 1),
              HasSubstr("'rows[1].paths[0].bytes' is unknown"));
  EXPECT_THAT(changed("/rows/1/paths/0/bytes_max", 1 << 20), HasSubstr("at most 16384 bytes"));
  EXPECT_THAT(changed("/colour", 1), HasSubstr("'colour' is unknown"));
  EXPECT_THAT(refusal_of(Json::array()), HasSubstr("it is no object"));
  for (const char* key : {"schema", "version", "machine", "rows"}) {
    Json copy = good;
    copy.erase(key);
    EXPECT_THAT(refusal_of(copy), HasSubstr("'" + std::string(key) + "' is missing"));
  }
  Json measured = good;
  measured["measurements"] = {{"anything", 1}};
  EXPECT_NO_THROW(static_cast<void>(PathTable::parse(measured.dump())));
}

/// Either a table or one error of code corrupt: nothing else may come out.
void expect_sound(const std::string& text) {
  try {
    static_cast<void>(PathTable::parse(text));
  } catch (const Error& error) {
    ASSERT_EQ(error.code(), ErrorCode::corrupt) << error.what();
    ASSERT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
  }
}

TEST(PathTableJson, EveryTruncationIsRefused) {
  const std::string text = some_table().to_json();
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_THAT(error_of([&] { static_cast<void>(PathTable::parse(text.substr(0, length))); },
                         ErrorCode::corrupt),
                HasSubstr("no JSON document"));
  }
}

TEST(PathTableJson, MutatedTextsNeverDoHarm) {
  const std::string good = some_table().to_json();
  constexpr std::string_view kBytes = "{}[]\",:0123456789eE-.ntfu\\ \xff\x80";
  std::mt19937 random(11);
  for (int round = 0; round < 20000; ++round) {
    std::string text = good;
    for (unsigned change = random() % 4 + 1; change > 0; --change) {
      const std::size_t at = random() % text.size();
      const char byte = kBytes[random() % kBytes.size()];
      switch (random() % 3) {
        case 0: text[at] = byte; break;
        case 1: text.insert(at, 1, byte); break;
        default: text.erase(at, random() % 20 + 1); break;
      }
      if (text.empty()) break;
    }
    ASSERT_NO_FATAL_FAILURE(expect_sound(text));
  }
  expect_sound(std::string(100000, '['));
}

// Every value of the document, replaced by a value of every other type.
TEST(PathTableJson, WrongTypesAnywhereNeverDoHarm) {
  const Json good = Json::parse(some_table().to_json());
  const Json flat = good.flatten();
  for (const auto& item : flat.items()) {
    for (const Json& value : {Json(nullptr), Json(true), Json(-1), Json(1e300), Json("x"),
                              Json(std::uint64_t(-1)), Json::array(), Json::object()}) {
      Json copy = good;
      copy[Json::json_pointer(item.key())] = value;
      ASSERT_NO_FATAL_FAILURE(expect_sound(copy.dump()));
    }
  }
}

TEST(Machine, IsDescribed) {
  const Machine machine = this_machine();
  EXPECT_GT(machine.cpus, 0U);
  EXPECT_GT(machine.numa_nodes, 0U);
  EXPECT_FALSE(machine.cpu.empty());
  EXPECT_EQ(machine, this_machine());
  EXPECT_EQ(to_string(Machine{"X", 1, 1}), "X, 1 CPU, 1 NUMA node");
}

}  // namespace
}  // namespace cohort
