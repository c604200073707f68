// A path table as JSON. Whatever the text, reading ends with a table or with one error that names
// the field.

#include <algorithm>
#include <initializer_list>
#include <string>
#include <utility>

#include <nlohmann/json.hpp>

#include <cohort/error.hpp>
#include <cohort/path_table.hpp>

namespace cohort {
namespace {

using Json = nlohmann::ordered_json;

/// Of tables without and with what was measured on GPUs.
constexpr std::uint64_t kSchema = 1;
constexpr std::uint64_t kGpuSchema = 2;
constexpr std::size_t kTextMax = 200;

[[noreturn]] void refuse(const std::string& why) {
  throw Error(ErrorCode::corrupt, "path table: " + why, std::nullopt, "path table");
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (is_control(c)) c = '?';
  }
  return text.size() > kTextMax ? text.substr(0, kTextMax) + "..." : text;
}

/// A value of the document with the way to it, e.g. "rows[3].ranks".
class Field {
 public:
  Field(const Json& value, std::string name) : value_(&value), name_(std::move(name)) {}

  Field at(const char* key) const {
    const auto found = object().find(key);
    const std::string name = name_.empty() ? key : name_ + "." + key;
    if (found == value_->end()) refuse("'" + name + "' is missing");
    return {*found, name};
  }
  bool has(const char* key) const { return object().contains(key); }

  /// Refuses keys of the object that are none of these: a misspelt one would be passed over.
  void allow(std::initializer_list<std::string_view> keys) const {
    for (const auto& item : object().items()) {
      if (std::find(keys.begin(), keys.end(), item.key()) != keys.end()) continue;
      refuse("'" + (name_.empty() ? "" : name_ + ".") + printable(item.key()) + "' is unknown");
    }
  }

  template <typename Use>
  void for_each(const Use& use) const {
    if (!value_->is_array()) refuse("'" + name_ + "' is not an array");
    std::size_t index = 0;
    for (const Json& item : *value_) use(Field(item, name_ + "[" + std::to_string(index++) + "]"));
  }

  std::string text() const {
    if (!value_->is_string()) refuse("'" + name_ + "' is not a string");
    auto text = value_->get<std::string>();
    if (text.size() > kTextMax || std::any_of(text.begin(), text.end(), is_control)) {
      refuse("'" + name_ + "' is not one line of at most " + std::to_string(kTextMax) + " bytes");
    }
    return text;
  }
  bool flag() const {
    if (!value_->is_boolean()) refuse("'" + name_ + "' is not true or false");
    return value_->get<bool>();
  }
  std::uint64_t number(std::uint64_t max) const {
    if (!value_->is_number_unsigned() || value_->get<std::uint64_t>() > max) {
      refuse("'" + name_ + "' is not a whole number from 0 to " + std::to_string(max));
    }
    return value_->get<std::uint64_t>();
  }
  /// The one of `count` enumerators that is spelt like this.
  template <typename Enum>
  Enum one_of(std::size_t count) const {
    const std::string word = text();
    std::string known;
    for (std::size_t i = 0; i < count; ++i) {
      if (to_string(static_cast<Enum>(i)) == word) return static_cast<Enum>(i);
      known += (i == 0 ? "" : ", ") + std::string(to_string(static_cast<Enum>(i)));
    }
    refuse("'" + name_ + "' is '" + word + "', which is none of " + known);
  }

 private:
  const Json& object() const {
    if (!value_->is_object()) refuse((name_.empty() ? "it" : "'" + name_ + "'") + " is no object");
    return *value_;
  }

