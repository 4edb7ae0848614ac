#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A profile is an ordinary safetensors file: Python's reader sees every tensor, and the state that is JSON.

    read_profile.py EXEUNT NETWORK.onnx

Exit status 77 (skipped) where the Python packages are absent."""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import numpy as np
    from safetensors.numpy import load_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

exeunt, network = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    profile = pathlib.Path(folder) / "me.safetensors"
    subprocess.run([exeunt, "attach", network, "-o", profile, "--exits", "2", "--head", "conv"], check=True)
    tensors = load_file(profile)
state = json.loads(bytes(tensors.pop("exeunt.state")))
tensors.pop("exeunt.state.hash", None)
assert state["schema"].startswith("exeunt."), state["schema"]
assert len(state["exits"]) == 3, state["exits"]
classes = len(state["classes"])
for i in range(3):
    assert tensors[f"exits.{i}.fc.weight"].shape[0] == classes
    assert tensors[f"exits.{i}.fc.bias"].shape == (classes,)
assert tensors["exits.0.pw.weight"].shape[0] == 64
assert all(t.dtype == np.float32 and np.isfinite(t).all() for t in tensors.values())
print(f"{len(tensors)} tensors, {classes} classes")
