# SPDX-License-Identifier: Apache-2.0
"""The scenarios and what each needs before anybody is personalised: people, general exits, a cost table, features."""
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from . import StudyError, camera, features, networks, people, probes, profiles, program
from .networks import Network
from .work import Scenario

DEVELOPMENT = ("u48", "u322", "u41", "u291", "u8", "u45", "u46", "u361")  # never in the general data
PHOTOS_LEAST = 80  # of a wardrobe person
SHOPPERS = 16
COST_PHOTOS = 12

# Chosen by looking at the development people; by work, so that the same profile comes out everywhere.
WARDROBE_EXITS = ("--head", "conv", "--at", "add,add_1,add_3,add_4,add_5,add_6,add_8", "--costs", "macs")
GROCERY_EXITS = ("--head", "conv", "--at", "getitem_15,add,add_1,add_3,add_5,add_8", "--costs", "macs")
SEEDS = {"wardrobe": 10, "camera": 10, "shopper": 5, "mobilenet": 5}  # splits of everybody's photos, of each cell alike
NAMES = tuple(SEEDS)


@dataclass(frozen=True)
class Source:
    """Where a scenario's photos and network come from."""
    network: Network
    people: tuple
    general: Path  # folder of class folders, or of people
    general_people: bool
    drawn: bool = False


@dataclass(frozen=True)
class Preparation:
    program: program.Program
    data: Path
    out: Path
    attach: tuple  # words for exeunt attach instead of the network's own about its exits
    heads: Path = None  # folder of general profiles, NETWORK.safetensors each, in the place of pretraining; None: none
    remeasure: bool = False  # cost tables, even where there are some
    normalise: bool = True  # the input-normalised yardstick is wanted: it runs the network anew for every pool

    def folder(self, network):
        return self.out / "general" / network.name


# ---- sources ----


def wardrobe_network(data):
    return Network("wardrobe_lite0", data / "models/wardrobe_lite0.onnx", data / "models/wardrobe_classes.txt", "127", "128",
                   WARDROBE_EXITS)


def general_wardrobe(prep):
    """Links to everybody who is not a development person: people/<class>/photo."""
    root, folder = prep.data / "clothing192", prep.out / "general/clothing"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        for person in sorted(p for p in root.iterdir() if p.is_dir() and p.name not in DEVELOPMENT):
            (part / person.name).symlink_to(person.resolve())
        part.rename(folder)
    return folder


def wardrobe(prep):
    root = prep.data / "clothing192"
    everybody = people.read_people(root, people.read_twins(root / "twins.csv"), DEVELOPMENT)
    enough = tuple(person for person in everybody if len(person.photos) >= PHOTOS_LEAST)
    return Source(wardrobe_network(prep.data), enough, general_wardrobe(prep), True)


def changed_camera(prep):
    source = wardrobe(prep)
    return replace(source, people=tuple(camera.retake(person, prep.out / "photos") for person in source.people))


def shopper(prep):
    root = prep.data / "grocery192"
    network = Network("grocery_lite0", prep.data / "models/grocery_lite0.onnx", prep.data / "models/grocery_classes.txt",
                      "127", "128", GROCERY_EXITS)
    drawn = people.draw_shoppers(root / "people", root, people.read_twins(root / "twins.csv"), SHOPPERS)
    return Source(network, tuple(drawn), root / "general", False, drawn=True)


def mobilenet(prep):
    """The wardrobe people with MobileNetV2, whose last layer is fitted on the general photos' features."""
    source = wardrobe(prep)
    plain = Network("mobilenet_v2", prep.data / "models/mobilenet_v2.onnx", source.network.classes, "127.5", "127.5")
    model = prep.out / "networks" / "mobilenet_v2.onnx"  # not beside its profile, copies of which name it relatively
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        refit(prep, plain, general_photos(source), model)
    return replace(source, network=replace(plain, model=model))


SOURCES = {"wardrobe": wardrobe, "camera": changed_camera, "shopper": shopper, "mobilenet": mobilenet}


