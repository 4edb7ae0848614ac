# SPDX-License-Identifier: Apache-2.0
"""What the tests of the program share: running it, and making small photos, arrays and data sets without any library."""
import json
import os
import pathlib
import random
import resource
import struct
import subprocess
import tempfile
import unittest
import zlib

PROGRAM = os.environ["EXN_PROGRAM"]
ROOT = pathlib.Path(os.environ["EXN_SOURCE_ROOT"])
NETWORK = str(ROOT / "examples" / "demo" / "fashion_cnn.onnx")
SHARED = ROOT.parent / "shared" / "data"


class Case(unittest.TestCase):
    """A test with its own folder."""

    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)

    def run_program(self, *words, limit=None, stdout=subprocess.PIPE):
        def restrict():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        return subprocess.run([PROGRAM, *map(str, words)], stdout=stdout, stderr=subprocess.PIPE, preexec_fn=restrict,
                              timeout=120, check=False)

    def works(self, *words):
        done = self.run_program(*words)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.decode()

    def report(self, *words):
        """The JSON of a command; `schema` comes first."""
        value = json.loads(self.works(*words, "--json"))
        self.assertEqual(next(iter(value)), "schema")
        self.assertEqual(value["schema"], f"exeunt.{words[0]}.1")
        return value

    def fails(self, *words, status=1, says="", limit=None):
        """One line on standard error, nothing on standard output."""
        done = self.run_program(*words, limit=limit)
        self.assertEqual(done.returncode, status, (words, done.stderr))
        message = done.stderr.decode(errors="replace")
        self.assertRegex(message, r"\Aexeunt: [^\n]+\n\Z")
        self.assertIn(says, message)
        return message

    def has_keys(self, value, keys):
        for key in keys.split():
            self.assertIn(key, value)

    def attach(self, *words, name="me.safetensors"):
        path = self.folder / name
        self.works("attach", NETWORK, "-o", path, "--costs", "macs", *words)
        return path


def png(path, width, height, rows, colour=0, depth=8):
    """rows: bytes of all rows, without filter bytes. colour 0 grey, 2 RGB, 6 RGBA."""
    size = len(rows) // height
    raw = b"".join(b"\0" + rows[y * size:(y + 1) * size] for y in range(height))

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    pathlib.Path(path).write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth,
                                   colour, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))
    return path


def picture(rng, side=28):
    """Two or three grey rectangles on black."""
    rows = [0] * (side * side)
    for _ in range(rng.choice((2, 3))):
        left, top = rng.randrange(2, 16), rng.randrange(16)
        width, height, grey = rng.randrange(4, 20), rng.randrange(4, 24), rng.randrange(90, 256)
        for y in range(top, min(side, top + height)):
            for x in range(left, min(side, left + width)):
                rows[y * side + x] = grey
    return bytes(rows)


def dim(pixels, rng):
    """The same picture through a camera with less light and some noise."""
    return bytes(min(255, max(0, int(0.6 * v) + rng.randrange(-5, 6))) for v in pixels)


def write_idx(folder, name, images, labels):
    """Writes NAME-images-idx3-ubyte and NAME-labels-idx1-ubyte; returns the first one's path."""
    path = folder / f"{name}-images-idx3-ubyte"
    path.write_bytes(struct.pack(">IIII", 0x803, len(images), 28, 28) + b"".join(images))
    (folder / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, len(labels)) + bytes(labels))
    return path


def idx_pair(folder, name, labels, seed=1):
    """Pictures that have nothing to do with their labels."""
    rng = random.Random(seed)
    return write_idx(folder, name, [picture(rng) for _ in labels], labels)


def person(folder, sizes, seed=1):
    """Data sets of these sizes: the true class of a picture is the network's answer before the dim camera took it. Of
    the four classes that are answered most often."""
    rng = random.Random(seed)
    wanted = sum(sizes.values())
    clean = [picture(rng) for _ in range(wanted * 4 // 3 + 50)]
    npy(folder / "clean.npy", (len(clean), 1, 28, 28), [v / 255 for pixels in clean for v in pixels])
    subprocess.run([PROGRAM, "run", NETWORK, folder / "clean.npy", "-o", folder / "answers.npy"], check=True)
    logits = read_npy(folder / "answers.npy")[1]
    labels = [max(range(10), key=lambda c, i=i: logits[i * 10 + c]) for i in range(len(clean))]
    classes = sorted(set(labels), key=labels.count)[-4:]
    mine = [(dim(pixels, rng), label) for pixels, label in zip(clean, labels) if label in classes]
    paths, begin = [], 0
    for name, size in sizes.items():
        part = mine[begin:begin + size]
        assert len(part) == size, "too few pictures"
        paths.append(write_idx(folder, name, [pixels for pixels, _ in part], [label for _, label in part]))
        begin += size
    return paths


def npy(path, shape, values, kind="<f4"):
    header = repr({"descr": kind, "fortran_order": False, "shape": tuple(shape)}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    letter = {"<f4": "f", "<i8": "q", "|u1": "B"}[kind]
    pathlib.Path(path).write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header +
                                   struct.pack(f"<{len(values)}{letter}", *values))
    return path


def read_npy(path):
    raw = pathlib.Path(path).read_bytes()
    length = struct.unpack("<H", raw[8:10])[0]
    body = raw[10 + length:]
    return eval(raw[10:10 + length], {})["shape"], struct.unpack(f"<{len(body) // 4}f", body)
