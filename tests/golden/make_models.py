#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes data/*.onnx: tiny networks that together use every operator and form the importer knows.

Each carries its own golden values as two initialisers that no node reads: `golden.input`, and `golden.output` as
ONNX Runtime computed it. Needs numpy, onnx, onnxruntime; the files are committed, so only who changes this script
runs it."""

import pathlib
import sys

# This file's folder must not hide the package of the same name.
HERE = pathlib.Path(__file__).resolve().parent
sys.path = [entry for entry in sys.path if pathlib.Path(entry or ".").resolve() != HERE]

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = HERE / "data"


class Net:
    """One network under construction: op() appends a node and returns its output's name."""

    def __init__(self, seed, opset=17):
        self.random = np.random.default_rng(seed)
        self.opset, self.nodes, self.constants, self.count = opset, [], [], 0

    def name(self, stem):
        self.count += 1
        return f"{stem}{self.count}"

    def const(self, value, dtype=np.float32):
        name = self.name("c")
        self.constants.append(numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def ints(self, *values):
        return self.const(values, np.int64)

    def weights(self, *shape):
        return self.const(self.random.standard_normal(shape) * 0.5)

    def positive(self, *shape):
        return self.const(self.random.uniform(0.5, 1.5, shape))

    def op(self, kind, *inputs, outputs=1, **attributes):
        made = [self.name("v") for _ in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), made, name=self.name(kind), **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x, out, c, k=1, **attributes):
        groups = attributes.get("group", 1)
        return self.op("Conv", x, self.weights(out, c // groups, k, k), self.weights(out), **attributes)

    def norm(self, x, c, **attributes):
        return self.op("BatchNormalization", x, self.positive(c), self.weights(c), self.weights(c), self.positive(c),
                       **attributes)

    def gather_up(self, *branches):
        """Flattens branches of any shape side by side."""
        return self.op("Concat", *[self.op("Flatten", b, axis=1) for b in branches], axis=1)

    def write(self, name, result, shape, declared=None, per_sample=False, values=None):
        x = values if values is not None else self.random.standard_normal(shape).astype(np.float32)
        graph = helper.make_graph(
            self.nodes, name, [helper.make_tensor_value_info("x", TensorProto.FLOAT, declared or list(shape))],
            [helper.make_tensor_value_info(result, TensorProto.FLOAT, None)], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="")
        model.ir_version = 8
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        rows = [x[i:i + 1] for i in range(len(x))] if per_sample else [x]
        y = np.concatenate([session.run(None, {"x": row})[0] for row in rows])
        assert np.isfinite(y).all(), name
        graph.initializer.append(numpy_helper.from_array(x, "golden.input"))
        graph.initializer.append(numpy_helper.from_array(y, "golden.output"))
        model = helper.make_model(graph, opset_imports=model.opset_import, producer_name="")
        model.ir_version = 8
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString())


def convolutions():
    n = Net(1)
    n.write("conv", n.gather_up(
        n.conv("x", 5, 4, 3, pads=[0, 1, 2, 1], strides=[2, 1]),
        n.conv("x", 6, 4, 3, dilations=[2, 1], pads=[2, 1, 2, 1]),
        n.op("Conv", "x", n.weights(3, 4, 1, 1)),
        n.op("Conv", "x", n.weights(7, 4, 3, 2), n.weights(7), kernel_shape=[3, 2])), (2, 4, 7, 6))
    n = Net(2)
    n.write("conv_groups", n.gather_up(
        n.conv("x", 8, 8, 3, group=8, pads=[1, 1, 1, 1]),
        n.conv("x", 8, 8, 3, group=8, pads=[0, 0, 1, 1], strides=[2, 2]),
        n.conv("x", 8, 8, 5, group=8, pads=[2, 2, 2, 2], dilations=[1, 1]),
        n.conv("x", 16, 8, 3, group=8, pads=[1, 1, 1, 1]),
        n.conv("x", 6, 8, 3, group=2, pads=[1, 1, 1, 1])), (1, 8, 6, 7))
    n = Net(3)
    n.write("conv_auto_pad", n.gather_up(*[
        n.conv("x", 3, 2, k, auto_pad=how, strides=[s, s])
        for how, k, s in (("SAME_UPPER", 3, 2), ("SAME_LOWER", 3, 2), ("SAME_UPPER", 2, 1), ("SAME_LOWER", 2, 1),
                          ("VALID", 3, 2), ("NOTSET", 3, 1))]), (1, 2, 6, 7))
    n = Net(4)
    padded = n.op("Pad", "x", n.ints(0, 0, 1, 0, 0, 0, 2, 1))
    n.write("conv_after_pad", n.gather_up(n.conv(padded, 4, 3, 3, strides=[2, 2], pads=[0, 1, 0, 0])), (1, 3, 6, 6))


def products():
    n = Net(10)
    flat = n.op("Flatten", "x")
    n.write("gemm", n.op("Concat",
                         n.op("Gemm", flat, n.weights(12, 5), n.weights(5)),
                         n.op("Gemm", flat, n.weights(5, 12), n.weights(1, 5), transB=1, alpha=0.5, beta=2.0),
                         n.op("Gemm", flat, n.weights(5, 12), transB=1, alpha=1.5),
                         n.op("Gemm", flat, n.weights(12, 5), n.const(0.25)),
                         n.op("Add", n.op("MatMul", flat, n.weights(12, 6)), n.weights(6)),
                         n.op("Relu", n.norm(n.op("Gemm", flat, n.weights(12, 6), n.weights(6)), 6)),
                         axis=1), (3, 3, 2, 2))
    n = Net(11)
    rows = n.op("Reshape", "x", n.ints(0, 4, 6))
    n.write("matmul", n.gather_up(n.op("MatMul", rows, n.weights(6, 5)), n.op("MatMul", "x", n.weights(3, 2))),
            (2, 4, 2, 3))
    n = Net(12)
    left = n.op("Flatten", n.conv("x", 2, 3))
    right = n.op("Transpose", n.op("Reshape", n.conv("x", 2, 3), n.ints(4, 8)))
    n.write("matmul_computed", n.op("MatMul", n.op("Reshape", left, n.ints(1, 32)),
                                    n.op("Reshape", right, n.ints(32, 1))), (1, 3, 4, 4))


def norms():
    n = Net(20)
    n.write("batch_norm", n.gather_up(
        n.op("Relu", n.norm(n.conv("x", 6, 4, 3, pads=[1, 1, 1, 1]), 6, epsilon=1e-3)),
        n.norm("x", 4), n.op("Relu", n.norm("x", 4)),
        n.norm(n.norm(n.op("Conv", "x", n.weights(5, 4, 1, 1)), 5), 5),
        n.op("Add", n.op("Conv", "x", n.weights(5, 4, 1, 1)), n.weights(1, 5, 1, 1))), (2, 4, 3, 5))


def activations():
    n = Net(30, opset=14)
    kinds = [("Relu", [], {}), ("LeakyRelu", [], {"alpha": 0.2}), ("LeakyRelu", [], {}), ("Sigmoid", [], {}),
             ("HardSigmoid", [], {}), ("HardSigmoid", [], {"alpha": 0.3, "beta": 0.4}), ("HardSwish", [], {}),
             ("Tanh", [], {}), ("Exp", [], {}), ("Clip", [n.const(-0.5), n.const(0.75)], {}),
             ("Clip", [n.const(-0.25)], {}), ("Clip", ["", n.const(0.5)], {}), ("Clip", [], {}),
             ("PRelu", [n.weights(4, 1, 1)], {}), ("PRelu", [n.weights(1)], {}), ("PRelu", [n.weights(1, 4, 1, 1)], {})]
    plain = [n.op(kind, "x", *more, **attributes) for kind, more, attributes in kinds]
    fused = [n.op(kind, n.conv("x", 4, 4), *more, **attributes) for kind, more, attributes in kinds]
    log = n.op("Log", n.op("Add", n.op("Mul", "x", "x"), n.const(0.5)))
    n.write("activations", n.gather_up(*plain, *fused, log), (1, 4, 3, 3))
    n = Net(31)
    third = 1 / 6
    c = [n.conv("x", 4, 4) for _ in range(4)]
    total = n.op("Add", c[2], "x")
    squeezed = n.op("Sigmoid", n.conv(n.op("GlobalAveragePool", c[3]), 4, 4))
    n.write("gates", n.gather_up(
        n.op("Mul", c[0], n.op("Sigmoid", c[0])),
        n.op("Mul", n.op("HardSigmoid", c[1], alpha=third, beta=0.5), c[1]),
        n.op("Mul", total, n.op("Sigmoid", total)),
        n.op("Mul", "x", n.op("HardSigmoid", "x", alpha=0.2, beta=0.5)),
        n.op("Mul", c[3], squeezed)), (2, 4, 3, 5))
    for opset in (11, 13):
        n = Net(32 + opset, opset=opset)
        n.write(f"softmax_{opset}", n.gather_up(
            n.op("Softmax", "x"), n.op("Softmax", "x", axis=1), n.op("Softmax", "x", axis=2),
            n.op("LogSoftmax", "x"), n.op("LogSoftmax", "x", axis=-1), n.op("Softmax", n.op("Flatten", "x"), axis=1)),
            (2, 4, 3, 2))


def binaries():
    n = Net(40)
    row, one, plane = n.positive(4, 1, 1), n.const(1.75), n.positive(3, 5)
    pooled = n.op("Add", n.op("Mul", n.op("GlobalMaxPool", "x"), n.op("GlobalMaxPool", "x")), n.const(0.5))
    other = n.op("Add", n.op("Mul", "x", "x"), n.const(0.5))
    branches = []
    for kind in ("Add", "Sub", "Mul", "Div"):
        branches += [n.op(kind, "x", row), n.op(kind, "x", one), n.op(kind, "x", plane), n.op(kind, "x", pooled),
                     n.op(kind, "x", other), n.op(kind, row, other), n.op(kind, pooled, other)]
    branches.append(n.op("Relu", n.op("Add", "x", other)))
    n.write("binary", n.gather_up(*branches), (2, 4, 3, 5))


def functions():
    n = Net(120, opset=20)
    square, positive = n.op("Mul", "x", "x"), n.op("Add", n.op("Abs", "x"), n.const(0.5))
    branches = [n.op(kind, n.op("Mul", "x", n.const(2))) for kind in
                ("Abs", "Floor", "Ceil", "Round", "Sign", "Softsign", "Erf", "Gelu", "Elu", "Selu", "Softplus", "Mish",
                 "Neg", "ThresholdedRelu", "Celu")]
    branches += [n.op("Sqrt", square), n.op("Reciprocal", positive), n.op("Gelu", "x", approximate="tanh"),
                 n.op("Elu", "x", alpha=0.5), n.op("Selu", "x", alpha=1.5, gamma=0.5), n.op("Celu", "x", alpha=0.5),
                 n.op("ThresholdedRelu", "x", alpha=0.25), n.op("Elu", n.conv("x", 4, 4)),
                 n.op("Max", "x", square), n.op("Min", "x", n.weights(4, 1, 1), square), n.op("Max", "x"),
                 n.op("Sum", "x", square, positive), n.op("Mean", "x", square, n.const(0.5)),
                 n.op("Pow", "x", n.const(2)), n.op("Pow", "x", n.const(3)), n.op("Pow", positive, "x"),
                 n.op("Pow", positive, n.const(-1, np.int64)), n.op("Add", "x", n.op("Sqrt", n.const([4.0, 9, 2])))]
    n.write("functions", n.gather_up(*branches), (2, 4, 5, 3))


def reductions():
    n = Net(121, opset=18)
    branches = []
    for kind in ("Sum", "Max", "Min", "L1", "L2", "LogSumExp", "SumSquare", "Mean"):
        branches += [n.op(f"Reduce{kind}", "x", n.ints(1)), n.op(f"Reduce{kind}", "x", n.ints(-1, -2), keepdims=0),
                     n.op(f"Reduce{kind}", "x", n.ints(1, 2, 3), keepdims=1)]
    branches.append(n.op("ReduceLogSum", n.op("Mul", "x", "x"), n.ints(2)))
    n.write("reductions", n.gather_up(*branches), (2, 4, 3, 5))
    n = Net(122, opset=13)
    n.write("reductions_13", n.gather_up(n.op("ReduceSum", "x", n.ints(2)), n.op("ReduceMax", "x", axes=[2, 3]),
                                         n.op("ReduceL2", "x", axes=[-1], keepdims=0)), (2, 4, 3, 5))


def made():
    n = Net(123, opset=21)
    layers = n.op("Transpose", "x", perm=[0, 2, 3, 1])
    n.write("layer_norms", n.gather_up(
        n.op("LayerNormalization", layers, n.weights(6), n.weights(6), epsilon=1e-3),
        n.op("LayerNormalization", "x", n.weights(6, 4, 2), axis=1),
        n.op("InstanceNormalization", "x", n.weights(6), n.weights(6)),
        n.op("GroupNormalization", "x", n.weights(6), n.weights(6), num_groups=3),
        n.op("LRN", "x", size=3, alpha=0.5, beta=0.7, bias=1.5), n.op("LRN", "x", size=5)), (2, 6, 4, 2))
    n = Net(124)
    twice = n.op("CastLike", n.op("Size", n.const([[1, 2]])), "x")
    n.write("spread", n.gather_up(
        n.op("SpaceToDepth", "x", blocksize=2), n.op("DepthToSpace", "x", blocksize=2),
        n.op("DepthToSpace", "x", blocksize=2, mode="CRD"), n.op("Tile", "x", n.ints(1, 2, 1, 3)),
        n.op("Expand", n.op("GlobalMaxPool", "x"), n.ints(1, 8, 3, 2)), n.op("Expand", "x", n.ints(4, 2)),
        n.op("Mul", "x", twice)), (2, 8, 4, 2))


def pools():
    n = Net(50, opset=19)
    shapes = [dict(kernel_shape=[2, 2], strides=[2, 2]), dict(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
              dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
              dict(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1),
              dict(kernel_shape=[3, 2], strides=[1, 2], pads=[0, 1, 2, 0]),
              dict(kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
              dict(kernel_shape=[2, 2], strides=[1, 1], auto_pad="SAME_LOWER"), dict(kernel_shape=[2, 3])]
    largest = [n.op("MaxPool", "x", **s) for s in shapes] + [n.op("MaxPool", "x", kernel_shape=[2, 2], dilations=[2, 3])]
    mean = [n.op("AveragePool", "x", count_include_pad=include, **s) for s in shapes for include in (0, 1)]
    n.write("pools", n.gather_up(*largest, *mean, n.op("GlobalAveragePool", "x"), n.op("GlobalMaxPool", "x")),
            (2, 3, 6, 7))
    n = Net(51, opset=13)
    n.write("reduce_13", n.gather_up(
        n.op("ReduceMean", "x", axes=[2, 3]), n.op("ReduceMean", "x", axes=[2, 3], keepdims=0),
        n.op("ReduceMean", "x", axes=[1]), n.op("ReduceMean", "x", axes=[-1], keepdims=0),
        n.op("ReduceMean", "x", axes=[1, 2, 3]), n.op("ReduceMean", "x", axes=[1, 2], keepdims=0)), (2, 3, 4, 5))
    n = Net(52, opset=18)
    n.write("reduce_18", n.gather_up(
        n.op("ReduceMean", "x", n.ints(2, 3)), n.op("ReduceMean", "x", n.ints(-1, -2), keepdims=0),
        n.op("ReduceMean", "x", n.ints(1), keepdims=0), n.op("ReduceMean", "x", noop_with_empty_axes=1)), (2, 3, 4, 5))


def moves():
    n = Net(60)
    count = n.op("Gather", n.op("Shape", "x"), n.const(0, np.int64))
    sizes = n.op("Concat", n.op("Unsqueeze", count, n.ints(0)), n.ints(-1), axis=0)
    shuffled = n.op("Transpose", n.op("Reshape", "x", n.ints(0, 2, 3, 4, 5)), perm=[0, 2, 1, 3, 4])
    half = n.op("Div", n.op("Gather", n.op("Shape", "x"), n.ints(1)), n.ints(2))
    back = n.op("Concat", n.op("Unsqueeze", count, n.ints(0)), n.op("Mul", half, n.ints(2)),
                n.op("Slice", n.op("Shape", "x", start=-2), n.ints(0), n.ints(99)), axis=0)
    last = n.op("Transpose", "x", perm=[0, 2, 3, 1])
    n.write("reshape", n.gather_up(
        n.op("Reshape", "x", sizes), n.op("Relu", n.op("Reshape", shuffled, back)),
        n.op("Transpose", n.op("Relu", last), perm=[0, 3, 1, 2]), n.op("Reshape", last, n.ints(0, -1, 3)),
        n.op("Transpose", "x", perm=[0, 3, 2, 1]), n.op("Flatten", "x", axis=-3),
        n.op("Reshape", "x", n.ints(2, 6, 20), allowzero=1)), (2, 6, 4, 5))
    for opset in (11, 13):
        n = Net(61 + opset, opset=opset)
        pooled = n.op("GlobalAveragePool", "x")

        def squeeze(kind, value, *axes):
            return n.op(kind, value, axes=list(axes)) if opset < 13 else n.op(kind, value, n.ints(*axes))

        vector = squeeze("Squeeze", pooled, 2, 3)
        n.write(f"squeeze_{opset}", n.gather_up(
            vector, squeeze("Squeeze", pooled, -1), n.op("Relu", squeeze("Unsqueeze", vector, 1, 3)),
            n.op("Mul", "x", squeeze("Unsqueeze", squeeze("Unsqueeze", vector, -1), 3)), n.op("Squeeze", pooled)),
            (2, 3, 4, 5))
    for opset in (11, 13, 18):
        n = Net(70 + opset, opset=opset)
        sizes = [2, 1, 3]
        parts = (n.op("Split", "x", axis=1, split=sizes, outputs=3) if opset < 13 else
                 n.op("Split", "x", n.ints(*sizes), axis=1, outputs=3))
        even = (n.op("Split", "x", axis=2, outputs=2) if opset < 18 else
                n.op("Split", "x", axis=2, num_outputs=2, outputs=2))
        wide = n.op("Split", n.op("Flatten", "x"), axis=-1, outputs=3, **({"num_outputs": 3} if opset == 18 else {}))
        n.write(f"split_{opset}", n.gather_up(
            n.op("Concat", parts[2], parts[0], axis=1), parts[1], n.op("Concat", even[1], even[0], axis=2),
            n.op("Concat", even[1], even[0], axis=3), wide[2]), (2, 6, 4, 5))
    n = Net(90, opset=18)
    n.write("slice_pad", n.gather_up(
        n.op("Slice", "x", n.ints(1), n.ints(3), n.ints(1)),
        n.op("Slice", "x", n.ints(0, 1), n.ints(99, 99), n.ints(2, 3), n.ints(2, 2)),
        n.op("Slice", "x", n.ints(-1, -2), n.ints(-99, 0), n.ints(3, 2), n.ints(-1, -2)),
        n.op("Slice", "x", n.ints(0, 1, 0, -3), n.ints(9, 3, 9, 9)),
        n.op("Pad", "x", n.ints(0, 1, 2, 0, 0, 2, 0, 1)), n.op("Pad", "x", n.ints(0, 0, 1, 1, 0, 0, 1, 1), n.const(-1.5)),
        n.op("Pad", "x", n.ints(1, 2), n.const(0.5), n.ints(-1)), n.op("Gather", "x", n.const(2, np.int64), axis=1),
        n.op("Gather", "x", n.ints(0, 2), axis=1), n.op("Gather", "x", n.ints(-1), axis=3),
        n.op("Pad", n.op("Flatten", "x"), n.ints(0, 3, 0, 1))), (2, 4, 5, 6))


def constants():
    n = Net(100)
    number = n.op("Constant", value_float=1.5)
    numbers = n.op("Reshape", n.op("Constant", value_floats=[0.5, 1.0, 2.0]), n.op("Constant", value_ints=[3, 1, 1]))
    tensor = n.op("Constant", value=numpy_helper.from_array(np.full((1, 3, 1, 1), 0.75, np.float32)))
    whole = n.op("Cast", n.op("Constant", value_int=3), to=TensorProto.FLOAT)
    double = n.op("Cast", n.const(np.full((3, 1, 1), 0.1), np.float64), to=TensorProto.FLOAT)
    filled = n.op("ConstantOfShape", n.ints(3, 1, 1), value=numpy_helper.from_array(np.array([2.5], np.float32)))
    zeros = n.op("ConstantOfShape", n.ints(3, 1, 1))
    y = "x"
    for value in (number, numbers, tensor, whole, double, filled, zeros):
        y = n.op("Add", n.op("Mul", y, n.const(0.5)), value)
    y = n.op("Dropout", n.op("Identity", n.op("Cast", y, to=TensorProto.FLOAT)))
    weights = n.op("Transpose", n.weights(3, 5), perm=[1, 0])
    typed = n.name("c")
    n.constants.append(helper.make_tensor(typed, TensorProto.FLOAT, [5], [0.5, -1.0, 0.25, 2.0, 1.0]))
    target = n.name("c")
    n.constants.append(helper.make_tensor(target, TensorProto.INT64, [2], [0, -1]))
    y = n.op("Conv", y, n.op("Unsqueeze", weights, n.ints(2, 3)), typed)
    n.write("constants", n.op("Reshape", y, target), (2, 3, 2, 2))


def blocks():
    n = Net(110)
    a = n.op("Relu", n.conv("x", 8, 3, 3, pads=[1, 1, 1, 1]))
    b = n.op("Relu", n.op("Add", n.conv(n.op("Relu", n.conv(a, 8, 8, 3, pads=[1, 1, 1, 1])), 8, 8), a))
    late = n.op("Pad", n.op("Slice", b, n.ints(0, 0), n.ints(999, 999), n.ints(2, 3), n.ints(2, 2)),
                n.ints(0, 2, 0, 0, 0, 2, 0, 0))
    c = n.op("Add", late, n.conv(b, 12, 8, 3, strides=[2, 2], pads=[1, 1, 1, 1]))
    d = n.op("Relu", n.op("Add", n.norm(n.conv(c, 16, 12), 16), n.norm(n.conv(c, 16, 12, 3, pads=[1, 1, 1, 1]), 16)))
    twice = n.op("Add", d, d)
    logits = n.op("Gemm", n.op("Flatten", n.op("GlobalAveragePool", twice)), n.weights(5, 16), n.weights(5), transB=1)
    n.write("blocks", logits, (2, 3, 9, 9), declared=["n", 3, "h", "w"])
    n = Net(111)
    y = n.op("Clip", n.conv("x", 8, 3, 3, strides=[2, 2], pads=[0, 0, 1, 1]), n.const(0), n.const(6))
    for stride, out in ((1, 8), (2, 12), (1, 12)):
        width = 8 if stride * out == 8 or stride == 2 else 12
        z = n.op("Clip", n.conv(y, 4 * width, width), n.const(0), n.const(6))
        z = n.op("Clip", n.conv(z, 4 * width, 4 * width, 3, group=4 * width, pads=[1, 1, 1, 1],
                                strides=[stride, stride]), n.const(0), n.const(6))
        z = n.conv(z, out, 4 * width)
        y = n.op("Add", y, z) if stride == 1 else z
    mean = n.op("ReduceMean", y, axes=[2, 3], keepdims=1)
    n.write("inverted_fixed_batch", n.op("Reshape", n.conv(mean, 5, 12), n.ints(1, 5)), (3, 3, 12, 12),
            declared=[1, 3, 12, 12], per_sample=True)
    n = Net(112)
    y = n.conv("x", 8, 3, 3)
    fire = [n.op("Relu", n.conv(y, 4, 8)), n.op("Relu", n.conv(y, 6, 8, 3, pads=[1, 1, 1, 1]))]
    y = n.op("MaxPool", n.op("Concat", *fire, axis=1), kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    y = n.op("ReduceMean", n.op("Relu", n.conv(y, 5, 10)), axes=[2, 3])
    n.write("fire", n.op("Flatten", y), (1, 3, 10, 10), declared=["n", 3, 10, 10])


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for build in (convolutions, products, norms, activations, binaries, functions, reductions, made, pools,
                  moves, constants, blocks):
        build()
    for path in sorted(FOLDER.glob("*.onnx")):
        print(f"{path.name} {path.stat().st_size}")
