# SPDX-License-Identifier: Apache-2.0
"""What the untouched network sees in photos: features before its last layer, computed by the program, kept in files. Yardsticks
(nearest neighbour, probes, input normalisation) stand on them; the exits do not."""
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import networks

BATCH = 64
MOMENT_PHOTOS = 400  # general photos that the grey levels' mean and deviation are taken from


def run_network(program, model, inputs):
    """Output (N, F) of a network for inputs (N, C, H, W)."""
    with tempfile.TemporaryDirectory(prefix="exeunt-study-") as folder:
        given, out = Path(folder, "in.npy"), Path(folder, "out.npy")
        np.save(given, inputs)
        program.run("run", model, given, "-o", out)
        return np.load(out)


def extract(program, network, trunk, photos, mirrored=False):
    """(photos, F) features; `trunk` is the network without its last layer."""
    rows = []
    for begin in range(0, len(photos), BATCH):
        grey = np.stack([networks.pixels(photo.path) for photo in photos[begin:begin + BATCH]])
        if mirrored:
            grey = grey[:, :, ::-1]
        rows.append(run_network(program, trunk, networks.as_input(network, grey)))
    return np.concatenate(rows)


def cached(path, photos, compute):
    """features of photos by path, computed for those that the file does not hold yet."""
    known = {}
    if path.exists():
        with np.load(path) as held:
            known = dict(zip(held["paths"].tolist(), held["features"]))
    missing = [photo for photo in photos if str(photo.path) not in known]
    if missing:
        known.update(zip((str(photo.path) for photo in missing), compute(missing)))
        part = path.with_suffix(".part.npz")
        np.savez(part, paths=np.array(list(known)), features=np.stack(list(known.values())))
        part.replace(path)
    return known


@dataclass(frozen=True)
class Moments:
    """Of each channel's grey levels."""
    mean: np.ndarray
    deviation: np.ndarray


def moments(photos):
    total, squares, count = np.zeros(3), np.zeros(3), 0
    for photo in photos:
        grey = networks.pixels(photo.path).reshape(-1, 3).astype(float)
        total, squares, count = total + grey.sum(0), squares + (grey**2).sum(0), count + len(grey)
    mean = total / count
    return Moments(mean, np.sqrt(np.maximum(squares / count - mean**2, 1e-6)))


def general_moments(photos):
    """Of an even sample of the general photos."""
    return moments(photos[::max(1, len(photos) // MOMENT_PHOTOS)])


def normalised_logits(program, network, photos, pool, general):
    """The untouched network's logits when each channel of the person's photos is brought to the general mean and deviation; the
    person's own are those of the pool, labels unseen."""
    own, rows = moments(pool), []
    gain = general.deviation / own.deviation
    for begin in range(0, len(photos), BATCH):
        grey = np.stack([networks.pixels(photo.path) for photo in photos[begin:begin + BATCH]])
        rows.append(run_network(program, network.model, networks.as_input(network, (grey - own.mean) * gain + general.mean)))
    return np.concatenate(rows)
