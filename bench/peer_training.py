# SPDX-License-Identifier: Apache-2.0
"""One personalisation in PyTorch, in a process of its own: bench/personalise asks for it. Reads a JSON object from standard
input and prints one: seconds of training (no imports, no decoding), accuracy on the test photos.

whole: every weight, by the study's recipe; last: the classifier, features computed anew every epoch, as most fine-tuning
code does; exits: one pass, then linear heads at the taps and the classifier from features kept in memory. The
classifier starts from the network's own, and half of every target is what the untouched network says, in all three."""
import json
import sys
import time

import numpy as np
import torch
from PIL import Image
from study.finetune import BATCH, Network, train
from torch import nn
from torch.nn import functional


def load(path, side, mean, deviation):
    """As exeunt sees it: shorter side resized, centre cut out."""
    image = Image.open(path).convert("RGB")
    scale = side / min(image.size)
    image = image.resize([max(side, round(s * scale)) for s in image.size], Image.BILINEAR)
    left, top = ((s - side) // 2 for s in image.size)
    pixels = np.asarray(image.crop((left, top, left + side, top + side)), np.float32)
    return ((pixels - np.float32(mean)) / np.float32(deviation)).transpose(2, 0, 1)


def load_all(job, photos):
    stack = np.stack([load(p["file"], job["side"], job["mean"], job["deviation"]) for p in photos])
    return torch.from_numpy(stack).to(memory_format=torch.channels_last)


class Heads:
    """Linear layers on global averages of the taps; the last one is the network's own, on what it reads."""

    def __init__(self, network, taps, logits):
        last = network.graph.node[-1]
        assert last.op_type == "Gemm", "the classifier is one fully connected layer"
        self.network, self.wanted = network, (*taps, last.input[0])
        weight, bias = (network.weights[name.replace(".", "/")].detach() for name in last.input[1:3])
        attributes = {a.name: a.i for a in last.attribute}
        self.own = nn.Linear(*reversed((weight if attributes.get("transB") else weight.T).shape))
        with torch.no_grad():
            self.own.weight.copy_(weight if attributes.get("transB") else weight.T)
            self.own.bias.copy_(bias)
        self.early = nn.ModuleList()
        self.classes = logits

    def features(self, photos):
        with torch.no_grad():
            return [x.mean((2, 3)) if x.dim() == 4 else x for x in self.network(photos, self.wanted)]


def soft_targets(network, photos, label):
    with torch.no_grad():
        kept = torch.cat([functional.softmax(network(batch), 1) for batch in photos.split(BATCH)])
    return 0.5 * kept + 0.5 * functional.one_hot(label, kept.shape[1])


def train_heads(job, network, photos, label, cached):
    """(seconds, classifier of features). cached: features are computed once, and the taps learn, too."""
    target = soft_targets(network, photos, label)
    heads = Heads(network, job["taps"] if cached else (), target.shape[1])
    begin = time.perf_counter()
    if cached:
        kept = [torch.cat(parts) for parts in zip(*map(heads.features, photos.split(BATCH)))]
        heads.early.extend(nn.Linear(x.shape[1], target.shape[1]) for x in kept[:-1])
    layers = [*heads.early, heads.own]
    optimiser = torch.optim.Adam([w for layer in layers for w in layer.parameters()], job["rate"])
    for _ in range(job["epochs"]):
        for index in torch.randperm(len(photos)).split(BATCH):
            inputs = [x[index] for x in kept] if cached else heads.features(photos[index])
            optimiser.zero_grad()
            sum(functional.cross_entropy(layer(x), target[index]) for layer, x in zip(layers, inputs)).backward()
            optimiser.step()
    return time.perf_counter() - begin, lambda batch: heads.own(heads.features(batch)[-1])


def main():
    job = json.load(sys.stdin)
    torch.set_num_threads(job["threads"])
    torch.manual_seed(job["seed"])
    photos = load_all(job, job["train"])
    label = torch.tensor([p["label"] for p in job["train"]])
    if job["way"] == "whole":
        answer, each = train(job["network"], photos, label, job["rate"], job["seed"], job["epochs"])
        seconds = each * len(photos) * job["epochs"]
    else:
        seconds, answer = train_heads(job, Network(job["network"]), photos, label, job["way"] == "exits")
    truth = np.array([p["label"] for p in job["test"]])
    with torch.no_grad():
        said = [answer(load_all(job, job["test"][i:i + BATCH])).argmax(1).numpy() for i in range(0, len(truth), BATCH)]
    print(json.dumps({"seconds": seconds, "accuracy": float((np.concatenate(said) == truth).mean())}))


if __name__ == "__main__":
    main()
