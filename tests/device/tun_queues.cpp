// SPDX-License-Identifier: BSL-1.0

#include "catch.hpp"
#include "fake_system.hpp"
#include "tun_fixture.hpp"
#include <tunic/device/tun_queues.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <string>
#include <system_error>

using namespace tunic;
using namespace tunic::device_test;

namespace {

using FakeQueues = BasicTunQueues<FakeSystem>;

FakeQueues open_queues(FakeKernel& kernel, const TunOptions& options, std::size_t count,
                       std::error_code& ec, bool steer = true) {
  return FakeQueues::open(options, count, ec, steer, FakeSystem{&kernel});
}

}  // namespace

TEST_CASE("the queues of one interface share its settings and are steered", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  TunOptions options = everything();
  options.name = "tun%d";
  const FakeQueues queues = open_queues(kernel, options, 4, ec);
  REQUIRE_FALSE(ec);
  REQUIRE(queues.devices.size() == 4);
  for (const FakeTun& device : queues.devices) {
    CHECK(device.name() == "tun0");
    CHECK(device.mtu_bytes() == 1400);
    CHECK(device.host_address() == options.host_address);
  }
  CHECK(kernel.interfaces.size() == 1);
  CHECK(kernel.interfaces["tun0"].attached == 4);
  CHECK((kernel.interfaces["tun0"].mode & IFF_PERSIST) != 0);
  CHECK(queues.steered);
  CHECK(kernel.interfaces["tun0"].steered);
  CHECK(queues.key != SipKey{});
  CHECK(kernel.descriptors.size() == 4);  // the program's is closed
}

TEST_CASE("each queue has the framing that was agreed on through its descriptor",
          "[device][tun][conformance][VNH-26]") {
  FakeKernel kernel;
  kernel.features |= IFF_VNET_HDR;
  std::error_code ec;
  const FakeQueues queues = open_queues(kernel, {}, 3, ec);
  REQUIRE(queues.devices.size() == 3);
  for (const char* call : {"TUNSETVNETHDRSZ", "TUNSETOFFLOAD"}) {
    CHECK(std::ranges::count(kernel.calls, call) == 3);
  }
  for (const FakeTun& device : queues.devices) CHECK(device.caps().tcp_v4_segmentation);
}

TEST_CASE("a kernel that does not steer is told of, and is no error", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  std::string call;
  int error_number = 0;
  SECTION("no programs from us") {
    kernel.takes_programs = false;
    call = "bpf";
    error_number = EPERM;
  }
  SECTION("not on its interfaces") {
    kernel.refused = {"TUNSETSTEERINGEBPF"};
    call = "TUNSETSTEERINGEBPF";
    error_number = ENOTTY;
  }
  const FakeQueues queues = open_queues(kernel, {}, 2, ec);
  CHECK_FALSE(ec);
  CHECK(queues.devices.size() == 2);
  CHECK_FALSE(queues.steered);
  CHECK(queues.failure.call == call);
  CHECK(queues.failure.error_number == error_number);
  CHECK(kernel.descriptors.size() == 2);
}

TEST_CASE("nobody is asked to steer when that is not wanted", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  const FakeQueues queues = open_queues(kernel, {}, 2, ec, false);
  CHECK_FALSE(ec);
  CHECK_FALSE(queues.steered);
  CHECK_FALSE(kernel.was_called("bpf"));
}

TEST_CASE("interrupted calls are made again while steering is set up", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  { REQUIRE(open_queues(kernel, {}, 2, ec).steered); }
  const std::size_t calls = kernel.calls.size();
  for (std::size_t at = 1; at <= calls; ++at) {
    FakeKernel interrupting;
    interrupting.fail_at = at;
    interrupting.fail_with = EINTR;
    INFO("call " << at << ", " << kernel.calls[at - 1]);
    CHECK(open_queues(interrupting, {}, 2, ec).steered);
    CHECK(interrupting.descriptors.empty());
  }
}

TEST_CASE("a refused queue leaves none behind", "[device][tun]") {
  FakeKernel kernel;
  std::error_code ec;
  const auto fails_with = [&](const TunOptions& options, std::size_t count, Errc why) {
    const FakeQueues queues = open_queues(kernel, options, count, ec);
    CHECK(ec == why);
    CHECK(queues.devices.empty());
    CHECK_FALSE(queues.steered);
    CHECK(kernel.descriptors.empty());
  };
  SECTION("no queues") { fails_with({}, 0, Errc::invalid_argument); }
  SECTION("a descriptor is one queue") { fails_with({.fd = 0}, 2, Errc::invalid_argument); }
  SECTION("more than there are") {
    fails_with({.persist = true}, 257, Errc::tun_setup_failed);
    CHECK(kernel.interfaces.empty());  // it was not made persistent before
  }
  SECTION("an interface of one queue") {
    kernel.interfaces["tun5"] = {.mode = IFF_PERSIST};
    fails_with({.name = "tun5"}, 2, Errc::tun_not_tun);
  }
  SECTION("without privilege") {
    kernel.privileged = false;
    fails_with({}, 2, Errc::tun_permission);
    CHECK_THROWS_AS(FakeQueues::open({}, 2, true, FakeSystem{&kernel}), std::system_error);
  }
}
