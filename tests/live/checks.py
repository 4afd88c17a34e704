# SPDX-License-Identifier: BSL-1.0
"""The live checks: run.sh runs them in a namespace of its own. Arguments: BUILD_DIR SCRATCH_DIR [CHECK...]

More than 400 lines because they are one list, in the order in which they run."""

import contextlib
import os
import pathlib
import resource
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from capture import analyse, capture, capture_in, judge_partial_checksums
from far import FAR, far_echo, far_host
from shards import go_quiet_and_on
from support import (CLOSED, DISCARD, ECHO, HOST, LINE, STACK, EchoServer, LiveServer, Transfer, abort, connect,
                     echo_once, expect, receive_all, run, wait_until)

CHECKS = []
LIMIT_SECONDS = 120  # of one check
MIB = 1 << 20


class Skipped(Exception):
    pass


def check(name):
    """A check may return a remark. Its arguments are the servers that it needs, by name."""

    def register(function):
        CHECKS.append((name, function))
        return function

    return register


def main(build, scratch, wanted):
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    run("ip", "link", "set", "lo", "up")
    context = Context(pathlib.Path(build), pathlib.Path(scratch))
    failed = 0
    for name, function in CHECKS:
        if wanted and not any(word in name for word in wanted):
            continue
        start = time.monotonic()
        verdict, remark = perform(function, context)
        failed += verdict == "FAIL"
        remark = f": {remark}" if remark else ""
        print(f"{verdict:4} {time.monotonic() - start:5.1f} s  {name}{remark}", flush=True)
    print(f"{failed} failed" if failed else "all live checks passed")
    return 1 if failed else 0


def perform(function, context):
    signal.alarm(LIMIT_SECONDS)
    try:
        return "ok", function(context)
    except Skipped as reason:
        return "SKIP", reason
    except Exception as failure:  # of whatever kind: the other checks are to run
        return "FAIL", f"{type(failure).__name__}: {failure}"
    finally:
        signal.alarm(0)


def require_root(why):
    """Root of a user namespace that an ordinary user has made is not meant."""
    if pathlib.Path("/proc/self/uid_map").read_text().split()[2] == "1":
        raise Skipped(f"needs root: {why}")


class Context:
    """Where things are."""

    def __init__(self, build, scratch):
        self.scratch = scratch
        self.echo_program = build / "examples" / "echo_server"
        self.sharded_program = build / "examples" / "echo_sharded"
        self.live_program = build / "tests" / "tunic_live_server"

    def echo_server(self, *arguments, **options):
        return EchoServer(self.echo_program, *arguments, **options)

    def live_server(self, *arguments):
        return LiveServer(self.live_program, *arguments)


# ---- the echo server of the examples

@check("ping: 10 of 56, 1400 and 8000 bytes (in fragments), none lost")
def ping(context):
    with context.echo_server():
        for size in (56, 1400, 8000):
            text = run("ping", "-c", "10", "-i", "0.01", "-W", "2", "-s", str(size), STACK)
            expect(" 10 received, 0% packet loss" in text and "DUP!" not in text, text)


@check("nc: a line comes back")
def nc(context):
    with context.echo_server():
        text = run("nc", "-N", "-w", "5", STACK, str(ECHO), input=b"from nc\n")
        expect(text == "from nc\n", f"came back: {text!r}")


