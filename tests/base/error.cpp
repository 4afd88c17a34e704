// SPDX-License-Identifier: BSL-1.0
#include "catch.hpp"
#include <tunic/base/error.hpp>

#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace {

using tunic::Errc;

TEST_CASE("every error has a message of its own", "[base][error]") {
  std::set<std::string> messages;
  for (std::size_t i = 0; i < tunic::errc_count; ++i) {
    const auto error = static_cast<Errc>(i);
    const std::string text = message(error);
    CAPTURE(i, text);
    CHECK(!text.empty());
    CHECK(messages.insert(text).second);
    CHECK(make_error_code(error).message() == text);
    CHECK(make_error_code(error).value() == static_cast<int>(i));
  }
  const auto unknown = static_cast<Errc>(tunic::errc_count);
  CHECK(messages.insert(message(unknown)).second);
  CHECK(make_error_code(unknown).message() == message(unknown));
  CHECK(tunic::error_category().message(-1) == message(unknown));
  CHECK(tunic::error_category().message(256) == message(unknown));
}

TEST_CASE("where something can be done, the message says what", "[base][error]") {
  const std::pair<Errc, std::string_view> hints[] = {
      {Errc::would_block, "after the next event"},
      {Errc::host_unreachable, "ip_forward"},
      {Errc::network_unreachable, "ip route"},
      {Errc::already_connected, "close"},
      {Errc::address_not_available, "add it"},
      {Errc::no_ports_left, "widen"},
      {Errc::too_many_connections, "max_connections"},
      {Errc::no_memory, "raise the budget"},
      {Errc::message_too_long, "send less"},
      {Errc::address_conflict, "another address"},
      {Errc::seed_missing, "entropy_key"},
      {Errc::device_failed, "open it again"},
      {Errc::tun_missing, "modprobe tun"},
      {Errc::tun_missing, "--device /dev/net/tun"},
      {Errc::tun_permission, "setcap cap_net_admin=eip PROGRAM"},
      {Errc::tun_permission, "--cap-add NET_ADMIN --device /dev/net/tun"},
      {Errc::tun_permission, "ip tuntap add"},
      {Errc::tun_name_too_long, "at most 15"},
      {Errc::tun_name_invalid, "use letters"},
      {Errc::tun_busy, "another name"},
      {Errc::tun_no_such_device, "ip tuntap add"},
      {Errc::tun_not_tun, "another name"},
      {Errc::tun_address_refused, "10.0.0.1/24"},
      {Errc::tun_mtu_refused, "65535"},
      {Errc::tun_setup_failed, "dmesg"},
  };
  for (const auto& [error, hint] : hints) {
    CAPTURE(message(error), hint);
    CHECK(std::strstr(message(error), hint.data()) != nullptr);
  }
}

TEST_CASE("every error equals the standard condition that portable code tests for",
          "[base][error]") {
  const std::pair<Errc, std::errc> conditions[] = {
      {Errc::would_block, std::errc::operation_would_block},
      {Errc::end_of_stream, std::errc::no_message_available},
      {Errc::connection_reset, std::errc::connection_reset},
      {Errc::connection_refused, std::errc::connection_refused},
      {Errc::connection_aborted, std::errc::connection_aborted},
      {Errc::host_unreachable, std::errc::host_unreachable},
      {Errc::network_unreachable, std::errc::network_unreachable},
      {Errc::timed_out, std::errc::timed_out},
      {Errc::not_connected, std::errc::not_connected},
      {Errc::already_connected, std::errc::already_connected},
      {Errc::broken_pipe, std::errc::broken_pipe},
      {Errc::invalid_argument, std::errc::invalid_argument},
      {Errc::not_supported, std::errc::not_supported},
      {Errc::address_in_use, std::errc::address_in_use},
      {Errc::address_not_available, std::errc::address_not_available},
      {Errc::no_ports_left, std::errc::address_not_available},
      {Errc::other_shard, std::errc::address_not_available},
      {Errc::too_many_connections, std::errc::too_many_files_open},
      {Errc::no_memory, std::errc::not_enough_memory},
      {Errc::message_too_long, std::errc::message_size},
      {Errc::permission_denied, std::errc::permission_denied},
      {Errc::address_conflict, std::errc::address_in_use},
      {Errc::seed_missing, std::errc::invalid_argument},
      {Errc::device_failed, std::errc::io_error},
      {Errc::tun_missing, std::errc::no_such_file_or_directory},
      {Errc::tun_permission, std::errc::permission_denied},
      {Errc::tun_name_too_long, std::errc::filename_too_long},
      {Errc::tun_name_invalid, std::errc::invalid_argument},
      {Errc::tun_busy, std::errc::device_or_resource_busy},
      {Errc::tun_no_such_device, std::errc::no_such_device},
      {Errc::tun_not_tun, std::errc::invalid_argument},
      {Errc::tun_address_refused, std::errc::address_not_available},
      {Errc::tun_mtu_refused, std::errc::invalid_argument},
      {Errc::tun_setup_failed, std::errc::io_error},
  };
  CHECK(std::size(conditions) == tunic::errc_count - 1);
  for (const auto& [error, condition] : conditions) {
    CAPTURE(message(error));
    CHECK(std::error_code{error} == condition);
    CHECK(tunic::to_condition(error) == condition);
  }
}

TEST_CASE("an error code of none is success", "[base][error]") {
  const std::error_code none = Errc::none;
  CHECK(!none);
  CHECK(none == std::error_condition{});
  CHECK(none == Errc::none);

  const std::error_code reset = Errc::connection_reset;
  CHECK(reset);
  CHECK(reset == Errc::connection_reset);
  CHECK(reset != Errc::connection_refused);
  CHECK(reset.category() == tunic::error_category());
  CHECK(std::string_view{reset.category().name()} == "tunic");
}

TEST_CASE("a value that is no error of ours equals no standard condition", "[base][error]") {
  const std::error_code unknown{77, tunic::error_category()};
  CHECK(unknown != std::errc::io_error);
  CHECK(unknown.default_error_condition().category() == tunic::error_category());
}

TEST_CASE("a result of moving bytes is true unless something went wrong", "[base][error]") {
  CHECK(tunic::IoResult{});
  CHECK(tunic::IoResult{5});
  CHECK(!tunic::IoResult{5, Errc::would_block});
}

}  // namespace
