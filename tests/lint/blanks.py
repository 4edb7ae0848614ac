#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""No trailing blanks, no tabs, no carriage returns; one newline at the end."""
from tree import complain, files, finish

SUFFIXES = [".c", ".h", ".inc", ".py", ".sh", ".md", ".build", ".txt", ".ini", ".toml", ".json", ".options", ""]


def check():
    for path in files(*SUFFIXES):
        data = path.read_bytes()
        if b"\0" in data:
            continue
        for number, line in enumerate(data.split(b"\n"), 1):
            if line != line.rstrip():
                yield complain(path, number, "trailing blank")
            if b"\t" in line:
                yield complain(path, number, "tab")
        if data and (not data.endswith(b"\n") or data.endswith(b"\n\n")):
            yield complain(path, data.count(b"\n"), "needs exactly one newline at the end")


finish(check())
