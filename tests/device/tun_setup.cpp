// SPDX-License-Identifier: BSL-1.0

// What opening a TUN device makes of an interface, against a fake kernel.

#include "catch.hpp"
#include "tun_fixture.hpp"

#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

using namespace tunic;
using namespace tunic::device_test;

TEST_CASE("a new device is created, addressed and brought up in one call", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  {
    const FakeTun device = open(kernel, everything(), ec);
    REQUIRE(device.is_open());
    CHECK_FALSE(ec);
    CHECK(device.name() == "tun5");
    CHECK(device.interface_index() == 7);
    CHECK(device.mtu_bytes() == 1400);
    CHECK(device.caps().mtu_bytes == 1400);
    CHECK(device.host_address() == "10.0.0.1/24"_cidr);
    CHECK_FALSE(device.wants_write());
    CHECK(std::string{device.failure().call}.empty());
    CHECK(kernel.descriptors.size() == 1);  // the socket is gone
    CHECK(kernel.descriptors.begin()->first == device.native_handle());
    CHECK(kernel.status_flags[device.native_handle()] == (O_RDWR | O_NONBLOCK | O_CLOEXEC));

    const FakeInterface& made = kernel.interfaces.at("tun5");
    CHECK(made.mtu == 1400);
    CHECK(made.queue == 2000);
    CHECK(made.address == 0x0a000001);
    CHECK(made.mask == 0xffffff00);
    CHECK(made.flags == IFF_UP);
    CHECK(made.owner == 1000);
    CHECK(made.group == 100);
    CHECK(made.mode == (IFF_NO_PI | IFF_PERSIST));
  }
  CHECK(kernel.descriptors.empty());
  CHECK(kernel.interfaces.contains("tun5"));  // persistent
}

TEST_CASE("options left out change nothing but that the interface is up", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  {
    const FakeTun device = open(kernel, {}, ec);
    REQUIRE(device);
    CHECK(device.name() == "tun0");
    CHECK(device.host_address() == std::nullopt);
    CHECK(device.mtu_bytes() == 1500);
    for (const char* call : {"SIOCSIFMTU", "SIOCSIFTXQLEN", "SIOCSIFADDR", "SIOCSIFNETMASK",
                             "TUNSETPERSIST", "TUNSETOWNER", "TUNSETGROUP"}) {
      CAPTURE(call);
      CHECK_FALSE(kernel.was_called(call));
    }
    CHECK(kernel.interfaces.at("tun0").flags == IFF_UP);
    const FakeTun second = open(kernel, {.name = "tun%d", .bring_up = false}, ec);
    CHECK(second.name() == "tun1");
    CHECK(kernel.interfaces.at("tun1").flags == 0);
  }
  CHECK(kernel.interfaces.empty());
}

TEST_CASE("a prepared device needs no privilege", "[device][tun]") {
  FakeKernel kernel{.privileged = false};
  kernel.interfaces["tun5"] = prepared();
  std::error_code ec;
  SECTION("when everything is as wanted") {
    const FakeTun device = open(kernel, everything(), ec);
    REQUIRE(device);
    CHECK(device.host_address() == "10.0.0.1/24"_cidr);
    CHECK_FALSE(kernel.was_called("TUNSETPERSIST"));
  }
  SECTION("when nothing is asked for, and its address is found") {
    const FakeTun device = open(kernel, {.name = "tun5"}, ec);
    REQUIRE(device);
    CHECK(device.host_address() == "10.0.0.1/24"_cidr);
    CHECK(device.mtu_bytes() == 1400);
  }
  SECTION("but for what differs") {
    TunOptions options = everything();
    const char* call = "";
    SECTION("mtu") { options.mtu_bytes = 1500, call = "SIOCSIFMTU"; }
    SECTION("address") { options.host_address = "10.0.0.2/24"_cidr, call = "SIOCSIFADDR"; }
    SECTION("prefix") { options.host_address = "10.0.0.1/25"_cidr, call = "SIOCSIFADDR"; }
    SECTION("queue") { options.queue_packets = 500, call = "SIOCSIFTXQLEN"; }
    SECTION("up") { kernel.interfaces["tun5"].flags = 0, call = "SIOCSIFFLAGS"; }
    const FakeTun device = open(kernel, options, ec);
    CHECK_FALSE(device);
    CHECK(ec == Errc::tun_permission);
    CHECK(ec == std::errc::permission_denied);
    CHECK(device.failure().call == std::string{call});
    CHECK(device.failure().error_number == EPERM);
  }
  CHECK(kernel.interfaces.contains("tun5"));
}

TEST_CASE("offloads of the program that had a persistent device before are switched off",
          "[device][tun]") {
  FakeKernel kernel;
  kernel.interfaces["tun5"] = prepared();
  kernel.interfaces["tun5"].offload = TUN_F_CSUM;
  std::error_code ec;
  const FakeTun device = open(kernel, {.name = "tun5"}, ec);
  REQUIRE(device);
  CHECK(kernel.interfaces["tun5"].offload == 0);
}

TEST_CASE("a persistent device can be made one that goes with its descriptor", "[device][tun]") {
  FakeKernel kernel;
  kernel.interfaces["tun5"] = prepared();
  std::error_code ec;
  { REQUIRE(open(kernel, {.name = "tun5", .persist = false}, ec)); }
  CHECK_FALSE(kernel.interfaces.contains("tun5"));
}

TEST_CASE("prefixes of any length become masks and are read back", "[device][tun]") {
  for (unsigned prefix = 0; prefix <= 32; ++prefix) {
    FakeKernel kernel{.privileged = true};
    kernel.interfaces["tun5"] = {.mode = IFF_PERSIST};
    const IpCidr host{"10.85.170.165"_ip, static_cast<std::uint8_t>(prefix)};
    std::error_code ec;
    CHECK(open(kernel, {.name = "tun5", .host_address = host}, ec).host_address() == host);
    CHECK(open(kernel, {.name = "tun5"}, ec).host_address() == host);
  }
}

TEST_CASE("the overload without an error code throws", "[device][tun]") {
  FakeKernel kernel;
  CHECK(FakeTun::open({.name = "tun0"}, FakeSystem{&kernel}).is_open());
  kernel.privileged = false;
  try {
    (void)FakeTun::open({.name = "tun0"}, FakeSystem{&kernel});
    FAIL("nothing was thrown");
  } catch (const std::system_error& error) {
    CHECK(error.code() == Errc::tun_permission);
    CHECK(std::string{error.what()}.find("TUNSETIFF") != std::string::npos);
  }
  CHECK(kernel.descriptors.empty());
}

TEST_CASE("a device moves and is closed once", "[device][tun]") {
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<TunDevice>);
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<TunDevice>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<TunDevice>);
  FakeKernel kernel;
  std::error_code ec;
  FakeTun first = open(kernel, {.name = "a"}, ec);
  FakeTun second = open(kernel, {.name = "b"}, ec);
  const int handle = first.native_handle();

  FakeTun moved{std::move(first)};
  CHECK(moved.native_handle() == handle);
  CHECK(moved.name() == "a");
  CHECK_FALSE(first.is_open());  // NOLINT: a moved-from device is closed
  CHECK(first.name().empty());

  second = std::move(moved);
  CHECK(second.native_handle() == handle);
  CHECK_FALSE(kernel.interfaces.contains("b"));
  FakeTun& itself = second;
  second = std::move(itself);
  CHECK(second.is_open());

  second.close();
  second.close();
  CHECK(second.native_handle() == -1);
  CHECK(kernel.descriptors.empty());
}