@check("curl telnet://: a line comes back")
def curl(context):
    with context.echo_server() as server:
        process = subprocess.Popen(["curl", "--silent", "--no-buffer", "--max-time", "10", f"telnet://{STACK}:{ECHO}"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with process:
            process.stdin.write(b"from curl\n")
            process.stdin.flush()
            line = process.stdout.readline()
            server.interrupt()  # curl waits for the other end to close
        expect(line == b"from curl\n", f"came back: {line!r}")
        expect(process.returncode == 0, f"exit code {process.returncode}")


@check("256 MiB come back")
def transfer(context):
    with context.echo_server():
        return Transfer(256 * MIB, half_close=False).check()


@check("256 MiB come back to a client that half-closes first")
def transfer_half_closed(context):
    with context.echo_server():
        return Transfer(256 * MIB, half_close=True).check()


@check("256 MiB under tshark: well-formed, checksums good, in the window, nothing sent twice but probes")
def transfer_captured(context):
    require_root("tcpdump can't change its groups here")
    path = context.scratch / "transfer.pcap"
    with context.live_server("plain") as server, capture(path):  # packets as they would be on a wire
        result = Transfer(256 * MIB, half_close=True)
        tcp = server.stats()["tcp"]
    result.check()
    segments, wrong, needless = analyse(path)
    path.unlink()
    expect(segments >= 256 * MIB / 1448, f"only {segments} segments were captured")
    expect(not wrong, ", ".join(f"{count} {what} by the {who}" for (who, what), count in wrong.items()))
    probes = tcp["tail_probes"] + tcp["timeouts"]
    expect(needless <= probes, f"{needless} segments were sent twice for nothing, with {probes} probes")
    return f"{segments} segments of the stack, {needless} of them probes"


@check("a kernel that asks for ECN gets it, and an echo")
def ecn(context):
    setting = pathlib.Path("/proc/sys/net/ipv4/tcp_ecn")  # of this namespace
    before = setting.read_text()
    with context.echo_server():
        setting.write_text("1")
        try:
            with connect(ECHO) as client:
                client.sendall(b"hello")
                expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "no echo")
                text = run("ss", "--no-header", "--tcp", "--info", "--options", "dst", STACK, "dport", "=", str(ECHO))
                expect(" ecn " in text, text)
        finally:
            setting.write_text(before)


@check("256 MiB come back in super-segments, both ways")
def transfer_offload(context):
    with context.live_server() as server:
        remark = Transfer(256 * MIB, half_close=True).check()
        counts = server.stats()["ip"]
        most = 256 * MIB // 10_000  # an average of 10 kB is easily more than segments have
        for way, count in counts.items():
            expect(0 < count < most, f"{way}: {count}")
        return f"{remark}, {counts}"


@check("256 MiB come back without offloads, and no packet is larger than the MTU")
def transfer_plain(context):
    with context.live_server("plain") as server:
        remark = Transfer(256 * MIB, half_close=True).check()
        expect(not any(server.stats()["ip"].values()), server.stats()["ip"])
        return remark


@check("a super-segment is on the device, its checksum left to others, and right where the kernel finishes it")
def transfer_forwarded(context):
    require_root("tcpdump can't change its groups here")
    at_tun, on_wire = context.scratch / "tun.pcap", context.scratch / "wire.pcap"
    size = 8 * MIB
    with context.live_server() as server, far_host() as enter:
        with capture(at_tun), capture_in(enter, "far1", on_wire), far_echo(enter, 4000):
            result = server.ask(f"connect {FAR} 4000 {size}")
        expect(result == {"error": "", "received": size, "as_sent": True}, result)
    largest, wrong = judge_partial_checksums(at_tun)
    expect(largest > 30_000, f"the largest packet of the stack on the device has {largest} bytes")
    expect(not wrong, f"{wrong} partial checksums are wrong")
    segments, wrong, _ = analyse(on_wire, lossless=False)
    expect(segments >= size / 1448, f"only {segments} segments on the wire")
    ours = {what: count for (who, what), count in wrong.items() if who == "stack"}  # the far end has offloads
    expect(not ours, ours)
    return f"{largest} bytes on the device, {segments} segments on the wire"


@check("a closed port refuses at once")
def closed_port(context):
    with context.echo_server():
        start = time.monotonic()
        with contextlib.suppress(ConnectionRefusedError):
            connect(CLOSED).close()
            raise AssertionError("connected")
        took = time.monotonic() - start
        expect(took < 0.5, f"after {took:.2f} s")


@check("SIGINT: a client reads to the end, and the server goes once the client has closed")
def interrupt(context):
    with context.echo_server() as server, connect(ECHO) as client:
        client.sendall(b"hello")
        expect(client.recv(5, socket.MSG_WAITALL) == b"hello", "no echo")
        server.interrupt()
        expect(client.recv(1) == b"", "no end of stream")


@check("a device made beforehand for nobody serves nobody without privilege")
def unprivileged(context):
    require_root("there is no other user here")
    nobody = "65534"
    prefix = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups", "--no-new-privs",
              "--inh-caps=-all", "--bounding-set=-all")
    open_tun_to_all(context.scratch)
    program = context.scratch / "echo_server"  # where nobody may read it
    shutil.copy(context.echo_program, program)
    context.scratch.chmod(0o755)

    refused = subprocess.run([*prefix, program, "--tun", "tun0"], capture_output=True, text=True, timeout=10)
    expect(refused.returncode == 1 and "not permitted" in refused.stderr, f"without a device: {refused}")

    run("ip", "tuntap", "add", "dev", "kept0", "mode", "tun", "user", nobody)
    run("ip", "address", "add", "10.98.0.1/24", "dev", "kept0")
    run("ip", "link", "set", "kept0", "up")
    try:
        with EchoServer(program, "--host", "10.98.0.1/24", "--address", "10.98.0.2", tun="kept0", prefix=prefix) as server:
            status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
            expect("\nCapEff:\t0000000000000000\n" in status and f"\nUid:\t{nobody}\t{nobody}\t" in status, status)
            text = run("nc", "-N", "-w", "5", "10.98.0.2", str(ECHO), input=b"from nobody\n")
            expect(text == "from nobody\n", f"came back: {text!r}")
    finally:
        run("ip", "link", "delete", "kept0")


