// SPDX-License-Identifier: BSL-1.0
#pragma once

// The picture of one flow: time-sequence graph, windows, round-trip time.

#include "recording.hpp"
#include "svg.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

namespace netsim {

namespace colours {
inline const std::string sent = "#3d6fb4", again = "#d62c1a", acked = "#2a8a3e", window = "#999999",
                         sacked = "#f2a541", cwnd = "#3d6fb4", ssthresh = "#b0529b",
                         pipe = "#2a8a3e", rtt = "#3d6fb4";
}

class Picture {
 public:
  /// Of what happens from `times.low` to `times.high`, in seconds.
  Picture(const Recording& recording, const std::string& title, const std::string& path,
          const Range& times)
      : recording_{recording}, times_{times} {
    svg_.text(left, 26, title, "font-size=\"17\" font-weight=\"bold\"");
    svg_.text(left, 46, path);
    sequence({left, 60}, {width, 470});
    windows({left, 596}, {width, 210});
    round_trips({left, 872}, {width, 120});
  }

  [[nodiscard]] std::string document() const { return svg_.document(); }

 private:
  static constexpr double left = 96, width = 1080;

  struct Unit {
    double bytes;
    std::string name;
  };
  static Unit unit_for(double most) {
    if (most >= 4e6) return {1e6, "MB"};
    if (most >= 4e3) return {1e3, "kB"};
    return {1, "bytes"};
  }

  [[nodiscard]] bool shown(double at) const { return times_.low <= at && at <= times_.high; }

  std::vector<Bar> bars(const std::vector<ByteRange>& ranges, double unit) const {
    std::vector<Bar> result;
    for (const ByteRange& range : ranges) {
      if (shown(range.at)) result.push_back({range.at, range.begin / unit, range.end / unit});
    }
    return result;
  }
  // With the last value before the times shown, so that a line begins at their edge.
  template <class T, class Get>
  std::vector<Point> line(const std::vector<T>& values, Get get) const {
    std::vector<Point> result;
    for (const T& value : values) {
      if (value.at > times_.high) break;
      if (value.at < times_.low) result.clear();
      result.push_back({std::max(value.at, times_.low), get(value)});
    }
    return result;
  }

  void sequence(const Point& corner, const Point& size) {
    Range bytes{std::numeric_limits<double>::max(), 0};
    for (const auto* ranges : {&recording_.sent, &recording_.sent_again, &recording_.sacked}) {
      for (const ByteRange& range : *ranges) {
        if (!shown(range.at)) continue;
        bytes.low = std::min(bytes.low, range.begin);
        bytes.high = std::max(bytes.high, range.end);
      }
    }
    if (bytes.high == 0) bytes = {0, 1};
    const Unit unit = unit_for(bytes.high);
    const double room = bytes.size() * 0.08;  // for the legend, and the advertised edge
    Panel panel{svg_,
                corner,
                size,
                times_,
                {(bytes.low - room / 8) / unit.bytes, (bytes.high + room) / unit.bytes}};
    panel.axes("time in seconds", "sequence number in " + unit.name);
    const auto value = [&](const Value& v) { return v.value / unit.bytes; };
    const std::vector<Bar> sent = bars(recording_.sent, unit.bytes);
    const double thick = sent.size() < 500 ? 3 : 1.4;
    panel.steps(line(recording_.window_edge, value), colours::window, 1.2);
    panel.bars(bars(recording_.sacked, unit.bytes), colours::sacked, thick);
    panel.bars(sent, colours::sent, thick);
    panel.steps(line(recording_.acknowledged, value), colours::acked);
    panel.bars(bars(recording_.sent_again, unit.bytes), colours::again, thick + 1.2, 5);
    panel.legend({{"sent", colours::sent},
                  {"sent again", colours::again},
                  {"acknowledged", colours::acked},
                  {"selectively acknowledged", colours::sacked},
                  {"advertised window", colours::window}});
  }

  void windows(const Point& corner, const Point& size) {
    const auto& samples = recording_.samples;
    double most = 1;
    for (const Sample& s : samples) {
      if (shown(s.at)) most = std::max({most, double(s.cwnd), double(s.pipe)});
    }
    const Unit unit = unit_for(most);
    Panel panel{svg_, corner, size, times_, {0, most * 1.2 / unit.bytes}};
    panel.axes("time in seconds", "windows in " + unit.name);
    const auto of = [&](std::uint32_t Sample::*field) {
      return line(samples, [&](const Sample& s) { return s.*field / unit.bytes; });
    };
    panel.steps(of(&Sample::pipe), colours::pipe, 1);
    // Before the first loss it is higher than any panel.
    std::vector<Point> ssthresh = of(&Sample::ssthresh);
    std::erase_if(ssthresh, [&](const Point& p) { return p.y > most * 10 / unit.bytes; });
    panel.steps(ssthresh, colours::ssthresh);
    panel.steps(of(&Sample::cwnd), colours::cwnd, 2);
    panel.legend(
        {{"cwnd", colours::cwnd}, {"ssthresh", colours::ssthresh}, {"pipe", colours::pipe}});
  }

  void round_trips(const Point& corner, const Point& size) {
    double most = 1;
    for (const Sample& s : recording_.samples) {
      if (shown(s.at)) most = std::max(most, s.rtt_ms);
    }
    Panel panel{svg_, corner, size, times_, {0, most * 1.35}};
    panel.axes("time in seconds", "round trip in ms");
    panel.steps(line(recording_.samples, [](const Sample& s) { return s.rtt_ms; }), colours::rtt);
    panel.legend({{"smoothed round-trip time", colours::rtt}});
  }

  const Recording& recording_;
  Range times_;
  Svg svg_{left + width + 24, 1040};
};

}  // namespace netsim
