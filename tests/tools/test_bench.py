# SPDX-License-Identifier: Apache-2.0
"""What measures: exeunt bench, packed weights as the program keeps them, bench/latency, kcheck --bench."""
import importlib.util
import json
import os
import pathlib
import stat
import subprocess
import sys
import unittest

from program import NETWORK, PROGRAM, ROOT, SHARED, Case, npy, png

KCHECK = os.environ["EXN_KCHECK"]
PLAIN = os.environ.get("EXN_SANITIZE", "none") == "none"  # sanitizers need memory of their own
LARGE_WEIGHT = 442314  # a low byte of the 64x48x3x3 weights in NETWORK


class Bench(Case):
    def test_figures(self):
        value = self.report("bench", NETWORK, "--seconds", "0", "--arithmetic", "fast")
        self.has_keys(value, "load_ms first_ms rss_mb peak_rss_mb")
        self.assertEqual(value["arithmetic"], "fast")
        resident = value["rss_mb"]
        self.assertLessEqual(max(resident["opened"], resident["planned"], resident["run"]), value["peak_rss_mb"])

    @unittest.skipUnless(PLAIN, "built with a sanitizer")
    def test_peak_is_our_own(self):
        """What started the program may have needed more."""
        ballast = bytes(64 << 20)
        self.assertLess(self.report("bench", NETWORK, "--seconds", "0")["peak_rss_mb"], len(ballast) >> 20)

    def test_cut(self):
        whole = self.report("bench", NETWORK, "--seconds", "0")
        self.assertNotIn("cut", whole)
        macs = {}
        for name in ("relu_1", "node_relu_1", "node_Conv_184"):  # a value, a merged node, the node that does its work
            value = self.report("bench", NETWORK, "--seconds", "0", "--layers", "--cut", name)
            self.assertEqual(value["cut"], name)
            self.assertEqual(sum(layer["macs"] for layer in value["layers"]), value["macs"])
            macs[name] = value["macs"]
        self.assertEqual(len(set(macs.values())), 1, macs)
        self.assertLess(macs["relu_1"], whole["macs"])
        for name in ("nowhere", "image", "features.5.0.weight"):  # nothing, the input, a constant
            self.fails("bench", NETWORK, "--cut", name, says=f"'{name}'")


class PackedWeights(Case):
    def logits(self, *words):
        data = npy(self.folder / "in.npy", (1, 1, 28, 28), [((i * 7919) % 1000) / 1000 for i in range(784)])
        out = self.folder / "out.npy"
        self.works("run", NETWORK, data, "-o", out, *words)
        return out.read_bytes()

    def test_same_bits(self):
        packed = self.folder / "net.packed"
        expected = self.logits()
        self.assertEqual(self.logits("--packed", packed), expected)
        whole = packed.read_bytes()
        self.assertEqual(stat.S_IMODE(packed.stat().st_mode), 0o600)
        made = packed.stat().st_mtime_ns
        self.assertEqual(self.logits("--packed", packed), expected)
        self.assertEqual(packed.stat().st_mtime_ns, made)
        for damage in (b"", whole[:100], whole[:-1], whole[:5000] + b"\xff" * 100 + whole[5100:]):
            packed.write_bytes(damage)
            self.assertEqual(self.logits("--packed", packed), expected)
            self.assertEqual(packed.read_bytes(), whole)
        self.assertEqual(self.logits("--packed", self.folder / "none" / "net.packed"), expected)

    def test_beside_the_profile(self):
        me = self.attach()
        photo = png(self.folder / "photo.png", 28, 28, bytes(range(196)) * 4)
        packed = pathlib.Path(f"{me}.packed")
        answers = {self.works("classify", me, photo, "--packed", "none").split(" (")[0]}
        self.assertFalse(packed.exists())
        for _ in range(2):
            answers.add(self.works("classify", me, photo).split(" (")[0])
            self.assertTrue(packed.exists())
        self.assertEqual(len(answers), 1)

    def test_changed_weights(self):
        """Those behind the last exit are not read, so only --verify notices."""
        net = self.folder / "net.onnx"
        data = bytearray(pathlib.Path(NETWORK).read_bytes())
        net.write_bytes(data)
        me = self.folder / "me.safetensors"
        self.works("attach", net, "-o", me)
        photo = png(self.folder / "photo.png", 28, 28, bytes(784))
        self.works("classify", me, photo, "--verify")
        data[LARGE_WEIGHT] ^= 1
        net.write_bytes(data)
        self.works("classify", me, photo)
        self.fails("classify", me, photo, "--verify", says="weights have changed")
        self.fails("personalise", me, self.folder, says="weights have changed")

    @unittest.skipUnless(PLAIN, "built with a sanitizer")
    @unittest.skipUnless((SHARED / "models" / "efficientnet_lite0.onnx").exists(), "needs a network beside the tree")
    def test_memory_of_a_real_network(self):
        net, packed = SHARED / "models" / "efficientnet_lite0.onnx", self.folder / "net.packed"
        for words, limit in (((), 60), (("--packed", packed), 60), (("--packed", packed), 40)):
            self.assertLess(self.report("bench", net, "--seconds", "0", *words)["peak_rss_mb"], limit)


