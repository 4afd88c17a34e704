# SPDX-License-Identifier: BSL-1.0
"""What the live checks are written with: the servers under test and clients."""

import contextlib
import hashlib
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

HOST = "10.99.0.1"  # the kernel
STACK = "10.99.0.2"
ECHO, DISCARD, LINE, CLOSED = 7, 9, 13, 99


def expect(condition, message):
    if not condition:
        raise AssertionError(message)


def wait_until(condition, what, seconds=10):
    """Asks again and again; the last answer that was true."""
    end = time.monotonic() + seconds
    while not (answer := condition()):
        expect(time.monotonic() < end, f"not within {seconds} s: {what}")
        time.sleep(0.01)
    return answer


def run(*command, **options):
    """The output of a command that must succeed."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=30, **options)
    text = done.stdout.decode(errors="replace")
    expect(done.returncode == 0, f"{' '.join(command)}: exit code {done.returncode}\n{text}")
    return text


def end(process):
    """The exit code of a process that has been asked to end."""
    try:
        return process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return "none: it had to be killed"
    finally:
        process.stdout.close()


class EchoServer:
    """The echo server of the examples. It must end with code 0 when it is interrupted."""

    def __init__(self, program, *arguments, tun="tun0", prefix=()):
        command = [*prefix, program, "--tun", tun, *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.banner = self.process.stdout.readline()

    def __enter__(self):
        expect(self.banner, f"the server did not start, exit code {self.process.poll()}")
        return self

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.interrupt()
        code = end(self.process)
        if kind is None:
            expect(code == 0, f"the server's exit code: {code}")


class LiveServer:
    """server.cpp, and what can be asked of it."""

    MSL_SECONDS = 0.5

    def __init__(self, program, *arguments):
        command = [program, "tun0", f"{HOST}/24", STACK, str(int(self.MSL_SECONDS * 1000)), *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def __enter__(self):
        self.answer()
        return self

    def __exit__(self, kind, *_):
        with contextlib.suppress(BrokenPipeError):  # it has died; the exit code tells of what
            self.process.stdin.close()
        code = end(self.process)
        if kind is None:
            expect(code == 0, f"the server's exit code: {code}")

    def ask(self, command):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(command + "\n")
        return self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        expect(line, f"the server has died, exit code {self.process.poll()}")
        return json.loads(line)

    def stats(self):
        return self.ask("stats")

    def gauges(self):
        return self.stats()["gauges"]

    def expect_nothing_left(self, seconds=5):
        """All gauges return to zero."""
        gauges = {}

        def empty():
            gauges.update(self.gauges())
            return not any(gauges.values())

        try:
            wait_until(empty, "all gauges zero", seconds)
        except AssertionError as failure:
            raise AssertionError(f"{failure}: {gauges}") from None


def connect(port, **options):
    return socket.create_connection((STACK, port), timeout=10, **options)


def receive_all(client):
    """Everything up to the end of the stream."""
    received = bytearray()
    while block := client.recv(1 << 16):
        received += block
    return bytes(received)


def abort(client):
    """Closes with a reset."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def echo_once(listener):
    client, _ = listener.accept()
    with client:
        while block := client.recv(1 << 16):
            client.sendall(block)


class Transfer:
    """So many bytes through the echo server and back, hashed at both ends."""

    def __init__(self, size, half_close):
        self.size, self.half_close = size, half_close
        self.sent, self.received = hashlib.sha256(), hashlib.sha256()
        self.count = 0
        self.at_end = False  # the server closed after all was back
        start = time.monotonic()
        with connect(ECHO) as client:
            sender = threading.Thread(target=self._send, args=(client,))
            sender.start()
            self._receive(client)
            sender.join()
            if not half_close:
                client.shutdown(socket.SHUT_WR)
            self.at_end = client.recv(1) == b""
        self.seconds = time.monotonic() - start

    def _send(self, client):
        block_size = 1 << 20
        random = memoryview(os.urandom(2 * block_size))
        for i in range(0, self.size, block_size):
            block = random[i // block_size * 4099 % block_size :][: min(block_size, self.size - i)]
            client.sendall(block)
            self.sent.update(block)
        if self.half_close:
            client.shutdown(socket.SHUT_WR)

    def _receive(self, client):
        buffer = memoryview(bytearray(1 << 20))
        while self.count < self.size:
            count = client.recv_into(buffer)
            expect(count != 0, f"the stream ended after {self.count} bytes")
            self.received.update(buffer[:count])
            self.count += count

    def check(self):
        expect(self.sent.digest() == self.received.digest(), "what came back is not what was sent")
        expect(self.at_end, "more came back than was sent")
        gigabits = self.size * 8 / self.seconds / 1e9
        return f"SHA-256 equal, {self.seconds:.1f} s, {gigabits:.2f} Gbit/s each way"
