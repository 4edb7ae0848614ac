# SPDX-License-Identifier: Apache-2.0
"""What the study's figures rest on: splits, intervals, the test of harm, and the ways of leaving that it compares."""
import importlib.util
import json
import os
import pathlib
import random
import subprocess
import sys
import types
import unittest

try:
    import numpy as np
except ImportError:
    sys.exit(77)  # skipped

sys.path.insert(0, str(pathlib.Path(os.environ["EXN_SOURCE_ROOT"]) / "bench"))
from program import NETWORK, PROGRAM, ROOT, Case, picture, png  # noqa: E402
from study import cells, cluster, networks, people, policies, probes, profiles, program, scenarios, statistics, work  # noqa: E402


def somebody(groups):
    """A person with so many photos in each group of twins."""
    photos = [people.Photo(pathlib.Path(f"c{g % 3}/{g}-{i}.jpg"), f"c{g % 3}", str(g)) for g, n in enumerate(groups)
              for i in range(n)]
    return people.Person("somebody", tuple(photos))


class Splits(unittest.TestCase):
    def setUp(self):
        self.person = somebody([1] * 60 + [2, 3, 5] * 8 + [16, 20])

    def test_nested_and_whole(self):
        split = people.split(self.person, (50, 10, 25), 1, together=True)
        self.assertEqual([len(split.pools[n]) for n in (10, 25, 50)], [10, 25, 50])
        self.assertEqual(split.pools[10], split.pools[50][:10])
        self.assertEqual(split.pools[25], split.pools[50][:25])
        groups = [{photo.group for photo in photos} for photos in (split.pools[50], split.test)]
        self.assertFalse(groups[0] & groups[1])
        self.assertLessEqual({"84", "85"}, groups[1])  # larger than any pool may have
        self.assertEqual(len(split.pools[50]) + len(split.test), len(self.person.photos))

    def test_seeds_differ_and_repeat(self):
        a, b, again = (people.split(self.person, (25,), seed, True).pools[25] for seed in (1, 2, 1))
        self.assertNotEqual(a, b)
        self.assertEqual(a, again)

    def test_random_ignores_twins(self):
        split = people.split(self.person, (100,), 1, together=False)
        self.assertTrue({p.group for p in split.pools[100]} & {p.group for p in split.test})

    def test_too_few_photos(self):
        self.assertEqual(people.reachable(somebody([1] * 54), (10, 25, 50)), [10])

    def test_labelled_nest(self):
        pool = people.split(self.person, (50,), 1, True).pools[50]
        known, unknown = people.labelled(pool, 20)
        self.assertEqual((len(known), len(unknown)), (10, 40))
        self.assertEqual(people.labelled(pool[:10], 20)[0], known[:2])
        self.assertEqual([len(part) for part in people.labelled(pool, 100)], [50, 0])
        self.assertEqual([len(part) for part in people.labelled(pool, 0)], [0, 50])


class Statistics(unittest.TestCase):
    def test_interval_covers(self):
        """About nine in ten intervals hold the true mean."""
        rng = np.random.default_rng(3)
        held = sum(i.low <= 0 <= i.high for i in (statistics.over_people(rng.normal(0, 1, 25), draws=400) for _ in range(200)))
        self.assertTrue(165 <= held <= 195, held)

    def test_limit_is_one_sided(self):
        values = np.random.default_rng(4).normal(0, 1, 400)
        self.assertAlmostEqual(statistics.upper_limit(values), values.mean() + 1.2816 * values.std() / 20, delta=0.01)

    def test_classes(self):
        """One class that everybody has decides alone; a second one widens the interval."""
        same = statistics.over_classes([(np.ones(5), np.zeros(5, int)), (np.zeros(5), np.zeros(5, int))])
        self.assertEqual((same.mean, same.low, same.high), (0.5, 0.5, 0.5))
        mixed = statistics.over_classes([(np.array([1, 1, 0, 0]), np.array([0, 0, 7, 7]))])
        self.assertEqual((mixed.mean, mixed.low, mixed.high), (0.5, 0.0, 1.0))

    def test_harm(self):
        fine, hurt = np.array([1.0, -1.0] * 50), np.array([-1.0] * 10 + [0.0] * 90)
        mean = statistics.Interval(0.0, -0.004, 0.01)
        self.assertTrue(statistics.harm({"a": fine}, mean).none)
        found = statistics.harm({"a": fine, "b": hurt}, mean)
        self.assertEqual((found.harmed, found.worst, found.none), (("b",), "b", False))
        self.assertFalse(statistics.harm({"a": fine}, statistics.Interval(0.0, -0.006, 0.01)).none)