class Kernels(Case):
    def rows(self, *words):
        done = subprocess.run([KCHECK, "--bench", "--json", "--duration", "0.0001", *words], stdout=subprocess.PIPE,
                              timeout=280, check=True)
        first, *rows = map(json.loads, done.stdout.splitlines())
        self.assertGreater(first["peak_gflops"], 0)
        return rows

    def test_rows(self):
        rows = self.rows("--set", "scalar_fma", "--fn", "*dwconv*")
        self.assertGreater(len(rows), 10)
        for row in rows:
            self.has_keys(row, "schema network size channels outputs kernel_size stride depthwise set kernel chosen min_ns "
                               "median_ns gflops peak_fraction ratio_to_scalar")
            self.assertTrue(row["chosen"] and row["depthwise"] and row["ratio_to_scalar"] > 0)


@unittest.skipUnless(importlib.util.find_spec("numpy") and importlib.util.find_spec("onnx"), "needs numpy and onnx")
class Latency(Case):
    def test_without_peers(self):
        out = self.folder / "out.json"
        subprocess.run([sys.executable, ROOT / "bench" / "latency", "--exeunt", PROGRAM, NETWORK, "--engines", "", "--rounds",
                        "2", "--seconds", "0", "--json", out], check=True, stdout=subprocess.DEVNULL, timeout=120)
        engines = json.loads(out.read_text())["results"][0]["engines"]
        self.assertEqual(sorted(engines), ["exeunt exact", "exeunt fast"])
        self.has_keys(engines["exeunt exact"], "min_ms median_ms start_ms peak_rss_mb")


class Personalise(Case):
    def test_table(self):
        """Means over people, ratios, and a difference with its standard error, from results that are there."""
        def result(way, person, timed, **more):
            value = {"way": way, "person": person, "timed": timed, **more}
            (self.folder / f"{person}.{way}.{timed}.json").write_text(json.dumps(value))

        for person, right in (("a", 0.8), ("b", 0.9)):
            result("exeunt", person, True, seconds=1, peak_rss_mb=50, accuracy=right, last_accuracy=right, saved_work=0.5,
                   untouched_accuracy=0.5)
            for timed, seconds in ((True, 30), (False, 99)):
                rates = {rate: {"seconds": seconds, "peak_rss_mb": 1000, "accuracy": right - gap} for rate, gap in
                         (("0.1", 0.3), ("0.2", 0.2 if person == "a" else 0.0))}
                result("whole", person, timed, rates=rates)
        out = self.folder / "table" / "out.json"
        out.parent.mkdir()
        subprocess.run([sys.executable, ROOT / "bench" / "personalise", "--out", self.folder, "--json", out], check=True,
                       stdout=subprocess.DEVNULL, timeout=60)
        row = json.loads(out.read_text())["ways"]["whole"]
        self.assertEqual((row["people"], row["timed"], row["seconds"]), (2, 2, 30))
        self.assertAlmostEqual(row["accuracy"], 0.75)
        self.assertAlmostEqual(row["exeunt"]["times_the_time"], 30)
        self.assertAlmostEqual(row["exeunt"]["times_the_memory"], 20)
        self.assertAlmostEqual(row["exeunt"]["accuracy_gained"], 0.1)
        self.assertAlmostEqual(row["exeunt"]["standard_error"], 0.1)


if __name__ == "__main__":
    unittest.main()
