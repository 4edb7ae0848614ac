# SPDX-License-Identifier: Apache-2.0
"""The main job: it learns, it pauses, it goes on to the same bytes, it leaves the old profile alone when it fails."""
import random
import re
import signal
import subprocess
import time
import unittest

from program import PROGRAM, SHARED, Case, idx_pair, person, picture, png, read_npy, write_idx


class Personalise(Case):
    def setUp(self):
        super().setUp()
        sizes = {"labelled": 80, "unlabelled": 120, "test": 300}
        self.labelled, self.unlabelled, self.test = person(self.folder, sizes)

    def command(self, me, *more):
        return ("personalise", me, self.labelled, "--unlabelled", self.unlabelled, "--costs", "macs", *more)

    def test_learns(self):
        me = self.attach("--exits", "2")
        before = self.report("evaluate", me, self.test)
        value = self.report(*self.command(me))
        self.has_keys(value, "labelled unlabelled classes seconds peak_rss_mb cache_bytes epochs exits before after")
        self.has_keys(value["seconds"], "extract train total")
        self.assertEqual((value["labelled"], value["unlabelled"], value["held_out"]), (80, 120, 0))
        self.assertEqual(value["after"]["measured_on"], "folds")
        self.has_keys(value["after"], "samples full exits policy")
        self.assertFalse(me.with_name(me.name + ".cache").exists())
        after = self.report("evaluate", me, self.test)
        self.assertEqual(after["full"]["accuracy"], before["full"]["accuracy"])
        self.assertGreater(after["policy"]["accuracy"], before["full"]["accuracy"] + 0.04)
        # Out of fold and on fresh pictures, people leave alike; on what was learnt they would leave earlier.
        folds, exits = value["after"]["policy"], value["after"]["exits"]
        self.assertAlmostEqual(sum(exit["share"] for exit in exits), 1, places=6)
        self.assertAlmostEqual(folds["macs_fraction"], after["policy"]["macs_fraction"], delta=0.15)
        self.assertAlmostEqual(folds["accuracy"], after["policy"]["accuracy"], delta=0.15)

    def test_split(self):
        me = self.attach("--exits", "1")
        value = self.report("personalise", me, self.test, "--costs", "macs")
        self.assertEqual(value["labelled"] + value["held_out"], 300)
        self.assertAlmostEqual(value["held_out"], 60, delta=4)
        self.assertEqual(value["after"]["measured_on"], "held_out")
        self.assertEqual(value["after"]["samples"], value["held_out"])

    def test_same_bytes(self):
        """Twice, on another instruction set, and with a pause on the way."""
        profiles = [self.attach("--exits", "2", name=f"me{i}.safetensors") for i in range(4)]
        for me, more in zip(profiles[:3], ((), ("--threads", "2"), ("--isa", "scalar_fma"))):
            self.works(*self.command(me, "--no-measure", *more))
        self.assertEqual(profiles[0].read_bytes(), profiles[1].read_bytes())
        self.assertEqual(profiles[0].read_bytes(), profiles[2].read_bytes())
        self.pause_and_resume(profiles[3])
        self.assertEqual(profiles[0].read_bytes(), profiles[3].read_bytes())

    def pause_and_resume(self, me):
        old = me.read_bytes()
        cache = me.with_name(me.name + ".cache")
        words = [PROGRAM, *map(str, self.command(me, "--no-measure"))]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            while job.poll() is None and not (cache.exists() and cache.stat().st_size > 2000):
                time.sleep(0.001)
            job.send_signal(signal.SIGINT)
            message = job.communicate(timeout=60)[1]
        self.assertEqual(job.returncode, 3, message)
        self.assertRegex(message.decode(), r"\Aexeunt: paused[^\n]*\n\Z")
        self.assertEqual(me.read_bytes(), old)
        self.assertTrue(cache.exists())
        self.works(*self.command(me, "--no-measure", "--resume"))
        self.assertFalse(cache.exists())

    def test_less_than_before(self):
        """A slip of a path does not replace what was learnt; what may disappoint is said."""
        me = self.attach("--exits", "1")
        self.works(*self.command(me, "--no-measure"))
        old = me.read_bytes()
        bare = self.folder / "bare-images-idx3-ubyte"
        bare.write_bytes(self.unlabelled.read_bytes())
        self.fails("personalise", me, bare, says="no photo with a label")
        self.assertEqual(me.read_bytes(), old)
        raw = self.labelled.read_bytes()
        few = write_idx(self.folder, "few", [raw[16 + 784 * i:16 + 784 * (i + 1)] for i in range(20)], [3] * 20)
        me.with_name(me.name + ".cache").unlink()  # of the run that failed
        said = self.run_program("personalise", me, few, "--no-measure", "--resume").stderr
        for text in (b"nothing to resume", b"20 labels replace the 80", b"show 1 of 10 classes, 3 are needed"):
            self.assertIn(text, said)
        self.assertNotIn(b"the others will hardly be answered", said)

    def test_failures_leave_the_profile(self):
        me = self.attach("--exits", "1")
        old = me.read_bytes()
        self.fails("personalise", me, self.folder / "none", says="none")
        self.fails("personalise", me, self.labelled, "--memory-budget", "1")
        self.fails(*self.command(me, "--no-measure"), limit=5000)
        self.assertEqual(me.read_bytes(), old)

    def test_budgets(self):
        """Time that was too short keeps the best so far, and --resume goes on to what an unhurried run gives."""
        like, me = (self.attach("--exits", "1", "--head", "conv", name=f"{name}.safetensors") for name in ("like", "me"))
        whole = self.report(*self.command(like, "--no-measure"))
        self.assertFalse(whole["unfinished"])
        self.assertLess(whole["peak_rss_mb"], whole["planned_mb"] + 30)
        hurried = self.report(*self.command(me, "--no-measure", "--time-budget", whole["seconds"]["extract"] + 0.5))
        if hurried["unfinished"]:
            self.assertFalse(hurried["exits"][0]["trained"])
            self.works(*self.command(me, "--no-measure", "--resume"))
        self.assertEqual(me.read_bytes(), like.read_bytes())
        self.assertFalse(me.with_name(me.name + ".progress").exists())
        half = self.report(*self.command(self.attach("--exits", "1", "--head", "conv", name="half.safetensors"), "--no-measure",
                                         "--cache-half", "--cache-limit", "1"))
        self.assertLess(half["cache_bytes"], 0.6 * whole["cache_bytes"])
        self.assertRegex(self.fails(*self.command(me, "--memory-budget", "1")), "too small: .* takes? [0-9]+ MB")
        program = int(re.search("alone takes ([0-9]+)", self.fails(*self.command(me, "--memory-budget", "1"))).group(1))
        self.assertRegex(self.fails(*self.command(me, "--memory-budget", str(program))),
                         f"--memory-budget {program}: the program alone takes .* MB; for the rest: .* 10 samples take [0-9]+ MB")
        self.fails(*self.command(me, "--dump", "x.npy", "--memory-budget", "500"), status=2, says="--dump")
        wide = self.attach("--at", "relu,relu_1,relu_3,relu_5,relu_7", "--head", "conv", name="wide.safetensors")
        self.assertRegex(self.fails(*self.command(wide, "--cache-limit", "1", "--memory-budget", "500")),
                         r"\Aexeunt: a cache limit of 1 MB is too small: 10 samples take [2-9] MB\n\Z")

    def test_shared_cache(self):
        """Evaluating from a cache says what running the networks says; dumps hold the logits behind it."""
        me = self.attach("--exits", "2")
        shared, dump = self.folder / "features", self.folder / "logits.npy"
        more = ("--costs", "macs", "--cache", shared, "--dump", dump)
        value = self.report("personalise", me, self.labelled, "--no-measure", *more)
        shape, logits = read_npy(dump)
        self.assertEqual(shape, (80, 4, 10))
        right = sum(self.answer(logits, i, 1) == photo["label"] for i, photo in enumerate(value["photos"]))
        self.assertAlmostEqual(value["exits"][1]["accuracy"], right / 80, places=6)
        held = shared.stat().st_size
        ran, recalled = self.report("evaluate", me, self.test), self.report("evaluate", me, self.test, *more)
        self.assertGreater(shared.stat().st_size, held)
        for key in ("accuracy", "accuracy_masked"):
            self.assertEqual(ran["full"][key], recalled["full"][key])
        for key in ("accuracy", "agreement", "macs_fraction", "deepest_exit"):
            self.assertAlmostEqual(ran["policy"][key], recalled["policy"][key], places=4)
        for a, b in zip(ran["exits"], recalled["exits"]):
            self.assertEqual([a[key] for key in ("accuracy", "agreement", "share")],
                             [b[key] for key in ("accuracy", "agreement", "share")])
        shape, logits = read_npy(dump)
        self.assertEqual(shape, (300, 4, 10))
        right = sum(self.answer(logits, i, 3) == photo["label"] for i, photo in enumerate(recalled["photos"]))
        self.assertAlmostEqual(right / 300, ran["full"]["accuracy"], places=5)
        points = [point for photo in recalled["photos"] for point in photo["targets"].values()]
        stayed = [point for point in points if point["exit"] == 2]
        self.assertTrue(stayed and all(point["answer"] == point["last"] for point in stayed))
        self.assertTrue(any(point["answer"] != point["last"] for point in points))
        self.fails("evaluate", me, self.test, "--dump", dump, status=2, says="go with --cache")
        many = idx_pair(self.folder, "many", [i % 4 for i in range(2049)])
        self.fails("personalise", me, many, "--no-measure", *more, says="2049 are more than the 2048 learned from")

    @staticmethod
    def answer(logits, sample, table):
        row = logits[(sample * 4 + table) * 10:][:10]
        return row.index(max(row))

    def test_second_writer(self):
        """Fails at once, and leaves what the first has extracted."""
        me = self.attach("--exits", "1")
        cache = me.with_name(me.name + ".cache")
        words = [PROGRAM, *map(str, self.command(me, "--no-measure"))]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as job:
            while job.poll() is None and not (cache.exists() and cache.stat().st_size > 2000):
                time.sleep(0.001)
            job.send_signal(signal.SIGSTOP)
            try:
                extracted = cache.read_bytes()
                self.fails(*self.command(me, "--no-measure"), says="locked by another writer")
                self.assertEqual(cache.read_bytes(), extracted)
            finally:
                job.send_signal(signal.SIGCONT)
            message = job.communicate(timeout=100)[1]
        self.assertEqual(job.returncode, 0, message)

    def test_new_classes(self):
        """Folders that no class is named after are refused, or become classes that are learned, kept and answered."""
        me = self.attach("--exits", "1")
        rng = random.Random(4)
        for name in ("0", "1", "zebra"):
            (self.folder / "data" / name).mkdir(parents=True)
            for i in range(20):
                rows = bytearray(picture(rng))
                if name == "zebra":
                    for y in range(0, 28, 4):
                        rows[28 * y:28 * y + 28] = bytes([255] * 28)
                png(self.folder / "data" / name / f"{i}.png", 28, 28, bytes(rows))
        words = ("personalise", me, self.folder / "data", "--costs", "macs", "--holdout", "0")
        self.fails(*words, says="no class 'zebra'")
        self.fails(*words, says="--new-classes")
        value = self.report(*words, "--new-classes")
        self.assertEqual(value["classes"], 11)
        self.has_keys(value["exits"][0]["evidence"], "tried labelled general_kept truth loss_before loss_after")
        after = self.report("evaluate", me, self.folder / "data", "--confusion")
        self.assertGreater(after["exits"][1]["accuracy"], after["full"]["accuracy"] + 0.2)
        stripes = self.folder / "data" / "zebra" / "3.png"
        self.assertIn("zebra", self.works("classify", me, stripes))
        again = self.report(*words)
        self.assertEqual(again["classes"], 11)

    def test_without(self):
        """Studies leave parts of the method out; the last exit's evidence shows it."""
        for parts, kept in (("heads", 1), ("gate,prior", 0)):
            me = self.attach("--exits", "1", name=f"{kept}.safetensors")
            value = self.report(*self.command(me, "--no-measure", "--without", parts))
            evidence = value["exits"][-1]["evidence"]
            self.assertEqual(evidence["general_kept"], kept)
            self.assertIs(evidence["prior"], False)
        self.fails(*self.command(me, "--without", "gate,tail"), status=2, says="'tail'")

    def test_one_sample_of_a_class(self):
        """Few samples may teach little, but do no harm."""
        me = self.attach("--exits", "1")
        few = idx_pair(self.folder, "few", [0, 1, 1, 2, 2, 2, 3, 3])
        done = self.run_program("personalise", me, few, "--costs", "macs", "--json")
        self.assertIn(done.returncode, (0, 1), done.stderr)
        if done.returncode == 1:
            self.assertRegex(done.stderr.decode(), r"\Aexeunt: [^\n]+\n\Z")


@unittest.skipUnless((SHARED / "models" / "wardrobe_lite0.onnx").exists(), "needs ../shared")
class RealPhotos(Case):
    def test_wardrobe(self):
        network = SHARED / "models" / "wardrobe_lite0.onnx"
        me = self.folder / "me.safetensors"
        self.works("attach", network, "-o", me, "--exits", "2", "--mean", "127", "--std", "128", "--classes",
                   SHARED / "models" / "wardrobe_classes.txt")
        value = self.report("evaluate", me, SHARED / "clothing192" / "u8")
        self.assertGreater(value["full"]["accuracy"], 0.5)


if __name__ == "__main__":
    unittest.main()
