# SPDX-License-Identifier: Apache-2.0
"""Fine-tuning the whole network on a person's photos in PyTorch: what personalised exits replace, in accuracy and in cost.
Knows the operators of the study's networks. Needs torch and onnx."""
import time

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn import functional

RATES = (1e-4, 5e-4)  # both are reported: no constant serves everybody, and a choice would need photos to choose on
EPOCHS, BATCH, MOMENTUM = 6, 10, 0.9


class Network(nn.Module):
    """An ONNX classifier with its weights as parameters. Normalisation is folded into the convolutions, as a network for
    inference has it, so there are no batch statistics to disturb."""

    def __init__(self, path):
        super().__init__()
        self.graph = onnx.load(path).graph
        self.constants, self.weights = {}, nn.ParameterDict()
        for value in self.graph.initializer:
            array = torch.from_numpy(numpy_helper.to_array(value).copy())
            if array.is_floating_point() and array.numel() > 1:
                self.weights[value.name.replace(".", "/")] = nn.Parameter(array)
            else:
                self.constants[value.name] = array

    def forward(self, photos, wanted=()):
        """Logits; or the named values."""
        values = {self.graph.input[0].name: photos, "": None}

        def find(name):
            if name in values:
                return values[name]
            return self.constants[name] if name in self.constants else self.weights[name.replace(".", "/")]

        for node in self.graph.node:
            attributes = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            values[node.output[0]] = OPERATORS[node.op_type](attributes, *map(find, node.input))
        return [values[name] for name in wanted] if wanted else values[self.graph.output[0].name]


def conv(attributes, x, weight, bias=None):
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    even = top == bottom and left == right
    x = x if even else functional.pad(x, (left, right, top, bottom))
    return functional.conv2d(x, weight, bias, attributes.get("strides", 1), (top, left) if even else 0,
                             attributes.get("dilations", 1), attributes.get("group", 1))


def mean(attributes, x, axes=None):
    axes = axes.tolist() if axes is not None else attributes["axes"]
    return x.mean(axes, keepdim=bool(attributes.get("keepdims", 1)))


def gemm(attributes, x, weight, bias):
    return functional.linear(x, weight if attributes.get("transB") else weight.T, bias)


OPERATORS = {"Conv": conv, "ReduceMean": mean, "Gemm": gemm,
             "Clip": lambda attributes, x, low, high: x.clamp(float(low), float(high)),
             "Add": lambda attributes, x, y: x + y,
             "Flatten": lambda attributes, x: x.flatten(attributes.get("axis", 1)),
             "Reshape": lambda attributes, x, shape: x.reshape(len(x), *shape.tolist()[1:])}


def augmented(photos, generator):
    """Mirrored at random and moved by up to 16 pixels."""
    flip = torch.rand(len(photos), generator=generator) < 0.5
    photos = torch.where(flip[:, None, None, None], photos.flip(3), photos)
    dy, dx = torch.randint(-16, 17, (2,), generator=generator).tolist()
    return photos.roll((dy, dx), (2, 3))


def train(path, photos, label, rate, seed, epochs=EPOCHS):
    """(network, seconds a photo and epoch) after SGD with momentum on all weights, half of each target being what the
    untouched network says: without that, whole networks forget (see train/README.md)."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    network = Network(path)
    with torch.no_grad():
        kept = torch.cat([functional.softmax(network(batch), 1) for batch in photos.split(BATCH)])
    target = 0.5 * kept + 0.5 * functional.one_hot(label, kept.shape[1])
    optimiser = torch.optim.SGD(network.parameters(), rate, MOMENTUM)
    begin = time.perf_counter()
    for _ in range(epochs):
        for index in torch.randperm(len(photos), generator=generator).split(BATCH):
            loss = functional.cross_entropy(network(augmented(photos[index], generator)), target[index])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return network, (time.perf_counter() - begin) / (epochs * len(photos))


def answers(network, photos):
    with torch.no_grad():
        return np.concatenate([network(batch).argmax(1).numpy() for batch in photos.split(BATCH)])


def train_timed(path, photos, label, epochs):
    torch.set_num_threads(1)
    photos = torch.from_numpy(photos).to(memory_format=torch.channels_last)
    return train(path, photos, torch.from_numpy(np.asarray(label)), RATES[0], 1, epochs)


def finetune(path, pool, label, test, seed):
    """rate -> (answers on the test photos, seconds a photo and epoch). pool, test: (N, 3, H, W) float32 arrays."""
    torch.set_num_threads(1)
    pool, test = (torch.from_numpy(photos).to(memory_format=torch.channels_last) for photos in (pool, test))
    label = torch.from_numpy(np.asarray(label))
    found = {}
    for rate in RATES:
        network, seconds = train(path, pool, label, rate, seed)
        found[rate] = answers(network, test), seconds
    return found
