#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Lines and branches that tests reached, by folder: coverage.py BUILD [--files | --lines FILE].

BUILD was configured with -Db_coverage=true and has run its tests. --files adds a row a file, --lines names the lines of one
file that nothing reached. Needs gcov, which comes with GCC."""

import collections
import json
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("core", "graph", "train", "kernels", "tools")


def read(build):
    """{file: {line: count}} and {file: {(line, branch): count}}, over all objects that hold the file."""
    lines = collections.defaultdict(lambda: collections.defaultdict(int))
    branches = collections.defaultdict(lambda: collections.defaultdict(int))
    data = sorted(str(path.resolve()) for path in build.rglob("*.gcda"))
    for begin in range(0, len(data), 50):
        output = subprocess.run(["gcov", "-b", "--json-format", "--stdout", *data[begin:begin + 50]], cwd=build, check=True,
                                capture_output=True, text=True).stdout
        for report in output.splitlines():
            for file in json.loads(report)["files"]:
                path = (build / file["file"]).resolve()
                if not path.is_relative_to(ROOT):
                    continue
                name = str(path.relative_to(ROOT))
                for line in file["lines"]:
                    lines[name][line["line_number"]] += line["count"]
                    for index, branch in enumerate(line["branches"]):
                        if not branch["throw"]:
                            branches[name][line["line_number"], index] += branch["count"]
    return lines, branches


def row(name, lines, branches):
    reached, taken = sum(c > 0 for c in lines), sum(c > 0 for c in branches)
    share = f"{100 * taken / len(branches):5.1f} %" if branches else "      -"
    return f"{name:32} {len(lines):6} lines {100 * reached / max(len(lines), 1):5.1f} %   {len(branches):6} branches {share}"


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    lines, branches = read(build)
    if "--lines" in sys.argv:
        file = sys.argv[sys.argv.index("--lines") + 1]
        print(*(n for n, count in sorted(lines[file].items()) if count == 0))
        return
    for folder in FOLDERS:
        inside = sorted(f for f in lines if f.startswith(folder + "/"))
        print(row(folder, [c for f in inside for c in lines[f].values()], [c for f in inside for c in branches[f].values()]))
        if "--files" in sys.argv:
            for file in inside:
                print("  " + row(file, lines[file].values(), branches[file].values()))


if __name__ == "__main__":
    main()