class Leaving(unittest.TestCase):
    costs = program.Costs(np.array([2.0, 5.0, 10.0]), np.array([0.5, 0.25, 0.0]))

    def test_costs(self):
        self.assertEqual(self.costs.cascade(np.array([True, True, True])).tolist(), [2.5, 5.75, 10.75])
        self.assertEqual(self.costs.cascade(np.array([False, True, True])).tolist(), [2.5, 5.25, 10.25])
        self.assertEqual(self.costs.static().tolist(), [2.5, 5.25, 10.0])

    def test_leave_and_patience(self):
        confidence = np.array([[0.9, 0.1, 0.0], [0.1, 0.95, 0.0], [0.1, 0.2, 0.0]])
        self.assertEqual(policies.leave(confidence, [0.9, 0.9, 0.9]).tolist(), [0, 1, 2])
        self.assertEqual(policies.agreeing(np.array([[1, 1, 2], [3, 4, 4]])).tolist(), [[1, 2, 1], [1, 1, 2]])

    def some_logits(self, photos, seed):
        """Three exits, each surer and righter than the one before."""
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 4, photos)
        strength = np.array([1.0, 2.0, 4.0]).reshape(1, 3, 1)
        return rng.normal(0, 1, (photos, 3, 4)) + strength * np.eye(4)[label][:, None, :], label

    def test_choices_hold_their_target(self):
        logits, label = self.some_logits(300, 5)
        stand, cost = policies.Stand(logits, label), self.costs.cascade(np.ones(3, bool))
        for way in (policies.Confidence(), policies.Confidence(policies.ensemble), policies.Patience()):
            setting = policies.cheapest(policies.outcomes(way, stand, cost), stand.last_accuracy)
            answers, ms = policies.apply(way, logits, setting, cost)
            self.assertGreaterEqual((answers == label).mean(), stand.last_accuracy - policies.DROP - 1e-9)
            self.assertLessEqual(ms.mean(), cost[-1])
        temperature, thresholds = policies.search_earlyon(stand, self.costs, stand.last_accuracy)
        taken = policies.leave(policies.shares(logits, temperature).max(2), thresholds)
        self.assertGreaterEqual((policies.pick(stand.answers, taken) == label).mean(), stand.last_accuracy - policies.DROP - 1e-9)

    def test_without_labels(self):
        """Others leave where they say what the last exit says, instead of never."""
        logits, _ = self.some_logits(300, 7)
        stand, targets = work.stands(types.SimpleNamespace(exits=logits, untouched=logits[:, 0], label=np.full(300, -1)), {0})
        cost = self.costs.cascade(np.ones(3, bool))
        setting = policies.cheapest(policies.outcomes(policies.Confidence(), stand, cost), targets["untouched"])
        answers, ms = policies.apply(policies.Confidence(), logits, setting, cost)
        self.assertGreaterEqual((answers == logits[:, -1].argmax(1)).mean(), 1 - policies.DROP - 1e-9)
        self.assertLess(ms.mean(), cost[-1])

    def test_oracle_dominates(self):
        logits, label = self.some_logits(200, 6)
        curve = policies.envelope(policies.surface(logits, [1, 1, 1], label, self.costs).reshape(-1, 2))
        self.assertTrue((np.diff(curve[:, 0]) > 0).all() and (np.diff(curve[:, 1]) > 0).all())
        for e, ms in enumerate(self.costs.static()):
            accuracy = (logits[:, e].argmax(1) == label).mean()
            self.assertTrue(((curve[:, 0] >= accuracy) & (curve[:, 1] <= ms + 1e-9)).any(), e)