def open_tun_to_all(scratch):
    """As on most machines: the driver itself asks for privilege. Here in this mount namespace only."""
    if os.stat("/dev/net/tun").st_mode & 0o006 == 0o006:
        return
    place = scratch / "dev"
    place.mkdir()
    run("mount", "-t", "tmpfs", "none", str(place))
    run("mknod", "-m", "666", str(place / "tun"), "c", "10", "200")
    run("mount", "--bind", str(place / "tun"), "/dev/net/tun")


@check("four shards: flows opened by either side go quiet for 10 s and on, none changes its shard or is reset")
def shards(context):
    return go_quiet_and_on(context.sharded_program)


# ---- the server that tells what it holds

@check("1000 connections at once, each echoing 64 KiB")
def thousand(context):
    with context.live_server() as server:
        random = os.urandom(1000 + (64 << 10))
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(socket.socket()) for _ in range(1000)]
            start = time.monotonic()
            open_all(clients, ECHO)
            wait_until(lambda: server.gauges()["connections"] == 1000, "the server has 1000 connections")
            echo_all(clients, [memoryview(random)[i : i + (64 << 10)] for i in range(1000)])
            took = time.monotonic() - start
        server.expect_nothing_left()
        tcp = server.stats()["tcp"]
        expect(tcp["passive_opens"] == 1000, tcp)
        return f"{took:.1f} s, {tcp['retransmissions']} retransmissions by the stack"


def open_all(clients, port):
    """Connects them all at the same time."""
    with selectors.DefaultSelector() as selector:
        for client in clients:
            client.setblocking(False)
            client.connect_ex((STACK, port))
            selector.register(client, selectors.EVENT_WRITE)
        while selector.get_map():
            for key, _ in selector.select():
                error = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                expect(error == 0, os.strerror(error))
                selector.unregister(key.fileobj)


def echo_all(clients, texts):
    """Sends each client's text, half-closes, and expects the same back up to the end of the stream."""
    with selectors.DefaultSelector() as selector:
        for client, text in zip(clients, texts):
            selector.register(client, selectors.EVENT_READ | selectors.EVENT_WRITE, [text, text])
        while selector.get_map():
            for key, events in selector.select():
                client, progress = key.fileobj, key.data
                if events & selectors.EVENT_WRITE:
                    progress[0] = progress[0][client.send(progress[0]) :]
                    if not progress[0]:
                        client.shutdown(socket.SHUT_WR)
                        selector.modify(client, selectors.EVENT_READ, progress)
                if events & selectors.EVENT_READ:
                    block = client.recv(1 << 16)
                    expect(block == progress[1][: len(block)], "something else came back")
                    progress[1] = progress[1][len(block) :]
                    if not block:
                        expect(not progress[1], f"{len(progress[1])} bytes did not come back")
                        selector.unregister(client)


@check("200 connections opened and reset: nothing is left of them")
def aborted(context):
    with context.live_server() as server:
        # Idle, with data under way one way or both, half-closed.
        habits = (
            lambda client: None,
            lambda client: client.sendall(b"x" * 1000),
            lambda client: client.sendall(b"x" * 100_000),
            lambda client: client.shutdown(socket.SHUT_WR),
        )
        clients = [connect(DISCARD if i % 8 < 4 else ECHO) for i in range(200)]
        wait_until(lambda: server.gauges()["connections"] == 200, "the server has 200 connections")
        for i, client in enumerate(clients):
            habits[i % 4](client)
            abort(client)
        server.expect_nothing_left()
        # And without waiting for the server to have accepted.
        for _ in range(200):
            abort(connect(ECHO))
        server.expect_nothing_left()
        return f"{server.stats()['tcp']['resets_in']} resets received"


