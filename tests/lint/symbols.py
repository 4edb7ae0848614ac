#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the static library defines for the linker begins with exn_; generated *.pb.c files are exempt:
symbols.py ROOT LIBRARY"""
import re
import subprocess
import sys

from tree import finish

library = sys.argv[2]


def check():
    done = subprocess.run(["nm", "-A", "-g", "--defined-only", library], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        where, _, rest = line.rpartition(":")
        name = rest.split()[-1]
        if not re.match(r"_?exn_", name) and ".pb.c" not in where:
            yield f"{where}:1: symbol {name} does not begin with exn_"


finish(check())