class Yardsticks(unittest.TestCase):
    def test_prior_from_predictions(self):
        """Without a label, people who have two of four classes are found out."""
        rng = np.random.default_rng(7)
        label = rng.integers(0, 2, 200)
        logits = rng.normal(0, 1, (200, 4)) + 2 * np.eye(4)[label]
        prior = probes.class_prior(logits, np.full(200, -1))
        self.assertGreater(prior[:2].sum(), 0.9)
        right = (probes.prior_corrected(logits, logits, np.full(200, -1)) == label).mean()
        self.assertGreater(right, (logits.argmax(1) == label).mean())

    def test_masked(self):
        logits = np.array([[3.0, 1.0, 2.0]])
        self.assertEqual(probes.masked(logits, {1, 2}).tolist(), [2])
        self.assertEqual(probes.masked(logits, set()).tolist(), [0])

    def test_linear_layer_learns(self):
        rng = np.random.default_rng(8)
        label = rng.integers(0, 3, 90)
        features = 100 * np.eye(3)[label] @ rng.normal(0, 1, (3, 20)) + rng.normal(0, 10, (90, 20)) + 500
        weight, bias = probes.fit_linear(features, label, 3, rate=0.01)
        self.assertGreater(((features @ weight.T + bias).argmax(1) == label).mean(), 0.95)
        self.assertGreater((probes.nearest(features[:60], label[:60], features[60:]) == label[60:]).mean(), 0.95)


class Cohorts(unittest.TestCase):
    def cell(self, size, people):
        key = cells.Key("own", "twins", 100, size)
        return cells.Cell(key, False, [{"person": person, "seed": seed} for person in people for seed in (1, 2)])

    def test_same_people_over_all_sizes(self):
        mine = [self.cell(10, "abcd"), self.cell(25, "abc"), self.cell(50, "abc"), self.cell(100, "a")]
        found = [[(cell.key.size, "".join(cell.people), len(cell.runs)) for cell in cohort] for cohort in cells.cohorts(mine)]
        self.assertEqual(found, [[(10, "abcd", 8)], [(10, "abc", 6), (25, "abc", 6), (50, "abc", 6)],
                                 [(10, "a", 2), (25, "a", 2), (50, "a", 2), (100, "a", 2)]])

    def test_method_of_some_seeds(self):
        """It counts where it took part, if that is somewhere for everybody."""
        cell = self.cell(10, "ab")
        for run in cell.runs:
            run["methods"] = {"untouched": {"accuracy": 0.5}}
        cell.runs[0]["methods"] = {"untouched": {"accuracy": 0.7}, "normalised": {"accuracy": 0.8}}
        self.assertEqual(cell.methods(), ["untouched"])
        cell.runs[2]["methods"] = cell.runs[0]["methods"]
        self.assertEqual(cell.methods(), ["untouched", "normalised"])
        self.assertAlmostEqual(cell.having("normalised").interval("normalised", "untouched").mean, 0.1)

    def test_mean_over_seeds(self):
        """A photo counts by the seeds that test it, whatever their order; intervals of one person are that person's figures."""
        cell = self.cell(10, "a")
        for run, photos, right in zip(cell.runs, ("xyz", "zwx"), ([1, 0, 1], [0, 1, 1])):
            run["methods"] = {"last": {"accuracy": np.mean(right), "ms": 1}, "untouched": {"accuracy": 0, "ms": 1}}
            run["arrays"] = {"methods": np.array(["last", "untouched"]), "right": np.array([right, [0, 0, 0]]),
                             "label": np.array([ord(photo) for photo in photos]), "photos": np.array(list(photos))}
        figures, kinds = cell.paired("last", "untouched")["a"]
        self.assertEqual(dict(zip(map(chr, kinds), figures)), {"x": 1.0, "y": 0.0, "z": 0.5, "w": 1.0})
        self.assertEqual(cell.interval("last", "untouched"), cell.interval("last"))

    def test_static_cuts_mixed(self):
        cell = self.cell(10, "a")
        for run in cell.runs:
            run["methods"] = {"untouched": {"accuracy": 0.8, "ms": 8}, "exit0": {"accuracy": 0.6, "ms": 2},
                              "exit1": {"accuracy": 0.5, "ms": 4}, "last": {"accuracy": 0.9, "ms": 8}}
        self.assertAlmostEqual(cell.mixed_static(8 / 5), 0.75)
        self.assertAlmostEqual(cell.mixed_static(4), 0.6)
        self.assertIsNone(cell.mixed_static(5))
        self.assertEqual(cell.best_static(0.8)[0], "last")

    def test_one_cohort(self):
        found = list(cells.cohorts([self.cell(10, "ab"), self.cell(25, "abc")]))
        self.assertEqual([len(cohort) for cohort in found], [2])


    def test_same_splits(self):
        """Splits that one of the cells has not compare with nothing."""
        few, many = self.cell(10, "ab"), self.cell(25, "ab")
        few.runs = [run for run in few.runs if (run["person"], run["seed"]) != ("a", 2)]
        for cohort in [*cells.cohorts([few, many]), cells.alike([many, few])]:
            self.assertEqual([len(cell.runs) for cell in cohort], [len(few.runs)] * 2)
        self.assertEqual(cells.alike([self.cell(10, "a"), self.cell(25, "b")]), [])


