#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The Python package's own tests on the library that was just built (EXN_LIBRARY). Exit status 77 (skipped) without pytest and
NumPy, and under sanitizers, which want to be loaded before the interpreter."""
import os
import pathlib
import sys

PYTHON = pathlib.Path(__file__).resolve().parents[2] / "python"
try:
    import numpy
    import pytest
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)
if os.environ.get("EXN_SANITIZE", "none") != "none":
    print("skipped: sanitizers")
    sys.exit(77)
print("NumPy", numpy.__version__)
sys.path.insert(0, str(PYTHON))
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", str(PYTHON / "tests")]))
