# SPDX-License-Identifier: Apache-2.0
"""Runs gathered into cells: one scenario, split, labelled share and pool size; over people and seeds."""
import functools
import json
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from . import policies, statistics


@dataclass(frozen=True)
class Key:
    scenario: str
    split: str
    share: int
    size: int
    variant: str = ""


@dataclass(frozen=True)
class Photos:
    """Those of one person that some run tests: the figures of all runs by photo."""
    kinds: np.ndarray  # class of each photo
    runs: list  # (run, the places of its photos)

    def mean(self, figures):
        """Of one figure a photo of each run: by photo, over the runs that test it."""
        sums, counts = np.zeros(len(self.kinds)), np.zeros(len(self.kinds))
        for (_, place), figure in zip(self.runs, figures):
            sums[place] += figure
            counts[place] += 1
        return sums / counts


@dataclass
class Cell:
    key: Key
    drawn: bool  # people share classes: intervals are over classes
    runs: list = field(default_factory=list)  # records with "arrays"; no more are added once something was asked
    told: dict = field(default_factory=dict, compare=False)  # intervals asked for so far: every table asks again

    @property
    def people(self):
        return sorted({run["person"] for run in self.runs})

    def methods(self):
        """Those that everybody has in some run (not all are run with every seed), in the order of the first run."""
        return [m for m in self.runs[0]["methods"] if len(self.having(m).people) == len(self.people)]

    def having(self, method):
        """The same cell with the runs alone that this method took part in."""
        runs = [run for run in self.runs if method in run["methods"]]
        return self if len(runs) == len(self.runs) else Cell(self.key, self.drawn, runs)

    def of_person(self, method, figure):
        """person -> mean over seeds; figure: accuracy or ms."""
        found = defaultdict(list)
        for run in self.runs:
            found[run["person"]].append(run["methods"][method][figure])
        return {person: float(np.mean(values)) for person, values in sorted(found.items())}

    def right(self, run, method):
        arrays = run["arrays"]
        return arrays["right"][arrays["methods"].tolist().index(method)].astype(float)

    @functools.cached_property
    def photos(self):
        """person -> Photos."""
        places, kinds, runs = defaultdict(dict), defaultdict(list), defaultdict(list)
        for run in self.runs:
            person, arrays = run["person"], run["arrays"]
            mine = places[person]
            for photo, label in zip(arrays["photos"].tolist(), arrays["label"].tolist()):
                if mine.setdefault(photo, len(mine)) == len(kinds[person]):
                    kinds[person].append(label)
            runs[person].append((run, np.array([mine[photo] for photo in arrays["photos"].tolist()])))
        return {person: Photos(np.array(kinds[person]), runs[person]) for person in sorted(runs)}

    def paired(self, method, other):
        """person -> (method minus other for every photo, mean over the seeds that test it; class of the photo)."""
        return {person: (photos.mean([self.right(run, method) - (self.right(run, other) if other else 0)
                                      for run, _ in photos.runs]), photos.kinds)
                for person, photos in self.photos.items()}

    def interval(self, method, other=None):
        """The mean over people of a method's accuracy, or of how much it is above another's, with its interval."""
        if (method, other) not in self.told:
            self.told[method, other] = self._interval(method, other)
        return self.told[method, other]

    def _interval(self, method, other):
        if self.drawn:
            return statistics.over_classes(list(self.paired(method, other).values()))
        mine = self.of_person(method, "accuracy")
        theirs = self.of_person(other, "accuracy") if other else dict.fromkeys(mine, 0.0)
        return statistics.over_people([mine[person] - theirs[person] for person in mine])

    def speedups(self, method):
        """Mean over mean: the whole network's milliseconds over this method's; its interval over people."""
        return statistics.ratio(*(list(self.of_person(name, "ms").values()) for name in ("untouched", method)))

    def speedup(self, method):
        return self.speedups(method).mean

    def harm(self, method, other="untouched"):
        return statistics.harm({person: differences for person, (differences, _) in self.paired(method, other).items()},
                               self.interval(method, other))

    @functools.cached_property
    def curve(self):
        """(accuracy, milliseconds) rows: the best that one choice of exits and threshold for all people gives on average, for who
        knows the test photos."""
        of = defaultdict(list)
        for run in self.runs:
            of[run["person"]].append(run["arrays"]["oracle"])
        surface = np.mean([np.mean(surfaces, axis=0) for surfaces in of.values()], axis=0)
        return policies.envelope(surface.reshape(-1, 2))

    def oracle(self, target):
        """The curve's speed-up at this accuracy; None: nowhere."""
        curve = self.curve
        good = curve[curve[:, 0] >= target - 1e-9]
        full = np.mean(list(self.of_person("untouched", "ms").values()))
        return float(full / good[:, 1].min()) if len(good) else None

    def cuts(self):
        """(name, mean accuracy, speed-up) of every static cut."""
        names = [m for m in self.methods() if m.startswith("exit") or m == "last"]
        return [(name, self.interval(name).mean, self.speedup(name)) for name in names]

    def best_static(self, target):
        """The static cut of most speed whose mean accuracy has the target (an oracle, too), or None."""
        good = [cut for cut in self.cuts() if cut[1] >= target - 1e-9]
        return max(good, key=lambda cut: cut[2]) if good else None

    def mixed_static(self, speedup):
        """The best mean accuracy of static cuts this fast, or of two of them, each for a share of the photos; None: none is."""
        points = [(1 / speed, accuracy) for _, accuracy, speed in self.cuts()]
        cost, found = 1 / speedup, []
        for cheap, low in points:
            for dear, high in points:
                if cheap <= cost <= dear:
                    found.append(low + (high - low) * ((cost - cheap) / (dear - cheap) if dear > cheap else 0))
        return max(found, default=None)

    @property
    def splits(self):
        """Everybody's: who, by which seed."""
        return {(run["person"], run["seed"]) for run in self.runs}

    def of(self, splits):
        """The same cell with the runs of these splits alone."""
        return Cell(self.key, self.drawn, [run for run in self.runs if (run["person"], run["seed"]) in splits])


def alike(cells):
    """The same cells with the splits alone that all of them have, since only they compare; none where there are no such."""
    same = set.intersection(*(cell.splits for cell in cells))
    return [cell.of(same) for cell in cells] if same else []


def cohorts(cells):
    """cells: of one kind, sizes growing. Lists of cells of the same people and splits over all their sizes: first everybody, up to
    the size that everybody has photos for; then, over more sizes, ever fewer."""
    people = [set(cell.people) for cell in cells]
    for i, mine in enumerate(people):
        if i + 1 == len(people) or not mine <= people[i + 1]:
            same = alike(cells[:i + 1])
            if same:
                yield same


def kinds(cells):
    """(scenario, split, share) -> its cells without variants, sizes growing."""
    found = {}
    for key in sorted(cells, key=lambda k: (k.scenario, k.split, -k.share, k.size)):
        if not key.variant:
            found.setdefault((key.scenario, key.split, key.share), []).append(cells[key])
    return found


def read(out, drawn):
    """Key -> Cell of all finished runs under out/runs. drawn: names of the scenarios whose people share classes."""
    cells = {}
    for path in sorted(Path(out, "runs").glob("*/*/*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        with np.load(path.with_suffix(".npz")) as arrays:
            run["arrays"] = {name: arrays[name] for name in ("methods", "right", "label", "photos", "oracle")}
        key = Key(run["scenario"], run["split"], run["share"], run["size"], run["variant"])
        cells.setdefault(key, Cell(key, run["scenario"] in drawn)).runs.append(run)
    return cells
