# SPDX-License-Identifier: BSL-1.0
"""Goodput over an impaired link: tunic and a kernel, compared with two kernels (README.md)."""

import argparse
import concurrent.futures
import dataclasses
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import threading

RATE_MBIT = 200
# What TCP can make of it: 1448 bytes in a packet of 1500.
PAYLOAD_MBIT = RATE_MBIT * 1448 / 1500
CLAIMED_MEAN, CLAIMED_LEAST = 0.95, 0.8
SIDES = "tunic", "kernel"


@dataclasses.dataclass(frozen=True)
class Cell:
    rtt_ms: int
    way: str
    impairment: str

    def __str__(self):
        return f"{self.rtt_ms} ms, {self.way}, {self.impairment}"

    def options(self):
        options = [self.way, "--rate", str(RATE_MBIT), "--rtt", str(self.rtt_ms)]
        return options + IMPAIRMENTS[self.impairment]


IMPAIRMENTS = {
    "no loss": [],
    "loss 0.1 %": ["--loss", "0.001"],
    "loss 1 %": ["--loss", "0.01"],
    "reordering 2 %": ["--reorder", "0.02"],
}
# Of two that are neighbours one needs much of a processor, the other little: a good pair of lanes.
CELLS = [Cell(*cell) for cell in itertools.product((10, 50), ("into", "out"), IMPAIRMENTS)]


class Bench:
    def __init__(self, program, options):
        self.program, self.options = program, options
        self.results = {cell: {side: [] for side in SIDES} for cell in options.cells}
        self.lock = threading.Lock()

    def run(self):
        """Both sides of a cell one after the other, each repetition in the other order."""
        pairs = list(itertools.product(range(self.options.repeats), self.options.cells))
        with concurrent.futures.ThreadPoolExecutor(self.options.lanes) as lanes:
            try:
                for pair in [lanes.submit(self._pair, *pair) for pair in pairs]:
                    pair.result()
            except BaseException:
                lanes.shutdown(cancel_futures=True)  # each run that is under way ends by itself
                raise

    def _pair(self, repeat, cell):
        for side in SIDES if repeat % 2 == 0 else reversed(SIDES):
            command = [str(self.program), side, *cell.options(), "--seconds", str(self.options.seconds),
                       "--seed", str(repeat + 1)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False,
                                  timeout=self.options.seconds + 30)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)}: exit code {done.returncode}")
            result = json.loads(done.stdout)
            with self.lock:
                self.results[cell][side].append(result)
                if not self.options.quiet:
                    print(f"{str(cell):28} {side:6} {result['mbit']:7.2f} Mbit/s  "
                          f"resent {result['resent']:5}  late {result['late_us']:4.0f} us  "
                          f"CPU {result['cpu']:.2f}", file=sys.stderr)

    def median(self, cell, side):
        return statistics.median(result["mbit"] for result in self.results[cell][side])

    def ratio(self, cell):
        return self.median(cell, "tunic") / max(self.median(cell, "kernel"), 1e-9)

    def mean(self):
        return statistics.geometric_mean(max(self.ratio(cell), 1e-9) for cell in self.results)

    def print_table(self):
        print(f"\nMbit/s, median of {self.options.repeats} runs of {self.options.seconds:g} s; "
              f"{RATE_MBIT} Mbit/s, a queue of one bandwidth-delay product\n")
        print("| round trip | way | impairment | tunic | kernel | ratio |")
        print("|---|---|---|---|---|---|")
        for cell in self.results:
            print(f"| {cell.rtt_ms} ms | {cell.way} | {cell.impairment} "
                  f"| {self.median(cell, 'tunic'):.1f} | {self.median(cell, 'kernel'):.1f} "
                  f"| {self.ratio(cell):.2f} |")
        print(f"\ngeometric mean of the ratios {self.mean():.3f}, "
              f"least {min(map(self.ratio, self.results)):.3f}")

    def doubts(self):
        """What casts doubt on the numbers."""
        yield from check_emulation(self)
        for cell, side in itertools.product(self.results, SIDES):
            for result in self.results[cell][side]:
                if result["dropped"]:
                    yield f"{cell}, {side}: {result['dropped']} packets did not reach the link"
                if result["late_us"] > 250:
                    yield f"{cell}, {side}: the machine was too busy, {result['late_us']} us late"

    def json(self):
        return {"rate_mbit": RATE_MBIT, "seconds": self.options.seconds, "mean": self.mean(),
                "cells": [{**dataclasses.asdict(cell), "ratio": self.ratio(cell), "runs": runs}
                          for cell, runs in self.results.items()]}


def check_emulation(bench):
    """The link is what was asked for: it carries its rate, and loses and reorders its share."""
    for cell, side in itertools.product(bench.results, SIDES):
        for result in bench.results[cell][side]:
            share = result["mbit"] / PAYLOAD_MBIT
            filled = cell.rtt_ms == 10 and cell.impairment == "no loss" and bench.options.seconds >= 5
            if share > 1.001 or (filled and share < 0.9):
                yield f"{cell}, {side}: {share:.3f} of what the link carries"
            for counter, impairment in (("lost", "--loss"), ("reordered", "--reorder")):
                options = IMPAIRMENTS[cell.impairment]
                wanted = float(options[1]) if impairment in options else 0
                carried = result["packets"] - result["overflowed"]
                error = abs(result[counter] - wanted * carried)
                if error > 5 * (wanted * carried) ** 0.5:
                    yield f"{cell}, {side}: {result[counter]} of {carried} {counter}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path, help="build directory")
    parser.add_argument("--seconds", type=float, default=30, help="of a run (30)")
    parser.add_argument("--repeats", type=int, default=5, help="of each cell, by seeds from 1 (5)")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1,
                        help="runs at a time (as many as processors)")
    parser.add_argument("--cells", default="", metavar="REGEX",
                        help="only those whose names match, as in '50 ms, out, loss'")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all results")
    parser.add_argument("--quiet", action="store_true", help="print the table only")
    parser.add_argument("--check", action="store_true",
                        help="short runs that judge the emulated link and not tunic")
    options = parser.parse_args()
    options.cells = [cell for cell in CELLS if re.search(options.cells, str(cell))]
    if not options.cells:
        parser.error("no such cell; there are\n  " + "\n  ".join(map(str, CELLS)))
    if options.check:
        options.seconds, options.repeats = min(options.seconds, 6), 1
    return options


def main():
    options = parse()
    if os.geteuid() != 0:
        raise SystemExit("lossy_link needs root, for network namespaces and their TUN devices")
    bench = Bench(options.build / "tests" / "tunic_bench_lossy_link", options)
    bench.run()
    bench.print_table()
    if options.json:
        options.json.write_text(json.dumps(bench.json(), indent=1) + "\n")
    doubts = list(bench.doubts())
    for doubt in doubts:
        print(f"doubtful: {doubt}")
    if options.check:
        print("the link is not as it should be" if doubts else "the link is as it should be")
        return 1 if doubts else 0
    least = min(map(bench.ratio, bench.results))
    if bench.mean() < CLAIMED_MEAN or least < CLAIMED_LEAST:
        print(f"BELOW THE CLAIM: mean {CLAIMED_MEAN}, least {CLAIMED_LEAST}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
