# SPDX-License-Identifier: Apache-2.0
"""Means with intervals, over people or over classes, and the test of doing no harm. Shares in, shares out (0.01 is a point)."""
import functools
from dataclasses import dataclass

import numpy as np

DRAWS = 4000
LEVEL = 0.9  # of every interval, two-sided, unless a function says otherwise
HARM_PERSON = -0.015  # a person whose one-sided upper limit is below this is harmed
HARM_MEAN = -0.005  # where the mean's lower limit has to be at least


@dataclass(frozen=True)
class Interval:
    mean: float
    low: float
    high: float


def _interval(mean, draws, level):
    tail = 100 * (1 - level) / 2
    low, high = np.percentile(draws, [tail, 100 - tail])
    return Interval(float(mean), float(low), float(high))


def over_people(values, level=LEVEL, draws=DRAWS, seed=1):
    """values: one figure a person. The interval of their mean when people are drawn anew."""
    values = np.asarray(values, float)
    if values.size == 0:
        raise ValueError("no people")
    picks = np.random.default_rng(seed).integers(0, values.size, (draws, values.size))
    return _interval(values.mean(), values[picks].mean(axis=1), level)


def ratio(tops, bottoms, level=LEVEL, draws=DRAWS, seed=1):
    """One of each a person: the interval of mean over mean when people are drawn anew."""
    tops, bottoms = np.asarray(tops, float), np.asarray(bottoms, float)
    picks = np.random.default_rng(seed).integers(0, tops.size, (draws, tops.size))
    return _interval(tops.mean() / bottoms.mean(), tops[picks].mean(axis=1) / bottoms[picks].mean(axis=1), level)


@functools.lru_cache(maxsize=8)
def _drawn(classes, draws, seed):
    """[draws][classes]: how often each class is in each draw of so many."""
    return np.random.default_rng(seed).multinomial(classes, [1 / classes] * classes, draws)


def over_classes(people, level=LEVEL, draws=DRAWS, seed=1):
    """people: one (figure per photo, class per photo) a person; classes are integers shared by all. The interval of the mean over
    people of each one's mean over photos, when classes are drawn anew: for people who are made of the same classes."""
    classes = sorted({int(c) for _, kinds in people for c in np.unique(kinds)})
    place = {c: i for i, c in enumerate(classes)}
    sums = np.zeros((len(people), len(classes)))
    counts = np.zeros_like(sums)
    for row, (figures, kinds) in enumerate(people):
        index = np.array([place[int(c)] for c in kinds])
        np.add.at(sums[row], index, np.asarray(figures, float))
        np.add.at(counts[row], index, 1)
    weights = _drawn(len(classes), draws, seed)
    photos = weights @ counts.T  # [draws][people]
    met = photos > 0  # a draw may miss all classes of a person
    shares = np.where(met, weights @ sums.T / np.maximum(photos, 1), 0)
    return _interval((sums.sum(1) / counts.sum(1)).mean(), shares.sum(1) / np.maximum(met.sum(1), 1), level)


def upper_limit(differences, level=LEVEL, draws=DRAWS, seed=1):
    """differences: after minus before, photo by photo (paired). Where their mean lies at most, with this one-sided confidence."""
    differences = np.asarray(differences, float)
    picks = np.random.default_rng(seed).integers(0, differences.size, (draws, differences.size))
    return float(np.percentile(differences[picks].mean(axis=1), 100 * level))


@dataclass(frozen=True)
class Harm:
    mean: Interval
    worst: str  # the person with the lowest upper limit
    worst_limit: float
    harmed: tuple  # names

    @property
    def none(self):
        return not self.harmed and self.mean.low >= HARM_MEAN


def harm(people, mean):
    """people: name -> paired differences of that person's photos; mean: the Interval of the mean over people."""
    limits = {name: upper_limit(differences) for name, differences in people.items()}
    worst = min(limits, key=limits.get)
    harmed = tuple(sorted(name for name, limit in limits.items() if limit < HARM_PERSON))
    return Harm(mean, worst, limits[worst], harmed)


def spread(values):
    """least, quartiles and largest of one figure a person."""
    return [float(v) for v in np.percentile(np.asarray(values, float), [0, 25, 50, 75, 100])]
