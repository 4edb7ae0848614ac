#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seeds of corpus/: small valid files of every kind and form the readers know. Needs pillow.

Usage: make_corpus.py [EXEUNT]. With the program, also the seeds that it makes itself: profile, cache, packed weights.
Files that a fuzzer found (any name without "seed") are left alone."""

import gzip
import pathlib
import struct
import subprocess
import sys
import tempfile

from PIL import Image

HERE = pathlib.Path(__file__).parent
NETWORK = HERE.parent / "golden/data/inverted_fixed_batch.onnx"


def write(folder, name, data):
    path = HERE / "corpus" / folder / f"seed_{name}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def npy(version, descr, shape, payload, order="False"):
    text = f"{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + length + text + payload


def arrays():
    write("npy", "f4", npy(1, "<f4", "(2, 3, 2, 2)", struct.pack("<24f", *range(24))))
    write("npy", "i8", npy(1, "<i8", "(5,)", struct.pack("<5q", *range(-1, 4))))
    write("npy", "u1_v2", npy(2, "|u1", "(2, 3, 3)", bytes(range(18))))
    write("npy", "scalar", npy(1, "<f4", "()", struct.pack("<f", 1.5)))
    write("npy", "empty", npy(1, "<f4", "(0, 7)", b""))
    write("npy", "fortran", npy(1, "<f4", "(2, 2)", bytes(16), "True"))
    write("npy", "nan", npy(1, "<f4", "(1,)", struct.pack("<f", float("nan"))))
    images = bytes([0, 0, 8, 3]) + struct.pack(">3I", 2, 4, 3) + bytes(range(24))
    colour = bytes([0, 0, 8, 4]) + struct.pack(">4I", 1, 2, 2, 3) + bytes(range(12))
    labels = bytes([0, 0, 8, 1]) + struct.pack(">I", 5) + bytes([0, 1, 2, 3, 4])
    write("idx", "images", images)
    write("idx", "colour", colour)
    write("idx", "labels", labels)
    write("idx", "images_gz", gzip.compress(images, mtime=0))
    write("idx", "npy", npy(1, "|u1", "(2, 3, 3)", bytes(range(18))))


def photos():
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "x"
        colour = Image.new("RGB", (11, 7))
        colour.putdata([(x * 20 % 256, y * 30 % 256, (x + y) * 13 % 256) for y in range(7) for x in range(11)])

        def save(name, image, kind, **options):
            image.save(path, kind, **options)
            write("image", name, path.read_bytes())

        exif = Image.Exif()
        exif[0x0112] = 6
        save("jpeg", colour, "JPEG", quality=40)
        save("jpeg_turned", colour, "JPEG", quality=40, exif=exif)
        save("jpeg_progressive", colour, "JPEG", quality=40, progressive=True)
        save("jpeg_grey", colour.convert("L"), "JPEG", quality=40)
        save("jpeg_cmyk", colour.convert("CMYK"), "JPEG", quality=40)
        save("png", colour, "PNG")
        save("png_turned", colour, "PNG", exif=exif)
        save("png_grey", colour.convert("L"), "PNG")
        save("png_palette", colour.convert("P"), "PNG")
        save("png_bits", colour.convert("1"), "PNG")
        save("png_alpha", colour.convert("RGBA"), "PNG")
        save("png_deep", colour.convert("I;16"), "PNG")


def cache():
    """Header and two records of four floats; the checksums are zero, for the target makes them good."""

    def header(half, key=b"0123456789abcdef" * 2):
        return struct.pack("<QIIII32sQ", 0x31656863616E7865, 2, 4, half, 0, key, 0)

    records = b"".join(bytes([i] * 16) + struct.pack("<Q4f", 0, i, 1, 2, 3) for i in range(2))
    halves = b"".join(bytes([i] * 16) + struct.pack("<Q4e", 0, i, 1, 2, 3) for i in range(2))
    write("cache", "two", header(0) + records)
    write("cache", "half", header(1) + halves)
    write("cache", "torn", header(0) + records[:-3])
    write("cache", "cut_head", header(0) + records[:16])
    write("cache", "other_key", header(0, b"9876543210abcdef" * 2))


def of_program(program):
    """What the program writes for the small network: profiles (fresh, personalised) and packed weights."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = folder / "network.onnx"  # beside the profiles: they name it by a relative path
        network.write_bytes(NETWORK.read_bytes())

        def run(*arguments):
            command = [program, *map(str, arguments), "--isa", "scalar"]
            subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        pixels = struct.pack(f"<{40 * 432}f", *((i * 7919 % 257 + i // 432 % 5 * 40) / 64 for i in range(40 * 432)))
        (folder / "images.npy").write_bytes(npy(1, "<f4", "(40, 3, 12, 12)", pixels))
        (folder / "labels.npy").write_bytes(npy(1, "<i8", "(40,)", struct.pack("<40q", *(i % 5 for i in range(40)))))
        (folder / "input.npy").write_bytes(npy(1, "<f4", "(1, 3, 12, 12)", pixels[: 4 * 432]))
        run("attach", "network.onnx", "-o", "me.safetensors", "--exits", 1, "--head", "linear")
        write("profile", "fresh", (folder / "me.safetensors").read_bytes())
        run("attach", "network.onnx", "-o", "me.safetensors", "--exits", 2, "--head", "linear")
        run("personalise", "me.safetensors", "images.npy,labels.npy", "--costs", "macs", "--no-measure")
        write("profile", "personalised", (folder / "me.safetensors").read_bytes())
        run("run", "network.onnx", "input.npy", "-o", "out.npy", "--packed", "packed")
        write("packed", "whole", (folder / "packed").read_bytes())


if __name__ == "__main__":
    arrays()
    photos()
    cache()
    if len(sys.argv) > 1:
        of_program(pathlib.Path(sys.argv[1]).resolve())
