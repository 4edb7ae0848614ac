#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a ResNet of 18, 34 or 50 layers with random weights as ONNX, for measuring speed: bench/resnet.py 18 OUT.onnx

224 pixels, 1000 classes, BatchNorm already folded, the stride of a bottleneck in its 3x3 layer. Weights are scaled so that
numbers stay in a range in which engines can be compared. Needs numpy and onnx."""
import sys

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


class Builder:
    """A list of nodes that grows at its end; every method returns the name of what it computes."""

    def __init__(self):
        self.random, self.nodes, self.weights = np.random.default_rng(18), [], []

    def add(self, kind, *inputs, **attributes):
        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name

    def constant(self, array):
        name = f"weight{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(self, x, channels, outputs, size, stride=1, gain=2.0):
        shape = (outputs, channels, size, size)
        weight = self.random.standard_normal(shape) * np.sqrt(gain / (channels * size * size))
        bias = self.random.standard_normal(outputs) * 0.01
        return self.add("Conv", x, self.constant(weight), self.constant(bias), kernel_shape=[size, size],
                        strides=[stride, stride], pads=[size // 2] * 4)

    def block(self, x, channels, width, stride, bottleneck):
        """A residual block; returns its value and its channels."""
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            y = self.add("Relu", self.conv(x, channels, width, 1))
            y = self.add("Relu", self.conv(y, width, width, 3, stride))
            y = self.conv(y, width, outputs, 1, gain=0.1)
        else:
            y = self.add("Relu", self.conv(x, channels, width, 3, stride))
            y = self.conv(y, width, outputs, 3, gain=0.1)
        if stride != 1 or channels != outputs:
            x = self.conv(x, channels, outputs, 1, stride, gain=1.0)
        return self.add("Relu", self.add("Add", y, x)), outputs


def make(layers, path):
    net = Builder()
    x, channels = net.add("Relu", net.conv("input", 3, 64, 7, 2)), 64
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    for stage, count in enumerate(BLOCKS[layers]):
        for index in range(count):
            x, channels = net.block(x, channels, 64 << stage, 2 if stage and index == 0 else 1, layers >= 50)
    flat = net.add("Flatten", net.add("GlobalAveragePool", x))
    last = net.constant(net.random.standard_normal((1000, channels)) * 0.05)
    net.nodes.append(helper.make_node("Gemm", [flat, last, net.constant(np.zeros(1000))], ["logits"], transB=1))
    graph = helper.make_graph(net.nodes, f"resnet{layers}",
                              [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 224, 224])],
                              [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 1000])], net.weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    save(model, str(path))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] not in map(str, BLOCKS):
        sys.exit("usage: bench/resnet.py 18|34|50 OUT.onnx")
    make(int(sys.argv[1]), sys.argv[2])
