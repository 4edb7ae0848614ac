#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Includes point one way: core <- kernels <- arch <- graph <- train <- tools, python, examples <- bench <- tests.
Quoted includes are paths from the root. Intrinsics and SLEEF stay under arch/."""
import re

from tree import ROOT, complain, files, finish, lines

RANK = {"core": 0, "kernels": 1, "arch": 2, "graph": 3, "train": 4, "tools": 5, "python": 5, "examples": 5,
        "bench": 6, "tests": 7}
INCLUDE = re.compile(r'\s*#\s*include\s+(["<])([^">]+)[">]')
ARCH_ONLY = re.compile(r"([a-z0-9]*intrin|arm_(neon|sve|acle)|riscv_vector|altivec|sleef|cpuid)\.h$")
GENERATED = re.compile(r"\.pb\.h$")


def quoted(path, number, name):
    folder, target = path.relative_to(ROOT).parts[0], name.split("/")[0]
    if GENERATED.search(name):
        return
    if not (ROOT / name).is_file():
        yield complain(path, number, f'"{name}" is no path from the root')
    elif RANK[target] > RANK[folder]:
        yield complain(path, number, f"{folder}/ must not include {name}: includes point one way")


def check():
    for path in files(".c", ".h", ".inc", ".cc", ".cpp"):
        for number, line in enumerate(lines(path), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            if match[1] == '"':
                yield from quoted(path, number, match[2])
            elif ARCH_ONLY.search(match[2]) and path.relative_to(ROOT).parts[0] != "arch":
                yield complain(path, number, f"<{match[2]}> belongs under arch/")


finish(check())
