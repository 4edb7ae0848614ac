# SPDX-License-Identifier: Apache-2.0
"""What every lint shares: which files there are, and how a complaint looks."""
import pathlib
import sys

ROOT = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ["core", "kernels", "arch", "graph", "train", "tools", "python", "examples", "bench", "tests"]
SKIPPED = 77  # what meson takes for "skipped"


def files(*suffixes, folders=FOLDERS):
    """Paths below the folders, and at the project's root when none are named; sorted, test data left out."""
    found = [p for f in folders for p in (ROOT / f).rglob("*")]
    if folders is FOLDERS:
        found += [*ROOT.iterdir(), *(ROOT / ".ci").glob("*")]
    hidden = {"__pycache__", "corpus", "data"}
    return sorted(p for p in found if p.is_file() and p.suffix in suffixes
                  and not hidden & set(p.relative_to(ROOT).parts))


def lines(path):
    return path.read_text(encoding="utf-8", errors="replace").split("\n")


def complain(path, line, reason):
    return f"{path.relative_to(ROOT)}:{line}: {reason}"


def finish(complaints):
    """Prints what was found; the exit status is the verdict."""
    complaints = list(complaints)
    print("\n".join(complaints))
    sys.exit(1 if complaints else 0)
