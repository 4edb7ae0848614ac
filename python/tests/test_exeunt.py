# SPDX-License-Identifier: Apache-2.0
"""The Python package against the library and its header: pytest, with EXN_LIBRARY where the package is not installed."""
import asyncio
import os
import pathlib
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import exeunt
from exeunt import _native

ROOT = pathlib.Path(__file__).resolve().parents[2]
NETWORK = ROOT / "examples/demo/fashion_cnn.onnx"
HEADER = (ROOT / "core/include/exeunt/exeunt.h").read_text()


def stripes(label, index):
    """uint8 (28, 28): stripes whose width is the class."""
    rng = np.random.default_rng(1000 * label + index)
    rows = (np.arange(28)[None] + np.arange(28)[:, None] * rng.integers(3) + rng.integers(9)) // (2 + label) % 2
    return (rows * rng.integers(150, 230) + rng.integers(0, 25, (28, 28))).astype(np.uint8)


@pytest.fixture(scope="module")
def network():
    return exeunt.Model(NETWORK)


@pytest.fixture(scope="module")
def me(network):
    profile = exeunt.Profile.create(network, exits=2)
    assert exeunt.personalise(profile, ((stripes(i % 4, i), i % 4) for i in range(80)), costs="macs")
    return profile


@pytest.mark.parametrize("name, structure", [
    ("exn_allocator", _native.Allocator), ("exn_context_options", _native.ContextOptions), ("exn_image", _native.Image), ("exn_model_options", _native.ModelOptions), ("exn_model_info", _native.ModelInfo),
    ("exn_preprocess", _native.Preprocess), ("exn_profile_options", _native.ProfileOptions),
    ("exn_exit_info", _native.ExitInfo), ("exn_trainer_options", _native.TrainerOptions),
    ("exn_progress", _native.Progress), ("exn_export_options", _native.ExportOptions),
    ("exn_runner_options", _native.RunnerOptions), ("exn_answer", _native.Answer)])
def test_structures_are_the_headers(name, structure):
    body = re.search(rf"typedef struct {name} \{{(.*?)\}} {name};", HEADER, re.S)[1]
    fields = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    fields = re.sub(r"\(\*(\w+)\)\(.*?\)", r"\1", fields, flags=re.S)  # a pointer to a function is its name
    names = [re.sub(r"\[.*", "", word.split()[-1].lstrip("*")) for line in fields.split(";") if line.strip()
             for word in line.split(",")]
    assert [field for field, _ in structure._fields_] == names


def test_kinds_are_the_headers():
    kinds = {name.lower(): int(number) for name, number in re.findall(r"EXN_HEAD_(\w+) = (\d)", HEADER)}
    assert kinds.pop("classifier") == 4 and kinds == exeunt.HEADS


def test_model(network):
    assert (network.channels, network.height, network.width, network.classes) == (1, 28, 28, 10)
    assert network.macs > 1e7 and network.taps > 3
    with pytest.raises(exeunt.Error, match="none.onnx") as caught:
        exeunt.Model("none.onnx")
    assert caught.value.status == -5


@pytest.mark.parametrize("limits, words", [({"file_bytes": 1000}, "1000"), ({"nodes": 3}, "limit on nodes"), ({"elements": 100}, "100"),
                                           ({"block_bytes": 5000}, "limit is 5000")])
def test_limits(limits, words):
    """What a stranger's file may ask for."""
    with pytest.raises(exeunt.Error, match=words):
        exeunt.Runner(exeunt.Profile.create(exeunt.Model(NETWORK, limits=exeunt.Limits(**limits))))


def test_everything_public_is_documented():
    for name in exeunt.__all__:
        thing = getattr(exeunt, name)
        assert thing.__doc__ and not thing.__doc__.startswith(name + "("), name  # dataclasses make up their own
        for member, value in vars(thing).items():
            if not member.startswith("_") and (callable(value) or isinstance(value, (property, classmethod))):
                assert value.__doc__, f"{name}.{member}"


def test_personal(me):
    runner = exeunt.Runner(me)
    answers = [runner.classify(stripes(i % 4, 500 + i)) for i in range(40)]
    assert np.mean([a.label == i % 4 for i, a in enumerate(answers)]) > 0.7
    assert all(a.name == str(a.label) and 0 < a.confidence <= 1 and 0 <= a.exit < 3 for a in answers)
    assert me.exits[-1].kind == "classifier" and me.exits[0].trained
    whole = exeunt.Runner(me, whole_network=True)
    assert np.mean([whole.classify(stripes(i % 4, 500 + i)).label == i % 4 for i in range(40)]) < 0.6


