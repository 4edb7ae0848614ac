# SPDX-License-Identifier: Apache-2.0
"""Command lines: help, usage errors, JSON keys."""
import os
import pty
import re
import struct
import subprocess
import unittest

from program import NETWORK, PROGRAM, ROOT, Case, idx_pair, npy, png, read_npy

COMMANDS = "cpu plan attach personalise evaluate run classify report export profile bench".split()


class Usage(Case):
    def test_help(self):
        text = self.works("--help")
        for command in COMMANDS:
            self.assertIn(command, text)
            help_text = self.works(command, "--help")
            self.assertIn("Example: exeunt " + command, help_text)
            self.assertIn("--json", help_text)
            self.assertIn("--quiet", help_text)
        self.assertRegex(self.works("--version"), r"\Aexeunt \d+\.\d+\.\d+\n\Z")

    def test_manual(self):
        page = self.works("--manual")
        self.assertTrue(page.startswith(".TH EXEUNT 1"))
        for command in COMMANDS:
            self.assertIn(f'.SS "exeunt {command}', page)
            for option in re.findall(r"--([a-z-]+)", self.works(command, "--help").partition("options:")[2]):
                self.assertIn("\\-\\-" + option.replace("-", "\\-"), page)

    def test_completion(self):
        script = self.works("--completion", "bash")
        ask = 'COMP_WORDS=(exeunt "$@"); COMP_CWORD=$#; _exeunt; printf "%s\\n" "${COMPREPLY[@]}"'
        for words, expected in ((("per",), ["personalise"]), (("plan", "--fast"), ["--fast-memory"]),
                                (("classify", ""), [""]), (("attach", "--pre"), ["--pretrain"])):
            with self.subTest(words=words):
                done = subprocess.run(["bash", "-c", script + ask, "-", *words], capture_output=True, text=True, check=True)
                self.assertEqual(done.stdout.splitlines(), expected)
        self.assertTrue(self.works("--completion", "zsh").startswith("#compdef exeunt"))
        for shell in ((), ("fish",)):
            self.fails("--completion", *shell, status=2, says="bash or zsh")

    def test_mistakes(self):
        for words, says in (((), "no command"), (("sing",), "unknown command 'sing'"),
                            (("cpu", "--loud"), "unknown option --loud"), (("cpu", "-x"), "unknown option -x"),
                            (("cpu", "extra"), "unexpected operand 'extra'; usage: exeunt cpu [OPTION...]"), (("plan",), "an operand is missing"),
                            (("cpu", "--isa"), "missing value"), (("cpu", "--json=1"), "takes no value"),
                            (("cpu", "--threads", "0"), "--threads takes"),
                            (("cpu", "--threads", "-1"), "--threads takes"),
                            (("cpu", "--threads", "2x"), "--threads takes"),
                            (("attach", NETWORK), "needs -o"),
                            (("attach", NETWORK, "-o", "x", "--exits", "0"), "--exits takes"),
                            (("attach", NETWORK, "-o", "x", "--exits", "2", "--at", "relu"), "exclude"),
                            (("attach", NETWORK, "-o", "x", "--head", "big"), "--head takes"),
                            (("attach", NETWORK, "-o", "x", "--mean", "1,2"), "--mean takes"),
                            (("attach", NETWORK, "-o", "x", "--std", "nan"), "--std takes"),
                            (("attach", NETWORK, "-o", "x", "--order", "rgb"), "does not fit"),
                            (("run", NETWORK, "x.npy"), "needs -o"),
                            (("bench", NETWORK, "--arithmetic", "wild"), "--arithmetic takes"),
                            (("plan", NETWORK, "--fast-memory", "0"), "--fast-memory takes")):
            with self.subTest(words=words):
                self.fails(*words, status=2, says=says)

    def on_terminal(self, *words, **environment):
        """Standard error of a run whose standard error is a terminal."""
        ours, theirs = pty.openpty()
        subprocess.run([PROGRAM, *map(str, words)], stdout=subprocess.DEVNULL, stderr=theirs, timeout=60, check=False,
                       env={**os.environ, "TERM": "xterm", "NO_COLOR": "", **environment})
        os.close(theirs)
        text = b""
        try:
            while piece := os.read(ours, 4096):
                text += piece
        except OSError:  # the other end is closed
            pass
        os.close(ours)
        return text.decode()

    def test_terminal(self):
        self.assertIn("\x1b[31m", self.on_terminal("sing"))
        self.assertNotIn("\x1b", self.on_terminal("sing", NO_COLOR="1"))
        self.assertNotIn("\x1b", self.on_terminal("sing", TERM="dumb"))
        me, data = self.attach("--exits", "1"), idx_pair(self.folder, "some", [0, 1, 2, 3] * 10)
        self.assertRegex(self.on_terminal("evaluate", me, data), r"evaluating \d+/40 \(\d+ %\), [\d.]+ samples/s, \d+ s left")
        self.assertEqual(self.on_terminal("evaluate", me, data, "--quiet"), "")

    def test_unknown_kernel_set(self):
        self.fails("cpu", "--isa", "abacus", says="abacus")

    def test_full_standard_output(self):
        with open("/dev/full", "wb") as full:
            done = self.run_program("--help", stdout=full)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"standard output", done.stderr)


