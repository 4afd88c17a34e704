# SPDX-License-Identifier: BSL-1.0
"""Throughput, latency and CPU time over a TUN device: tunic beside the kernel's loopback, lwIP and a responder
without TCP (README.md)."""

import argparse
import contextlib
import itertools
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time

from throughput_sides import CLAIMS, COMPARED, IDLE_CLAIMS, LOADS, SIDES

FAIR = 0.9  # what the responder must reach of the descriptor's own rate to be a yardstick
QUIET = 0.1  # of a processor: what others may use meanwhile


class Server:
    """One of the sides, in this network namespace, with an address of its own."""

    def __init__(self, side, number, program):
        network = f"10.99.{number}" if side.program != "kernel_server" else "127.0.0"
        self.sources = f"{network}.101,16"
        if side.program == "kernel_server":
            self.address, arguments = "127.0.0.1", ["127.0.0.1"]
        else:
            self.address = f"{network}.2"
            arguments = [f"tun{number}", f"{network}.1/24", self.address]
            if side.mode:
                arguments.append(side.mode)
        self.process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline() != "ready\n":
            raise SystemExit(f"{side.name}: the server did not start")
        if side.program != "kernel_server":  # many connections need many addresses
            for last in range(101, 117):
                ip("addr", "add", f"{network}.{last}/24", "dev", f"tun{number}")

    def move_to(self, cpu):
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), {cpu})


