// SPDX-License-Identifier: BSL-1.0
#pragma once

// Charts as SVG text: a picture, and panels in it with axes, lines, bars and a legend. What would
// fall on the same pixel is drawn once, so a chart of a hundred thousand points stays a small file.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <iterator>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace netsim {

/// A number with one decimal at most.
inline std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.1f", value);
  std::string result = text;
  if (result.ends_with(".0")) result.resize(result.size() - 2);
  return result == "-0" ? "0" : result;
}

inline std::string escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else {
      result += c;
    }
  }
  return result;
}

/// The picture: elements one after the other, on a light background.
class Svg {
 public:
  Svg(double width, double height) : width_{width}, height_{height} {}

  void add(const std::string& element) { body_ += element + '\n'; }
  void line(double x1, double y1, double x2, double y2, std::string_view style) {
    add("<line x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" + number(x2) +
        "\" y2=\"" + number(y2) + "\" " + std::string{style} + "/>");
  }
  /// `style` has the anchor, the weight and the like.
  void text(double x, double y, std::string_view content, std::string_view style = {}) {
    add("<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" " + std::string{style} + ">" +
        escaped(content) + "</text>");
  }

  [[nodiscard]] std::string document() const {
    const std::string size = number(width_) + ' ' + number(height_);
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + number(width_) + "\" height=\"" +
           number(height_) + "\" viewBox=\"0 0 " + size +
           "\" font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n"
           "<rect width=\"100%\" height=\"100%\" fill=\"#fdfdfb\"/>\n" +
           body_ + "</svg>\n";
  }

 private:
  double width_, height_;
  std::string body_;
};

struct Range {
  double low = 0;
  double high = 1;
  [[nodiscard]] double size() const { return high - low; }
};

/// Round values within a range, `about` so many.
inline std::vector<double> ticks(const Range& range, double about) {
  const double rough = range.size() / about;
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double digit = rough / power;
  const double step = power * (digit < 1.5 ? 1 : digit < 3.5 ? 2 : digit < 7.5 ? 5 : 10);
  std::vector<double> values;
  for (double k = std::ceil(range.low / step - 1e-9); k * step <= range.high + step * 1e-9; ++k) {
    values.push_back(k * step);
  }
  return values;
}

inline std::string tick_text(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.6g", std::abs(value) < 1e-12 ? 0 : value);
  return text;
}

struct Point {
  double x, y;
};
/// Something that has a place on the x axis and reaches over a part of the y axis.
struct Bar {
  double x, low, high;
};

/// One diagram of a picture. Draw what lies behind first, and the legend last.
class Panel {
 public:
  Panel(Svg& svg, const Point& corner, const Point& size, const Range& x, const Range& y)
      : svg_{svg}, left_{corner.x}, top_{corner.y}, width_{size.x}, height_{size.y}, x_{x}, y_{y} {
    clip_ = "p" + number(top_);
    svg_.add("<clipPath id=\"" + clip_ + "\"><rect " + frame() + "/></clipPath>");
  }

  void axes(std::string_view x_title, std::string_view y_title) {
    svg_.add("<rect " + frame() + " fill=\"#fff\" stroke=\"#999\"/>");
    for (const double value : ticks(x_, 10)) {
      svg_.line(to_x(value), top_, to_x(value), top_ + height_ + 4, grid);
      svg_.text(to_x(value), top_ + height_ + 18, tick_text(value), "text-anchor=\"middle\"");
    }
    for (const double value : ticks(y_, height_ / 45)) {
      svg_.line(left_ - 4, to_y(value), left_ + width_, to_y(value), grid);
      svg_.text(left_ - 8, to_y(value) + 4.5, tick_text(value), "text-anchor=\"end\"");
    }
    svg_.text(left_ + width_ / 2, top_ + height_ + 36, x_title, "text-anchor=\"middle\"");
    svg_.text(0, 0, y_title,
              "text-anchor=\"middle\" transform=\"translate(" + number(left_ - 62) + ' ' +
                  number(top_ + height_ / 2) + ") rotate(-90)\"");
  }

