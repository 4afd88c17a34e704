// SPDX-License-Identifier: BSL-1.0

// How a TUN device is opened, against a kernel that refuses each call in turn.

#include "catch.hpp"
#include "fake_system.hpp"
#include <tunic/device/tun_device.hpp>

#include <cerrno>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>

using namespace tunic;
using test::FakeInterface;
using test::FakeKernel;
using test::FakeSystem;
using FakeTun = BasicTunDevice<FakeSystem>;

namespace {

FakeTun open(FakeKernel& kernel, const TunOptions& options, std::error_code& ec) {
  return FakeTun::open(options, ec, FakeSystem{&kernel});
}

// Opens what must not open, and looks for what is left behind.
std::error_code refusal(FakeKernel& kernel, const TunOptions& options) {
  const std::size_t before = kernel.descriptors.size();
  std::error_code ec;
  const FakeTun device = open(kernel, options, ec);
  CHECK_FALSE(device.is_open());
  CHECK_FALSE(device);
  CHECK(kernel.descriptors.size() == before);
  return ec;
}

FakeInterface prepared() {
  return {.mode = IFF_PERSIST,
          .mtu = 1400,
          .queue = 2000,
          .flags = IFF_UP,
          .address = 0x0a000001,
          .mask = 0xffffff00,
          .owner = 1000};
}

TunOptions everything() {
  return {.name = "tun5",
          .mtu_bytes = 1400,
          .host_address = "10.0.0.1/24"_cidr,
          .persist = true,
          .owner_uid = 1000,
          .group_gid = 100,
          .queue_packets = 2000};
}

}  // namespace

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

TEST_CASE("names are refused before anything is opened", "[device][tun]") {
  FakeKernel kernel;
  CHECK(refusal(kernel, {.name = "fifteen-letters+"}) == Errc::tun_name_too_long);
  for (const std::string_view name :
       {"a/b", "a:b", "a b", "a\tb", ".", "..", "%", "tun%", "tun%s", "a%db%d", "%%d"}) {
    CAPTURE(name);
    CHECK(refusal(kernel, {.name = name}) == Errc::tun_name_invalid);
  }
  CHECK(refusal(kernel, {.name = {"a\0b", 3}}) == Errc::tun_name_invalid);
  CHECK(refusal(kernel, {.name = "tun%d", .create = false}) == Errc::tun_name_invalid);
  CHECK(refusal(kernel, {.create = false}) == Errc::tun_name_invalid);
  CHECK(kernel.calls.empty());

  std::error_code ec;
  CHECK(open(kernel, {.name = "fifteen-letters"}, ec).name() == "fifteen-letters");
  CHECK(open(kernel, {.name = "%d"}, ec).name() == "0");
}

