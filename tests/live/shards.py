# SPDX-License-Identifier: BSL-1.0
"""Flows of the sharded echo server that go quiet and go on, with the kernel steering and without, at the same time."""

import contextlib
import re
import socket
import time

from support import EchoServer, expect

SHARDS, DIALS, CLIENTS = 4, 16, 64
QUIET_SECONDS = 10  # the TUN driver forgets a flow after 3
SHARD = re.compile(r"shard (\d+): (\d+) connections, (\d+) failed, (\d+) resets sent; "
                   r"strays: (\d+) sent, (\d+) dropped, (\d+) received")


def go_quiet_and_on(program):
    """A remark: how many packets strayed."""
    with contextlib.ExitStack() as stack:
        steered = Flows(stack, program, 1)
        unsteered = Flows(stack, program, 2, "--no-steering")
        for word in (b"before the quiet", b"still before", b"after the quiet", b"and on"):
            if word == b"after the quiet":
                time.sleep(QUIET_SECONDS)
            for flows in (steered, unsteered):
                flows.echo(word)
        strays = steered.close()
        carried = unsteered.close()
    expect(carried > 0, "without steering no packet came in at a wrong queue: nothing was tested")
    if "steered by the kernel" not in steered.server.banner:
        return f"{carried} strays; this kernel does not steer: {steered.server.banner.strip()}"
    expect(strays == 0, f"{strays} strays, though the kernel steers")
    return f"{carried} strays without steering, none with"


class Flows:
    """One server, and flows of it that either side has opened."""

    def __init__(self, stack, program, number, *arguments):
        self.stack, address = stack, f"10.97.{number}.2"
        listener = stack.enter_context(socket.create_server(("", 4000 + number), backlog=SHARDS * DIALS))
        listener.settimeout(10)
        self.server = stack.enter_context(EchoServer(
            program, "--host", f"10.97.{number}.1/24", "--address", address, "--shards", str(SHARDS),
            "--dial", str(4000 + number), "--dials", str(DIALS), *arguments, tun=f"shards{number}"))
        self.sockets = [listener.accept()[0] for _ in range(SHARDS * DIALS)]
        self.sockets += [socket.create_connection((address, 7), timeout=10) for _ in range(CLIENTS)]
        for flow in self.sockets:
            stack.enter_context(flow)
            flow.settimeout(10)

    def echo(self, word):
        """Through all flows at once. A reset is an exception."""
        texts = [b"%s %d\n" % (word, number) for number in range(len(self.sockets))]
        for flow, text in zip(self.sockets, texts):
            flow.sendall(text)
        for flow, text in zip(self.sockets, texts):
            back = flow.recv(len(text), socket.MSG_WAITALL)
            expect(back == text, f"came back: {back!r} for {text!r}")

    def close(self):
        """Ends clients and server; the number of strays."""
        for flow in self.sockets:
            flow.shutdown(socket.SHUT_WR)
        for flow in self.sockets:
            expect(flow.recv(1) == b"", "no end of stream")
            flow.close()
        self.server.interrupt()
        text = self.server.process.stdout.read()
        shards = [tuple(map(int, shard)) for shard in SHARD.findall(text)]
        expect(len(shards) == SHARDS, text)
        _, connections, failed, resets, sent, dropped, received = map(sum, zip(*shards))
        expect(connections == SHARDS * DIALS + CLIENTS, text)
        expect(all(shard[1] > DIALS for shard in shards), f"not every shard has clients:\n{text}")
        expect(failed == resets == dropped == 0, text)
        expect(sent == received, text)
        return sent
