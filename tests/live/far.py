# SPDX-License-Identifier: BSL-1.0
"""A host behind the one that the stack talks to, in a namespace of its own."""

import contextlib
import ctypes
import fcntl
import pathlib
import socket
import struct
import subprocess
import sys

from support import expect, run

FAR = "10.97.0.2"


@contextlib.contextmanager
def far_host(near_mtu=1500, far_mtu=1500):
    """A host behind this one, in a namespace of its own, on a link whose ends have these MTUs; yields the command that
    enters it. What is larger than the near end's MTU the kernel here refuses, and says so; what is larger than the far
    end's vanishes. The far host says all the same that it can receive segments of 1460 bytes. Towards it the link cuts
    and sums up nothing in hardware, so the kernel does."""
    keeper = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 1000"], stdout=subprocess.PIPE)
    enter = ("nsenter", f"--net=/proc/{keeper.pid}/ns/net")
    try:
        keeper.stdout.readline()  # it is there
        run("ip", "link", "add", "far0", "mtu", str(near_mtu), "type", "veth", "peer", "name", "far1", "mtu",
            str(far_mtu), "netns", str(keeper.pid))
        run("ip", "address", "add", "10.97.0.1/24", "dev", "far0")
        switch_off_transmit_offloads("far0")
        run("ip", "link", "set", "far0", "up")
        run(*enter, "ip", "address", "add", f"{FAR}/24", "dev", "far1")
        run(*enter, "ip", "link", "set", "far1", "up")
        smallest = str(min(near_mtu, far_mtu))
        run(*enter, "ip", "route", "add", "default", "via", "10.97.0.1", "mtu", smallest, "advmss", "1460")
        pathlib.Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        yield enter
    finally:
        keeper.kill()
        keeper.communicate()
        subprocess.run(["ip", "link", "delete", "far0"], stderr=subprocess.DEVNULL)


def switch_off_transmit_offloads(interface):
    """What `ethtool -K tx off` does; without checksums there is no segmentation either."""
    ethtool_value = ctypes.create_string_buffer(struct.pack("II", 0x17, 0), 8)  # ETHTOOL_STXCSUM
    request = struct.pack("16sP16x", interface.encode(), ctypes.addressof(ethtool_value))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8946, request)  # SIOCETHTOOL


ECHO = """
import socket, sys
listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
print(flush=True)
client, _ = listener.accept()
while block := client.recv(1 << 16): client.sendall(block)
"""


@contextlib.contextmanager
def far_echo(enter, port):
    """A server there that echoes one connection, and must have seen its end when the block is left."""
    with subprocess.Popen([*enter, sys.executable, "-c", ECHO, FAR, str(port)], stdout=subprocess.PIPE) as server:
        try:
            server.stdout.readline()
            yield
            expect(server.wait(10) == 0, "the far echo failed")
        finally:
            server.kill()
