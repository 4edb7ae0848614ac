#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the head of an exit in PyTorch and puts it into a profile; needs torch, safetensors and the exeunt program on PATH:

    pytorch_head.py network.onnx inputs.npy labels.npy me.safetensors

inputs: float32 (N, channels, height, width), ready for the network; labels: int64 (N,). A new profile with one exit is made, its head
is trained on the features that the network has there, imported, and compared with what exeunt computes. The other way round,
`Head.from_profile` makes a PyTorch module of any linear, pooled, conv, wide or conv2 head of a profile."""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from torch import nn


class Head(nn.Module):
    """A profile's head, with the tensors that its file has: [place] x channels, as exeunt keeps maps with channels last."""

    def __init__(self, tensors, kind):
        super().__init__()
        self.kind = kind
        self.grid = {"linear": 1, "classifier": 1, "conv2": 3}.get(kind, 4)
        self.stages = [("dw", "pw", "bn"), ("dw2", "pw2", "bn2")][:{"conv": 1, "wide": 1, "conv2": 2}.get(kind, 0)]
        self.tensor = nn.ParameterDict({name.replace(".", "_"): nn.Parameter(torch.tensor(value)) for name, value in tensors.items()})

    @classmethod
    def from_profile(cls, path, exit, role="exits"):
        tensors = load_file(path)
        state = json.loads(bytes(tensors["exeunt.state"]))
        start = f"{role}.{exit}."
        return cls({name[len(start):]: value for name, value in tensors.items() if name.startswith(start)},
                   state["exits"][exit]["kind"])

    def tensors(self, exit, role="exits"):
        """For save_file."""
        return {f"{role}.{exit}.{name.replace('_', '.', 1)}": value.detach().numpy() for name, value in self.tensor.items()}

    def forward(self, x):
        """(N, c, h, w), or (N, c): what the network has at the tap."""
        t, x = self.tensor, x if x.ndim == 4 else x[:, :, None, None]
        while self.stages and min(x.shape[2:]) >= 48:  # large maps are halved first
            x = nn.functional.adaptive_avg_pool2d(x, [side // 2 for side in x.shape[2:]])
        for depth, point, norm in self.stages:
            c, stride = x.shape[1], 2 if min(x.shape[2:]) >= 14 else 1
            weight = t[f"{depth}_weight"].t().reshape(c, 1, 3, 3)
            x = nn.functional.conv2d(x, weight, stride=stride, padding=1, groups=c)
            x = nn.functional.conv2d(x, t[f"{point}_weight"][:, :, None, None])
            x = torch.relu(nn.functional.batch_norm(x, t[f"{norm}_mean"], t[f"{norm}_var"], t[f"{norm}_scale"],
                                                    t[f"{norm}_shift"], eps=1e-3))
        x = nn.functional.adaptive_avg_pool2d(x, [min(self.grid, side) for side in x.shape[2:]])
        x = x.permute(0, 2, 3, 1).flatten(1)  # channels last
        x = (x - t["norm_mean"]) * t["norm_inv_std"]
        return nn.functional.linear(x, t["fc_weight"], t["fc_bias"])


def exeunt(*words):
    return subprocess.run(["exeunt", *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


def train(head, features, labels, steps=200):
    """The FC alone, over standardised features: without the last layer, a head is its own input to it."""
    with torch.no_grad():
        head.tensor["fc_weight"].zero_()
        head.tensor["fc_bias"].zero_()
    optimiser = torch.optim.AdamW([head.tensor["fc_weight"], head.tensor["fc_bias"]], lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(head(features), labels)
        loss.backward()
        optimiser.step()
    return loss.item()


def main(network, inputs, labels, profile):
    exeunt("attach", network, "-o", profile, "--exits", 1, "--head", "linear", "--costs", "macs")
    exit, last = json.loads(exeunt("profile", "show", profile, "--json"))["exits"]
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        exeunt("run", network, inputs, "-o", folder / "features.npy", "--value", exit["tap"])
        features = torch.tensor(np.load(folder / "features.npy"))
        head = Head.from_profile(profile, 0)
        print(f"exit at {exit['tap']}: loss {train(head, features, torch.tensor(np.load(labels))):.3f} on what it was trained on")
        notes = {"exits.0.tap": exit["tap"], "exits.0.kind": "linear", "exits.0.threshold": "0.9"}
        save_file(head.tensors(0), folder / "head.safetensors", metadata=notes)
        print(exeunt("profile", "import", profile, folder / "head.safetensors"), end="")
        exeunt("run", network, inputs, "-o", folder / "logits.npy", "--profile", profile, "--exit", 0)
        ours, theirs = np.load(folder / "logits.npy"), head(features).detach().numpy()
    print(f"logits of exeunt and PyTorch differ by {np.abs(ours - theirs).max() / np.abs(theirs).max():.1e} of the largest")


if __name__ == "__main__":
    main(*sys.argv[1:])
