#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the static library defines for the linker begins with exn_; generated *.pb.c files are exempt. The shared
library exports what the installed headers declare and symbols.txt lists, no more and no less: symbols.py ROOT STATIC SHARED"""
import re
import subprocess
import sys

from tree import FOLDERS, ROOT, complain, finish

DECLARED = re.compile(r"^EXN_API\b[^;(]*?(\w+)\(", re.M)
LIST = ROOT / "tests/lint/symbols.txt"
static, shared = sys.argv[2:4]


def defined(library, *options):
    """(where, name) of what nm lists."""
    done = subprocess.run(["nm", "-A", *options, "--defined-only", library], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        where, _, rest = line.rpartition(":")
        yield where, rest.split()[-1]


def check():
    for where, name in defined(static, "-g"):
        if not name.startswith("exn_") and ".pb.c" not in where:
            yield f"{where}:1: symbol {name} does not begin with exn_"
    exported = {name for _, name in defined(shared, "-D")}
    lines = LIST.read_text().splitlines()
    listed = {line for line in lines if line and not line.startswith("#")}
    yield from (complain(LIST, 1, f"{name} is exported, but not listed: add it") for name in sorted(exported - listed))
    for name in sorted(listed - exported):
        yield complain(LIST, lines.index(name) + 1, f"{name} is gone: programs break; the list says what that takes")
    for header in sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("include/exeunt/*.h")):
        text = header.read_text()
        for match in DECLARED.finditer(text):
            if match[1] not in exported:
                yield complain(header, text.count("\n", 0, match.start()) + 1, f"{match[1]} is not in the library")
            exported.discard(match[1])
    yield from (f"{shared}:1: {name} is exported, but no installed header declares it" for name in sorted(exported))


finish(check())