# Ends whoever started it, once: the worker that personalises the first person.
MURDERER = """#!/bin/sh
if [ "$1" = personalise ] && mkdir "{flag}" 2>/dev/null; then kill -9 $PPID; exit 1; fi
exec "{program}" "$@"
"""


@unittest.skipUnless(importlib.util.find_spec("onnx"), "no onnx")
class Networks(Case):
    def answers(self, model, photos):
        np.save(self.folder / "in.npy", photos)
        self.works("run", model, self.folder / "in.npy", "-o", self.folder / "out.npy")
        return np.load(self.folder / "out.npy")

    def test_refitted_twice(self):
        """A refitted network is a network like others: it may be cut, and refitted."""
        photos = np.random.default_rng(0).random((1, 1, 28, 28), np.float32)
        model = NETWORK
        for turn in range(2):
            network = networks.Network("net", model, None, "0", "255")
            networks.write_trunk(network, self.folder / "trunk.onnx")
            features = self.answers(self.folder / "trunk.onnx", photos)
            weight = np.random.default_rng(turn).random((3 + turn, features.shape[1]), np.float32)
            bias = np.arange(3 + turn, dtype=np.float32)
            model = self.folder / f"refitted{turn}.onnx"
            networks.write_refitted(network, weight, bias, model)
            np.testing.assert_allclose(self.answers(model, photos), features @ weight.T + bias, rtol=1e-5)


