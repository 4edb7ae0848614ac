# SPDX-License-Identifier: Apache-2.0
"""Operating points side by side, and a watch that goes on from one run of the program to the next."""
import json
import unittest

from program import Case, person, picture, png

import random


class Targets(Case):
    def setUp(self):
        super().setUp()
        self.labelled, self.test = person(self.folder, {"labelled": 80, "test": 200})
        self.me = self.attach("--exits", "2")
        self.works("personalise", self.me, self.labelled, "--costs", "macs", "--no-measure")

    def test_points(self):
        value = self.report("evaluate", self.me, self.test)
        points = {point["target"]: point for point in value["targets"]}
        self.assertEqual(set(points), {"keep", "untouched"})
        self.assertTrue(points["keep"]["chosen"])
        self.has_keys(points["keep"]["evidence"], "judged_by vouched_by judged right floor doubt cost whole")
        self.assertGreaterEqual(points["keep"]["evidence"]["right"], points["keep"]["evidence"]["floor"])
        self.assertGreaterEqual(points["keep"]["evidence"]["floor"], points["untouched"]["evidence"]["floor"])
        for exit in value["exits"]:
            self.assertGreater(exit["cut_ms"], 0)
        other = self.report("evaluate", self.me, self.test, "--target", "untouched")
        self.assertAlmostEqual(other["policy"]["accuracy"], points["untouched"]["accuracy"])
        self.assertEqual(other["full"]["accuracy"], value["full"]["accuracy"])
        self.fails("evaluate", self.me, self.test, "--target", "fast", status=2, says="--target")

    def test_cache_says_the_same(self):
        run = self.report("evaluate", self.me, self.test)
        told = self.report("evaluate", self.me, self.test, "--cache", self.folder / "f.cache", "--costs", "macs")
        for a, b in zip(run["targets"], told["targets"]):
            self.assertEqual(a["accuracy"], b["accuracy"])
            self.assertAlmostEqual(a["macs_fraction"], b["macs_fraction"], places=5)

    def test_target_is_kept(self):
        self.works("personalise", self.me, self.labelled, "--costs", "macs", "--no-measure", "--target", "untouched")
        value = self.report("evaluate", self.me, self.test)
        self.assertEqual([point["target"] for point in value["targets"] if point["chosen"]], ["untouched"])

    def test_watch(self):
        rng = random.Random(3)
        photos = [png(self.folder / f"{i}.png", 28, 28, picture(rng)) for i in range(12)]
        watch = self.folder / "me.safetensors.watch"
        self.works("classify", self.me, *photos)
        self.assertFalse(watch.exists())
        for round in (1, 2):
            self.works("classify", self.me, *photos, "--audit", "1", "--json")
            self.assertEqual(json.loads(watch.read_text())["inputs"], 12 * round)
        watch.write_text("{}")
        self.fails("classify", self.me, photos[0], "--audit", "1", says="me.safetensors.watch")
        self.fails("classify", self.me, photos[0], "--audit", "2", status=2, says="--audit")


if __name__ == "__main__":
    unittest.main()
