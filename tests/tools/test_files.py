# SPDX-License-Identifier: Apache-2.0
"""Damaged, missing, unwritable: one line that names the file, exit status 1, old files intact."""
import os
import pathlib
import random
import struct
import unittest
import zlib

from program import NETWORK, Case, idx_pair, npy, picture, png


class Networks(Case):
    def broken(self, data):
        path = self.folder / "broken.onnx"
        path.write_bytes(data)
        return path

    def test_missing(self):
        self.fails("plan", self.folder / "none.onnx", says="none.onnx")
        self.fails("plan", self.folder, says=str(self.folder))

    def test_truncated(self):
        whole = pathlib.Path(NETWORK).read_bytes()
        for length in (0, 1, 7, 100, 5000, len(whole) // 2, len(whole) - 1):
            with self.subTest(length=length):
                self.fails("plan", self.broken(whole[:length]), says="broken.onnx")

    def test_unknown_operator(self):
        whole = pathlib.Path(NETWORK).read_bytes()
        message = self.fails("plan", self.broken(whole.replace(b"Relu", b"Rel0")), says="Rel0")
        self.assertIn("broken.onnx", message)

    def test_noise(self):
        """Whatever the bytes, the program ends by itself."""
        whole = bytearray(pathlib.Path(NETWORK).read_bytes())
        rng = random.Random(7)
        for _ in range(60):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(4000)] = rng.randrange(256)
            done = self.run_program("plan", self.broken(data))
            self.assertIn(done.returncode, (0, 1), done.stderr)
        path = self.broken(bytes(rng.randrange(256) for _ in range(3000)))
        self.fails("plan", path)


class Photos(Case):
    def test_damaged(self):
        me = self.attach()
        good = png(self.folder / "good.png", 30, 30, bytes(900)).read_bytes()
        cases = {"empty.png": b"", "text.jpg": b"hello", "short.png": good[:60], "short.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
                 "crc.png": good[:40] + bytes([good[40] ^ 1]) + good[41:]}
        for name, data in cases.items():
            with self.subTest(name=name):
                (self.folder / name).write_bytes(data)
                self.fails("classify", me, self.folder / name, says=name)
        self.fails("classify", me, self.folder / "none.png", says="No such file")

    def test_too_large(self):
        """A few bytes that claim four thousand million pixels are refused before anything is allocated."""
        me = self.attach()
        raw = bytearray(png(self.folder / "big.png", 8, 8, bytes(64)).read_bytes())
        raw[16:24] = struct.pack(">II", 30000, 30000)
        raw[29:33] = struct.pack(">I", zlib.crc32(bytes(raw[12:29])))
        (self.folder / "big.png").write_bytes(raw)
        self.fails("classify", me, self.folder / "big.png", says="limit")

    def test_control_characters_in_names(self):
        me = self.attach()
        self.fails("classify", me, self.folder / "a\nb\x1b[31m.png")

    def test_kinds(self):
        """Grey, RGB, RGBA and 16 bits of the same picture get the same answer."""
        me = self.attach()
        grey = picture(random.Random(1))
        files = [png(self.folder / "grey.png", 28, 28, grey),
                 png(self.folder / "rgb.png", 28, 28, bytes(v for v in grey for _ in range(3)), colour=2),
                 png(self.folder / "rgba.png", 28, 28, bytes(b for v in grey for b in (v, v, v, 255)), colour=6),
                 png(self.folder / "deep.png", 28, 28, bytes(b for v in grey for b in (v, v)), depth=16)]
        answers = {line.split(": ")[1].split(" (")[0] for line in self.works("classify", me, *files).splitlines()}
        self.assertEqual(len(answers), 1)


