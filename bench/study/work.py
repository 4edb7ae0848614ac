# SPDX-License-Identifier: Apache-2.0
"""One person, one split of their photos, one size of the pool: everything that is measured there. Tasks know nothing of each
other, so they may run anywhere that sees the same photos; what they find they return."""
import contextlib
import fcntl
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import features, people, policies, probes, profiles
from .networks import Network
from .program import Costs, Program, evaluate, personalise, read_costs

LABELS_LEAST = 10  # fewer labels in a pool: the last exit's answers stand in for them in choices
NORMALISED_SEED = 1  # input normalisation as a yardstick runs the network anew over all test photos: once a pool is enough


@dataclass(frozen=True)
class Scenario:
    name: str
    network: Network
    people: tuple  # empty in a Task, which has its own
    drawn: bool  # people drawn from shared classes: intervals are over classes
    profile: Path  # general exits
    costs: Path
    features: Path  # None: yardsticks that need features are left out
    moments: features.Moments  # of general photos; None: no input normalisation as a yardstick


@dataclass(frozen=True)
class Study:
    program: Program
    out: Path
    sizes: tuple


@dataclass(frozen=True)
class Task:
    scenario: Scenario
    person: people.Person
    together: bool  # near twins
    seed: int
    size: int
    shares: tuple  # labelled, in percent
    variants: tuple = (("", ()),)  # (name, further words for personalise)

    @property
    def kind(self):
        return "twins" if self.together else "random"

    @property
    def name(self):
        return f"{self.kind}-seed{self.seed}-photos{self.size}"

    def stem(self, share, variant):
        """Of the two files of a run, below the folder of runs."""
        return Path(self.scenario.name, self.person.name, f"{self.name}-labelled{share}" + (f"-{variant}" if variant else ""))


@contextlib.contextmanager
def alone(path):
    """Tasks of one person share a feature cache, which has one user at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def runs(task):
    """(share, variant, its words) of everything to be run for a task."""
    return [(share, variant, words) for share in task.shares for variant, words in task.variants]


@dataclass(frozen=True)
class Setting:
    """What the runs of a task share."""
    study: Study
    task: Task
    pool: tuple  # photos
    test: tuple
    folder: Path  # for temporary files
    costs: Costs
    known: dict  # features of every photo by path, or None

    @property
    def cache(self):
        return self.study.out / "caches" / self.task.scenario.name / (self.task.person.name + ".cache")


# ---- the yardsticks that know no exits ----


def look_up(setting, photos):
    return np.stack([setting.known[str(photo.path)] for photo in photos])


def plain_yardsticks(setting, test, pool, pool_label, mine):
    """name -> answers; all cost what the untouched network costs."""
    seen = set(pool_label[pool_label >= 0].tolist())
    return {"untouched": test.untouched.argmax(1),
            "masked-true": probes.masked(test.untouched, mine),
            "masked-seen": probes.masked(test.untouched, seen),
            "prior": probes.prior_corrected(test.untouched, pool.untouched, pool_label)}


def look_up_label(scenario, photos):
    names = scenario.network.names()
    return np.array([names.index(photo.label) for photo in photos], int)


def feature_yardsticks(setting, test, known, label):
    """known: labelled photos of the pool, label: theirs."""
    if setting.known is None or not known:
        return {}
    train, later = look_up(setting, known), look_up(setting, setting.test)
    weight, bias = probes.fit_linear(train, label, test.untouched.shape[1])
    return {"nearest": probes.nearest(train, label, later), "probe": (later @ weight.T + bias).argmax(1)}


def normalised(setting, pool):
    """The untouched network's answers on the test photos, input normalised by the pool; None where moments are unknown."""
    scenario = setting.task.scenario
    if scenario.moments is None:
        return None
    return features.normalised_logits(setting.study.program, scenario.network, setting.test, pool,
                                      scenario.moments).argmax(1)


# ---- the ways of leaving early ----


def stands(pool, mine):
    """What choices are made on: out-of-fold logits with labels, or with the last exit's answers where labels are few. Also the
    shares of right answers that the targets ask for; `mine`: the person's classes, for the masked network's."""
    have = pool.label >= 0
    if have.sum() < LABELS_LEAST:
        return policies.Stand(pool.exits, pool.exits[:, -1].argmax(1)), dict.fromkeys(("untouched", "masked", "keep"), 1.0)
    stand = policies.Stand(pool.exits[have], pool.label[have])
    untouched, masked = (float((answers == stand.reference).mean()) for answers in
                         (pool.untouched[have].argmax(1), probes.masked(pool.untouched[have], mine)))
    return stand, {"untouched": untouched, "masked": masked, "keep": max(untouched, stand.last_accuracy)}


WAYS = {"sdn": policies.Confidence(), "ensemble": policies.Confidence(policies.ensemble), "patience": policies.Patience()}


def other_policies(pool, test, costs, mine):
    """name-target -> (answers, milliseconds) of the ways that others published."""
    stand, targets = stands(pool, mine)
    cost = costs.cascade(np.ones(len(costs.reach), bool))
    found = {}
    choices = {name: policies.outcomes(way, stand, cost) for name, way in WAYS.items()}
    for target, share in targets.items():
        for name, way in WAYS.items():
            found[f"{name}-{target}"] = policies.apply(way, test.exits, policies.cheapest(choices[name], share), cost)
        temperature, thresholds = policies.search_earlyon(stand, costs, share)
        taken = policies.leave(policies.shares(test.exits, temperature).max(2), thresholds)
        found[f"earlyon-{target}"] = (policies.pick(test.exits.argmax(2), taken), costs.cascade(thresholds < 2)[taken])
    return found


