# SPDX-License-Identifier: BSL-1.0
"""What throughput.py measures, and what is claimed of it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Side:
    name: str
    program: str
    mode: str = ""  # the program's last argument
    plain: bool = False  # no offload
    loads: str = ""  # patterns of what it is for, if not all...
    placements: str = ""  # ...and where


@dataclasses.dataclass(frozen=True)
class Load:
    name: str
    arguments: tuple
    unit: str = "/s"
    raw: str = ""  # what the descriptor itself does under such a load
    sides: str = ""  # a pattern of those that it is for, if not all
    once: bool = False  # with --million, on one core, in the first repetition: it takes minutes

    @property
    def bulk(self):
        return self.unit == "Gbit/s"


SIDES = [
    Side("tunic", "tunic_server"),
    Side("tunic owned", "tunic_server", "owned", loads="bulk out"),
    Side("tunic busy", "tunic_server", "busy", loads="bulk in|bulk out|^1 request", placements="split"),
    Side("tunic idle", "tunic_server", loads="^1 request|idle", placements="same"),
    Side("tunic plain", "tunic_server", "plain", plain=True),
    Side("kernel", "kernel_server"),
    Side("responder", "responder", loads="^(?!bulk echo)"),
    Side("responder plain", "responder", "plain", plain=True, loads="^(?!bulk echo)"),
    Side("lwIP", "lwip_server", plain=True),
]
LOADS = [
    Load("bulk in", ("in",), "Gbit/s", "read"),
    Load("bulk out", ("out",), "Gbit/s", "write"),
    Load("bulk echo", ("echo",), "Gbit/s"),
    Load("1 request", ("exchange",)),
    Load("64 requests", ("exchange", "--connections", "64")),
    Load("1000 requests", ("exchange", "--connections", "1000")),
    Load("connections", ("connect", "--connections", "16")),
    Load("10k idle", ("exchange", "--idle", "10000"), sides="^tunic idle$"),
    Load("1M idle", ("exchange", "--idle", "1000000"), sides="^tunic idle$", once=True),
]
# Load, placement, side, the side it is compared with, and the least ratio of their rates.
CLAIMS = [
    ("bulk in", "same", "tunic", "responder", 0.92),
    ("bulk out", "same", "tunic", "responder", 0.80),
    ("bulk out", "same", "tunic owned", "responder", 0.92),
    ("bulk in", "split", "tunic", "kernel", 0.65),
    ("bulk in", "split", "tunic busy", "kernel", 0.9),
    ("bulk out", "split", "tunic", "kernel", 2.5),
    ("bulk echo", "split", "tunic", "kernel", 0.9),
    ("bulk in", "same", "tunic plain", "responder plain", 0.90),
    ("bulk out", "same", "tunic plain", "responder plain", 0.93),
    ("bulk in", "same", "tunic plain", "lwIP", 1.55),
    ("bulk out", "same", "tunic plain", "lwIP", 1.4),
    ("1 request", "same", "tunic", "responder", 0.96),
    ("1 request", "same", "tunic", "kernel", 1.18),
    ("64 requests", "same", "tunic", "responder", 0.92),
    ("64 requests", "same", "tunic", "kernel", 1.23),
    ("connections", "same", "tunic", "responder", 0.93),
    ("connections", "same", "tunic", "kernel", 1.65),
]
# Requests on one connection beside others that are idle, and the least ratio to those without; the most that the
# server's memory grows by for each, in bytes: of few it is what tables and warm connections take.
IDLE_CLAIMS = [("10k idle", 0.98, 4096), ("1M idle", 0.95, 512)]
COMPARED = [("tunic", "responder"), ("tunic owned", "responder"), ("tunic", "kernel"), ("tunic busy", "kernel"),
            ("tunic plain", "responder plain"), ("tunic plain", "kernel"), ("tunic plain", "lwIP")]
