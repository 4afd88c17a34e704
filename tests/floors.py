#!/usr/bin/env python3
# SPDX-License-Identifier: BSL-1.0
"""Checks how the house is built. Prints every violation and exits with 1 when there is one.

- A folder of include/tunic/ includes only itself and folders on lower floors. What must not reach
  the operating system does not include its headers, read its clocks or ask it for entropy.
- The first line of a source is its licence; a header has `#pragma once` and then a comment that
  says what it is.
- A file has at most 400 lines, or 500 when its first comment says why (with the words "400 lines").
- The tree stands alone: nothing refers to a place outside of it, and links in Markdown lead
  somewhere.
"""

import os
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TUNIC = ROOT / "include" / "tunic"

# From the ground up. Folders on one floor do not include each other.
FLOORS = [["base"], ["wire"], ["core"], ["ip"], ["tcp", "udp"], ["stack"], ["device", "os"],
          ["testing", "adapter"]]
RANK = {folder: rank for rank, floor in enumerate(FLOORS) for folder in floor}
# Headers that lie in include/tunic/ itself: what they include at most, as the name of a folder.
TOP_HEADERS = {"version.hpp": None, "fwd.hpp": None, "tunic.hpp": "device"}
# Beside the order: a device knows nothing of TCP, a clock nothing of packets.
ALSO_HIDDEN = {"device": {"tcp", "udp"}, "os": {"wire", "core", "ip", "tcp", "udp", "stack"}}
# Only these may reach the operating system.
KNOWS_THE_SYSTEM = {"device", "os", "adapter"}
SYSTEM_HEADER = re.compile(
    r"(?:sys|linux|net|netinet|arpa|asm)/.*|(?:unistd|fcntl|poll|errno|signal|pthread|time)\.h"
    r"|cerrno|csignal|ctime|thread|mutex|shared_mutex|condition_variable|future|atomic|iostream"
    r"|fstream|filesystem")
SYSTEM_SOURCE = re.compile(r"\b(?:(?:steady|system|high_resolution|utc)_clock|random_device)\b")

TOP_LEVEL = {"include", "examples", "tests", "CMakeLists.txt", "CMakePresets.json", "README.md",
             "LICENSE"}
SOURCES = {".hpp", ".cpp", ".h", ".c", ".py", ".sh", ".cmake", ".in", ".yml"}
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")

problems = []


def main():
    files = tracked_files()
    for path in files:
        text = path.read_text(encoding="utf-8", errors="replace")
        if is_source(path, text):
            check_source(path, text)
        if TUNIC in path.parents:
            check_includes(path, text)
        if path.suffix == ".md":
            check_links(path, text)
        check_stands_alone(path, text)
    for entry in {path.relative_to(ROOT).parts[0] for path in files}:
        if entry not in TOP_LEVEL and not entry.startswith("."):
            complain(ROOT / entry, 1, "does not belong at the top level")
    for problem in problems:
        print(problem)
    print(f"{len(files)} files, {len(problems)} violations")
    return 1 if problems else 0


def tracked_files():
    """Every file but those of git and of builds."""
    found = []
    for folder, folders, names in os.walk(ROOT):
        here = pathlib.Path(folder)
        folders[:] = sorted(
            name for name in folders
            if name not in (".git", ".cache", "__pycache__")
            and not (here == ROOT and name.startswith("build"))
            and not (here / name / "CMakeCache.txt").exists())
        found += [here / name for name in sorted(names)]
    return [path for path in found if not path.is_symlink() and path.stat().st_size < 4_000_000]


def is_source(path, text):
    return path.suffix in SOURCES or path.name == "CMakeLists.txt" or text.startswith("#!")


