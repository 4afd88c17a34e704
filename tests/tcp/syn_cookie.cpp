// SPDX-License-Identifier: BSL-1.0
#include "../support/catch.hpp"
#include <tunic/tcp/syn_cookie.hpp>

using namespace tunic;
using namespace std::chrono_literals;

namespace {

const FlowKey flow{IpAddress::v4(10, 0, 0, 2), IpAddress::v4(10, 0, 0, 1), 80, 40000};
const SynCookies cookies{SipKey{1, 2}};
const Instant now{std::chrono::hours{1}};
const SeqNum isn{12345};

}  // namespace

TEST_CASE("a cookie brings back the MSS, and the options with a timestamp", "[tcp][syn_cookie]") {
  TcpOptions offered;
  offered.has_window_scale = true;
  offered.window_scale = 7;
  offered.sack_permitted = true;
  const bool ecn = GENERATE(false, true);
  const std::uint32_t bits = SynCookies::option_bits(offered, ecn);
  const SeqNum cookie = cookies.make(flow, isn, 1460, bits, now);
  const std::uint32_t stamp = SynCookies::stamp(1'000'000, bits);
  CHECK(stamp <= 1'000'000);
  CHECK(1'000'000 - stamp < 64);
  const auto decoded = cookies.check(flow, isn, cookie, stamp, now + 30s);
  REQUIRE(decoded.has_value());
  CHECK(decoded->mss == 1460);
  CHECK(decoded->window_scale == 7);
  CHECK(decoded->sack);
  CHECK(decoded->ecn == ecn);
}

TEST_CASE("without a timestamp a cookie says the MSS alone, rounded down", "[tcp][syn_cookie]") {
  const SeqNum cookie = cookies.make(flow, isn, 1400, 0, now);
  const auto decoded = cookies.check(flow, isn, cookie, std::nullopt, now);
  REQUIRE(decoded.has_value());
  CHECK(decoded->mss == 1360);
  CHECK_FALSE(decoded->window_scale.has_value());
  CHECK_FALSE(decoded->sack);
  CHECK_FALSE(decoded->ecn);
}

TEST_CASE("a cookie is worth nothing for another flow, ISN, key, time or option",
          "[tcp][syn_cookie]") {
  const SeqNum cookie = cookies.make(flow, isn, 1460, 0, now);
  REQUIRE(cookies.check(flow, isn, cookie, std::nullopt, now).has_value());
  FlowKey other = flow;
  other.remote_port = 40001;
  CHECK_FALSE(cookies.check(other, isn, cookie, std::nullopt, now).has_value());
  CHECK_FALSE(cookies.check(flow, isn + 1, cookie, std::nullopt, now).has_value());
  CHECK_FALSE(cookies.check(flow, isn, cookie + 1, std::nullopt, now).has_value());
  CHECK_FALSE(cookies.check(flow, isn, cookie, 7U, now).has_value());
  CHECK_FALSE(
      cookies.check(flow, isn, cookie, std::nullopt, now + 3 * SynCookies::period).has_value());
  CHECK_FALSE(SynCookies{SipKey{1, 3}}.check(flow, isn, cookie, std::nullopt, now).has_value());
}