class Bench:
    def __init__(self, options):
        self.options = options
        self.runs = {}  # (placement, load, side) -> results
        self.raw = {}  # (placement, load, plain) -> Gbit/s
        self.servers = {}
        self.skipped = []
        self.failures = []

    def program(self, name):
        return self.options.build / "tests" / f"tunic_throughput_{name}"

    def start(self):
        configure_kernel()
        for number, side in enumerate(SIDES):
            if not re.search(self.options.sides, side.name):
                continue
            if not self.program(side.program).exists():
                self.skipped.append(f"*** SKIPPED: {side.name} was not built, its library is missing (liblwip-dev)")
                continue
            self.servers[side] = Server(side, number, self.program(side.program))

    def run(self):
        """All sides of a load one after the other, each repetition in the other order."""
        for repeat, (placement, cpus), load in itertools.product(
                range(self.options.repeats), self.options.placements.items(), self.options.loads):
            if load.once and (repeat != 0 or placement != "same" or not self.options.million):
                continue
            if load.raw:
                for plain in (False, True):
                    if any(side.program == "responder" and side.plain == plain for side in self.servers):
                        rate = self.raw_rate(load, cpus, plain)
                        self.raw.setdefault((placement, load, plain), []).append(rate)
            sides = [side for side in self.servers
                     if re.search(side.loads, load.name) and re.search(side.placements, placement)
                     and re.search(load.sides, side.name)]
            for side in sides if repeat % 2 == 0 else sides[::-1]:
                try:
                    result = self.measure(load, side, *cpus)
                except (RuntimeError, OSError) as error:
                    self.failures.append(f"{placement}, {load.name}, {side.name}: {error}")
                    del self.servers[side]
                    continue
                self.runs.setdefault((placement, load, side), []).append(result)
                if not self.options.quiet:
                    print(f"{placement:5} {load.name:13} {side.name:15} {result['rate']:12.2f} {load.unit}"
                          + ("  disturbed" if result["disturbed"] else ""), file=sys.stderr)

    def measure(self, load, side, server_cpu, client_cpu):
        """A run; another one if other programs disturb it."""
        server = self.servers[side]
        server.move_to(server_cpu)
        command = [self.program("client"), load.arguments[0], server.address, *load.arguments[1:],
                   "--seconds", str(self.options.seconds), "--server", str(server.process.pid)]
        if load.name == "connections" or "--idle" in load.arguments:
            command += ["--sources", server.sources]
        for left in (0,) if self.options.check else (1, 0):
            result = call(command, self.options.seconds + (600 if load.once else 15), client_cpu)
            result["disturbed"] = result["other_cpu"] > QUIET * result["seconds"]
            if not result["disturbed"]:
                break
            if left:
                time.sleep(1)
        return result

    def raw_rate(self, load, cpus, plain):
        command = [self.program("raw_rate"), load.raw, "tun99", "10.99.99.1/24", "10.99.99.2",
                   str(self.options.seconds), *map(str, cpus)]
        return call(command + ["plain"] * plain, self.options.seconds + 15)["gbit"]

    # ---- what came of it

    def find(self, placement, load_name, side_name):
        for (at, load, side), runs in self.runs.items():
            if (at, load.name, side.name) == (placement, load_name, side_name):
                return load, side, runs
        return None

    @staticmethod
    def median(runs, key):
        quiet = [run for run in runs if not run["disturbed"]]
        return statistics.median(run[key] for run in (quiet if 2 * len(quiet) > len(runs) else runs))

    def fairness(self, placement, load, side):
        """The responder's share of what the descriptor carries; none where that says nothing."""
        raw = self.raw.get((placement, load, side.plain))
        if side.program != "responder" or not raw:
            return None
        return self.median(self.runs[placement, load, side], "rate") / statistics.median(raw)

    def ratio(self, placement, load_name, side_name, other_name):
        """The ratio, and whether the yardstick is void; none when one of the two was not measured."""
        one = self.find(placement, load_name, side_name)
        other = self.find(placement, load_name, other_name)
        if not one or not other:
            return None
        load, side, runs = other
        fairness = self.fairness(placement, load, side)
        return self.median_ratio(one[2], runs), fairness is not None and fairness < FAIR

    @staticmethod
    def median_ratio(runs, others):
        """The median of the ratios within each repetition: the machine may be another one minutes later."""
        pairs = list(zip(runs, others))
        quiet = [pair for pair in pairs if not any(run["disturbed"] for run in pair)]
        return statistics.median(run["rate"] / other["rate"]
                                 for run, other in (quiet if 2 * len(quiet) > len(pairs) else pairs))

    def tables(self):
        for placement in self.options.placements:
            print(f"\n## {placement}: client and server {PLACEMENTS[placement]}\n")
            self.print_table(placement, "median rate", lambda load, run: f"{run('rate'):,.2f}" if load.bulk
                             else f"{run('rate'):,.0f}")
            self.print_table(placement, "server CPU: s/GB, or us for an operation",
                             lambda load, run: f"{run('cpu'):.3f}" if load.bulk else f"{run('cpu'):.2f}")
            self.print_table(placement, "p50 / p99, us", lambda load, run: "" if load.bulk
                             else f"{run('p50_us'):.0f} / {run('p99_us'):.0f}",
                             [load for load in self.options.loads if not load.bulk])
            self.print_fairness(placement)
            self.print_ratios(placement)
        for name, ratio, least, size, most in self.idle():
            print(f"\ntunic, {name}: {ratio:.2f} of the requests without ({least}), {size:.0f} bytes each ({most})")

    def print_table(self, placement, title, cell, loads=None):
        loads = self.options.loads if loads is None else loads
        if not loads:
            return
        print_row(title, *(side.name for side in self.servers))
        print_rule(len(self.servers))
        for load in loads:
            cells = []
            for side in self.servers:
                runs = self.runs.get((placement, load, side))
                cells.append(cell(load, lambda key, runs=runs: self.median(runs, key)) if runs else "-")
            print_row(f"{load.name}, {load.unit}", *cells)
        print()

    def print_fairness(self, placement):
        for (at, load, side), runs in self.runs.items():
            fairness = self.fairness(at, load, side)
            if at == placement and fairness is not None:
                raw = statistics.median(self.raw[at, load, side.plain])
                verdict = "" if fairness >= FAIR else f": below {FAIR}, VOID as a yardstick"
                print(f"{side.name}, {load.name}: {fairness:.2f} of the raw {load.raw} rate, "
                      f"{raw:.2f} Gbit/s{verdict}")
        print()

    def print_ratios(self, placement):
        compared = [pair for pair in COMPARED
                    if any(self.find(placement, load.name, name) for load in self.options.loads for name in pair[1:])]
        print_row("ratio of the rates (claimed)", *(f"{one} / {other}" for one, other in compared))
        print_rule(len(compared))
        for load in self.options.loads:
            cells = []
            for pair in compared:
                found = self.ratio(placement, load.name, *pair)
                claimed = [claim[4] for claim in CLAIMS if claim[:4] == (load.name, placement, *pair)]
                cell = "-" if found is None else f"{found[0]:.2f}" + (" void" if found[1] else "")
                cells.append(cell + "".join(f" ({least})" for least in claimed))
            print_row(load.name, *cells)

    def idle(self):
        """Load, ratio to the requests without idle connections, bytes of each; and what is claimed."""
        for name, least, most in IDLE_CLAIMS:
            alone, beside = self.find("same", "1 request", "tunic idle"), self.find("same", name, "tunic idle")
            if alone and beside:
                ratio = self.median_ratio(beside[2], alone[2])
                yield name, ratio, least, self.median(beside[2], "idle_bytes"), most

    def broken_claims(self):
        for name, ratio, least, size, most in self.idle():
            if ratio < least:
                yield f"{name}: {ratio:.2f} of the requests without, claimed {least}"
            if size > most:
                yield f"{name}: {size:.0f} bytes each, claimed {most}"
        for *what, least in CLAIMS:
            found = self.ratio(what[1], what[0], *what[2:])
            if found and not found[1] and found[0] < least:
                yield f"{what[0]}, {what[1]}, {what[2]} / {what[3]}: {found[0]:.2f}, claimed {least}"

    def doubt(self):
        disturbed = sum(run["disturbed"] for runs in self.runs.values() for run in runs)
        total = sum(map(len, self.runs.values()))
        return disturbed and (f"other programs ran during {disturbed} of {total} runs, "
                              "which medians leave out where most were quiet")

    def json(self):
        ratios = [{"load": load.name, "placement": placement, "side": pair[0], "against": pair[1],
                   "ratio": found[0], "void": found[1]}
                  for placement in self.options.placements for load in self.options.loads for pair in COMPARED
                  if (found := self.ratio(placement, load.name, *pair))]
        return {"seconds": self.options.seconds, "kernel": os.uname().release, "ratios": ratios,
                "raw": [{"placement": placement, "load": load.name, "plain": plain, "gbit": rates}
                        for (placement, load, plain), rates in self.raw.items()],
                "runs": [{"placement": placement, "load": load.name, "side": side.name, "unit": load.unit, "runs": runs}
                         for (placement, load, side), runs in self.runs.items()]}


