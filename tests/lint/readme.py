#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Every top-level folder has a README.md, and its relative links lead somewhere."""
import re

from tree import FOLDERS, ROOT, complain, files, finish, lines

LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")


def check():
    for folder in FOLDERS:
        if (ROOT / folder).is_dir() and not (ROOT / folder / "README.md").is_file():
            yield complain(ROOT / folder / "README.md", 1, "missing: one sentence what the folder is, then its limits")
    for path in files(".md"):
        for number, line in enumerate(lines(path), 1):
            for target in LINK.findall(line):
                if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
                    yield complain(path, number, f"link to {target}, which is not there")


finish(check())