CLIENT = """
import socket, sys, threading
client = socket.create_connection((sys.argv[1], int(sys.argv[2])))
if sys.argv[3] == "reads":
    def drain():
        while client.recv(1 << 16): pass
    threading.Thread(target=drain, daemon=True).start()
while True: client.sendall(bytes(1 << 16))
"""


@check("a client killed in the middle of a transfer: nothing is left of it")
def killed(context):
    with context.live_server() as server:
        for habit in ("reads", "does not read"):
            client = subprocess.Popen([sys.executable, "-c", CLIENT, STACK, str(ECHO), habit])
            try:
                if habit == "reads":
                    begin = server.stats()["tcp"]["segments_in"]
                    wait_until(lambda: server.stats()["tcp"]["segments_in"] > begin + 1000, "the transfer is going on")
                else:  # both buffers hold what they start with
                    wait_until(lambda: server.gauges()["buffer_bytes"] >= MIB // 8, "the transfer is stuck")
            finally:
                client.send_signal(signal.SIGKILL)
                client.wait()
            server.expect_nothing_left()


@check("the server closes first: TIME-WAIT, reconnection from the same port, and its end")
def server_closes(context):
    with context.live_server() as server:
        source = (HOST, 40123)
        for _ in range(3):
            with connect(LINE, source_address=source) as client:
                expect(receive_all(client) == b"the first one to close is me\n", "another line")
            wait_until(lambda: server.gauges()["time_wait"] == 1, "TIME-WAIT")
            expect(server.gauges()["connections"] == 0, "the control block is still there")
        expect(server.stats()["tcp"]["passive_opens"] == 3, server.stats())
        start = time.monotonic()
        server.expect_nothing_left(seconds=10)
        took = time.monotonic() - start
        lasts = 2 * server.MSL_SECONDS
        expect(lasts / 2 < took < lasts + 2, f"TIME-WAIT lasted {took:.2f} s of {lasts}")


@check("the stack connects to a listener of the kernel")
def active_open(context):
    with context.live_server() as server, socket.create_server((HOST, 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=echo_once, args=(listener,))
        thread.start()
        size = 8 * MIB
        result = server.ask(f"connect {HOST} {port} {size}")
        thread.join()
        expect(result == {"error": "", "received": size, "as_sent": True}, result)
        wait_until(lambda: server.gauges()["time_wait"] == 1, "TIME-WAIT")
        server.expect_nothing_left()


@check("the stack is refused by a closed port of the kernel, and reset by a listener")
def active_open_refused(context):
    with context.live_server() as server:
        refused = server.ask(f"connect {HOST} {CLOSED} 1")
        expect("refused" in refused["error"], refused)
        with socket.create_server((HOST, 0)) as listener:
            thread = threading.Thread(target=lambda: abort(listener.accept()[0]))
            thread.start()
            reset = server.ask(f"connect {HOST} {listener.getsockname()[1]} {MIB}")
            thread.join()
            expect("reset" in reset["error"], reset)
        server.expect_nothing_left()


def transfer_far(context, near_mtu, far_mtu):
    """8 MiB from the stack to a host behind the kernel, and back; once more; the counters of the stack."""
    with context.live_server() as server, far_host(near_mtu, far_mtu) as enter:
        for port in (4000, 4001):
            with far_echo(enter, port):
                result = server.ask(f"connect {FAR} {port} {8 * MIB}")
            expect(result == {"error": "", "received": 8 * MIB, "as_sent": True}, result)
        return server.stats()["tcp"]


@check("a link behind the kernel with an MTU of 1280: its reports are heard, once for both connections")
def path_mtu(context):
    tcp = transfer_far(context, near_mtu=1280, far_mtu=1500)
    expect(tcp["path_mtu_reports"] == 1 and tcp["black_holes"] == 0, tcp)


@check("a link behind the kernel that swallows what is larger than 1280: found out, once for both connections")
def black_hole(context):
    tcp = transfer_far(context, near_mtu=1500, far_mtu=1280)
    expect(tcp["path_mtu_reports"] == 0 and tcp["black_holes"] == 1, tcp)
    return f"{tcp['timeouts']} time-outs"


def too_long(*_):
    raise TimeoutError(f"not over after {LIMIT_SECONDS} s")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, too_long)
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
