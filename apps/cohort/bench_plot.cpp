#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <map>
#include <utility>
#include <vector>

#include "base/bytes.hpp"
#include "bench_output.hpp"

namespace cohort::bench {
namespace {

constexpr double kWidth = 460;
constexpr double kHeight = 320;
constexpr double kLeft = 62;
constexpr double kRight = 12;
constexpr double kTop = 30;
constexpr double kBottom = 46;
constexpr std::size_t kColumns = 2;

using Points = std::vector<std::pair<double, double>>;  // bytes, us

/// The curves of one picture by name; cohort's own is drawn last, on top.
struct Picture {
  std::string title;
  std::map<std::string, Points> curves;
};

std::string number(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f", value);
  return text.data();
}

const char* colour_of(const std::string& name) {
  static const std::map<std::string, const char*> colours{
      {"cohort", "#c2410c"}, {"openmpi", "#1d4ed8"}, {"mpich", "#15803d"},
      {"gloo", "#7e22ce"},   {"shm", "#0e7490"},     {"memcpy", "#6b7280"}};
  const auto found = colours.find(name);
  return found == colours.end() ? "#111827" : found->second;
}

std::vector<Picture> pictures_of(const Measurement& measurement) {
  std::vector<Picture> pictures;
  for (const Row& row : measurement.rows) {
    if (row.rotating || !row.in_heap || row.bytes == 0 || !has_result(row.op)) continue;
    if (row.op == "agreement") continue;
    const std::string title = row.op + ", " + std::to_string(row.ranks) + " ranks";
    if (pictures.empty() || pictures.back().title != title) pictures.push_back({title, {}});
    auto& curves = pictures.back().curves;
    const auto bytes = static_cast<double>(row.bytes);
    curves["cohort"].emplace_back(bytes, row.times.p50_us);
    for (const auto& [name, peer] : row.peers) curves[name].emplace_back(bytes, peer.times.p50_us);
    const auto copy = row.references.find("memcpy");
    if (copy != row.references.end()) curves["memcpy"].emplace_back(bytes, copy->second.p50_us);
  }
  return pictures;
}

/// The axes of one picture: powers of two of bytes, powers of ten of microseconds.
struct Axes {
  int first_power = 60;
  int last_power = 0;
  int first_decade = 9;
  int last_decade = -9;

  explicit Axes(const Picture& picture) {
    for (const auto& [name, points] : picture.curves) {
      for (const auto& [bytes, us] : points) {
        first_power = std::min(first_power, static_cast<int>(std::floor(std::log2(bytes))));
        last_power = std::max(last_power, static_cast<int>(std::ceil(std::log2(bytes))));
        const double decade = std::log10(std::max(us, 1e-3));
        first_decade = std::min(first_decade, static_cast<int>(std::floor(decade)));
        last_decade = std::max(last_decade, static_cast<int>(std::ceil(decade)));
      }
    }
    last_power = std::max(last_power, first_power + 1);
    last_decade = std::max(last_decade, first_decade + 1);
  }
  double x(double bytes) const {
    return kLeft + (std::log2(bytes) - first_power) / (last_power - first_power) *
                       (kWidth - kLeft - kRight);
  }
  double y(double us) const {
    return kHeight - kBottom -
           (std::log10(std::max(us, 1e-3)) - first_decade) / (last_decade - first_decade) *
               (kHeight - kTop - kBottom);
  }
};

std::string line(double x1, double y1, double x2, double y2, const char* colour) {
  return "<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
         "\" y2=\"" + number(y2) + "\" stroke=\"" + colour + "\"/>\n";
}

std::string label(double x, double y, const char* anchor, const std::string& words,
                  const char* colour = "#374151") {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor +
         "\" fill=\"" + colour + "\">" + words + "</text>\n";
}

std::string draw_axes(const Axes& axes) {
  std::string text;
  const int step = std::max(1, (axes.last_power - axes.first_power + 6) / 7);
  for (int power = axes.first_power; power <= axes.last_power; power += step) {
    const double x = axes.x(std::exp2(power));
    text += line(x, kTop, x, kHeight - kBottom, "#e5e7eb");
    text += label(x, kHeight - kBottom + 16, "middle", format_bytes(std::uint64_t{1} << power));
  }
  for (int decade = axes.first_decade; decade <= axes.last_decade; ++decade) {
    const double y = axes.y(std::pow(10.0, decade));
    text += line(kLeft, y, kWidth - kRight, y, "#e5e7eb");
    std::array<char, 32> value{};
    std::snprintf(value.data(), value.size(), "%g us", std::pow(10.0, decade));
    text += label(kLeft - 6, y + 4, "end", value.data());
  }
  return text;
}

std::string draw_curve(const Axes& axes, const std::string& name, const Points& points) {
  std::string text = "<polyline fill=\"none\" stroke=\"" + std::string(colour_of(name)) +
                     "\" stroke-width=\"" + (name == "cohort" ? "2.4" : "1.4") + "\"" +
                     (name == "memcpy" ? " stroke-dasharray=\"4 3\"" : "") + " points=\"";
  for (const auto& [bytes, us] : points)
    text += number(axes.x(bytes)) + "," + number(axes.y(us)) + " ";
  return text + "\"/>\n";
}

std::string draw_picture(const Picture& picture, double left, double top) {
  const Axes axes(picture);
  std::string text = "<g transform=\"translate(" + number(left) + "," + number(top) + ")\">\n";
  text += label(kWidth / 2, 18, "middle", picture.title, "#111827");
  text += draw_axes(axes);
  double x = kLeft;
  std::vector<std::string> names;
  for (const auto& [name, points] : picture.curves) {
    if (name != "cohort") names.push_back(name);
  }
  names.emplace_back("cohort");
  for (const std::string& name : names) {
    text += draw_curve(axes, name, picture.curves.at(name));
    text += label(x, kHeight - 8, "start", name, colour_of(name));
    x += 12 + 7.2 * static_cast<double>(name.size());
  }
  return text + "</g>\n";
}

}  // namespace

std::string draw_plot(const Measurement& measurement) {
  const std::vector<Picture> pictures = pictures_of(measurement);
  const std::size_t rows = (pictures.size() + kColumns - 1) / kColumns;
  std::string text = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
                     number(kWidth * kColumns) + "\" height=\"" +
                     number(kHeight * static_cast<double>(std::max<std::size_t>(rows, 1))) +
                     "\" font-family=\"sans-serif\" font-size=\"11\">\n"
                     "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n";
  for (std::size_t i = 0; i < pictures.size(); ++i) {
    const std::size_t row = i / kColumns;
    text += draw_picture(pictures[i], kWidth * static_cast<double>(i % kColumns),
                         kHeight * static_cast<double>(row));
  }
  return text + "</svg>\n";
}

}  // namespace cohort::bench