@unittest.skipIf(isinstance(cluster.distributed, ImportError), "no distributed")
class Program(Case):
    """The whole way on two made-up people; labels mean nothing here."""

    def setUp(self):
        super().setUp()
        (self.folder / "classes.txt").write_text("".join(f"c{i}\n" for i in range(10)))
        for name, seed in (("ann", 1), ("bob", 2)):
            rng = random.Random(seed)
            for i in range(44):
                place = self.folder / "people" / name / f"c{i % 4}"
                place.mkdir(parents=True, exist_ok=True)
                png(place / f"{i}.png", 28, 28, picture(rng))

    def study(self, *words, exeunt=PROGRAM, status=0):
        command = [sys.executable, "-B", ROOT / "bench" / "study.py", "--exeunt", exeunt, "--out", self.folder / "out",
                   "--people", self.folder / "people", "--model", NETWORK, "--classes", self.folder / "classes.txt",
                   "--seeds", "1", "--splits", "random", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_own_people(self):
        """A worker dies of its first person: Dask starts another, and that person has their turn again. Later, what is there
        is not computed again."""
        flag, murderer = self.folder / "done", self.folder / "murderer"
        murderer.write_text(MURDERER.format(flag=flag, program=PROGRAM))
        murderer.chmod(0o755)
        words = ("--shares", "100", "0", "--jobs", "2")
        done = self.study(*words, exeunt=murderer)
        self.assertTrue(flag.is_dir())
        self.assertIn("4 of 4 runs", done.stderr)
        document = json.loads((self.folder / "out/study.json").read_text())
        rows = {(row["share"], row["method"]): row for row in document["cells"]}
        self.assertEqual((rows[100, "untouched"]["people"], rows[100, "untouched"]["speedup"]), (2, 1.0))
        for method in ("masked-true", "prior", "last", "exit0", "sdn-keep", "ensemble-keep", "patience-keep", "earlyon-keep"):
            self.assertIn((100, method), rows)
        next((self.folder / "out/runs/own/bob").glob("*labelled0.json")).unlink()
        self.assertIn("1 of 1 runs", self.study(*words, exeunt=murderer).stderr)
        self.assertIn("random split, 10 photos", (self.folder / "out/report.md").read_text())
        self.assertIn(",bob,1,34,10,policy-keep,", (self.folder / "out/runs.csv").read_text())

    def test_given_heads(self):
        """Exits made elsewhere, from a profile that names its network relatively; others are refused later."""
        heads = self.folder / "else" / "where"
        heads.mkdir(parents=True)
        attach = ("attach", NETWORK, "-o", heads / "own.safetensors", "--classes", self.folder / "classes.txt", "--costs", "macs")
        self.works(*attach, "--exits", "2")
        words = ("--shares", "0", "--sizes", "10", "--heads", heads)
        self.study(*words)
        made = json.loads((self.folder / "out/settings.json").read_text())
        self.assertEqual(made["exits of own"], profiles.digest(heads / "own.safetensors"))
        self.works(*attach, "--exits", "1")
        self.assertIn("other exits than", self.study(*words, status=1).stderr)
        (self.folder / "out/settings.json").write_text('{"program": "of long ago"}')
        self.assertIn("another build (unknown", self.study(*words, status=1).stderr)

    def test_cost_table_of_other_exits(self):
        """As many exits at another place, or another kind of heads: the table is measured anew; of the same ones it stays."""
        network = types.SimpleNamespace(name="own", model=NETWORK)
        photos = people.read_people(self.folder / "people", {})
        source = scenarios.Source(network, tuple(photos), None, True)
        prep = scenarios.Preparation(program.find(PROGRAM), None, self.folder, ())
        (self.folder / "general/own").mkdir(parents=True)
        tables = []
        for words in (("--exits", "1", "--head", "pooled"), ("--exits", "1", "--head", "pooled"),
                      ("--exits", "1", "--head", "conv"), ("--at", "relu", "--head", "conv")):
            me = self.attach(*words)
            tables.append(scenarios.measure(prep, source, me).read_text())
        self.assertEqual(tables[0], tables[1])
        self.assertNotEqual(tables[1], tables[2])
        self.assertNotEqual(tables[2], tables[3])

    def test_cluster_of_others(self):
        with cluster.distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as others:
            done = self.study("--shares", "0", "--scheduler", others.scheduler_address)
        self.assertIn("2 of 2 runs", done.stderr)


if __name__ == "__main__":
    unittest.main()