def check_source(path, text):
    lines = text.splitlines()
    if not any("SPDX-License-Identifier: BSL-1.0" in line for line in lines[:2]):
        complain(path, 1, "the first line must be the SPDX licence identifier")
    if path.suffix == ".hpp":
        if lines[1:2] != ["#pragma once"]:
            complain(path, 2, "the second line of a header must be #pragma once")
        if not "".join(lines[3:4]).startswith("//"):
            complain(path, 4, "a header begins with a comment that says what it is")
    limit = 500 if "400 lines" in first_comment(lines) else 400
    if len(lines) > limit:
        complain(path, limit + 1, f"{len(lines)} lines; 400 at most, or 500 with a reason in the "
                                  'first comment ("more than 400 lines because ...")')


def first_comment(lines):
    """The text of the first comment after the licence, one line of text."""
    comment = []
    for line in lines[1:]:
        if line.startswith(("//", "#", '"""')) or (comment and lines[1].startswith('"""')):
            if not line.startswith(("#pragma", "#include")):
                comment.append(line.strip('#/ "'))
        elif comment and line.strip():
            break
    return " ".join(comment)


def check_includes(path, text):
    inside = path.relative_to(TUNIC)
    folder = inside.parts[0] if len(inside.parts) > 1 else None
    if folder and folder not in RANK:
        complain(path, 1, f"the folder {folder} stands on no floor")
        return
    if not folder and path.name not in TOP_HEADERS:
        complain(path, 1, "only " + ", ".join(sorted(TOP_HEADERS)) + " may lie here")
        return
    for number, line in enumerate(text.splitlines(), start=1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match and match[1] == '"':
            complain(path, number, "own headers are included as <tunic/...>")
        elif match and match[2].startswith("tunic/"):
            check_include(path, number, folder, pathlib.PurePath(match[2]).relative_to("tunic"))
        elif folder not in KNOWS_THE_SYSTEM:
            if match and SYSTEM_HEADER.fullmatch(match[2]):
                complain(path, number, f"{folder or path.name} must not know <{match[2]}>")
            elif SYSTEM_SOURCE.search(line.split("//")[0]):
                complain(path, number,
                         f"{folder or path.name} must not read clocks or ask for entropy")


def check_include(path, number, folder, target):
    if not (TUNIC / target).is_file():
        complain(path, number, f"includes <tunic/{target}>, which does not exist")
    if len(target.parts) == 1:
        if folder and TOP_HEADERS.get(target.name):
            complain(path, number, f"{folder} includes <tunic/{target}>, which stands above it")
        return
    name = target.parts[0]
    if folder == name:
        return
    rank = RANK[folder] if folder else RANK.get(TOP_HEADERS[path.name], -1) + 1
    if RANK.get(name, len(FLOORS)) >= rank or name in ALSO_HIDDEN.get(folder, ()):
        complain(path, number, f"{folder or path.name} must not include {name}")


def check_links(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", line):
            if "://" not in link and not (path.parent / link).exists():
                complain(path, number, f"the link {link} leads nowhere")


def check_stands_alone(path, text):
    if path == pathlib.Path(__file__).resolve():
        return
    outside = [r"/home/\w+", r"/root/\w+", r"/tmp/\w+"]
    if len(ROOT.parts) > 2:
        outside.append(re.escape(str(ROOT.parent)) + r"/\w+")
    absolute = re.compile(r"(?<![\w./}$-])(?:" + "|".join(outside) + ")")
    depth = len(path.relative_to(ROOT).parts) - 1
    for number, line in enumerate(text.splitlines(), start=1):
        match = absolute.search(line)
        if match:
            complain(path, number, f"refers to {match[0]}, outside of the tree")
        for climb in re.findall(r"(?<![\w./])(?:\.\./)+(?=\w)", line):
            if path.suffix == ".md" and climb.count("../") > depth:
                complain(path, number, f"refers to {climb}, outside of the tree")
        if UNFINISHED.search(line):
            complain(path, number, "is unfinished: " + line.strip())


def complain(path, line, what):
    problems.append(f"{path.relative_to(ROOT)}:{line}: {what}")


if __name__ == "__main__":
    sys.exit(main())
