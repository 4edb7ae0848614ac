# SPDX-License-Identifier: Apache-2.0
"""Code blocks of the READMEs are run, in a folder that has what they name. A line that nothing here knows fails: say how to run
it, or where it is run."""
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import unittest

from program import NETWORK, PROGRAM, ROOT, Case, picture, png

BUILD = pathlib.Path(PROGRAM).resolve().parents[1]
CLASSES = "T-shirt Trouser Pullover Dress Coat Sandal Shirt Sneaker Bag Boot".split()

# What begins so is run elsewhere, or shows output.
ELSEWHERE = {
    "tools/demo": "continuous integration runs it", "tools/test": "this test is part of it",
    "tools/setup": "tools/test begins with it", "meson setup": "tools/test", "ninja -C": "tools/test",
    "CC=clang meson setup": "tools/test", "CK_FORK": "needs a person", "meson test": "tools/test", "build/tests/unit/": "tools/test", "export PATH": "stands in for itself: see environment()",
    "pip install": "takes a build of its own", "tools/zoo.py": "golden_zoo; it fetches", "python3 -m venv": "peers are no dependency of the tests",
    "/tmp/peers/bin/python": "peers are no dependency of the tests", "bench/latency": "peers", "bench/study.py": "test_study",
    "bench/personalise": "test_bench, and peers", "python3 tests/coverage.py": "takes a build of its own",
    "objdump": "shows code", "llvm-mca": "shows code", "QEMU_CPU=": "tools/test", "qemu-x86_64": "an emulator", "scp ": "needs a board",
    "ssh board": "needs a board", "mkdir -p found": "fuzzing has no end", "python examples/python": "needs a network of three channels",
}
SHOWN = re.compile(r"\S.* +\d+\.\d %|speed-up over|photo ->|3540 test|right +ms|For fairness|nr = |\d+ bits, |FAIL mine")


def blocks(path):
    """(kind, first line number, lines) of indented and fenced blocks; kind is the fence's language."""
    found, kind, fenced = [], None, False
    for number, line in enumerate(path.read_text().split("\n"), 1):
        if line.startswith("```"):
            fenced = not fenced
            kind = None
            if fenced:
                found.append((line[3:].strip(), number + 1, []))
                kind = "fence"
        elif fenced:
            found[-1][2].append(line)
        elif line.startswith("    "):
            if kind != "indent":
                found.append(("", number, []))
            kind = "indent"
            found[-1][2].append(line[4:])
        elif line.strip() or kind != "indent":
            kind = None
    return found


def commands(lines):
    """Shell lines without comments; a backslash at the end joins."""
    text = "\n".join(lines).replace("\\\n", " ")
    return [re.sub(r"\s+#.*", "", line).strip() for line in text.split("\n") if line.strip()]


