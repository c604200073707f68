#include "health_file_input.hpp"

#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>

#include <nlohmann/json.hpp>

#include <cohort/error.hpp>

#include "input_file.hpp"
#include "output_file.hpp"

namespace cohort {

namespace {

using Json = nlohmann::json;

constexpr std::size_t kRanksMax = kWorldSizeMax;
/// Of a file; those of the largest jobs are far below.
constexpr std::size_t kFileBytesMax = std::size_t{64} << 20U;

std::optional<ErrorCode> error_code_from_string(std::string_view name) {
  // Beyond the last code all are "unknown".
  for (int code = 0;; ++code) {
    const std::string_view known = to_string(static_cast<ErrorCode>(code));
    if (known == "unknown") return std::nullopt;
    if (known == name) return static_cast<ErrorCode>(code);
  }
}

/// Reads fields of one document; what is wrong names the document and the field.
class Reader {
 public:
  explicit Reader(const std::string& source) : source_(source) {}

  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error(ErrorCode::corrupt, source_ + " is no health file: " + problem, std::nullopt,
                "health");
  }

  const Json& field(const Json& object, const char* name) const {
    if (!object.is_object()) refuse(std::string("no object around ") + name);
    const auto found = object.find(name);
    if (found == object.end()) refuse(std::string("it has no ") + name);
    return *found;
  }
  double number(const Json& object, const char* name) const {
    const Json& value = field(object, name);
    if (!value.is_number()) refuse(std::string(name) + " is no number");
    return value.get<double>();
  }
  std::uint64_t count(const Json& object, const char* name) const {
    const Json& value = field(object, name);
    if (!value.is_number_unsigned()) refuse(std::string(name) + " is no count");
    return value.get<std::uint64_t>();
  }
  bool flag(const Json& object, const char* name) const {
    const Json& value = field(object, name);
    if (!value.is_boolean()) refuse(std::string(name) + " is neither true nor false");
    return value.get<bool>();
  }
  std::string text(const Json& object, const char* name) const {
    const Json& value = field(object, name);
    if (!value.is_string()) refuse(std::string(name) + " is no text");
    return value.get<std::string>();
  }
  const Json& list(const Json& object, const char* name) const {
    const Json& value = field(object, name);
    if (!value.is_array()) refuse(std::string(name) + " is no list");
    return value;
  }
  bool is_null(const Json& object, const char* name) const { return field(object, name).is_null(); }
  WorldRank rank(const Json& object, const char* name) const {
    const std::uint64_t index = count(object, name);
    if (index >= kRanksMax) refuse(std::string(name) + " is no rank");
    return WorldRank{static_cast<std::uint32_t>(index)};
  }
  std::uint32_t word(const Json& object, const char* name) const {
    const std::uint64_t value = count(object, name);
    if (value > ~std::uint32_t{0}) refuse(std::string(name) + " is too large");
    return static_cast<std::uint32_t>(value);
  }

 private:
  std::string source_;
};

CallCount call_count_of(const Json& object, const Reader& reader) {
  const auto group = group_kind_from_string(reader.text(object, "group"));
  if (!group) reader.refuse("group is none that is known");
  return {*group, Lane{reader.word(object, "lane")}, reader.count(object, "sequence")};
}

RankHealth rank_of(const Json& object, const Reader& reader) {
  RankHealth rank;
  rank.rank = reader.rank(object, "rank");
  const auto activity = rank_activity_from_string(reader.text(object, "state"));
  if (!activity) reader.refuse("state is none that is known");
  rank.activity = *activity;
  rank.pid = static_cast<std::int64_t>(reader.count(object, "pid"));
  rank.stopped = reader.flag(object, "stopped");
  if (!reader.is_null(object, "waiting")) {
    const Json& wait = reader.field(object, "waiting");
    rank.wait = RankWait{reader.rank(wait, "rank"), reader.number(wait, "waited_s"),
                         reader.flag(wait, "for_idle"), reader.text(wait, "subject")};
  }
  if (!reader.is_null(object, "idle_s")) rank.idle_s = reader.number(object, "idle_s");
  rank.generation = reader.word(object, "generation");
  rank.stalls = reader.count(object, "stalls");
  rank.stalled_s = reader.number(object, "stalled_s");
  if (!reader.is_null(object, "last_stalled_on")) {
    rank.last_stalled_on = reader.rank(object, "last_stalled_on");
  }
  for (const Json& call : reader.list(object, "calls")) {
    rank.calls.push_back(call_count_of(call, reader));
  }
  return rank;
}

Error fault_of(const Json& object, const Reader& reader) {
  const auto code = error_code_from_string(reader.text(object, "code"));
  if (!code) reader.refuse("code is none that is known");
  std::optional<WorldRank> about;
  if (!reader.is_null(object, "rank")) about = reader.rank(object, "rank");
  return Error(*code, reader.text(object, "message"), about,
               reader.is_null(object, "phase") ? std::string() : reader.text(object, "phase"));
}

}  // namespace

Health health_from_json(const std::string& text, const std::string& source) {
  const Reader reader(source);
  const Json document = Json::parse(text, nullptr, false);
  if (document.is_discarded()) reader.refuse("it is not JSON");
  if (const auto schema = reader.count(document, "schema"); schema != 1) {
    throw Error(ErrorCode::unsupported,
                source + " has schema " + std::to_string(schema) + "; this version reads 1",
                std::nullopt, "health");
  }
  Health health;
  health.taken_at_s = reader.number(document, "taken_at_s");
  health.stall_limit_s = reader.number(document, "stall_limit_s");
  health.generation = reader.word(document, "generation");
  if (!reader.is_null(document, "fault")) {
    health.fault = fault_of(reader.field(document, "fault"), reader);
  }
  for (const Json& rank : reader.list(document, "ranks")) {
    health.ranks.push_back(rank_of(rank, reader));
  }
  return health;
}

std::string read_health_file(const std::string& path) {
  return read_input_file("health file " + path, path, kFileBytesMax, InputReaders::command);
}

void use_health_file(const std::string& path) {
  if (path.empty()) return;
  // Versions replace each other by their name, which must not happen to a device.
  require_writable_place("--health-file", path);
  std::error_code failed;
  ::setenv("COHORT_HEALTH_FILE", std::filesystem::absolute(path, failed).c_str(), 1);
}

}  // namespace cohort