PLACEMENTS = {"same": "on one core", "split": "on a core each"}


def print_row(*cells):
    print("| " + " | ".join(cells) + " |")


def print_rule(count):
    print("|---|" + "---:|" * count)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True)


def call(command, patience, cpu=None):
    """The line of JSON that a program prints."""
    pin = None if cpu is None else (lambda: os.sched_setaffinity(0, {cpu}))
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=patience, preexec_fn=pin)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError("did not end") from error
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def configure_kernel():
    """This namespace: the same for all sides."""
    ip("link", "set", "lo", "up")
    for variable, value in {
            "ipv4/ip_local_port_range": "1024 65535", "ipv4/tcp_tw_reuse": "1", "ipv4/tcp_no_metrics_save": "1",
            "ipv4/tcp_rmem": "4096 131072 33554432", "ipv4/tcp_wmem": "4096 65536 16777216",
            "ipv4/tcp_max_syn_backlog": "8192", "core/somaxconn": "4096", "ipv6/conf/all/disable_ipv6": "1"}.items():
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            pathlib.Path("/proc/sys/net", variable).write_text(value)


def isolate():
    """Goes on in network, mount and process namespaces of our own, which go with this program, whatever ends it.
    Returns why that can't be, or nothing once it is so."""
    if os.environ.get("TUNIC_BENCH_ISOLATED"):
        return None
    command = ["unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        os.close(os.open("/dev/net/tun", os.O_RDWR))
        subprocess.run([*command, "true"], check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"it needs root, network namespaces and TUN devices: {error}"
    os.environ["TUNIC_BENCH_ISOLATED"] = "1"
    os.execvp(command[0], [*command, sys.executable, *sys.argv])


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build", type=pathlib.Path, help="build directory")
    parser.add_argument("--seconds", type=float, default=1.5, help="of a run (1.5)")
    parser.add_argument("--repeats", type=int, default=5, help="of each run (5)")
    parser.add_argument("--same", action="store_true", help="client and server on one core only")
    parser.add_argument("--split", action="store_true", help="client and server on a core each only")
    parser.add_argument("--loads", default="", metavar="REGEX", help="only those whose names match, as in 'bulk'")
    parser.add_argument("--sides", default="", metavar="REGEX", help="only those whose names match, as in 'tunic|lwIP'")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="all results")
    parser.add_argument("--million", action="store_true", help="the load with a million idle connections too")
    parser.add_argument("--quiet", action="store_true", help="print the tables only")
    parser.add_argument("--check", action="store_true",
                        help="shortest runs that only tell whether everything works; 77 where it can't")
    options = parser.parse_args()
    if options.check:
        options.seconds, options.repeats, options.same = 0.05, 1, True
    options.loads = [load for load in LOADS if re.search(options.loads, load.name)]
    cpus = sorted(os.sched_getaffinity(0))
    both = options.same == options.split
    options.placements = {}
    if options.same or both:
        options.placements["same"] = (cpus[0], cpus[0])
    if len(cpus) > 1 and (options.split or both):
        options.placements["split"] = (cpus[0], cpus[1])
    if not options.placements or not options.loads:
        parser.error("nothing to measure: no such load, or only one core")
    return options


def main():
    options = parse()
    if refusal := isolate():
        print(f"*** SKIPPED: throughput: {refusal}", file=sys.stderr)
        return 77 if options.check and os.environ.get("TUNIC_REQUIRE_TUN") != "1" else 1
    bench = Bench(options)
    bench.start()
    bench.run()
    for line in bench.skipped + [f"FAILED: {failure}" for failure in bench.failures]:
        print(line)
    if options.check:
        return 1 if bench.failures else 0
    if options.json:
        options.json.write_text(json.dumps(bench.json(), indent=1) + "\n")
    print(f"\nmedians of {options.repeats} runs of {options.seconds:g} s")
    bench.tables()
    print()
    if doubt := bench.doubt():
        print(f"doubtful: {doubt}")
    broken = list(bench.broken_claims())
    for claim in broken:
        print(f"BELOW THE CLAIM: {claim}")
    return 1 if broken or bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