class Readme(Case):
    def folders(self, name, count):
        rng = random.Random(name)
        for i in range(count):
            where = self.folder / name / CLASSES[i % 4]
            where.mkdir(parents=True, exist_ok=True)
            png(where / f"{i}.png", 28, 28, picture(rng))

    def setUp(self):
        super().setUp()
        shutil.copy(NETWORK, self.folder / "network.onnx")
        (self.folder / "classes.txt").write_text("\n".join(CLASSES) + "\n")
        self.folders("labelled", 40)
        self.folders("test", 24)
        (self.folder / "camera-roll").mkdir()
        rng = random.Random(5)
        for i in range(12):
            png(self.folder / "camera-roll" / f"{i}.png", 28, 28, picture(rng))
        png(self.folder / "photo.jpg", 28, 28, picture(rng))  # a file is what its bytes are
        (self.folder / "build").symlink_to(BUILD)

    def environment(self):
        places = f"{BUILD}/tools:{BUILD}/tests/kcheck:{os.environ['PATH']}"
        return {**os.environ, "PATH": places}

    def shell(self, line, **more):
        done = subprocess.run(["bash", "-ec", line], cwd=self.folder, env={**self.environment(), **more}, timeout=240,
                              capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, f"{line}\n{done.stdout[-500:]}\n{done.stderr[-1500:]}")

    def test_commands(self):
        ran = 0
        for path in sorted(ROOT.rglob("README.md")):
            if any(part.startswith("build") for part in path.relative_to(ROOT).parts):
                continue
            for kind, number, lines in blocks(path):
                if kind in ("c", "python", "json") or "import exeunt" in "".join(lines) or not self.is_shell(lines):
                    continue
                for line in commands(lines):
                    where = f"{path.relative_to(ROOT)}:{number}: {line}"
                    if SHOWN.match(line) or any(line.startswith(start) for start in ELSEWHERE):
                        continue
                    with self.subTest(where):
                        self.assertRegex(line, r"^(exeunt|build/tools/exeunt|kcheck|build/tests/kcheck/kcheck|cc|\./embed)\b",
                                         "nothing knows how to run this line")
                        ran += self.run_line(line)
        self.assertGreater(ran, 10)

    def is_shell(self, lines):
        """Drawings, C and Python have their own characters."""
        return not re.search(r"^\s*[|+<>v^/]|->|: {2,}|;$|^\w+ = |^print\(|\){$|^#include|^me\b", "\n".join(lines), re.M)

    def run_line(self, line):
        if line.startswith(("cc ", "./embed")):
            return 0  # test_embedding
        if "kcheck" in line:
            line += " --duration 0.01" if "--bench" in line else ""
            if line == "build/tests/kcheck/kcheck" or "--set avx2" in line:
                return 0  # the kcheck suite
        self.shell(line)
        return 1

    @unittest.skipIf(os.environ.get("EXN_SANITIZE", "none") != "none", "the program would want the sanitizer's library")
    def test_embedding(self):
        """The example compiled with what meson installs, as examples/README.md says."""
        if shutil.which("meson") is None or shutil.which("pkg-config") is None:
            self.skipTest("no meson or pkg-config")
        stage = self.folder / "stage"
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--destdir", stage], check=True, capture_output=True)
        library, = stage.rglob("libexeunt.so")
        shutil.copy(ROOT / "examples/embed/embed.c", self.folder)
        self.shell("cc embed.c $(pkg-config --cflags --libs exeunt) -o embed && ./embed network.onnx me.safetensors",
                   PKG_CONFIG_PATH=str(library.parent / "pkgconfig"), PKG_CONFIG_SYSROOT_DIR=str(stage),
                   LD_LIBRARY_PATH=str(library.parent))

    @unittest.skipIf(os.environ.get("EXN_SANITIZE", "none") != "none", "one build is enough")
    def test_subproject(self):
        """The example as a project that builds exeunt from subprojects/exeunt."""
        if shutil.which("meson") is None:
            self.skipTest("no meson")
        shutil.copytree(ROOT / "examples/embed", self.folder / "embed")
        (self.folder / "embed/subprojects").mkdir()
        (self.folder / "embed/subprojects/exeunt").symlink_to(ROOT)
        self.shell("cd embed && meson setup made --force-fallback-for=exeunt -Doptimization=1 -Dexeunt:sets=scalar_fma && "
                   "ninja -C made && made/embed ../network.onnx ../me.safetensors")

    def test_c(self):
        """Blocks of C compile within the tree."""
        seen = 0
        for path in sorted(ROOT.rglob("README.md")):
            for kind, number, lines in blocks(path):
                if kind != "c":
                    continue
                with self.subTest(f"{path.relative_to(ROOT)}:{number}"):
                    done = subprocess.run(["cc", "-std=gnu11", "-Wall", "-Werror", "-fsyntax-only", "-I", ROOT, "-I",
                                           ROOT / "core/include", "-x", "c", "-"], input="\n".join(lines),
                                          capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)
                    seen += 1
        self.assertGreater(seen, 0)

    def test_python(self):
        """The main page's Python, with pictures of its own."""
        try:
            import numpy
        except ImportError:
            self.skipTest("no NumPy")
        if os.environ.get("EXN_SANITIZE", "none") != "none":
            self.skipTest("sanitizers")
        block, = ("\n".join(lines) for _, _, lines in blocks(ROOT / "README.md") if "exeunt.personalise" in "\n".join(lines))
        self.assertTrue(numpy.__version__)
        prelude = ("import exeunt, numpy\nrng = numpy.random.default_rng(1)\n"
                   "samples = [(rng.integers(0, 255, (28, 28), numpy.uint8), i % 2 or None) for i in range(12)]\n"
                   "photo = samples[0][0]\n")
        done = subprocess.run([sys.executable, "-c", prelude + block], cwd=self.folder, capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": str(ROOT / "python"), "EXN_LIBRARY": str(BUILD / "libexeunt.so")})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Answer(label=", done.stdout)


if __name__ == "__main__":
    unittest.main()