  /// A value that stays what it is until the next point.
  void steps(const std::vector<Point>& points, const std::string& colour, double width = 1.5) {
    std::string path;
    for (auto at = points.begin(); at != points.end();) {
      const double column = std::floor(to_x(at->x));
      const auto end = std::find_if(
          at, points.end(), [&](const Point& p) { return std::floor(to_x(p.x)) != column; });
      const auto [low, high] =
          std::minmax_element(at, end, [](const Point& a, const Point& b) { return a.y < b.y; });
      path += (path.empty() ? "M" + number(to_x(at->x)) + ' ' + number(to_y(at->y))
                            : "H" + number(to_x(at->x)) + "V" + number(to_y(at->y)));
      if (std::distance(at, end) > 1) {
        if (low->y < high->y) path += "V" + number(to_y(low->y)) + "V" + number(to_y(high->y));
        path += "V" + number(to_y(std::prev(end)->y));
      }
      at = end;
    }
    if (!path.empty()) draw(path + "H" + number(left_ + width_), colour, width);
  }

  /// Bars, each at least `least` pixels high, so that it can be seen.
  void bars(const std::vector<Bar>& all, const std::string& colour, double width,
            double least = 2) {
    // Per column of pixels, what is covered: top and bottom.
    std::map<double, std::vector<std::pair<double, double>>> columns;
    for (const Bar& bar : all) {
      const double middle = (to_y(bar.low) + to_y(bar.high)) / 2;
      const double half = std::max(to_y(bar.low) - to_y(bar.high), least) / 2;
      columns[std::round(to_x(bar.x))].emplace_back(middle - half, middle + half);
    }
    std::string path;
    for (auto& [x, spans] : columns) {
      std::ranges::sort(spans);
      for (std::size_t i = 0; i < spans.size();) {
        double end = spans[i].second;
        std::size_t next = i + 1;
        for (; next < spans.size() && spans[next].first <= end + 0.5; ++next) {
          end = std::max(end, spans[next].second);
        }
        path += "M" + number(x) + ' ' + number(spans[i].first) + "V" + number(end);
        i = next;
      }
    }
    draw(path, colour, width);
  }

  /// Names and colours, in the upper left corner and to the right from there.
  void legend(const std::vector<std::pair<std::string, std::string>>& entries) {
    double x = left_ + 8;
    double total = 8;
    for (const auto& [name, colour] : entries) total += entry_width(name);
    svg_.add("<rect x=\"" + number(left_ + 1) + "\" y=\"" + number(top_ + 1) + "\" width=\"" +
             number(total) + "\" height=\"22\" fill=\"#fff\" fill-opacity=\"0.85\"/>");
    for (const auto& [name, colour] : entries) {
      svg_.line(x, top_ + 12, x + 16, top_ + 12, "stroke=\"" + colour + "\" stroke-width=\"4\"");
      svg_.text(x + 21, top_ + 16.5, name);
      x += entry_width(name);
    }
  }

 private:
  static constexpr const char* grid = "stroke=\"#e4e4e0\" stroke-width=\"1\"";

  static double entry_width(const std::string& name) {
    return 40 + 7.4 * static_cast<double>(name.size());
  }
  [[nodiscard]] double to_x(double value) const {
    return left_ + (value - x_.low) / x_.size() * width_;
  }
  [[nodiscard]] double to_y(double value) const {
    return top_ + height_ - (value - y_.low) / y_.size() * height_;
  }
  [[nodiscard]] std::string frame() const {
    return "x=\"" + number(left_) + "\" y=\"" + number(top_) + "\" width=\"" + number(width_) +
           "\" height=\"" + number(height_) + "\"";
  }
  void draw(const std::string& path, const std::string& colour, double width) {
    svg_.add("<path d=\"" + path + "\" clip-path=\"url(#" + clip_ + ")\" fill=\"none\" stroke=\"" +
             colour + "\" stroke-width=\"" + number(width) + "\"/>");
  }

  Svg& svg_;
  double left_, top_, width_, height_;
  Range x_, y_;
  std::string clip_;
};

}  // namespace netsim