class DataSets(Case):
    def test_folders(self):
        me = self.attach("--classes", self.classes())
        data = self.folder / "data"
        self.fails("evaluate", me, data, says="data")
        data.mkdir()
        self.fails("evaluate", me, data, says="no photos")
        (data / "boat").mkdir()
        self.fails("evaluate", me, data, says="no class 'boat'")
        png(data / "boat" / "1.png", 28, 28, bytes(784))
        self.fails("evaluate", me, data, says="no class 'boat'")
        (data / "boat").rename(data / "kind2")
        self.assertIn("1 samples", self.works("evaluate", me, data))
        (data / "kind3").mkdir()
        (data / "kind2" / "0.jpg").write_bytes(b"no photo")
        self.fails("evaluate", me, data, says="0.jpg: neither JPEG nor PNG (--skip-bad leaves such photos out)")
        (data / "kind2" / "0.jpg").write_bytes(b"")
        self.fails("evaluate", me, data, says="0.jpg: the file is empty")
        done = self.run_program("evaluate", me, data, "--skip-bad")
        self.assertEqual(done.returncode, 0)
        self.assertIn(b"warning: skipped", done.stderr)

    def classes(self):
        path = self.folder / "classes.txt"
        path.write_text("".join(f"kind{i}\n" for i in range(10)))
        return path

    def test_class_count(self):
        path = self.folder / "few.txt"
        path.write_text("one\ntwo\n")
        self.fails("attach", NETWORK, "-o", self.folder / "p", "--classes", path, says="2 class names")
        self.assertFalse((self.folder / "p").exists())

    def test_pipe_without_writer(self):
        me = self.attach()
        pipe = self.folder / "pipe.npy"
        os.mkfifo(pipe)
        for words in (("evaluate", me, pipe), ("run", NETWORK, pipe, "-o", self.folder / "out.npy"), ("classify", me, pipe),
                      ("attach", NETWORK, "-o", self.folder / "p", "--classes", pipe), ("plan", pipe)):
            with self.subTest(words=words):
                self.fails(*words, says="pipe.npy: not a regular file")

    def test_ambiguous_folder(self):
        path = self.folder / "classes.txt"
        path.write_text("".join(f"kind{i}\n" for i in range(9)) + "kind0\n")
        me = self.attach("--classes", path)
        for name in ("kind0", "kind1"):
            (self.folder / "data" / name).mkdir(parents=True)
            png(self.folder / "data" / name / "1.png", 28, 28, bytes(784))
        self.fails("evaluate", me, self.folder / "data", says="two classes of that name")

    def test_class_names(self):
        """Names that would be invisible, or steer the terminal that shows them."""
        path = self.folder / "classes.txt"
        for bad in (b"", b"\x1b[31mred", b"caf\xe9", b"a\0b"):
            with self.subTest(bad=bad):
                path.write_bytes(b"".join(b"kind%d\n" % i for i in range(9)) + bad + b"\n")
                self.fails("attach", NETWORK, "-o", self.folder / "p", "--classes", path)
                self.assertFalse((self.folder / "p").exists())

    def test_costs(self):
        me = self.attach("--exits", "1")
        data = idx_pair(self.folder, "x", [0, 1] * 10)
        table = '{"schema":"exeunt.costs/1","exits":[%s],"full":%s}'
        for text, says in (("", "costs.json: line 1"), (table % ("1e308", "1e308"), "no duration"),
                           (table % ("1", "1e300"), "full is no duration"), (table % ("-1", "1"), "no duration")):
            with self.subTest(text=text):
                (self.folder / "costs.json").write_text(text)
                self.fails("personalise", me, data, "--costs", self.folder / "costs.json", says=says)
        strange = os.path.join(os.fsencode(self.folder), b"caf\xe9.json")
        pathlib.Path(os.fsdecode(strange)).write_text(table % ("1", "2"))
        self.fails("personalise", me, data, "--costs", os.fsdecode(strange), says="needs a name in UTF-8")

    def test_idx(self):
        me = self.attach()
        path = idx_pair(self.folder, "x", [0, 1, 2])
        (self.folder / "x-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 3) + bytes([0, 1, 10]))
        self.fails("evaluate", me, path, says="label 10")
        (self.folder / "x-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 2) + bytes([0, 1]))
        self.fails("evaluate", me, path, says="3 labels")
        path.write_bytes(path.read_bytes()[:-1])
        self.fails("evaluate", me, path, says="ends too early")
        path.write_bytes(struct.pack(">IIII", 0x803, 2 ** 31, 28, 28))
        self.fails("evaluate", me, path)

    def test_npy(self):
        me = self.attach()
        good = [0.5] * (2 * 784)
        labels = npy(self.folder / "labels.npy", (2,), [1, 2], "<i8")
        path = npy(self.folder / "images.npy", (2, 1, 28, 28), good)
        self.assertIn("2 samples", self.works("evaluate", me, f"{path},{labels}"))
        self.assertIn("2 samples", self.works("evaluate", me, path))
        self.assertIn("2 samples", self.works("evaluate", me, self.folder))
        bad = list(good)
        bad[1000] = float("nan")
        self.fails("evaluate", me, npy(path, (2, 1, 28, 28), bad), says="not finite")
        self.fails("run", NETWORK, path, "-o", self.folder / "out.npy", says="not finite")
        self.assertFalse((self.folder / "out.npy").exists())
        self.fails("run", NETWORK, npy(path, (2, 1, 14, 56), good), "-o", self.folder / "out.npy", says="14x56")
        self.fails("evaluate", me, npy(path, (2, 1, 14, 56), good), says="1x14x56")
        for header in (b"{'descr': '<f4', 'fortran_order': True, 'shape': (2,1,28,28)}",
                       b"{'descr': '>f4', 'fortran_order': False, 'shape': (2,1,28,28)}",
                       b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999,1,28,28)}",
                       b"{'descr': '<f4', 'fortran_order': False, 'shape': (65536,65536,65536,65536)}",
                       b"{'descr': '<f4', 'fortran_order': False, 'shape': (2,1,28,", b"", b"\0" * 100):
            path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + b"\0" * 100)
            self.fails("run", NETWORK, path, "-o", self.folder / "out.npy", says="images.npy")
        path.write_bytes(b"\x93NUMPY\2\0" + struct.pack("<I", 2 ** 31) + b"{")
        self.fails("run", NETWORK, path, "-o", self.folder / "out.npy", says="images.npy")


