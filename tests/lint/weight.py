#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The shared library with all kernel sets, stripped, stays below 500 kB: weight.py ROOT SHARED small|other. Only builds that are made
to be small count."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

from tree import SKIPPED, finish

shared, kind = sys.argv[2:4]
LIMIT = 500_000
if kind != "small" or not shutil.which("strip"):
    print("skipped: needs a release build, and strip")
    sys.exit(SKIPPED)


def check():
    with tempfile.TemporaryDirectory() as folder:
        bare = pathlib.Path(folder) / "library"
        subprocess.run(["strip", "-o", bare, shared], check=True)
        weight = bare.stat().st_size
    print(f"{weight} bytes of {LIMIT}")
    if weight >= LIMIT:
        yield f"{shared}:1: {weight} bytes stripped; nm -S --size-sort says what is large"


finish(check())
