#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real networks against ONNX Runtime: `exeunt run` on noise and on something like a photo.

    onnxruntime.py EXEUNT MODEL_FOLDER

Every logit must lie within 1e-4 of the largest logit's size, within 1e-3 with --arithmetic fast. Exit status 77 (skipped) where the networks, numpy or
onnxruntime are absent."""

import pathlib
import subprocess
import sys
import tempfile

SKIPPED = 77
ALLOWED = {"exact": 1e-4, "fast": 1e-3}

# This file's folder must not hide the package of the same name.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

try:
    import numpy as np
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(SKIPPED)


def noise(shape, random):
    return random.standard_normal(shape).astype(np.float32)


def photo_like(shape, random):
    """Smooth shading, hard edges and a little grain, normalised per channel as photos are."""
    _, channels, height, width = shape
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    planes = []
    for _ in range(channels):
        a, b, c = random.uniform(1, 6, 3)
        plane = 128 + 60 * np.sin(a * x + b * y) + 40 * np.cos(c * x * y)
        plane[(x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.04] += 50
        plane[int(height * 0.7):, : width // 3] -= 70
        planes.append(np.clip(plane + random.normal(0, 4, plane.shape), 0, 255))
    image = np.stack(planes)[None].round()
    return ((image - 120) / 58).astype(np.float32)


def compare(exeunt, model, folder):
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    port = session.get_inputs()[0]
    shape = [1 if i == 0 and not isinstance(d, int) else d if isinstance(d, int) else 224
             for i, d in enumerate(port.shape)]
    random = np.random.default_rng(7)
    worst = dict.fromkeys(ALLOWED, 0.0)
    for make in (noise, photo_like):
        x = make(shape, random)
        np.save(folder / "in.npy", x)
        expected = session.run(None, {port.name: x})[0]
        for arithmetic in worst:
            subprocess.run([exeunt, "run", model, folder / "in.npy", "-o", folder / "out.npy", "--arithmetic", arithmetic],
                           check=True)
            actual, error = np.load(folder / "out.npy"), float("inf")
            if actual.shape == expected.shape and np.isfinite(actual).all():
                error = float(np.abs(actual - expected).max() / np.abs(expected).max())
            worst[arithmetic] = max(worst[arithmetic], error)
    return worst


def main(exeunt, models):
    networks = sorted(pathlib.Path(models).glob("*.onnx"))
    if not networks:
        print(f"skipped: no networks in {models}")
        return SKIPPED
    failed = False
    for model in networks:
        with tempfile.TemporaryDirectory() as folder:
            errors = compare(exeunt, model, pathlib.Path(folder))
        for arithmetic, error in errors.items():
            good = error <= ALLOWED[arithmetic]
            failed |= not good
            print(f"{model.name:32} {arithmetic:5} {error:.2e} {'ok' if good else 'FAILED'}", flush=True)
    return int(failed)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