def general_photos(source):
    if source.general_people:
        return [photo for person in people.read_people(source.general, {}) for photo in person.photos]
    return [photo for kind in sorted(source.general.iterdir()) if kind.is_dir()
            for photo in people.read_class(kind, source.general, {})]


def refit(prep, network, photos, target):
    """Writes `network` with a last layer for its classes, fitted on frozen features of these photos."""
    trunk = target.with_suffix(".trunk.onnx")
    networks.write_trunk(network, trunk)
    label = np.array([network.names().index(photo.label) for photo in photos])
    rows = [features.extract(prep.program, network, trunk, photos, mirrored) for mirrored in (False, True)]
    weight, bias = probes.fit_linear(np.concatenate(rows), np.tile(label, len(rows)), len(network.names()), rate=3e-3,
                                     decay=0.05, steps=400)
    networks.write_refitted(network, weight, bias, target)


# ---- preparing ----


def take_given(prep, network, profile):
    """Makes `profile` of what --heads has for a network, if anything."""
    given = prep.heads and prep.heads / f"{network.name}.safetensors"
    if not given or not given.exists():
        return
    if not profile.exists():
        profile.symlink_to(profiles.copy(given, network.model, profile.parent / "given").relative_to(profile.parent))
    if profiles.digest(profile) != profiles.digest(given):
        raise StudyError(f"{profile}: other exits than {given}: give a new --out")


def attach(prep, source):
    """The profile whose exits learnt from general photos; made once."""
    network = source.network
    profile = prep.folder(network) / "profile.safetensors"
    profile.parent.mkdir(parents=True, exist_ok=True)
    take_given(prep, network, profile)
    if profile.exists():
        return profile
    words = ["attach", network.model, "-o", profile.with_name("part.safetensors"), *network.attach_words(),
             *(prep.attach or network.exits)]
    if prep.program.has("attach", "--pretrain") and source.general is not None:
        words += ["--pretrain", source.general] + (["--people"] if source.general_people else [])
    prep.program.run(*words)
    profile.with_name("part.safetensors").rename(profile)
    return profile


def measure(prep, source, profile):
    """The cost table of a network, measured once unless it is wanted anew or is of other exits."""
    path = prep.folder(source.network) / "costs.json"
    exits = program.read_exits(prep.program, profile)
    if prep.remeasure or not path.exists() or program.read_exits_of_costs(path) != exits:
        photos = prep.out / "work" / "costs" / source.network.name
        shutil.rmtree(photos, ignore_errors=True)
        people.lay_out(source.people[0].photos[:COST_PHOTOS], photos, by_class=False)  # costs know no labels
        program.measure_costs(prep.program, profile, source.network.model, photos, path, exits)
        shutil.rmtree(photos)
    return path


def yardstick_features(prep, name, source):
    """(features of all photos, general moments); (None, None) where the packages for it are missing or the network is no
    ordinary one."""
    try:
        import onnx  # noqa: F401
        import PIL  # noqa: F401
    except ImportError as missing:
        print(f"study: {missing}: no nearest neighbours, probes and input normalisation as yardsticks")
        return None, None
    if not networks.is_usual(source.network):
        print(f"study: {source.network.model}: takes no colour photos of {networks.SIZE} pixels: fewer yardsticks")
        return None, None
    path = prep.out / "general" / f"features-{name}.npz"
    trunk = prep.folder(source.network) / "trunk.onnx"
    if not trunk.exists():
        networks.write_trunk(source.network, trunk)
    photos = {str(photo.path): photo for person in source.people for photo in person.photos}
    features.cached(path, list(photos.values()),
                    lambda missing: features.extract(prep.program, source.network, trunk, missing))
    known = general_photos(source) if prep.normalise and source.general is not None else None
    return path, features.general_moments(known) if known else None


def prepare(prep, name, own=None):
    """Everything for one scenario; what is there already is not made again."""
    source = own or SOURCES[name](prep)
    if not source.people:
        raise StudyError(f"{name}: nobody has enough photos")
    profile = attach(prep, source)
    costs = measure(prep, source, profile)
    path, moments = yardstick_features(prep, name, source)
    return Scenario(name, source.network, source.people, source.drawn, profile, costs, path, moments)
