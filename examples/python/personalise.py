#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Personalises a network that torchvision exported (torch.onnx.export(model, torch.zeros(1, 3, 224, 224), "network.onnx")):

    personalise.py network.onnx labelled/ photo.jpg

labelled/ holds one folder of photos a class, named by the number of its logit. The profile goes to me.safetensors."""
import pathlib
import sys

import exeunt
import numpy as np
from PIL import Image, ImageOps

network, folder, photo = sys.argv[1:]


def pixels(path):
    return np.asarray(ImageOps.exif_transpose(Image.open(path)).convert("RGB"))


def show(progress):
    print(f"\r{progress.phase} {progress.done} of {progress.total} ", end="", flush=True)


# torchvision's networks want (x / 255 - mean) / deviation per channel; here both are grey levels.
me = exeunt.Profile.create(exeunt.Model(network), size=256, mean=[123.7, 116.3, 103.5], deviation=[58.4, 57.1, 57.4])
samples = [(path, int(path.parent.name)) for path in sorted(pathlib.Path(folder).glob("*/*.jpg"))]
exeunt.personalise(me, ((pixels(path), label) for path, label in samples), show)
me.save("me.safetensors")
print()
for exit in me.exits:
    print(f"{exit.tap}: {100 * exit.macs_fraction:.0f} % of the work, {100 * exit.accuracy:.0f} % right out of fold")
print(exeunt.Runner(me).classify(pixels(photo)))
