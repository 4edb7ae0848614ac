#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Functions have at most 80 lines, micro-kernels exempt; files at most 500, the public header exempt.
Leans on the formatting lint: a function begins and ends in column 0."""
import re

from tree import ROOT, complain, files, finish, lines

FUNCTION_LINES, FILE_LINES = 80, 500
MICRO_KERNEL = re.compile(r"^arch/[a-z0-9_]+/.*(gemm|dwconv)")
LONG_FILES = {"core/include/exeunt/exeunt.h"}
STARTS = re.compile(r"[A-Za-z_][^;=#]*\(")
NAME = re.compile(r"(\w+)\s*\(")


def functions(text):
    """(first line, last line, name) of each function, counting from its signature."""
    start, opened = None, False
    for number, line in enumerate(text, 1):
        if opened and line.startswith("}"):
            yield start, number, NAME.search(text[start - 1])[1]
            start, opened = None, False
        elif not opened:
            start = number if STARTS.match(line) else start
            opened = start is not None and "{" in line and not line.endswith("}")
            start = None if line.endswith((";", "}")) else start


def check():
    for path in files(".c", ".h", ".inc", ".py", ".sh", ".md"):
        text, name = lines(path), str(path.relative_to(ROOT))
        if len(text) - 1 > FILE_LINES and name not in LONG_FILES and path.suffix != ".md":
            yield complain(path, FILE_LINES, f"{len(text) - 1} lines; files have at most {FILE_LINES}")
        if path.suffix in (".c", ".h") and not MICRO_KERNEL.match(name):
            for first, last, function in functions(text):
                if last - first + 1 > FUNCTION_LINES:
                    yield complain(path, first, f"{function}: {last - first + 1} lines; at most {FUNCTION_LINES}")


finish(check())