def test_tensors_and_images_agree(network):
    profile = exeunt.Profile.create(network, exits=1)
    runner, picture = exeunt.Runner(profile), stripes(2, 7)
    wide = np.zeros((28, 64), np.uint8)
    wide[:, 9:37] = picture
    tensor = (picture / np.float32(255)).astype(np.float32)[None]
    expected = runner.classify(picture)
    for other in (wide[:, 9:37], np.asfortranarray(picture), tensor):
        answer = runner.classify(other)
        assert (answer.label, answer.confidence) == (expected.label, pytest.approx(expected.confidence, rel=1e-5))
    for wrong in (picture.astype(np.float64), tensor[:, :5], np.zeros((3, 3, 2), np.uint8)):
        with pytest.raises((TypeError, ValueError)):
            runner.classify(wrong)


def test_batches(network):
    """The demo's network leaves its batch open."""
    profile = exeunt.Profile.create(network, exits=1)
    pictures = [stripes(i % 4, 600 + i)[:28 - i % 3] for i in range(7)]
    alone = [exeunt.Runner(profile).classify(picture) for picture in pictures]
    for batch in (1, 3):
        together = exeunt.Runner(profile, batch=batch).classify_batch(pictures)
        assert [(a.label, a.confidence, a.exit) for a in together] == [(a.label, a.confidence, a.exit) for a in alone]
    assert exeunt.Runner(profile).classify_batch([]) == []
    with pytest.raises(TypeError):
        exeunt.Runner(profile).classify_batch([np.zeros((28, 28), np.float32)])


def test_file(me, tmp_path):
    me.save(tmp_path / "me.safetensors")
    again = exeunt.Profile.open(tmp_path / "me.safetensors")
    assert again.exits == me.exits and again.classes == me.classes
    for options in ({}, {"exit": 1}, {"leave": True}):
        me.export(tmp_path / "me.onnx", **options)
        assert (tmp_path / "me.onnx").stat().st_size > 10000
    with pytest.raises(exeunt.Error, match="exit 9"):
        me.export(tmp_path / "me.onnx", exit=9)


def test_import_heads(me, tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    me.save(tmp_path / "me.safetensors")
    other = exeunt.Profile.open(tmp_path / "me.safetensors")
    tensors = safetensors.load_file(tmp_path / "me.safetensors")
    head = {name: value for name, value in tensors.items() if name.startswith("exits.0.")}
    head["exits.0.fc.bias"] = head["exits.0.fc.bias"] + np.float32(1)
    notes = {"exits.0.tap": other.exits[0].tap, "exits.0.threshold": "0.5"}
    safetensors.save_file(head, tmp_path / "head.safetensors", metadata=notes)
    other.import_heads(tmp_path / "head.safetensors")
    assert other.exits[0].enabled and other.exits[0].threshold == 0.5 and np.isnan(other.exits[0].accuracy)
    assert not other.exits[1].enabled and other.exits[1].trained
    other.save(tmp_path / "other.safetensors")
    assert (safetensors.load_file(tmp_path / "other.safetensors")["exits.0.fc.bias"] == head["exits.0.fc.bias"]).all()
    safetensors.save_file(head, tmp_path / "head.safetensors", metadata={"exits.0.tap": "elsewhere"})
    with pytest.raises(exeunt.Error, match="elsewhere"):
        other.import_heads(tmp_path / "head.safetensors")


def test_example_in_the_background(tmp_path):
    """examples/python/background.py as a program of its own."""
    np.save(tmp_path / "pictures.npy", np.stack([stripes(i % 4, i) for i in range(40)]))
    np.save(tmp_path / "labels.npy", np.arange(40, dtype=np.int64) % 4)
    done = subprocess.run([sys.executable, "-B", ROOT / "examples/python/background.py", NETWORK, tmp_path / "pictures.npy",
                           tmp_path / "labels.npy"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[0]) > 0 and "Answer(label=" in done.stdout


def test_progress_pauses_and_raises(network):
    profile = exeunt.Profile.create(network, exits=1)
    trainer = exeunt.Trainer(profile, costs="macs")
    for i in range(40):
        trainer.add(stripes(i % 4, i), i % 4)
    seen = []
    assert trainer.run(lambda p: seen.append(p) or len(seen) < 3) is False
    assert [type(p.done) for p in seen] == [int] * 3 and seen[0].phase in ("extract", "train")

    def breaks(_):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        trainer.run(breaks)
    assert trainer.run() is True
    trainer.close()
    with pytest.raises(ValueError, match="closed"):
        trainer.run()


def test_other_threads_run_meanwhile(network):
    """The interpreter's lock is free while C trains: a thread counts on."""
    profile = exeunt.Profile.create(network, exits=2)
    ticks, done = 0, threading.Event()

    def tick():
        nonlocal ticks
        while not done.wait(0.001):
            ticks += 1

    thread = threading.Thread(target=tick)
    thread.start()
    with exeunt.Trainer(profile, costs="macs") as trainer:
        for i in range(60):
            trainer.add(stripes(i % 4, i), i % 4)
        assert asyncio.run(asyncio.to_thread(trainer.run))
    done.set()
    thread.join()
    assert ticks > 5
