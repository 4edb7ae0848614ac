# SPDX-License-Identifier: Apache-2.0
"""Another camera: darker, of another colour, sometimes out of focus, noisy. One camera a person, the same in every study."""
import zlib
from dataclasses import dataclass, replace

import numpy as np

from .networks import SIZE

GAIN, CAST, RADIUS, NOISE = (0.36, 0.58), (0.6, 1.2), (2.0, 3.0), (7.0, 14.0)
BLURRED = 5 / 8  # share of the cameras that blur


@dataclass(frozen=True)
class Camera:
    gain: tuple  # red, green, blue: light times colour cast
    radius: float  # of the Gaussian blur, in pixels as the network sees them; 0: sharp
    noise: float  # deviation in grey levels


def draw(name):
    rng = np.random.default_rng(zlib.crc32(f"camera/{name}".encode()))
    light = rng.uniform(*GAIN)
    gain = tuple(float(light * cast) for cast in rng.uniform(*CAST, 3))
    radius = float(rng.uniform(*RADIUS)) if rng.random() < BLURRED else 0.0
    return Camera(gain, radius, float(rng.uniform(*NOISE)))


def take(camera, source, out):
    """Writes the photo `source` as this camera would have taken it to the open file `out`, as PNG."""
    from PIL import Image, ImageFilter, ImageOps
    with Image.open(source) as photo:
        photo = ImageOps.exif_transpose(photo).convert("RGB")
    if camera.radius:
        photo = photo.filter(ImageFilter.GaussianBlur(camera.radius * min(photo.size) / SIZE))
    grey = np.asarray(photo, np.float32) * np.float32(camera.gain)
    grey += np.random.default_rng(zlib.crc32(source.name.encode())).normal(0, camera.noise, grey.shape)
    Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8)).save(out, "PNG", compress_level=1)


def retake(person, folder):
    """The person with every photo retaken under folder/<person>/<class>/; photos that are there already stay."""
    camera, photos = draw(person.name), []
    for photo in person.photos:
        target = folder / person.name / photo.label / (photo.path.stem + ".png")
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            unfinished = target.with_suffix(".part")
            with open(unfinished, "wb") as out:
                take(camera, photo.path, out)
            unfinished.replace(target)
        photos.append(replace(photo, path=target))
    return replace(person, photos=tuple(photos))
