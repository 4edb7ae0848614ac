#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Personalises in the background of an asyncio program, which goes on answering with what it has; then swaps.

    background.py network.onnx pictures.npy labels.npy

pictures: uint8 (N, height, width) or (N, height, width, 3); labels: int64 (N,), -1 where it is not known. What computes releases
the interpreter's lock, so one thread each is all that it takes."""
import asyncio
import sys

import exeunt
import numpy as np


async def answer(current, pictures, done):
    """Classifies all the while, in a thread, with whatever runner is current."""
    answers = 0
    while not done.is_set():
        await asyncio.to_thread(current["runner"].classify, pictures[answers % len(pictures)])
        answers += 1
    return answers


async def main(network, pictures, labels):
    pictures, labels = np.load(pictures), np.load(labels)
    model, done = exeunt.Model(network), asyncio.Event()
    # A profile belongs to the runners made from it: the one that learns is another.
    current = {"runner": exeunt.Runner(exeunt.Profile.create(model))}
    answering = asyncio.create_task(answer(current, pictures, done))
    me = exeunt.Profile.create(model)
    samples = [(picture, None if label < 0 else int(label)) for picture, label in zip(pictures, labels)]
    await asyncio.to_thread(exeunt.personalise, me, samples, costs="macs")
    current["runner"] = exeunt.Runner(me)
    done.set()
    print(f"{await answering} pictures answered meanwhile; now: {current['runner'].classify(pictures[0])}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
