// SPDX-License-Identifier: BSL-1.0
#pragma once

// How fast data arrives: each segment carries what had been delivered when it left, and its
// delivery yields a rate over the longer of the time that sending and that acknowledging took
// (draft-ietf-ccwg-bbr 4.5). Samples of times when the application had nothing to send are marked.

#include <tunic/base/time.hpp>
#include <tunic/tcp/congestion.hpp>
#include <tunic/tcp/scoreboard.hpp>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <utility>

namespace tunic::inline v0 {

class DeliveryRate {
 public:
  /// Writes the state of delivery into a segment that leaves; `in_flight` is without it.
  void stamp(SentSegment& segment, std::uint32_t in_flight, Instant now) noexcept {
    if (in_flight == 0) first_sent_ = delivered_at_ = now;
    segment.sent_at = now;
    segment.app_limited = app_limited_until_ != 0;
    segment.delivered = static_cast<std::uint32_t>(delivered_);
    segment.in_flight = in_flight + segment.length;
    segment.since_delivery = microseconds(now - delivered_at_);
    segment.since_first = microseconds(now - first_sent_);
  }

  /// The acknowledgement that is looked at delivered this segment.
  void delivered(const SentSegment& segment) noexcept {
    const bool newer = newest_.length == 0 || newest_.sent_at < segment.sent_at ||
                       (newest_.sent_at == segment.sent_at && newest_.begin < segment.begin);
    if (newer) newest_ = segment;
  }

  /// It delivered so many bytes in all. The sample has no rate when no whole segment was among them
  /// or when the time was shorter than a round trip can be.
  RateSample finish(std::uint32_t bytes, Duration min_rtt, Instant now) noexcept {
    delivered_ += bytes;
    if (bytes != 0) delivered_at_ = now;
    if (app_limited_until_ != 0 && delivered_ > app_limited_until_) app_limited_until_ = 0;
    RateSample sample;
    sample.delivered = delivered_;
    const SentSegment newest = std::exchange(newest_, {});
    if (newest.length == 0) return sample;
    using std::chrono::microseconds;
    const Duration sending = microseconds{newest.since_first};
    const Duration acking = now - newest.sent_at + microseconds{newest.since_delivery};
    first_sent_ = newest.sent_at;
    const std::uint32_t arrived = static_cast<std::uint32_t>(delivered_) - newest.delivered;
    sample.prior_delivered = delivered_ - arrived;
    sample.in_flight_at_send = newest.in_flight;
    sample.app_limited = newest.app_limited;
    sample.interval = std::max(sending, acking);
    if (sample.interval < min_rtt || sample.interval.count() <= 0) return sample;
    sample.bytes_per_second = static_cast<std::uint64_t>(
        static_cast<double>(arrived) * 1e9 / static_cast<double>(sample.interval.count()));
    if (sample.bytes_per_second >= last_ || !sample.app_limited) last_ = sample.bytes_per_second;
    return sample;
  }

  /// The application has no more to send, with so many bytes on their way.
  void app_limited(std::uint32_t in_flight) noexcept {
    app_limited_until_ = delivered_ + std::max(in_flight, 1U);
  }

  [[nodiscard]] bool is_app_limited() const noexcept { return app_limited_until_ != 0; }
  /// The last rate that was not limited by the application, or a higher one that was; bytes a
  /// second.
  [[nodiscard]] std::uint64_t bytes_per_second() const noexcept { return last_; }
  [[nodiscard]] std::uint64_t delivered_bytes() const noexcept { return delivered_; }

 private:
  static std::uint32_t microseconds(Duration time) noexcept {
    const auto count = std::chrono::duration_cast<std::chrono::microseconds>(time).count();
    return static_cast<std::uint32_t>(std::clamp<std::int64_t>(count, 0, 0xffffffff));
  }

  SentSegment newest_;  // that the acknowledgement which is looked at delivered
  std::uint64_t delivered_ = 0;
  std::uint64_t app_limited_until_ = 0;  // 0: it is not
  std::uint64_t last_ = 0;
  Instant delivered_at_{};
  Instant first_sent_{};
};

}  // namespace tunic::inline v0
