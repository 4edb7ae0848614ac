#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Exported networks in ONNX Runtime: the checker accepts them, logits of every exit agree, and `If` leaves where the program does.

    export.py EXEUNT NETWORK.onnx

Exit status 77 (skipped) where the Python packages are absent."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

PHOTOS = 100
ALLOWED = 1e-4  # of the largest logit

# This file's folder must not hide the package of the same name.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

try:
    import numpy as np
    import onnx
    import onnxruntime
    from safetensors.numpy import load_file
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

exeunt, network = sys.argv[1:]
tests = pathlib.Path(__file__).resolve().parents[1]
os.environ.update(EXN_PROGRAM=exeunt, EXN_SOURCE_ROOT=str(tests.parent))
sys.path.insert(0, str(tests / "tools"))
from program import person, png


def run(*arguments):
    return subprocess.run([exeunt, *map(str, arguments)], check=True, capture_output=True, text=True).stdout


def session(path):
    onnx.checker.check_model(str(path), full_check=True)
    made = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = made.get_inputs()[0].name
    return lambda x: dict(zip([o.name for o in made.get_outputs()], made.run(None, {name: x})))


def error(actual, expected):
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def own_logits(profile, exit, x, folder):
    np.save(folder / "in.npy", x)
    run("run", network, folder / "in.npy", "-o", folder / "out.npy", "--profile", profile, "--exit", exit)
    return np.load(folder / "out.npy")


def check(folder):
    profile = folder / "me.safetensors"
    mine, test = person(folder, {"labelled": 240, "test": PHOTOS})
    grays = np.frombuffer(test.read_bytes()[16:], dtype=np.uint8).reshape(PHOTOS, 28, 28)
    run("attach", network, "-o", profile, "--exits", "3", "--head", "conv", "--mean", "0", "--std", "255", "--costs", "macs")
    run("personalise", profile, mine, "--costs", "macs", "--no-measure", "--target", "untouched")
    state = json.loads(bytes(load_file(profile)["exeunt.state"]))
    exits = len(state["exits"])
    x = (grays.astype(np.float32) / 255)[:, None]
    personal = state["preprocess"].get("personal") or {}
    seen = x * personal["gain"][0] + personal["offset"][0] if personal.get("used") else x
    run("export", profile, "-o", folder / "all.onnx")
    every = session(folder / "all.onnx")
    outputs = [every(one[None]) for one in x]
    worst = 0.0
    for k in range(exits):
        expected = own_logits(profile, k, seen, folder)
        worst = max(worst, error(np.concatenate([o[f"exit_{k}"] for o in outputs]), expected))
        run("export", profile, "-o", folder / "cut.onnx", "--exit", k, "--batch", PHOTOS)
        worst = max(worst, error(session(folder / "cut.onnx")(x)["logits"], expected))
    run("export", profile, "-o", folder / "leave.onnx", "--leave")
    leave, taken = session(folder / "leave.onnx"), []
    photos = [png(folder / f"{i}.png", 28, 28, gray.tobytes()) for i, gray in enumerate(grays)]
    told = [json.loads(line) for line in run("classify", profile, *photos, "--json").splitlines()]
    for one, said in zip(x, told):
        answer = leave(one[None])
        taken.append(int(answer["exit"]))
        assert taken[-1] == said["exit"], (taken[-1], said)
        assert state["classes"][int(answer["scores"].argmax())] == said["label"], said
    metadata = {p.key: p.value for p in onnx.load(folder / "all.onnx").metadata_props}
    assert json.loads(metadata["exeunt.classes"]) == state["classes"]
    assert json.loads(metadata["exeunt.preprocess"])["deviation"][0] == 255
    assert len(set(taken)) > 1, "every photo left at one exit"
    print(f"{exits} exits, {PHOTOS} photos: largest error {worst:.1e}; exits taken {np.bincount(taken, minlength=exits)}")
    return worst <= ALLOWED


with tempfile.TemporaryDirectory() as folder:
    sys.exit(not check(pathlib.Path(folder)))
