# SPDX-License-Identifier: Apache-2.0
"""Trains the demo's network on Fashion-MNIST's training split and writes fashion_cnn.onnx.

Needs PyTorch 2.9 or newer with onnx and onnxscript; the demo itself needs none of them, because the result is kept beside
this script. Eleven 3x3 convolutions, about 25 million multiply-adds and 200 thousand parameters; input 1x28x28, grey
level / 255. The test split is only looked at for the last line printed.

    python examples/demo/train_fashion.py [--data DIR] [--epochs 3] [-o examples/demo/fashion_cnn.onnx]
"""
import argparse
import gzip
import pathlib
import time

import onnx
import torch
from torch import nn
from torch.nn import functional


def read_idx(path):
    raw = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    rank = raw[3]
    shape = [int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank)]
    return torch.frombuffer(bytearray(raw[4 + 4 * rank :]), dtype=torch.uint8).reshape(shape)


def read_split(folder, split):
    images = read_idx(folder / f"{split}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{split}-labels-idx1-ubyte.gz")
    return images.unsqueeze(1).float() / 255.0, labels.long()


def convolution(channels_in, channels_out, stride=1):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False), nn.BatchNorm2d(channels_out), nn.ReLU()
    )


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution where the width changes."""

    def __init__(self, channels_in, channels_out):
        super().__init__()
        self.first = convolution(channels_in, channels_out)
        self.second = nn.Sequential(
            nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False), nn.BatchNorm2d(channels_out)
        )
        self.shortcut = nn.Identity()
        if channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, bias=False), nn.BatchNorm2d(channels_out)
            )

    def forward(self, x):
        return functional.relu(self.second(self.first(x)) + self.shortcut(x))


class FashionNet(nn.Module):
    def __init__(self, classes=10):
        super().__init__()
        self.features = nn.Sequential(
            convolution(1, 12),
            convolution(12, 32, stride=2),
            Block(32, 32),
            Block(32, 48),
            Block(48, 48),
            convolution(48, 64, stride=2),
            Block(64, 64),
        )
        self.classifier = nn.Linear(64, classes)

    def forward(self, image):
        return self.classifier(torch.flatten(functional.adaptive_avg_pool2d(self.features(image), 1), 1))


def augment(images, generator):
    """Mirrors half of the images and moves all by up to two pixels, as a batch."""
    if torch.rand((), generator=generator) < 0.5:
        images = images.flip(3)
    dy, dx = (int(torch.randint(0, 5, (), generator=generator)) for _ in range(2))
    return functional.pad(images, (2, 2, 2, 2))[:, :, dy : dy + 28, dx : dx + 28]


def train(net, images, labels, epochs, batch=128):
    generator = torch.Generator().manual_seed(1)
    steps = epochs * (len(images) // batch)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.15, total_steps=steps, pct_start=0.25)
    net.train()
    start, step = time.time(), 0
    for epoch in range(epochs):
        order = torch.randperm(len(images), generator=generator)
        for at in range(0, len(images) // batch * batch, batch):
            pick = order[at : at + batch]
            loss = functional.cross_entropy(net(augment(images[pick], generator)), labels[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            step += 1
            if step % 50 == 0:
                print(f"epoch {epoch} step {step}/{steps} loss {loss.item():.3f} {time.time() - start:.0f} s", flush=True)


@torch.no_grad()
def accuracy(net, images, labels):
    net.eval()
    right = sum((net(x).argmax(1) == y).sum().item() for x, y in zip(images.split(500), labels.split(500)))
    return right / len(images)


def strip(path):
    """Removes what the exporter notes about the machine it ran on: source paths and stack traces."""
    model = onnx.load(path)
    del model.metadata_props[:], model.graph.metadata_props[:]
    model.doc_string = model.graph.doc_string = ""
    graph = model.graph
    for part in (*graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="/usr/share/datasets/fashion-mnist", help="folder of the four IDX files")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("-o", "--out", default=str(pathlib.Path(__file__).with_name("fashion_cnn.onnx")))
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(1)
    folder = pathlib.Path(options.data)
    net = FashionNet().to(memory_format=torch.channels_last)
    train(net, *read_split(folder, "train"), options.epochs)
    net.eval()
    torch.onnx.export(net.to(memory_format=torch.contiguous_format), (torch.zeros(1, 1, 28, 28),), options.out, dynamo=True, opset_version=20,
                      external_data=False, input_names=["image"], output_names=["logits"])
    strip(options.out)
    print(f"test accuracy {accuracy(net, *read_split(folder, 't10k')):.4f}, {pathlib.Path(options.out).stat().st_size} bytes")


if __name__ == "__main__":
    main()
