#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""C files look as clang-format 14 leaves them; other versions differ in details, so without that one this skips."""
import re
import shutil
import subprocess
import sys

from tree import ROOT, SKIPPED, files, finish

tool = shutil.which("clang-format-14") or shutil.which("clang-format")
version = subprocess.run([tool, "--version"], capture_output=True, text=True).stdout if tool else "none"
if not re.search(r"version 14\.", version):
    print(f"needs clang-format 14, found {version.strip()}")
    sys.exit(SKIPPED)

names = [str(path.relative_to(ROOT)) for path in files(".c", ".h")]
done = subprocess.run([tool, "--dry-run", "-Werror", *names], cwd=ROOT, capture_output=True, text=True)
finish(re.sub(r":\d+: error: code should be clang-formatted.*", ": run clang-format on this file", line)
       for line in done.stderr.splitlines() if "error:" in line)