  const Json* value_;
  std::string name_;
};

constexpr std::uint64_t kCountMax = 1U << 20U;

PathRow read_row(const Field& field) {
  field.allow({"op", "ranks", "crowded", "memory", "paths"});
  PathRow row;
  row.op = field.at("op").one_of<Op>(kOpCount);
  row.ranks = static_cast<std::uint32_t>(field.at("ranks").number(kCountMax));
  row.crowded = field.at("crowded").flag();
  if (field.has("memory")) row.memory = field.at("memory").one_of<Memory>(kMemoryCount);
  field.at("paths").for_each([&](const Field& step) {
    step.allow({"path", "bytes_max"});
    row.steps.push_back({step.at("path").one_of<Path>(kPathCount)});
    if (step.has("bytes_max")) {
      row.steps.back().bytes_max = step.at("bytes_max").number(std::uint64_t{1} << 62U);
    }
  });
  return row;
}

Machine read_machine(const Field& field) {
  field.allow({"cpu", "cpus", "numa_nodes"});
  return {field.at("cpu").text(), static_cast<std::uint32_t>(field.at("cpus").number(kCountMax)),
          static_cast<std::uint32_t>(field.at("numa_nodes").number(kCountMax))};
}

Gpus read_gpus(const Field& field) {
  field.allow({"name", "compute", "driver", "link"});
  return {field.at("name").text(), field.at("compute").text(), field.at("driver").text(),
          field.at("link").one_of<GpuLink>(kGpuLinkCount)};
}

GridRow read_grid(const Field& field) {
  field.allow({"family", "ranks", "steps"});
  GridRow row;
  row.family = field.at("family").one_of<GridFamily>(kGridFamilyCount);
  row.ranks = static_cast<std::uint32_t>(field.at("ranks").number(kCountMax));
  field.at("steps").for_each([&](const Field& step) {
    step.allow({"threads", "lines_max"});
    row.steps.push_back({static_cast<std::uint32_t>(step.at("threads").number(kCountMax))});
    if (step.has("lines_max")) {
      row.steps.back().lines_max = step.at("lines_max").number(std::uint64_t{1} << 62U);
    }
  });
  return row;
}

/// Throws: Error{usage} for rows that make no sense.
PathTable read_table_of(const Field& whole, bool of_gpus) {
  const std::string version = whole.at("version").text();
  Machine machine = read_machine(whole.at("machine"));
  std::vector<PathRow> rows;
  whole.at("rows").for_each([&](const Field& row) { rows.push_back(read_row(row)); });
  if (!of_gpus) return {std::move(rows), std::move(machine), version};
  GpuMeasures measures{read_gpus(whole.at("gpus")), {}};
  whole.at("grids").for_each([&](const Field& row) { measures.grids.push_back(read_grid(row)); });
  return {std::move(rows), std::move(machine), version, std::move(measures)};
}

PathTable read_table(const Json& document) {
  const Field whole(document, "");
  const std::uint64_t schema = whole.at("schema").number(std::numeric_limits<std::uint64_t>::max());
  if (schema != kSchema && schema != kGpuSchema) {
    refuse("'schema' is neither " + std::to_string(kSchema) + " nor " + std::to_string(kGpuSchema) +
           ", which is all that this version reads");
  }
  // What the rows were made from may stay in the file.
  if (schema == kSchema) {
    whole.allow({"schema", "version", "machine", "rows", "measurements"});
  } else {
    whole.allow({"schema", "version", "machine", "gpus", "rows", "grids", "measurements",
                 "grid_measurements"});
  }
  try {
    return read_table_of(whole, schema == kGpuSchema);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::corrupt) throw;
    throw Error(ErrorCode::corrupt, error.what(), std::nullopt, "path table");
  }
}

Json describe(const GridRow& row) {
  Json steps = Json::array();
  for (const GridStep& step : row.steps) {
    Json entry{{"threads", step.threads}};
    if (step.lines_max != GridStep::kUnlimited) entry["lines_max"] = step.lines_max;
    steps.push_back(std::move(entry));
  }
  return {{"family", to_string(row.family)}, {"ranks", row.ranks}, {"steps", std::move(steps)}};
}

}  // namespace

PathTable PathTable::parse(std::string_view json) {
  Json document;
  try {
    document = Json::parse(json);
  } catch (const nlohmann::json::parse_error& error) {
    refuse("it is no JSON document: byte " + std::to_string(error.byte) + " cannot be read");
  } catch (const nlohmann::json::out_of_range&) {
    refuse("it is no JSON document: a number is too large");
  }
  return read_table(document);
}

std::string PathTable::to_json() const {
  if (pin()) {
    throw Error(ErrorCode::usage, "a pinned path is no table that could be written", std::nullopt,
                "path table");
  }
  const Machine on = machine().value_or(Machine{});
  Json rows_json = Json::array();
  for (const PathRow& row : rows()) {
    Json paths = Json::array();
    for (const PathStep& step : row.steps) {
      Json path{{"path", to_string(step.path)}};
      if (step.bytes_max != PathStep::kUnlimited) path["bytes_max"] = step.bytes_max;
      paths.push_back(std::move(path));
    }
    Json row_json{{"op", to_string(row.op)}, {"ranks", row.ranks}, {"crowded", row.crowded}};
    if (row.memory != Memory::host) row_json["memory"] = to_string(row.memory);
    row_json["paths"] = std::move(paths);
    rows_json.push_back(std::move(row_json));
  }
  Json document{{"schema", gpus() ? kGpuSchema : kSchema},
                {"version", version()},
                {"machine", {{"cpu", on.cpu}, {"cpus", on.cpus}, {"numa_nodes", on.numa_nodes}}}};
  if (gpus()) {
    document["gpus"] = {{"name", gpus()->name},
                        {"compute", gpus()->compute},
                        {"driver", gpus()->driver},
                        {"link", to_string(gpus()->link)}};
  }
  document["rows"] = std::move(rows_json);
  if (gpus()) {
    document["grids"] = Json::array();
    for (const GridRow& row : grids()) document["grids"].push_back(describe(row));
  }
  return document.dump(1);
}

}  // namespace cohort
