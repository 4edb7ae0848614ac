#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Preprocessing against Pillow: every grey level within one, on random and on extreme pictures. Skips (77) without it.

Usage: preprocess.py FILTER, the program built from preprocess.c."""

import random
import subprocess
import sys

try:
    import numpy as np
    from PIL import Image
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)


def pillow(image, size, height, width, grey):
    if grey:
        image = image.convert("L")
    w, h = image.size
    short, long = min(w, h), max(w, h)
    other = round(size * long / short)
    image = image.resize((other, size) if w >= h else (size, other), Image.Resampling.BILINEAR)
    left, top = (image.size[0] - width) // 2, (image.size[1] - height) // 2
    return np.asarray(image.crop((left, top, left + width, top + height)), np.float32).reshape(height, width, -1)


def exeunt(program, pixels, size, height, width, channels):
    h, w, c = pixels.shape
    arguments = [str(n) for n in (w, h, c, size, height, width, channels)]
    out = subprocess.run([program, *arguments], input=pixels.tobytes(), capture_output=True, check=True).stdout
    return np.frombuffer(out, np.float32).reshape(height, width, channels)


def main():
    program, rng, pick = sys.argv[1], np.random.default_rng(5), random.Random(5)
    sizes = [(1, 1), (2, 300), (640, 480), (333, 500), (224, 224), (33, 31), (1000, 17)]
    sizes += [(pick.randint(1, 400), pick.randint(1, 400)) for _ in range(30)]
    worst, differing, total = 0.0, 0, 0
    for w, h in sizes:
        for style in range(2):
            pixels = rng.integers(0, 256, (h, w, 3), np.uint8)
            if style:
                pixels = np.where(pixels > 127, 255, 0).astype(np.uint8)
            size = pick.choice([8, 32, 224])
            crop = (size, size) if pick.random() < 0.5 else (max(1, size * 7 // 8), max(1, size - 1))
            grey = pick.random() < 0.3
            ours = exeunt(program, pixels, size, *crop, 1 if grey else 3)
            theirs = pillow(Image.fromarray(pixels), size, *crop, grey)
            worst = max(worst, float(np.abs(ours - theirs).max()))
            differing += int((ours != theirs).sum())
            total += ours.size
    print(f"{total} levels, {differing} differ, worst by {worst}")
    return 0 if worst <= 1 else 1


sys.exit(main())
