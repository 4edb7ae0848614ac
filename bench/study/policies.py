# SPDX-License-Identifier: Apache-2.0
"""Ways of leaving early, all on the same logits: what each answers and what it costs, photo by photo.

Confidences are arrays [photos][exits], the last exit being the whole network, which takes what is left. What a way is free to
choose (a threshold, a patience) it chooses on the pool's out-of-fold logits, before any test photo is looked at."""
import functools
from dataclasses import dataclass

import numpy as np

from .probes import softmax

GRID = np.round(np.concatenate([np.arange(0.3, 0.9, 0.05), np.arange(0.9, 1.0, 0.01), [0.995, 0.999, 1.01]]), 3)
DROP = 0.01  # how far below its target a choice may stay on the photos that it is made on
EARLYON_GRID = (0.99, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6, 0.5)


@dataclass(frozen=True)
class Stand:
    """What all exits say about some photos. reference: the labels, or the untouched network's answers where labels are too
    few."""
    logits: np.ndarray  # [photos][exits][classes]
    reference: np.ndarray

    @functools.cached_property
    def answers(self):
        return self.logits.argmax(2)

    @property
    def last_accuracy(self):
        return float((self.answers[:, -1] == self.reference).mean())

    @functools.cached_property
    def temperatures(self):
        """One an exit, by log-loss on a grid."""
        grid = np.exp(np.linspace(np.log(0.25), np.log(4), 41))
        rows = np.arange(len(self.reference))
        loss = [[-np.log(softmax(self.logits[:, e] / t)[rows, self.reference] + 1e-12).mean() for t in grid]
                for e in range(self.logits.shape[1])]
        return grid[np.argmin(loss, axis=1)]


def leave(confidence, thresholds):
    """The first exit whose confidence reaches its threshold, else the last."""
    sure = confidence >= np.asarray(thresholds)
    sure[:, -1] = True
    return sure.argmax(1)


def pick(answers, taken):
    return answers[np.arange(taken.shape[-1]), taken]


def shares(logits, temperature=1.0):
    """Softmax of [photos][exits][classes] logits; one temperature, or one an exit."""
    return softmax(logits / np.asarray(temperature, float).reshape(1, -1, 1))


def ensemble(logits):
    """Zero Time Waste's idea without its training: an exit's answer is the geometric mean of what all exits so far say."""
    log = np.log(shares(logits) + 1e-9)
    mean = np.cumsum(log, axis=1) / np.arange(1, log.shape[1] + 1).reshape(1, -1, 1)
    return softmax(mean)


def agreeing(answers):
    """For every exit, how many exits in a row up to it say the same."""
    run = np.ones(answers.shape, int)
    for e in range(1, answers.shape[1]):
        run[:, e] = np.where(answers[:, e] == answers[:, e - 1], run[:, e - 1] + 1, 1)
    return run


class Confidence:
    """One threshold on the softmax for all exits, as in Shallow-Deep Networks (SDN)."""

    def __init__(self, shares_of=shares):
        self.shares_of = shares_of  # of logits

    def settings(self, exits):
        return GRID

    def look(self, logits):
        """(what a setting is compared with, answers), each [photos][exits]."""
        said = self.shares_of(logits)
        return said.max(2), said.argmax(2)


class Patience:
    """Leave once so many exits in a row agree (PABEE)."""

    def settings(self, exits):
        return range(1, exits + 1)

    def look(self, logits):
        answers = logits.argmax(2)
        return agreeing(answers), answers


def outcomes(way, stand, cost):
    """(setting, accuracy, mean cost) of everything that a way may choose for a pool, by its out-of-fold logits."""
    seen, answers = way.look(stand.logits)
    found = []
    for setting in way.settings(seen.shape[1]):
        taken = leave(seen, np.full(seen.shape[1], setting))
        found.append((setting, (pick(answers, taken) == stand.reference).mean(), cost[taken].mean()))
    return found


def cheapest(found, target):
    """The setting of least mean cost whose accuracy stays within DROP of the target; None where none does."""
    good = [outcome for outcome in found if outcome[1] >= target - DROP - 1e-9]
    return min(good, key=lambda outcome: outcome[2])[0] if good else None


def apply(way, logits, setting, cost):
    """(answers, milliseconds) on test photos; without a setting everything goes to the last exit."""
    if setting is None:
        return logits[:, -1].argmax(1), np.full(len(logits), cost[-1])
    seen, answers = way.look(logits)
    taken = leave(seen, np.full(seen.shape[1], setting))
    return pick(answers, taken), cost[taken]


def search_earlyon(stand, costs, target):
    """The threshold search of earlyon 0.3.0 (calibrate_thresholds), written anew: exit by exit from the first, the lowest
    threshold of its grid with which accuracy drops by no more than a point and something is saved; exits without one stay
    off. Its drop counts from the last exit; `target` may set another floor. Returns (temperatures, thresholds); 2: off."""
    temperature = stand.temperatures
    confidence = shares(stand.logits, temperature).max(2)
    exits = confidence.shape[1]
    thresholds = np.full(exits, 2.0)

    def outcome(trial):
        taken = leave(confidence, trial)
        return (pick(stand.answers, taken) == stand.reference).mean(), costs.cascade(trial < 2)[taken].mean()

    for e in range(exits - 1):
        best, without = thresholds, outcome(thresholds)[1]
        for threshold in EARLYON_GRID:
            trial = thresholds.copy()
            trial[e] = threshold
            accuracy, cost = outcome(trial)
            if accuracy >= target - DROP - 1e-9 and cost < without:
                best = trial
        thresholds = best
    return temperature, thresholds


def uses(exits):
    """(which exits look, where the network ends) of every policy with one threshold: any early exits, with the rest of the
    network behind them or cut at the deepest."""
    early = exits - 1
    for subset in range(1 << early):
        enabled = np.array([bool(subset >> e & 1) for e in range(early)] + [True])
        yield enabled, early
        if subset:
            deepest = int(np.flatnonzero(enabled[:-1]).max())
            yield np.where(np.arange(exits) <= deepest, enabled, False), deepest


def surface(logits, temperature, label, costs):
    """[uses][GRID][2]: accuracy and mean milliseconds on test photos. An oracle reads what it likes from this."""
    said = shares(logits, temperature)
    answers, confidence = said.argmax(2), said.max(2)
    right = answers == label[:, None]
    found = []
    for enabled, end in uses(logits.shape[1]):
        looked = np.where(enabled, confidence, -1)
        looked[:, end] = 2
        taken = (looked >= GRID[:, None, None]).argmax(2)  # [GRID][photos]
        found.append(np.stack([pick(right, taken).mean(1), costs.cascade(enabled)[taken].mean(1)], axis=1))
    return np.stack(found)


def envelope(points):
    """Of (accuracy, milliseconds) rows those that nothing cheaper beats, cheapest first."""
    order = points[np.lexsort((-points[:, 0], points[:, 1]))]
    best = np.maximum.accumulate(order[:, 0])
    return order[np.r_[True, best[1:] > best[:-1]]]
