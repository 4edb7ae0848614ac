#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""tools/zoo.py: checkpoints that want more than tensors are refused, tensors come out as they went in, and the network that is built
runs here and in ONNX Runtime alike.

    zoo.py EXEUNT

Exit status 77 (skipped) where the Python packages are absent."""
import collections
import importlib.util
import io
import pathlib
import pickle
import struct
import subprocess
import sys
import tempfile

# This file's folder must not hide the packages of the same names as its neighbours.
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != pathlib.Path(__file__).resolve().parent]

try:
    import numpy as np
    import onnx
    import onnxruntime
except ImportError as error:
    print(f"skipped: {error}")
    sys.exit(77)

spec = importlib.util.spec_from_file_location("tools_zoo", pathlib.Path(__file__).resolve().parents[2] / "tools/zoo.py")
zoo = importlib.util.module_from_spec(spec)
spec.loader.exec_module(zoo)


class Named:
    """Pickles as a name of a module that need not exist."""

    def __init__(self, module, name):
        self.path = module, name


class Writer(pickle._Pickler):
    def persistent_id(self, item):
        return item if isinstance(item, tuple) and item[:1] == ("storage",) else None

    def save(self, item, save_persistent_id=True):
        if isinstance(item, Named):
            return self.write(b"c" + "\n".join(item.path).encode() + b"\n")
        return super().save(item, save_persistent_id)


class Tensor:
    def __init__(self, key, count, offset, shape, stride, make=("torch._utils", "_rebuild_tensor_v2")):
        self.arguments = ("storage", Named("torch", "FloatStorage"), key, "cpu", count, None), offset, shape, stride
        self.make = make


def checkpoint(tensors, storages):
    """The older format, as PyTorch writes it."""
    file = io.BytesIO()
    for value in (0x1950a86a20f9469cfc6c, 1001, {}):
        pickle.dump(value, file, 2)
    writer = Writer(file, 2)
    writer.dispatch = writer.dispatch.copy()
    writer.dispatch[Tensor] = lambda w, t: (w.save(Named(*t.make)), w.save(t.arguments), w.write(pickle.REDUCE))
    writer.dump(collections.OrderedDict(tensors))
    pickle.dump(list(storages), file, 2)
    for values in storages.values():
        file.write(struct.pack("<q", len(values)) + np.asarray(values, "<f4").tobytes())
    return file.getvalue()


def refused(data, error):
    try:
        zoo.read_checkpoint(data)
    except error as reason:
        return str(reason)
    raise AssertionError("it was read")


def check_checkpoints():
    values = np.arange(24, dtype=np.float32)
    tensor = Tensor("7", 24, 0, (2, 3, 4), (1, 8, 2))
    read = zoo.read_checkpoint(checkpoint({"w": tensor}, {"7": values}))
    assert np.array_equal(read["w"], values.reshape(3, 4, 2).transpose(2, 0, 1))
    evil = Tensor("7", 24, 0, (2,), (1,), make=("os", "system"))
    assert "os.system" in refused(checkpoint({"w": evil}, {"7": values}), pickle.UnpicklingError)
    for offset, shape, stride in ((20, (5,), (1,)), (0, (4,), (8,)), (-1, (2,), (1,)), (4, (2,), (-1,))):
        far = Tensor("7", 24, offset, shape, stride)
        assert "beyond" in refused(checkpoint({"w": far}, {"7": values}), ValueError)
    assert "long" in refused(checkpoint({"w": tensor}, {"7": values[:20]}), ValueError)


def weights(rng):
    """Two stages: 8 channels, then 16 with a stride in the first of two blocks."""
    out = {}

    def layer(conv, norm, *shape):
        out[conv + ".weight"] = rng.normal(0, 0.3, shape).astype(np.float32)
        for part, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            out[f"{norm}.{part}"] = rng.uniform(low, 1, shape[0]).astype(np.float32)

    layer("_conv_stem", "_bn0", 8, 3, 3, 3)
    for i, (wide, inner, kernel) in enumerate(((8, 8, 3), (16, 24, 5), (16, 48, 3))):
        before = 8 if i < 2 else 16
        if i:
            layer(f"_blocks.{i}._expand_conv", f"_blocks.{i}._bn0", inner, before, 1, 1)
        layer(f"_blocks.{i}._depthwise_conv", f"_blocks.{i}._bn1", inner, 1, kernel, kernel)
        layer(f"_blocks.{i}._project_conv", f"_blocks.{i}._bn2", wide, inner, 1, 1)
    layer("_conv_head", "_bn1", 32, 16, 1, 1)
    out["_fc.weight"], out["_fc.bias"] = rng.normal(0, 0.3, (5, 32)).astype(np.float32), np.zeros(5, np.float32)
    return out


def check_network(exeunt, folder):
    rng = np.random.default_rng(3)
    model = zoo.build(weights(rng), 37)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "net.onnx")
    x = rng.standard_normal((1, 3, 37, 37)).astype(np.float32)
    np.save(folder / "in.npy", x)
    subprocess.run([exeunt, "run", folder / "net.onnx", folder / "in.npy", "-o", folder / "out.npy"], check=True)
    session = onnxruntime.InferenceSession(str(folder / "net.onnx"), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"input": x})[0]
    assert session.get_inputs()[0].shape[2:] == [37, 37] and expected.shape == (1, 5)
    assert sum(node.op_type == "Add" for node in model.graph.node) == 1
    assert np.abs(np.load(folder / "out.npy") - expected).max() <= 1e-4 * np.abs(expected).max()


check_checkpoints()
with tempfile.TemporaryDirectory() as folder:
    check_network(sys.argv[1], pathlib.Path(folder))
print("checkpoints and network as they should be")
