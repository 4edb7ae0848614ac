# SPDX-License-Identifier: Apache-2.0
"""Operating points side by side, and a watch that goes on from one run of the program to the next."""
import json
import re
import unittest
import xml.etree.ElementTree

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
        self.has_keys(points["keep"]["evidence"], "judged_by judged right untouched last gain loss allowed cost whole")
        for point in points.values():
            self.assertLessEqual(point["evidence"]["loss"], point["evidence"]["allowed"])
        self.assertLessEqual(points["keep"]["evidence"]["allowed"], points["untouched"]["evidence"]["allowed"])
        self.assertGreaterEqual(points["keep"]["evidence"]["cost"], points["untouched"]["evidence"]["cost"])
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

    def test_report(self):
        """A page that is well-formed, fetches nothing, and shows this profile's figures and names, harmless ones too."""
        names = self.folder / "names.txt"
        names.write_text("".join(f"<script>alert(\"{i}\")</script>'&\n" for i in range(10)))
        me = self.attach("--exits", "2", "--classes", names, name="named.safetensors")
        for _ in range(2):
            self.works("personalise", me, self.labelled, "--costs", "macs", "--no-measure")
        page = self.folder / "me.html"
        for words, unit in ((("--costs", "macs"), "multiply-adds"), (("--target", "untouched"), "mean milliseconds")):
            self.works("report", me, self.test, "-o", page, *words)
            text = page.read_text()
            self.assertIn(unit, text)
        value = self.report("report", me, self.test, "-o", page)
        text = page.read_text()
        self.assertNotRegex(text, r"(?i)<script|(src|href)=|https?:|url[(]|alert[(]\"")
        self.assertIn("&lt;script&gt;alert(&quot;0&quot;)&lt;/script&gt;&#39;&amp;", text)
        self.assertIn(f"{100 * value['full']['accuracy']:.1f} %", text)
        self.assertIn(f"exit {len(value['exits']) - 1}", text)
        for heading in ("Accuracy against time", "Where photos leave", "How exits grew", "Memory, step by step"):
            self.assertIn(heading, text)
        for i, svg in enumerate(re.findall(r"<svg.*?</svg>", text, re.S)):
            with self.subTest(chart=i):
                self.assertNotIn("nan", svg)
                xml.etree.ElementTree.fromstring(svg)
        self.fails("report", me, self.test, status=2, says="needs -o")

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
