// SPDX-License-Identifier: BSL-1.0
#pragma once

// What is fixed at compile time: a bundle of policies and switches. A feature that is off costs
// nothing. Two stacks with different traits live in one program.

#include <tunic/base/time.hpp>
#include <tunic/tcp/cubic.hpp>
#include <tunic/tcp/flow.hpp>
#include <tunic/tcp/new_reno.hpp>
#include <tunic/wire/tcp_options.hpp>

#include <concepts>

namespace tunic::inline v0 {

/// What is known of a connection request before it is answered.
struct SynInfo {
  FlowKey flow;
  TcpOptions options;
  std::uint8_t ttl = 0;
  std::uint8_t traffic_class = 0;
  bool ecn = false;  ///< It asks for explicit congestion notification (RFC 3168).
};

/// What is done with a connection request.
enum class SynVerdict : std::uint8_t {
  accept,  ///< Answer it.
  reset,   ///< Refuse it.
  ignore,  ///< Say nothing.
  defer,   ///< Decide later; only in answer to a pending SYN, which then waits for its time-out.
};

/// A stateless judge of connection requests, asked before anything is allocated. `defer` counts as
/// `ignore`.
template <class F>
concept SynFilterPolicy = std::default_initializable<F> &&
    requires(const F filter, const SynInfo& info) {
  { filter(info) }
  noexcept->std::same_as<SynVerdict>;
};

struct AcceptEverySyn {
  SynVerdict operator()(const SynInfo&) const noexcept { return SynVerdict::accept; }
};

/// The defaults. Derive and override what should differ:
/// `struct MyTraits : DefaultTraits { static constexpr bool timestamps = false; };`
struct DefaultTraits {
  using Congestion = Cubic;
  using SynFilter = AcceptEverySyn;
  static constexpr bool timestamps = true;   ///< RFC 7323 3; off also takes PAWS away.
  static constexpr bool sack = true;         ///< Reporting by RFC 2018 and 2883.
  static constexpr bool syn_cookies = true;  ///< RFC 4987 3.6.
  static constexpr bool keepalive = true;    ///< RFC 9293 3.8.4.
  static constexpr bool ecn = true;          ///< RFC 3168.
  static constexpr bool reassembly =
      true;  ///< IPv4 fragments; without it they are dropped and counted.
};

/// The least: for programs that count bytes of code.
struct MinimalTraits : DefaultTraits {
  using Congestion = NewReno;
  static constexpr bool timestamps = false;
  static constexpr bool sack = false;
  static constexpr bool syn_cookies = false;
  static constexpr bool keepalive = false;
  static constexpr bool ecn = false;
  static constexpr bool reassembly = false;
};

template <class T>
concept StackTraits = CongestionControl<typename T::Congestion> &&
    SynFilterPolicy<typename T::SynFilter> && requires {
  { T::timestamps } -> std::convertible_to<bool>;
  { T::sack } -> std::convertible_to<bool>;
  { T::syn_cookies } -> std::convertible_to<bool>;
  { T::keepalive } -> std::convertible_to<bool>;
  { T::ecn } -> std::convertible_to<bool>;
  { T::reassembly } -> std::convertible_to<bool>;
};

static_assert(StackTraits<DefaultTraits> && StackTraits<MinimalTraits>);

}  // namespace tunic::inline v0
