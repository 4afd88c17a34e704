# SPDX-License-Identifier: BSL-1.0
"""Captures what crosses the device, and has tshark judge it."""

import collections
import contextlib
import os
import signal
import socket
import struct
import subprocess
import time

from support import CLOSED, STACK, expect, wait_until


@contextlib.contextmanager
def capture(path):
    """Every packet, in a file that is whole once the block is left."""
    command = ["tcpdump", "-i", "tun0", "-Z", "root", "-B", str(256 * 1024), "-U", "-w", path, "ip"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in (line := process.stderr.readline()):
            expect(line, "tcpdump did not start")
        yield
        marker = b"the end of the capture"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(marker, (STACK, CLOSED))
        wait_until(lambda: marker in _tail(path), "tcpdump has written the last packet", 30)
    finally:
        process.send_signal(signal.SIGINT)
        summary = process.communicate(timeout=10)[1]
    expect("\n0 packets dropped by kernel" in summary, f"the capture is not complete: {summary}")


@contextlib.contextmanager
def capture_in(enter, interface, path):
    """TCP in another namespace, up to half a second after the block."""
    command = [*enter, "tcpdump", "-i", interface, "-Z", "root", "-B", str(64 * 1024), "-U", "-w", path, "tcp"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        while "listening on" not in (line := process.stderr.readline()):
            expect(line, "tcpdump did not start")
        yield
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGINT)
        summary = process.communicate(timeout=10)[1]
    expect("\n0 packets dropped by kernel" in summary, f"the capture is not complete: {summary}")


def judge_partial_checksums(path):
    """Of the stack's TCP packets in a capture of raw IP: the size of the largest, and how many do not have the sum of
    their pseudo-header in the place of the checksum."""
    data = path.read_bytes()
    largest = wrong = 0
    at = 24
    while at < len(data):
        size = struct.unpack_from("=I", data, at + 8)[0]
        packet = data[at + 16 : at + 16 + size]
        at += 16 + size
        header = (packet[0] & 15) * 4
        if packet[9] != 6 or packet[12:16] != socket.inet_aton(STACK):
            continue
        largest = max(largest, size)
        total = sum(struct.unpack("!4H", packet[12:20])) + 6 + size - header
        while total > 0xFFFF:
            total = (total & 0xFFFF) + (total >> 16)
        wrong += total != struct.unpack_from("!H", packet, header + 16)[0]
    return largest, wrong


def _tail(path):
    with open(path, "rb") as file:
        file.seek(max(0, os.path.getsize(path) - 4096))
        return file.read()


# What tshark says of a segment. The rest of its flags are no faults: a closed window, a probe of it, an answer to
# what the kernel did.
FAULTS = (
    "retransmission",
    "fast_retransmission",
    "spurious_retransmission",
    "out_of_order",
    "lost_segment",
    "ack_lost_segment",
)
FIELDS = ("ip.src", "tcp.flags.ack", "tcp.seq_raw", "tcp.ack_raw", "tcp.len", "tcp.window_size", "ip.checksum.status",
          "tcp.checksum.status", "tcp.checksum", "_ws.malformed", "tcp.options.sack.dsack_le")


def analyse(path, lossless=True):
    """The number of TCP segments from the stack; how many of what was wrong with whom, as (who, what): count; how many
    segments it repeated that the kernel had, by its own word: a machine that stalls calls for such probes.
    One connection is expected. What the kernel did is judged by checksums and malformation only; so is what the stack
    did, unless `lossless`: a link behind the device may lose something."""
    command = ["tshark", "-r", path, "-Y", "ip.proto == 6", "-T", "fields", "-o", "tcp.check_checksum:TRUE",
               "-o", "ip.check_checksum:TRUE", "-o", "tcp.relative_sequence_numbers:FALSE"]
    for field in (*FIELDS, *(f"tcp.analysis.{fault}" for fault in FAULTS)):
        command += ["-e", field]
    wrong = collections.Counter()
    segments = 0
    edge = None  # of the largest window that the kernel offered
    repeated = {}  # faults by sequence number, until the kernel says that it had those bytes
    needless = 0
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    with process.stdout:
        for line in process.stdout:
            (source, has_ack, seq, ack, size, window, ip_sum, tcp_sum, sum_field, malformed, dsack,
             *faults) = line.rstrip("\n").split("\t")
            by_stack = source == STACK
            who = "stack" if by_stack else "kernel"
            wrong[who, "malformed"] += malformed != "" or seq == ""
            if seq == "":
                continue
            wrong[who, "bad IP checksum"] += ip_sum != "1"
            # Linux writes 0xffff for 0, as UDP must; tshark calls it bad, a receiver finds it right.
            wrong[who, "bad TCP checksum"] += tcp_sum != "1" and (by_stack or sum_field != "0xffff")
            if not by_stack:
                if dsack != "" and repeated.pop(int(dsack), None):
                    needless += 1
                offered = int(ack) + int(window)
                if has_ack == "1" and (edge is None or _after(offered, edge)):
                    edge = offered
                continue
            segments += 1
            wrong[who, "out of the window"] += edge is not None and _after(int(seq) + int(size), edge)
            if lossless and (found := [name for name, mark in zip(FAULTS, faults) if mark != ""]):
                if "spurious_retransmission" in found:  # its acknowledgement crossed it
                    needless += 1
                else:
                    repeated[int(seq)] = found
    for found in repeated.values():
        wrong.update(("stack", name) for name in found)
    expect(process.wait(30) == 0, "tshark failed")
    return segments, +wrong, needless


def _after(a, b):
    return 0 < (a - b) % 2**32 < 2**31
