#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The lints themselves: each must find the fault planted for it in a small tree, and nothing in a clean one."""
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
LONG = "void f(void) {\n" + "    g();\n" * 79 + "}\n"
HEADER = "core/include/exeunt/exeunt.h"
# lint, file, contents, what it must say (None: nothing)
CASES = [
    ("blanks", "core/a.c", "int a; \n", "core/a.c:1: trailing blank"),
    ("blanks", "core/a.c", "int a;\nint b;", "core/a.c:1: needs exactly one newline"),
    ("blanks", "core/a.c", "int a;\n\tint b;\n", "core/a.c:2: tab"),
    ("blanks", "core/a.c", "int a;\n", None),
    ("header", HEADER, "bool f(void);\n", HEADER + ":1: does not compile alone"),
    ("header", HEADER, "int new(int class);\n", "c++"),
    ("header", HEADER, "int f(void);\n", None),
    ("includes", "core/a.c", '#include "train/b.h"\n', "core/a.c:1: core/ must not include train/b.h"),
    ("includes", "core/a.c", '#include "b.h"\n', "is no path from the root"),
    ("includes", "kernels/a.c", "#include <immintrin.h>\n", "<immintrin.h> belongs under arch/"),
    ("includes", "arch/a.c", '#include <sleef.h>\n', None),
    ("includes", "tests/a.c", '#include "train/b.h"\n', None),
    ("libm", "train/a.c", "x = 1 + expf(x);\n", "train/a.c:1: expf()"),
    ("libm", "train/a.c", "/* a long\n * log(x) */ y = set->exp(x); my_log(2); /* pow(2) */\n", None),
    ("libm", "train/a.c", "/* a long\n * one */ y = tanh(x);\n", "train/a.c:2: tanh()"),
    ("readme", "core/a.c", "int a;\n", "core/README.md:1: missing"),
    ("readme", "core/README.md", "[here](README.md), [there](gone.md)\n", "link to gone.md"),
    ("sizes", "core/a.c", LONG, "core/a.c:1: f: 81 lines"),
    ("sizes", "core/a.c", "void f(int a,\n       int b);\n" + LONG.replace("    g();\n", "", 1), None),
    ("sizes", "arch/avx2/gemm.c", LONG, None),
    ("sizes", "core/a.h", "int a;\n" * 501, "501 lines; files have at most 500"),
]


def failures():
    for lint, name, contents, wanted in CASES:
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            for path, text in {"train/b.h": "int b;\n", name: contents}.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text)
            done = subprocess.run([sys.executable, "-B", HERE / f"{lint}.py", root], capture_output=True, text=True)
        if done.returncode != (wanted is not None) or (wanted or "") not in done.stdout:
            yield f"{lint}.py:1: on {name} {contents[:60]!r}: {done.returncode}, {done.stdout or done.stderr}"


found = list(failures())
print("\n".join(found))
sys.exit(1 if found else 0)
