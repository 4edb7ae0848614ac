# SPDX-License-Identifier: Apache-2.0
"""The exeunt program and what it says: every figure of the study that is about exits comes through here."""
import functools
import hashlib
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import StudyError


HEAD_LEAST = 0.002  # share of the way to its tap that a head costs at least, whatever the clock's jitter says


@dataclass(frozen=True)
class Program:
    path: Path

    def run(self, *words):
        """What a command with --json prints. Fails with the program's own line."""
        command = [str(self.path), *map(str, words), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StudyError(f"{' '.join(command)}: exit status {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def has(self, command, option):
        return re.search(rf"{re.escape(option)}\b", help_of(self.path, command)) is not None

    def digest(self):
        """Tells builds apart: results of two are not to be mixed."""
        return hashlib.sha256(self.path.read_bytes()).hexdigest()[:16]


@functools.lru_cache(maxsize=None)
def help_of(path, command):
    return subprocess.run([path, command, "--help"], capture_output=True, text=True, check=False).stdout


def find(path):
    path = Path(os.path.abspath(path))
    if not os.access(path, os.X_OK):
        raise StudyError(f"{path}: no such program: build it first, or name it with --exeunt")
    return Program(path)


@dataclass(frozen=True)
class Costs:
    """Milliseconds of the cost table: backbone until each exit, each exit's own head, the last exit being the whole network."""
    reach: np.ndarray
    head: np.ndarray

    @property
    def full(self):
        return float(self.reach[-1])

    def cascade(self, enabled):
        """Until each exit decides, with the heads of enabled exits paid on the way (its own in any case)."""
        paid = np.where(enabled, self.head, 0)
        return self.reach + np.cumsum(paid) - paid + self.head

    def static(self):
        """Of the network cut at each exit, with no other head."""
        return self.reach + self.head


def read_costs(path):
    table = json.loads(Path(path).read_text(encoding="utf-8"))
    until = np.array([*table["exits"], table["full"]], float)
    head = np.array([*table["heads"], 0.0])
    return Costs(until - head, head)


def read_exits(program, profile):
    """What the costs of a profile's exits depend on: where each stands, and its kind."""
    return [[exit["tap"], exit["kind"]] for exit in program.run("profile", "show", profile)["exits"]]


def read_exits_of_costs(path):
    return json.loads(Path(path).read_text(encoding="utf-8")).get("of")


def measure_costs(program, profile, model, photos, path, exits, rounds=8):
    """The cost table of a profile: the network cut at each exit, with that exit's head and without any. Least of several medians,
    for the clock only ever adds; wants a machine that does nothing else. `photos`: a small folder; `exits`: by read_exits."""
    looks, bare = [], []
    for _ in range(rounds):
        looks.append(program.run("evaluate", profile, photos))
        bare.append([program.run("bench", model, "--cut", exit["tap"], "--seconds", "0.1")["median_ms"]
                     for exit in looks[0]["exits"][:-1]])
    until = np.min([[exit["cut_ms"] for exit in look["exits"][:-1]] for look in looks], axis=0)
    heads = np.maximum(until - np.min(bare, axis=0), HEAD_LEAST * until)
    table = {"schema": "exeunt.costs/1", "exits": until.tolist(), "full": min(look["full"]["median_ms"] for look in looks),
             "heads": heads.tolist(), "of": exits}
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Answers:
    """Logits of photos in the order of their indices, and the program's report beside them."""
    exits: np.ndarray  # [photos][exits][classes]
    untouched: np.ndarray  # [photos][classes]
    label: np.ndarray  # -1: none
    points: dict  # operating point -> Point; none of pools
    report: dict


@dataclass(frozen=True)
class Point:
    """What the program's policy does with each photo."""
    enabled: np.ndarray  # [exits]
    taken: np.ndarray
    answer: np.ndarray
    last: np.ndarray  # the last exit's, with what it hears from the others


def read_dump(path, report):
    """The array of --dump with `photos[]` of the report, sorted by the index that people.lay_out gave each name."""
    logits = np.load(path)
    photos = report["photos"]
    if logits.ndim != 3 or len(photos) != len(logits):
        raise StudyError(f"{path}: {logits.shape} logits for {len(photos)} photos")
    order = np.argsort([int(Path(photo["file"]).stem) for photo in photos])
    photos = [photos[i] for i in order]
    label = np.array([photo["label"] for photo in photos], int)
    points = {entry["target"]: read_point(entry, photos) for entry in report.get("targets", ())}
    return Answers(logits[order, :-1], logits[order, -1], label, points, report)


def read_point(entry, photos):
    mine = [photo["targets"][entry["target"]] for photo in photos]
    return Point(np.array([threshold is not None for threshold in entry["thresholds"]]),
                 *(np.array([leaving[key] for leaving in mine], int) for key in ("exit", "answer", "last")))


def personalise(program, profile, known, unknown, cache, costs, dump, options=()):
    """Teaches a profile; the pool's out-of-fold logits come back. known or unknown may be None, not both."""
    words = ["personalise", profile, known or unknown, "--holdout", "0", "--no-measure", "--costs", costs, "--cache", cache,
             "--dump", dump, *options]
    if known and unknown:
        words += ["--unlabelled", unknown]
    return read_dump(dump, program.run(*words))


def evaluate(program, profile, test, cache, costs, dump):
    return read_dump(dump, program.run("evaluate", profile, test, "--cache", cache, "--costs", costs, "--dump", dump))
