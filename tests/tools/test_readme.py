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

# What begins so takes minutes, the network, or another machine: the file that runs it, which must say the words.
ELSEWHERE = {
    "tools/test": (".ci/run", "tools/test"),
    "tools/zoo.py": ("tests/golden/zoo.py", "tools/zoo.py"), "bench/study.py": ("tests/tools/test_study.py", "study.py"),
    "bench/personalise": ("tests/tools/test_bench.py", "personalise"), "bench/latency": ("tests/tools/test_bench.py", "latency"),
    "QEMU_CPU=": ("tests/meson.build", "lengths_cpus"),
}
# What begins so needs what a test cannot bring: a build of its own, peers from PyPI, a person at a debugger, a board, days of time.
BEYOND = ("tools/demo", "pip install .", "python3 -m venv", "/tmp/peers/bin/python", "CK_FORK=no gdb", "scp ", "ssh board", "mkdir -p found", "llvm-mca",
          "python3 tests/coverage.py")
# Folders that a line sets up are set up elsewhere; lines after it mean those.
SETUP = re.compile(r"^((?:\w+=\S+ )*)meson setup (build\S*)(.*)$")
SHOWN = re.compile(r"\S.* +\d+\.\d %|photo ->|3540 test|right +ms|For fairness|nr = |\d+ bits, |FAIL mine")


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
                    if SHOWN.match(line) or line.startswith(BEYOND):
                        continue
                    with self.subTest(where):
                        for part in line.split(" && "):
                            ran += self.run_part(part)
        self.assertGreater(ran, 25)

    def is_shell(self, lines):
        """Drawings, C and Python have their own characters."""
        return not re.search(r"^\s*[|+<>v^/]|->|: {2,}|;$|^\w+ = |^print\(|\){$|^#include|^me\b", "\n".join(lines), re.M)

    def run_part(self, line):
        """How many commands ran; a line that nothing here knows fails."""
        for start, (file, words) in ELSEWHERE.items():
            if line.startswith(start):
                if (ROOT / file).exists() or not file.startswith(".ci/"):  # which a source archive may lack
                    self.assertIn(words, (ROOT / file).read_text(), f"{file} does not run this")
                return 0
        if line.startswith(("cc ", "./embed")):
            return 0  # test_embedding
        if line.startswith("tools/setup"):
            groups = re.search(r"usage: tools/setup (.*)\"", (ROOT / "tools/setup").read_text())[1]
            self.assertLessEqual(set(line.split()[1:]), set(re.findall(r"\w+", groups)))
            return 0  # it installs; tools/test begins with it
        if line.startswith("python examples/python/"):
            return self.run_example(line)
        if line.startswith(("meson", "ninja")) or SETUP.match(line):
            return self.run_build(line)
        if line.startswith(("objdump", "qemu-x86_64")):
            if shutil.which(line.split()[0]) is None:
                return 0
            line = line.replace("mine", "scalar_fma").replace("scalar_fma_gemm", "scalar_fma_set")
        self.assertRegex(line, r"^(export PATH=|(exeunt|build/tools/exeunt|kcheck|build/tests/\w+/\w+|objdump|qemu-x86_64)\b)",
                         "nothing knows how to run this line")
        if "kcheck" in line:
            line += " --duration 0.005" if "--bench" in line else ""
            if line == "build/tests/kcheck/kcheck" or re.search(r"--set (avx2|sse4)", line):
                return 0  # the kcheck suite
        self.shell(line)
        return 1

    def run_build(self, line):
        """Set up truly, elsewhere; built and tested dry: this test is part of a build that was."""
        setup = SETUP.match(line)
        tools = "meson" if setup or line.startswith("meson") else "ninja"
        if shutil.which(tools) is None:
            return 0
        if setup:
            before, name, options = setup.groups()
            if ("clang" in before and shutil.which("clang") is None) or "--cross-file" in options and not self.crosses(options):
                return 0
            self.shell(f"cd {ROOT} && {before} meson setup {self.folder}/set-{name} {options}")
            return 1
        name = re.search(r"(?:-C |configure )(build\S*)", line)[1]
        folder = self.folder / f"set-{name}"
        if not folder.exists() and name != "build":
            return 0  # its compiler is not here
        if line.startswith("meson configure"):
            self.shell(line.replace(f" {name}", f" {folder}", 1) if folder.exists() else f"cd {ROOT} && meson introspect --buildoptions {BUILD}")
        elif line.startswith("ninja"):
            self.shell(line.replace(f"-C {name}", f"-n -C {folder if folder.exists() else BUILD}"))
        else:
            line = re.sub(r"  +.*| --print-errorlogs", "", line)  # a table's second column
            self.shell(line.replace(f"-C {name}", f"--list -C {folder if folder.exists() else BUILD}"))
        return 1

    def crosses(self, options):
        file = ROOT / re.search(r"--cross-file (\S+)", options)[1]
        compiler = re.search(r"^c = '([^']+)'", file.read_text(), re.M)
        self.assertTrue(file.exists())
        return compiler is not None and shutil.which(compiler[1]) is not None

    def run_example(self, line):
        """The Python example on a small network with three channels."""
        if os.environ.get("EXN_SANITIZE", "none") != "none":
            return 0
        try:
            import numpy, PIL  # noqa: F401
        except ImportError:
            return 0
        shutil.copy(ROOT / "tests/golden/data/blocks.onnx", self.folder / "colour.onnx")
        for i in range(12):  # folders named by the number of a logit, as it wants them
            (self.folder / f"numbered/{i % 2}").mkdir(parents=True, exist_ok=True)
            png(self.folder / f"numbered/{i % 2}/{i}.jpg", 32, 32, picture(random.Random(i), 32))
        words = line.replace("python ", f"{sys.executable} -B {ROOT}/", 1).replace("network.onnx", "colour.onnx")
        words = words.replace("labelled/", "numbered/")
        self.shell(words, PYTHONPATH=str(ROOT / "python"), EXN_LIBRARY=str(BUILD / "libexeunt.so"))
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
