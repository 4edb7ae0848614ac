#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Heads of PyTorch in a profile, and heads of a profile in PyTorch, through examples/pytorch_head.py: the same logits within 1e-4 of the
largest, for every kind of head.

    heads.py EXEUNT NETWORK.onnx

Exit status 77 (skipped) where the Python packages are absent."""
import os
import pathlib
import subprocess
import sys
import tempfile

ALLOWED = 1e-4  # of the largest logit
ROOT = pathlib.Path(__file__).resolve().parents[2]

# This file's folder must not hide packages of the names of its files.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]
sys.path.insert(0, str(ROOT / "examples"))
try:
    import numpy as np
    import torch
    from safetensors.numpy import save_file
    import pytorch_head
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

exeunt, network = sys.argv[1:]
os.environ["PATH"] = f"{pathlib.Path(exeunt).parent}:{os.environ['PATH']}"
torch.set_num_threads(1)
rng = np.random.default_rng(1)


def near(ours, theirs, what):
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{what}: {difference:.1e}")
    assert difference <= ALLOWED, what


def logits(folder, profile, exit):
    pytorch_head.exeunt("run", network, folder / "in.npy", "-o", folder / "out.npy", "--profile", profile, "--exit", exit)
    return np.load(folder / "out.npy")


def check_kind(folder, kind):
    profile, heads = folder / f"{kind}.safetensors", folder / "heads.safetensors"
    pytorch_head.exeunt("attach", network, "-o", profile, "--exits", 2, "--head", kind, "--costs", "macs")
    for exit, info in enumerate(pytorch_head.json.loads(pytorch_head.exeunt("profile", "show", profile, "--json"))["exits"]):
        pytorch_head.exeunt("run", network, folder / "in.npy", "-o", folder / "map.npy", "--value", info["tap"])
        features = torch.tensor(np.load(folder / "map.npy"))
        head = pytorch_head.Head.from_profile(profile, exit)
        with torch.no_grad():
            if info["kind"] == "classifier":  # as it is in the profile, read by PyTorch
                near(logits(folder, profile, exit), head(features).numpy(), "the network's own classifier")
            for name, value in head.tensor.items():
                value.copy_(torch.tensor(rng.uniform(0.5, 1.5, value.shape) if name.endswith(("var", "std", "scale"))
                                         else rng.normal(0, 0.3, value.shape)))
            theirs = head(features).numpy()
        save_file(head.tensors(exit), heads, metadata={f"exits.{exit}.tap": info["tap"], f"exits.{exit}.kind": info["kind"]})
        pytorch_head.exeunt("profile", "import", profile, heads)
        near(logits(folder, profile, exit), theirs, f"{info['kind']} at {info['tap']}")
        again = pytorch_head.Head.from_profile(profile, exit)
        assert all(torch.equal(value, head.tensor[name]) for name, value in again.tensor.items())


def check_example(folder):
    """As its text says, with labels that the features can tell."""
    np.save(folder / "labels.npy", np.arange(24, dtype=np.int64) % 3)
    done = subprocess.run([sys.executable, "-B", ROOT / "examples/pytorch_head.py", network, folder / "in.npy",
                           folder / "labels.npy", folder / "me.safetensors"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "differ by" in done.stdout and "its file states" in done.stdout, done.stdout


with tempfile.TemporaryDirectory() as name:
    where = pathlib.Path(name)
    np.save(where / "in.npy", rng.random((24, 1, 28, 28), np.float32))
    for each in ("linear", "pooled", "conv", "conv2"):
        check_kind(where, each)
    check_example(where)
