# SPDX-License-Identifier: Apache-2.0
"""The networks of the study, how each wants its photos, and networks cut or refitted for it (needs the onnx package)."""
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SIZE = 224


@dataclass(frozen=True)
class Network:
    name: str
    model: Path
    classes: Path  # names, one a line; None: the program's numbers
    mean: str
    std: str
    exits: tuple = ()  # words for attach: where they stand; none: where it likes

    def attach_words(self):
        words = ["--mean", self.mean, "--std", self.std]
        return words + (["--classes", self.classes] if self.classes else [])

    def names(self):
        return self.classes.read_text(encoding="utf-8").split("\n")[:-1] if self.classes else None


def pixels(path):
    """(SIZE, SIZE, 3) grey levels as the program sees a photo: shorter side resized, centre cropped."""
    from PIL import Image, ImageOps
    with Image.open(path) as photo:
        photo = ImageOps.exif_transpose(photo).convert("RGB")
    scale = SIZE / min(photo.size)
    width, height = (max(SIZE, round(side * scale)) for side in photo.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    photo = photo.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + SIZE, top + SIZE))
    return np.asarray(photo, np.uint8)


def as_input(network, grey):
    """(N, SIZE, SIZE, 3) grey levels, 8-bit or float, to the network's (N, 3, SIZE, SIZE) float32."""
    mean, std = (np.array([float(v) for v in text.split(",")], np.float32) for text in (network.mean, network.std))
    return np.ascontiguousarray(((grey.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2), np.float32)


def is_usual(network):
    """Whether it takes colour photos of SIZE pixels: then `pixels` and `as_input` can prepare them."""
    import onnx
    shape = onnx.load(network.model).graph.input[0].type.tensor_type.shape
    return [side.dim_value for side in shape.dim[1:]] == [3, SIZE, SIZE]


def last_layer(model):
    """(value that the last layer reads, its weight [classes][features], its bias) of an onnx model."""
    from onnx import numpy_helper
    weights = {w.name: w for w in model.graph.initializer}
    layer = next(n for n in reversed(model.graph.node) if n.op_type in ("Gemm", "Conv", "MatMul"))
    weight = numpy_helper.to_array(weights[layer.input[1]])
    if layer.op_type != "Conv" and not any(a.name == "transB" and a.i for a in layer.attribute):
        weight = weight.T
    bias = numpy_helper.to_array(weights[layer.input[2]]) if len(layer.input) > 2 else np.zeros(len(weight), np.float32)
    return layer.input[0], weight.reshape(len(weight), -1), bias


def write_cut(source, value, target, tail=(), extra=(), output=None):
    """`source` up to `value`, then the nodes of `tail` with the weights of `extra`; what is not needed is dropped."""
    import onnx
    from onnx import TensorProto, helper
    model = onnx.load(source)
    graph, wanted, nodes = model.graph, {value}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            nodes.insert(0, node)
    kept = [w for w in graph.initializer if w.name in wanted]
    name, shape = output or (value, None)
    out = helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    cut = helper.make_graph([*nodes, *tail], "cut", graph.input, [out], [*kept, *extra])
    onnx.save(helper.make_model(cut, opset_imports=model.opset_import, ir_version=model.ir_version), target)


def free_name(model, wanted):
    """`wanted`, longer where a value of the network has that name: a refitted network may be refitted again."""
    taken = {name for node in model.graph.node for name in node.output} | {w.name for w in model.graph.initializer}
    while wanted in taken:
        wanted += "_"
    return wanted


def write_trunk(network, target):
    """The network without its last layer: photos in, features (N, F) out."""
    import onnx
    from onnx import helper
    model = onnx.load(network.model)
    value, weight, _ = last_layer(model)
    features = free_name(model, "features")
    flat = helper.make_node("Flatten", [value], [features], axis=1)
    write_cut(network.model, value, target, [flat], output=(features, [1, weight.shape[1]]))


def write_refitted(network, weight, bias, target):
    """The network with another last layer: weight [classes][features]."""
    import onnx
    from onnx import helper, numpy_helper
    model = onnx.load(network.model)
    value, _, _ = last_layer(model)
    features, weights, biases, logits = (free_name(model, name) for name in ("features", "fc.weight", "fc.bias", "logits"))
    tail = [helper.make_node("Flatten", [value], [features], axis=1),
            helper.make_node("Gemm", [features, weights, biases], [logits], transB=1)]
    extra = [numpy_helper.from_array(weight.astype(np.float32), weights),
             numpy_helper.from_array(bias.astype(np.float32), biases)]
    write_cut(network.model, value, target, tail, extra, (logits, [1, len(weight)]))
