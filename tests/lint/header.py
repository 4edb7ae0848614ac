#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every installed header compiles alone, as pedantic C11, C17 and C++17: header.py ROOT C-COMPILER..."""
import shutil
import subprocess
import sys

from tree import FOLDERS, ROOT, complain, finish

WARNINGS = ["-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only", "-I", str(ROOT / "core/include"),
            "-I", str(ROOT)]  # kernels.h names kernels/kernel_set.h, which is installed beside it
cxx = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
ways = [[*(sys.argv[2:] or ["cc"]), f"-std={standard}", "-x", "c"] for standard in ("c11", "c17")]
if cxx:
    ways.append([cxx, "-std=c++17", "-x", "c++"])


def installed():
    return sorted(path for folder in FOLDERS for path in (ROOT / folder).glob("include/exeunt/*.h"))


def check():
    for path in installed():
        for way in ways:
            source = f'#include "{path}"\n'
            done = subprocess.run([*way, *WARNINGS, "-"], input=source, capture_output=True, text=True)
            if done.returncode != 0:
                yield complain(path, 1, f"does not compile alone as {way[-3]}:\n{done.stderr}")


finish(check())