TEST_CASE("values that no interface takes are refused before anything is opened", "[device][tun]") {
  FakeKernel kernel;
  CHECK(refusal(kernel, {.mtu_bytes = 67}) == Errc::tun_mtu_refused);
  CHECK(refusal(kernel, {.mtu_bytes = 65536}) == Errc::tun_mtu_refused);
  CHECK(refusal(kernel, {.host_address = "fd00::1/64"_cidr}) == Errc::not_supported);
  for (const IpCidr host : {"0.0.0.0/24"_cidr, "127.0.0.1/8"_cidr, "224.0.0.1/24"_cidr,
                            "255.255.255.255/32"_cidr, "10.0.0.0/24"_cidr, "10.0.0.255/24"_cidr}) {
    CAPTURE(host.to_string());
    CHECK(refusal(kernel, {.host_address = host}) == Errc::tun_address_refused);
  }
  CHECK(refusal(kernel, {.queue_packets = 0x80000000}) == Errc::invalid_argument);
  CHECK(kernel.calls.empty());

  std::error_code ec;
  CHECK(open(kernel, {.mtu_bytes = 68}, ec).mtu_bytes() == 68);
  CHECK(open(kernel, {.mtu_bytes = 65535}, ec).mtu_bytes() == 65535);
  for (const IpCidr host : {"10.0.0.0/31"_cidr, "10.0.0.255/31"_cidr, "10.0.0.0/32"_cidr}) {
    CHECK(open(kernel, {.host_address = host}, ec).host_address() == host);
  }
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

TEST_CASE("each refusal has its own error", "[device][tun]") {
  FakeKernel kernel;
  SECTION("no driver") {
    kernel.has_driver = false;
    CHECK(refusal(kernel, {}) == Errc::tun_missing);
  }
  SECTION("no control device") {
    CHECK(refusal(kernel, {.control_device = "/dev/tun"}) == Errc::tun_missing);
  }
  SECTION("no right to create") {
    kernel.privileged = false;
    CHECK(refusal(kernel, {.name = "tun0"}) == Errc::tun_permission);
  }
  SECTION("another user's device") {
    kernel.privileged = false;
    kernel.interfaces["tun0"] = {.owner = 1};
    CHECK(refusal(kernel, {.name = "tun0"}) == Errc::tun_permission);
  }
  SECTION("in use") {
    kernel.interfaces["tun0"] = {.attached = true};
    CHECK(refusal(kernel, {.name = "tun0"}) == Errc::tun_busy);
  }
  SECTION("no TUN") {
    kernel.interfaces["eth0"] = {.kind = 0};
    kernel.interfaces["tap0"] = {.kind = IFF_TAP};
    CHECK(refusal(kernel, {.name = "eth0"}) == Errc::tun_not_tun);
    CHECK(refusal(kernel, {.name = "tap0"}) == Errc::tun_not_tun);
  }
  SECTION("not to be created") {
    CHECK(refusal(kernel, {.name = "tun0", .create = false}) == Errc::tun_no_such_device);
    CHECK_FALSE(kernel.was_called("TUNSETIFF"));
    kernel.interfaces["tun0"] = {};
    std::error_code ec;
    CHECK(open(kernel, {.name = "tun0", .create = false}, ec));
  }
}

TEST_CASE("the error number of a refused call decides on the error", "[device][tun]") {
  struct Row {
    const char* call;
    int error_number;
    Errc expected;
  };
  const auto row = GENERATE(
      Row{"open", ENOENT, Errc::tun_missing}, Row{"open", ENXIO, Errc::tun_missing},
      Row{"open", ENODEV, Errc::tun_missing}, Row{"open", EACCES, Errc::tun_permission},
      Row{"open", EPERM, Errc::tun_permission}, Row{"open", EMFILE, Errc::tun_setup_failed},
      Row{"TUNSETIFF", EPERM, Errc::tun_permission}, Row{"TUNSETIFF", EBUSY, Errc::tun_busy},
      Row{"TUNSETIFF", EINVAL, Errc::tun_not_tun}, Row{"TUNSETIFF", ENOMEM, Errc::no_memory},
      Row{"TUNSETIFF", ENODEV, Errc::tun_no_such_device},
      Row{"TUNSETIFF", ENFILE, Errc::tun_setup_failed},
      Row{"TUNSETOFFLOAD", EINVAL, Errc::tun_setup_failed},
      Row{"socket", EMFILE, Errc::tun_setup_failed},
      Row{"SIOCGIFINDEX", ENODEV, Errc::tun_setup_failed},
      Row{"SIOCGIFMTU", ENODEV, Errc::tun_setup_failed},
      Row{"SIOCSIFMTU", EINVAL, Errc::tun_mtu_refused},
      Row{"SIOCSIFMTU", EPERM, Errc::tun_permission},
      Row{"SIOCSIFTXQLEN", EINVAL, Errc::tun_setup_failed},
      Row{"SIOCSIFADDR", EINVAL, Errc::tun_address_refused},
      Row{"SIOCSIFADDR", EPERM, Errc::tun_permission},
      Row{"SIOCSIFADDR", ENOBUFS, Errc::tun_address_refused},
      Row{"SIOCSIFNETMASK", EINVAL, Errc::tun_address_refused},
      Row{"SIOCGIFFLAGS", ENODEV, Errc::tun_setup_failed},
      Row{"SIOCSIFFLAGS", EPERM, Errc::tun_permission},
      Row{"SIOCSIFFLAGS", EIO, Errc::tun_setup_failed},
      Row{"TUNSETOWNER", EINVAL, Errc::tun_setup_failed},
      Row{"TUNSETGROUP", EINVAL, Errc::tun_setup_failed},
      Row{"TUNSETPERSIST", EINVAL, Errc::tun_setup_failed});
  CAPTURE(row.call, row.error_number);

  FakeKernel trial;
  std::error_code ec;
  REQUIRE(open(trial, everything(), ec));
  FakeKernel kernel{.fail_with = row.error_number};
  for (const std::string& call : trial.calls) {
    ++kernel.fail_at;
    if (call == row.call) break;
  }
  const FakeTun device = open(kernel, everything(), ec);
  CHECK(ec == row.expected);
  CHECK(device.failure().call == std::string{row.call});
  CHECK(device.failure().error_number == row.error_number);
  CHECK(kernel.descriptors.empty());
  CHECK(kernel.interfaces.empty());  // not even a persistent one
}

TEST_CASE("whichever call fails, nothing stays open", "[device][tun]") {
  const int error_number = GENERATE(EPERM, EACCES, ENOMEM, EINVAL, EBUSY, ENODEV, EIO, ENOTTY);
  const bool prepared_before = GENERATE(false, true);
  const bool create = GENERATE(true, false);
  if (!prepared_before && !create) return;
  TunOptions options = everything();
  options.create = create;
  for (std::size_t fail_at = 1;; ++fail_at) {
    CAPTURE(error_number, prepared_before, create, fail_at);
    REQUIRE(fail_at < 100);
    FakeKernel kernel{.fail_at = fail_at, .fail_with = error_number};
    if (prepared_before) kernel.interfaces["tun5"] = {.mode = IFF_PERSIST};
    std::error_code ec;
    {
      const FakeTun device = open(kernel, options, ec);
      CHECK(device.is_open() == !ec);
      if (ec) {
        CHECK(device.failure().error_number == error_number);
        CHECK(device.native_handle() == -1);
        CHECK(kernel.descriptors.empty());
        CHECK(kernel.interfaces.size() == (prepared_before ? 1U : 0U));
      } else {
        CHECK(kernel.descriptors.size() == 1);
        CHECK(device.mtu_bytes() == 1400);
        CHECK(device.host_address() == "10.0.0.1/24"_cidr);
      }
    }
    CHECK(kernel.descriptors.empty());
    if (kernel.calls.size() < fail_at) break;  // all calls were made, none failed
  }
}

TEST_CASE("whichever call is interrupted, it is made again", "[device][tun]") {
  const bool adopted = GENERATE(false, true);
  std::size_t fail_at = 1;
  for (bool all_done = false; !all_done; ++fail_at) {
    CAPTURE(adopted, fail_at);
    REQUIRE(fail_at < 100);
    FakeKernel kernel{.fail_at = fail_at, .fail_with = EINTR};
    TunOptions options = everything();
    options.bring_up = true;
    if (adopted) options.fd = kernel.attach_elsewhere("tun5");
    std::error_code ec;
    const FakeTun device = open(kernel, options, ec);
    REQUIRE(device);
    CHECK(device.interface_index() == 7);
    CHECK(kernel.interfaces.at("tun5").flags == IFF_UP);
    all_done = kernel.calls.size() < fail_at;
  }
}

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
  SECTION("with a header before each packet") {
    kernel.interfaces["tun0"] = {.mode = IFF_NO_PI | IFF_VNET_HDR};
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
