# SPDX-License-Identifier: Apache-2.0
"""Whose photos they are, and which of them personalise and which test."""
import csv
import random
from dataclasses import dataclass
from pathlib import Path

from . import StudyError

SUFFIXES = {".jpg", ".jpeg", ".png"}
GROUP_MOST = 15  # a larger group of near twins never personalises
TEST_LEAST = 30  # photos that a person must have left to be tested on
SHOPPER_CLASSES = 12


@dataclass(frozen=True)
class Photo:
    path: Path
    label: str  # name of the class
    group: str  # near twins share it


@dataclass(frozen=True)
class Person:
    name: str
    photos: tuple


def read_twins(path):
    """photo (as written in the file) -> group."""
    with open(path, newline="", encoding="utf-8") as rows:
        return {row["photo"]: row["group"] for row in csv.DictReader(rows)}


def read_class(folder, root, twins):
    return [Photo(path, folder.name, twins.get(path.relative_to(root).as_posix(), str(path)))
            for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]


def read_people(root, twins, names=None):
    """Every folder of class folders under `root` is a person; or only those named."""
    folders = [root / name for name in names] if names else sorted(p for p in root.iterdir() if p.is_dir())
    people = []
    for folder in folders:
        if not folder.is_dir():
            raise StudyError(f"{folder}: no such person")
        kinds = sorted(p for p in folder.iterdir() if p.is_dir())
        people.append(Person(folder.name, tuple(photo for kind in kinds for photo in read_class(kind, root, twins))))
    return people


def draw_shoppers(root, data, twins, count):
    """People made of twelve random classes of `root`; the n-th is the same whatever `count` is. Twins are named from `data`."""
    kinds = sorted(p for p in root.iterdir() if p.is_dir())
    people = []
    for i in range(count):
        mine = sorted(random.Random(f"shopper/{i}").sample(kinds, SHOPPER_CLASSES))
        people.append(Person(f"s{i:02d}", tuple(photo for kind in mine for photo in read_class(kind, data, twins))))
    return people


@dataclass(frozen=True)
class Split:
    pools: dict  # size -> photos, each pool the beginning of the next
    test: tuple  # the same for every size


def reachable(person, sizes):
    return [size for size in sorted(sizes) if size + TEST_LEAST <= len(person.photos)]


def split(person, sizes, seed, together):
    """Pools of the reachable sizes, and what the largest leaves for testing. With `together` near twins stay on one side, and a
    large group of them is only tested on."""
    rng = random.Random(f"{person.name}/{seed}")
    groups = {}
    for photo in person.photos:
        groups.setdefault(photo.group if together else str(photo.path), []).append(photo)
    order = [groups[key] for key in sorted(groups) if not together or len(groups[key]) <= GROUP_MOST]
    rng.shuffle(order)
    pool, pools = [], {}
    for size in reachable(person, sizes):
        left = []
        for group in order:
            (pool.extend if len(pool) + len(group) <= size else left.append)(group)
        order = left
        if len(pool) == size:
            pools[size] = tuple(pool)
    taken = {photo.path for photo in pool}
    return Split(pools, tuple(photo for photo in person.photos if photo.path not in taken))


def labelled(pool, share):
    """(labelled, unlabelled) photos of a pool: evenly spread over it, so that pools nest in this too."""
    known = [int((i + 1) * share / 100) > int(i * share / 100) for i in range(len(pool))]
    return [p for p, k in zip(pool, known) if k], [p for p, k in zip(pool, known) if not k]


def lay_out(photos, folder, by_class=True, first=0):
    """Links to photos in class folders (or flat) under `folder`, which must not exist; named by index, from `first` on."""
    folder.mkdir(parents=True)
    for i, photo in enumerate(photos, first):
        place = folder / photo.label if by_class else folder
        place.mkdir(exist_ok=True)
        (place / f"{i:05d}{photo.path.suffix.lower()}").symlink_to(photo.path.resolve())
    return folder
