// SPDX-License-Identifier: BSL-1.0

// What opening a TUN device refuses, and that every system call may fail and leaves nothing behind.

#include "catch.hpp"
#include "tun_fixture.hpp"

#include <cerrno>
#include <string>
#include <string_view>
#include <system_error>

using namespace tunic;
using namespace tunic::device_test;

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
    kernel.interfaces["tun0"] = {.attached = 1};
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
