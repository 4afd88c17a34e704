#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Checks the pictures that netsim draws: picture.py NETSIM. They are SVG, show what has happened
and nothing else, and stay small however long the transfer was."""

import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

SENT, SENT_AGAIN, SELECTIVELY_ACKNOWLEDGED = "#3d6fb4", "#d62c1a", "#f2a541"
TAG = "{http://www.w3.org/2000/svg}"


def main():
    with tempfile.TemporaryDirectory() as folder:
        lossy = draw(folder, "loss", "--seconds", "3")
        clean = draw(folder, "small-window", "--seconds", "3")
        large = draw(folder, "small-window", "--seconds", "12", "--rate", "200", "--delay", "0.5")
        burst = draw(folder, "tail-loss")
    for picture in lossy, clean, large, burst:
        assert len(picture.root.findall(f"{TAG}clipPath")) == 3, "there are three panels"
        assert "time in seconds" in picture.texts() and "sent again" in picture.texts()
        assert picture.marks(SENT) > 0
    assert lossy.marks(SENT_AGAIN) > 5 and lossy.marks(SELECTIVELY_ACKNOWLEDGED) > 5
    assert clean.marks(SENT_AGAIN) == 0 and clean.marks(SELECTIVELY_ACKNOWLEDGED) == 0
    assert burst.marks(SENT_AGAIN) >= 1, "the end of the burst was lost"
    assert large.sent > 100_000, f"a long transfer, not {large.sent} segments"
    assert large.size < 400_000, f"{large.size} bytes"


class Picture:
    def __init__(self, text, report):
        self.root = xml.etree.ElementTree.fromstring(text)
        self.size = len(text)
        self.sent = float(report.split("goodput ")[1].split()[0]) * 1e6 / 8 / 1448 * 12
        for path in self.root.findall(f"{TAG}path"):
            assert "nan" not in path.get("d") and "inf" not in path.get("d")

    def texts(self):
        return [element.text for element in self.root.findall(f"{TAG}text")]

    def marks(self, colour):
        """Pieces drawn in a colour in the first panel."""
        first = self.root.find(f"{TAG}clipPath").get("id")
        return sum(path.get("d").count("M") for path in self.root.findall(f"{TAG}path")
                   if path.get("stroke") == colour and path.get("clip-path") == f"url(#{first})")


def draw(folder, *arguments):
    file = pathlib.Path(folder) / "picture.svg"
    report = subprocess.run([sys.argv[1], *arguments, "--svg", file], check=True, text=True,
                            stdout=subprocess.PIPE).stdout
    return Picture(file.read_text(encoding="utf-8"), report)


if __name__ == "__main__":
    main()
