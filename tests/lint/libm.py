#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The C library's transcendentals differ from machine to machine, so what inference and training compute does not
call them; sqrt, fma, fabs, floor and their like are exact and welcome."""
import re

from tree import complain, files, finish, lines

NAMES = ("exp exp2 expm1 exp10 log log2 log10 log1p pow sin cos sincos tan asin acos atan atan2 sinh cosh tanh asinh "
         "acosh atanh cbrt erf erfc tgamma lgamma hypot").split()
CALL = re.compile(r"(?<![\w.>])((?:%s)[fl]?)\s*\(" % "|".join(NAMES))
COMMENT_OR_TEXT = re.compile(r'/\*.*?(\*/|$)|//.*|"(\\.|[^"\\])*"')


def check():
    for path in files(".c", ".h", ".inc", folders=["core", "kernels", "arch", "graph", "train"]):
        inside = False
        for number, line in enumerate(lines(path), 1):
            code = line.split("*/", 1)[1] if inside and "*/" in line else "" if inside else line
            inside = line.rfind("/*") > line.rfind("*/") or (inside and "*/" not in line)
            match = CALL.search(COMMENT_OR_TEXT.sub(" ", code))
            if match:
                yield complain(path, number, f"{match[1]}() of the C library: use the kernel set's slot")


finish(check())
