// SPDX-License-Identifier: BSL-1.0

// How an open descriptor of somebody else becomes a TUN device.

#include "catch.hpp"
#include "tun_fixture.hpp"

#include <cerrno>
#include <string>
#include <system_error>

using namespace tunic;
using namespace tunic::device_test;

TEST_CASE("an adopted descriptor is asked, not set up", "[device][tun]") {
  FakeKernel kernel{.privileged = false};
  kernel.interfaces["vpn0"] = {.mode = IFF_NO_PI,
                               .mtu = 1280,
                               .address = 0x0a080001,
                               .mask = 0xffff0000,
                               .offload = TUN_F_CSUM};
  const int fd = kernel.attach_elsewhere("vpn0");
  std::error_code ec;
  {
    const FakeTun device = open(kernel, {.name = "not/read", .fd = fd, .create = false}, ec);
    REQUIRE(device);
    CHECK(device.native_handle() == fd);
    CHECK(device.name() == "vpn0");
    CHECK(device.interface_index() == 7);
    CHECK(device.mtu_bytes() == 1280);
    CHECK(device.host_address() == "10.8.0.1/16"_cidr);
    CHECK(kernel.status_flags[fd] == O_NONBLOCK);
    CHECK(kernel.interfaces["vpn0"].flags == 0);
    CHECK(kernel.interfaces["vpn0"].offload == TUN_F_CSUM);
    CHECK(kernel.descriptors.size() == 1);
  }
  CHECK(kernel.descriptors.empty());  // it was the device's
}

TEST_CASE("an adopted descriptor is set up as far as asked", "[device][tun]") {
  FakeKernel kernel;
  const int fd = kernel.attach_elsewhere("vpn0");
  std::error_code ec;
  const FakeTun device =
      open(kernel,
           {.fd = fd, .mtu_bytes = 1300, .host_address = "10.0.0.1/24"_cidr, .bring_up = true}, ec);
  REQUIRE(device);
  CHECK(kernel.interfaces["vpn0"].mtu == 1300);
  CHECK(kernel.interfaces["vpn0"].address == 0x0a000001);
  CHECK(kernel.interfaces["vpn0"].flags == IFF_UP);
}

TEST_CASE("what can't be adopted stays its caller's", "[device][tun]") {
  FakeKernel kernel;
  int fd = 99;
  Errc expected = Errc::tun_not_tun;
  SECTION("not open") {}
  SECTION("no TUN at all") { fd = kernel.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); }
  SECTION("not attached") {
    fd = kernel.open("/dev/net/tun", O_RDWR);
    expected = Errc::tun_no_such_device;
  }
  SECTION("a TAP") {
    kernel.interfaces["tap0"] = {.kind = IFF_TAP};
    fd = kernel.attach_elsewhere("tap0");
  }
  SECTION("with a header before each packet that is larger than any known") {
    kernel.interfaces["tun0"] = {.mode = IFF_NO_PI | IFF_VNET_HDR};
    kernel.vnet_header = 64;
    kernel.refused = {"TUNSETVNETHDRSZ"};
    fd = kernel.attach_elsewhere("tun0");
  }
  CHECK(refusal(kernel, {.fd = fd}) == expected);
}

TEST_CASE("whichever call on an adopted descriptor fails, it is not closed", "[device][tun]") {
  const int error_number = GENERATE(EPERM, EINVAL, ENOMEM);
  for (std::size_t fail_at = 1;; ++fail_at) {
    CAPTURE(error_number, fail_at);
    REQUIRE(fail_at < 100);
    FakeKernel kernel{.fail_at = fail_at, .fail_with = error_number};
    TunOptions options = everything();
    options.fd = kernel.attach_elsewhere("vpn0");
    options.bring_up = true;
    std::error_code ec;
    {
      const FakeTun device = open(kernel, options, ec);
      CHECK(device.is_open() == !ec);
      CHECK(kernel.descriptors.size() == 1);
      if (!ec) CHECK(device.mtu_bytes() == 1400);
    }
    CHECK(kernel.descriptors.size() == (ec ? 1U : 0U));
    if (kernel.calls.size() < fail_at) break;
  }
}

TEST_CASE("in a sandbox that forbids to ask, an adopted descriptor's options are believed",
          "[device][tun]") {
  // Only the descriptor itself may be used: every question is refused.
  struct Sandbox : FakeSystem {
    int socket(int, int, int) noexcept { return -EACCES; }
    int ioctl(int, unsigned long, void*) noexcept { return -EACCES; }
  };
  FakeKernel kernel;
  const int fd = kernel.attach_elsewhere("tun0");
  std::error_code ec;
  SECTION("what packets look like") {
    const auto device = BasicTunDevice<Sandbox>::open({.fd = fd, .mtu_bytes = 1300}, ec,
                                                      Sandbox{FakeSystem{&kernel}});
    REQUIRE(device);
    CHECK(device.mtu_bytes() == 1300);
    CHECK(device.name().empty());
    CHECK(device.interface_index() == 0);
    CHECK(device.host_address() == std::nullopt);
  }
  SECTION("but not what would have to be set") {
    const auto device = BasicTunDevice<Sandbox>::open(
        {.fd = fd, .host_address = "10.0.0.1/24"_cidr}, ec, Sandbox{FakeSystem{&kernel}});
    CHECK_FALSE(device);
    CHECK(ec == Errc::tun_permission);
    CHECK(device.failure().call == std::string{"socket"});
  }
}