class Targets(Case):
    def test_full_disk(self):
        me = self.attach()
        old = me.read_bytes()
        self.fails("attach", NETWORK, "-o", me, "--exits", "2", limit=1000)
        self.assertEqual(me.read_bytes(), old)
        self.assertEqual(sorted(p.name for p in self.folder.iterdir() if not p.name.endswith(".lock")), [me.name])
        out = npy(self.folder / "out.npy", (1,), [1.0])
        before = out.read_bytes()
        data = npy(self.folder / "in.npy", (9, 1, 28, 28), [0.5] * (9 * 784))
        self.fails("run", NETWORK, data, "-o", out, limit=200)
        self.assertEqual(out.read_bytes(), before)

    def test_no_folder(self):
        self.fails("attach", NETWORK, "-o", self.folder / "none" / "p", says="none/p: No such file")
        self.fails("attach", NETWORK, "-o", "/proc/p.safetensors", says="/proc/p.safetensors")

    @unittest.skipIf(os.geteuid() == 0, "root writes everywhere")
    def test_read_only_folder(self):
        me = self.attach()
        data = idx_pair(self.folder, "x", [0, 1] * 10)
        self.folder.chmod(0o555)
        self.addCleanup(self.folder.chmod, 0o755)
        self.fails("attach", NETWORK, "-o", self.folder / "p", says="p")
        self.fails("personalise", me, data, says="cannot be replaced")

    def test_no_lock_beside_what_cannot_be_replaced(self):
        for target in (self.folder, "/dev/full"):
            with self.subTest(target=target):
                self.fails("attach", NETWORK, "-o", target, says=str(target))
                self.assertFalse(os.path.exists(f"{target}.lock"))
        (self.folder / "link").symlink_to(self.folder / "none" / "p")
        self.fails("attach", NETWORK, "-o", self.folder / "link", says="link")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["link"])

    def test_one_line_without_standard_output(self):
        with open("/dev/full", "wb") as full:
            done = self.run_program("plan", self.folder / "none.onnx", stdout=full)
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1))
        with open("/dev/full", "wb") as full:
            done = self.run_program("plan", NETWORK, stdout=full)
        self.assertEqual((done.returncode, done.stderr.count(b"\n")), (1, 1))

    def test_profile_of_another_network(self):
        me = self.attach()
        copy = self.folder / "other.onnx"
        copy.write_bytes(pathlib.Path(NETWORK).read_bytes().replace(b"logits", b"logitz"))
        self.fails("plan", copy, "--profile", me)

    def test_damaged_profile(self):
        me = self.attach()
        whole = me.read_bytes()
        rng = random.Random(3)
        for _ in range(40):
            data = bytearray(whole)
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            me.write_bytes(data)
            self.fails("classify", me, "x.png", says="")
        for length in (0, 8, 100, len(whole) - 1):
            me.write_bytes(whole[:length])
            self.fails("classify", me, "x.png", says="me.safetensors")


if __name__ == "__main__":
    unittest.main()