class Reports(Case):
    def test_cpu(self):
        self.has_keys(self.report("cpu"), "levels isa slots cache_bytes peak_gflops")

    def test_plan(self):
        value = self.report("plan", NETWORK, "--exits", "3")
        self.has_keys(value, "nodes macs parameters candidates exits steps arena_bytes arena_lower_bound_bytes layers")
        self.assertEqual(len(value["exits"]), 4)
        self.assertEqual(len(value["layers"]), value["steps"])
        self.assertGreater(value["macs"], 20_000_000)
        self.assertLessEqual(value["arena_lower_bound_bytes"], value["arena_bytes"])
        fractions = [one["macs_fraction"] for one in value["exits"]]
        self.assertEqual(fractions, sorted(fractions))
        named = self.report("plan", NETWORK, "--at", value["exits"][1]["tap"])
        self.assertEqual(named["exits"][0]["tap"], value["exits"][1]["tap"])
        for layer in value["layers"]:
            self.assertTrue(layer["why"] or layer["op"] != "Conv", layer)
            self.assertNotIn("winograd", layer["algorithm"])

    def test_fast(self):
        """Says what it does with which layer, and runs to nearly the same logits."""
        fast = self.report("plan", NETWORK, "--arithmetic", "fast")
        self.assertTrue(any("winograd" in layer["algorithm"] for layer in fast["layers"]))
        self.assertEqual(self.report("bench", NETWORK, "--seconds", "0", "--arithmetic", "fast")["arithmetic"], "fast")
        data = npy(self.folder / "in.npy", (1, 1, 28, 28), [((i * 7919) % 1000) / 1000 for i in range(784)])
        answers = []
        for arithmetic in ("exact", "fast"):
            out = self.folder / f"{arithmetic}.npy"
            self.works("run", NETWORK, data, "-o", out, "--arithmetic", arithmetic)
            answers.append(struct.unpack("<10f", out.read_bytes()[-40:]))
        self.assertNotEqual(answers[0], answers[1])
        for exact, near in zip(*answers):
            self.assertAlmostEqual(exact, near, delta=1e-3 * max(map(abs, answers[0])))

    def test_bench(self):
        value = self.report("bench", NETWORK, "--seconds", "0", "--layers")
        self.has_keys(value, "model threads isa min_ms median_ms first_ms peak_rss_mb gflops peak_fraction arena_bytes "
                             "arena_lower_bound_bytes layers")
        self.has_keys(value["layers"][0], "name op algorithm macs median_us peak_fraction")
        cut = self.report("bench", NETWORK, "--seconds", "0", "--cut", "relu_3")
        self.assertLess(cut["macs"], value["macs"])
        self.fails("bench", NETWORK, "--cut", "nowhere", says="nowhere")

    def test_evaluate_fresh(self):
        me = self.attach("--exits", "2")
        data = idx_pair(self.folder, "some", [0, 1, 2, 3] * 3)
        value = self.report("evaluate", me, data, "--confusion")
        self.has_keys(value, "samples full exits policy confusion")
        self.has_keys(value["full"], "accuracy mean_ms median_ms accuracy_masked")
        self.has_keys(value["exits"][0], "index tap macs_fraction accuracy median_ms share threshold temperature enabled")
        self.has_keys(value["policy"], "accuracy mean_ms macs_fraction speedup deepest_exit")
        self.assertEqual(value["samples"], 12)
        self.assertEqual(len(value["exits"]), 3)
        self.assertEqual(value["policy"]["accuracy"], value["full"]["accuracy"])
        self.assertEqual([one["share"] for one in value["exits"]], [0.0, 0.0, 1.0])
        self.assertEqual(sum(map(sum, value["confusion"]["counts"])), 12)

    def test_classify(self):
        me = self.attach()
        photo = png(self.folder / "a photo.png", 40, 30, bytes(range(40)) * 30)
        lines = self.works("classify", me, photo, photo, "--json").splitlines()
        self.assertEqual(len(lines), 2)
        for key in ("schema", "file", "label", "index", "confidence", "exit", "infer_ms", "decode_ms"):
            self.assertIn(f'"{key}"', lines[0])

    def test_export(self):
        me = self.attach("--exits", "2")
        for words, form, exits in (((), "exits", 3), (("--exit", "1"), "cut", 1), (("--leave",), "leave", 3)):
            value = self.report("export", me, "-o", self.folder / "out.onnx", *words)
            self.assertEqual((value["form"], value["exits"]), (form, exits))
            self.assertIn(b"exeunt.classes", (self.folder / "out.onnx").read_bytes())
        for words, says in ((("--exit", "3"), "--exit takes"), (("--exit", "1", "--leave"), "exclude"),
                            (("--target", "keep"), "--target needs --leave"), (("--leave", "--batch", "2"), "batch 1")):
            self.fails("export", me, "-o", self.folder / "no.onnx", *words, status=2, says=says)
        self.fails("export", me, status=2, says="needs -o")
        self.fails("export", me, "-o", self.folder / "none" / "out.onnx", says="none")
        self.assertFalse((self.folder / "no.onnx").exists())

    def test_run_agrees_with_itself(self):
        """Batches and instruction sets change nothing."""
        values = [((i * 7919) % 1000) / 1000 for i in range(5 * 784)]
        data = npy(self.folder / "in.npy", (5, 1, 28, 28), values)
        outputs = []
        for number, more in enumerate(((), ("--batch", "2"), ("--threads", "2"), ("--isa", "scalar_fma"))):
            out = self.folder / f"out{number}.npy"
            self.works("run", NETWORK, data, "-o", out, *more)
            outputs.append(out.read_bytes())
        self.assertEqual(len(set(outputs)), 1)
        me = self.attach("--exits", "2")
        self.works("run", NETWORK, data, "-o", self.folder / "last.npy", "--profile", me)
        self.assertEqual((self.folder / "last.npy").read_bytes(), outputs[0])
        self.works("run", NETWORK, data, "-o", self.folder / "early.npy", "--profile", me, "--exit", "0")
        self.fails("run", NETWORK, data, "-o", "x", "--profile", me, "--exit", "3", status=2, says="--exit takes")
        self.fails("run", NETWORK, data, "-o", "x", "--profile", me, "--value", "y", status=2, says="exclude")
        self.fails("run", NETWORK, data, "-o", "x", "--value", "nowhere", says="nowhere")
        self.works("run", NETWORK, data, "-o", self.folder / "map.npy", "--value", "relu_3")
        self.assertEqual(read_npy(self.folder / "map.npy")[0], (5, 32, 14, 14))

    def test_profile(self):
        me = self.attach("--exits", "1")
        value = self.report("profile", "show", me)
        self.has_keys(value, "profile classes labelled unlabelled exits")
        self.has_keys(value["exits"][0], "index tap tap_shape kind trained pretrained enabled threshold temperature accuracy "
                                         "decision tensors")
        before = me.read_bytes()
        self.report("profile", "import", me, me, "-o", self.folder / "copy.safetensors")
        self.assertEqual((self.folder / "copy.safetensors").read_bytes(), before)
        (self.folder / "bad").write_bytes(b"no tensors")
        self.fails("profile", "import", me, self.folder / "bad", says="bad")
        self.assertEqual(me.read_bytes(), before)
        for words, says in ((("sing", me), "show or import"), (("import", me), "needs a file"),
                            (("show", me, me), "one file"), (("show", me, "-o", "x"), "--output needs")):
            self.fails("profile", *words, status=2, says=says)

    def test_run_writes_maps_as_onnx_has_them(self):
        """A 1x1 convolution from two channels to two, on 4x4 pixels."""
        data = ROOT / "tests" / "unit" / "data"
        weights = struct.unpack("<4f", (data / "weights.bin").read_bytes()[16:32])
        pixels = [float(i % 7) - 3 for i in range(3 * 2 * 16)]
        self.works("run", data / "external.onnx", npy(self.folder / "in.npy", (3, 2, 4, 4), pixels), "-o",
                   self.folder / "out.npy", "--batch", "2")
        shape, values = read_npy(self.folder / "out.npy")
        self.assertEqual(shape, (3, 2, 4, 4))
        for at, value in enumerate(values):
            n, o, i = at // 32, at // 16 % 2, at % 16
            self.assertAlmostEqual(value, sum(weights[2 * o + c] * pixels[32 * n + 16 * c + i] for c in range(2)), 5)


if __name__ == "__main__":
    unittest.main()