def static_cuts(test, costs):
    names = [f"exit{e}" for e in range(test.exits.shape[1] - 1)] + ["last"]
    cost, answers = costs.static(), test.exits.argmax(2)
    return {name: (answers[:, e], np.full(len(answers), cost[e])) for e, name in enumerate(names)}


def own_policy(test, costs):
    """policy-target -> (answers, milliseconds) of what the program decided; and of keep's last exit if nobody left before it."""
    found = {f"policy-{target}": (point.answer, costs.cascade(point.enabled)[point.taken])
             for target, point in test.points.items()}
    keep = test.points.get("keep")
    return found | ({"last-hearing": (keep.last, costs.cascade(keep.enabled)[-1])} if keep else {})


# ---- one run ----


def lay_out_pool(folder, known, unknown):
    """The two folders for personalise, None where empty; indices of file names go on from the first to the second."""
    return (people.lay_out(known, folder / "known") if known else None,
            people.lay_out(unknown, folder / "unknown", by_class=False, first=len(known)) if unknown else None)


def ask_program(setting, known, unknown, words):
    """Personalises a copy of the general profile and evaluates it. Returns the Answers on pool and test."""
    study, folder, scenario = setting.study, setting.folder, setting.task.scenario
    profile = profiles.copy(scenario.profile, scenario.network.model, folder)
    pool = personalise(study.program, profile, *lay_out_pool(folder, known, unknown), setting.cache, scenario.costs,
                       folder / "pool.npy", words)
    if not (folder / "test").exists():
        people.lay_out(setting.test, folder / "test")
    test = evaluate(study.program, profile, folder / "test", setting.cache, scenario.costs, folder / "test.npy")
    for name in ("known", "unknown"):
        shutil.rmtree(folder / name, ignore_errors=True)
    return pool, test


def gather(setting, pool, test, known, plain_only=False):
    """name -> (answers, milliseconds or one figure for all)."""
    costs = setting.costs
    found = own_policy(test, costs) | static_cuts(test, costs)
    if plain_only:
        return found | {"untouched": (test.untouched.argmax(1), costs.full)}
    scenario = setting.task.scenario
    mine = set(look_up_label(scenario, setting.task.person.photos).tolist())
    yardsticks = plain_yardsticks(setting, test, pool, pool.label, mine)
    yardsticks |= feature_yardsticks(setting, test, known, look_up_label(scenario, known))
    return found | {name: (answers, costs.full) for name, answers in yardsticks.items()} | other_policies(pool, test, costs, mine)


def summary(found, label):
    figures = {}
    for name, (answers, ms) in found.items():
        figures[name] = {"accuracy": float((answers == label).mean()), "ms": float(np.mean(ms))}
    return figures


def oracle(setting, test):
    """What any exits and any threshold would give with the profile's temperatures, read on the test photos themselves."""
    temperature = [exit["temperature"] for exit in test.report["exits"]]
    return policies.surface(test.exits, temperature, test.label, setting.costs)


def kept_arrays(setting, found, pool, test):
    """Photo by photo: who was right, and the logits for whoever wants to try another policy on them; and the oracle's view."""
    right = np.stack([answers == test.label for answers, _ in found.values()])
    return {"methods": np.array(list(found)), "right": right, "label": test.label,
            "photos": np.array([f"{photo.label}/{photo.path.stem}" for photo in setting.test]),
            "oracle": oracle(setting, test),
            "logits": test.exits.astype(np.float16), "untouched": test.untouched.astype(np.float16),
            "pool_logits": pool.exits.astype(np.float16), "pool_untouched": pool.untouched.astype(np.float16),
            "pool_label": pool.label}


def run_one(setting, share, variant, words, normalised_answers):
    """(record, arrays) of one run."""
    task = setting.task
    known, unknown = people.labelled(setting.pool, share)
    pool, test = ask_program(setting, known, unknown, words)
    found = gather(setting, pool, test, known, plain_only=bool(variant))
    if normalised_answers is not None and not variant:
        found["normalised"] = (normalised_answers, setting.costs.full)
    record = {"scenario": task.scenario.name, "person": task.person.name, "split": task.kind,
              "seed": task.seed, "size": task.size, "share": share, "variant": variant, "photos": len(test.label),
              "labelled": len(known), "full_ms": setting.costs.full, "methods": summary(found, test.label),
              "seconds": pool.report["seconds"], "epochs": pool.report["epochs"],
              "cache_bytes": pool.report["cache_bytes"],
              "leaves": {target: np.bincount(point.taken, minlength=test.exits.shape[1]).tolist()
                         for target, point in test.points.items()},
              "decisions": [exit.get("decision") for exit in test.report["exits"]]}
    return record, kept_arrays(setting, found, pool, test)


def known_features(scenario):
    if scenario.features is None:
        return None
    with np.load(scenario.features) as held:
        return dict(zip(held["paths"].tolist(), held["features"]))


def run_task(study, task, todo):
    """todo: those of `runs` that are wanted. A (stem, record, arrays) each; none where groups of twins did not fill the pool."""
    scenario = task.scenario
    split = people.split(task.person, study.sizes, task.seed, task.together)
    if task.size not in split.pools:
        return []
    folder = study.out / "work" / "-".join((*task.stem(0, "").parts, str(os.getpid())))
    setting = Setting(study, task, split.pools[task.size], split.test, folder, read_costs(scenario.costs),
                      known_features(scenario))
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    setting.cache.parent.mkdir(parents=True, exist_ok=True)
    try:
        with alone(setting.cache.with_suffix(".lock")):
            plain = any(not variant for _, variant, _ in todo)
            answers = normalised(setting, setting.pool) if plain and task.seed == NORMALISED_SEED else None
            return [(task.stem(share, variant), *run_one(setting, share, variant, words, answers))
                    for share, variant, words in todo]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
