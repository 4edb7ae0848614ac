#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints two reports of `exeunt evaluate --json`, taken before and after personalising, side by side."""
import json
import sys


# What `exeunt classify --target` takes, and what it is for.
POINTS = (("keep", "leaving when sure"), ("untouched", "leaving sooner"))


def percent(value):
    return "-" if value is None else f"{100 * value:.1f} %"


def row(name, cells):
    print((f"{name:<32}" + "".join(f"{cell:>10}" for cell in cells)).rstrip())


def exit_cells(report, index):
    one = report["exits"][index]
    trained = one["trained"]
    return [percent(one["accuracy"] if trained else None), f"{one['median_ms']:.3f}", percent(one["share"])]


def point(report, target):
    """Where a profile operates; before personalising there is one point alone."""
    return next((one for one in report["targets"] if one["target"] == target), {})


def milliseconds(one):
    return f"{one['mean_ms']:.3f}" if one else "-"


def speedup(one):
    return f"{one['speedup']:.2f}x" if one else ""


def main():
    before, after = (json.load(open(path, encoding="utf-8")) for path in sys.argv[1:3])
    print(f"{after['samples']} test pictures of this person{'':5}{'before':>16}{'':14}{'after':>16}")
    row("", ["right", "ms", "leave"] * 2)
    row("untouched network (mean ms)", [c for r in (before, after)
                                         for c in (percent(r["full"]["accuracy"]), f"{r['full']['mean_ms']:.3f}", "")])
    for one in after["exits"]:
        name = f"exit {one['index']}, after {100 * one['macs_fraction']:.0f} % of the work"
        row(name, exit_cells(before, one["index"]) + exit_cells(after, one["index"]))
    for target, name in POINTS:
        points = [point(report, target) for report in (before, after)]
        row(f"{name} (mean ms)", [c for p in points for c in (percent(p.get("accuracy")), milliseconds(p), speedup(p))])
    print(f"\nFor fairness: choosing among this person's classes only, the untouched network is right on "
          f"{percent(after['full']['accuracy_masked'])}.")


main()
