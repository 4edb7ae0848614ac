# SPDX-License-Identifier: Apache-2.0
"""Tables of what was found: Markdown for people, CSV and JSON for programs."""
import csv
import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from . import statistics, wholes
from .bars import KEEP, LAST, POINT, SECOND, judge, show
from .cells import Key, alike, cohorts, kinds

TITLES = {"untouched": "untouched network", "masked-true": "untouched, masked to the true classes",
          "masked-seen": "untouched, masked to the classes seen", "prior": "untouched, prior-corrected",
          "normalised": "untouched, input-normalised", "nearest": "nearest neighbour", "probe": "linear probe from zero",
          "last": "personalised last exit, alone", LAST: "personalised last exit, with what it hears",
          "policy-keep": "policy, keeps the personal accuracy", "policy-untouched": "policy, at the untouched accuracy",
          "sdn": "SDN threshold", "ensemble": "ensemble of exits (as ZTW)", "patience": "patience", "earlyon": "earlyon search"}
AIMS = {"untouched": "at the untouched accuracy", "masked": "at the accuracy masked to the true classes", "keep": "keeps the personal accuracy"}
ORDER = ("untouched", "masked", "prior", "normalised", "nearest", "probe", "exit", "last", "policy")
NOTES = """Intervals: 90 %, bootstrap over people of their means over seeds (gains of shoppers: over classes). No harm: no person whose paired one-sided 90 % upper
limit is below -1.5 points, and the mean's lower limit at least -0.5. Milliseconds: cost table. The oracle chooses exits and
threshold by the test photos."""
PAPER_GAIN, PAPER_COST, PAPER_SPEED = "up to +15.9", "2.2x", "2.2-3.2x"


def title(method):
    if method in TITLES:
        return TITLES[method]
    if method.startswith("exit"):
        return f"cut at exit {method[4:]}"
    name, aim = method.split("-", 1)
    return f"{TITLES.get(name, name)}, {AIMS.get(aim, aim)}"


def ordered(methods):
    rank = lambda method: next((i for i, start in enumerate(ORDER) if method.startswith(start)), len(ORDER))
    return sorted(methods, key=rank)


def percent(value):
    return f"{POINT * value:.1f}"


def row_of(cell, method):
    """All figures of one method in one cell."""
    cell = cell.having(method)
    accuracy, gain = cell.interval(method), cell.interval(method, "untouched")
    mine, theirs = cell.of_person(method, "accuracy"), cell.of_person("untouched", "accuracy")
    gains = {person: mine[person] - theirs[person] for person in mine}
    return {**asdict(cell.key), "method": method, "people": len(mine), "accuracy": asdict(accuracy), "gain": asdict(gain),
            "speedup": cell.speedup(method), "oracle_speedup": cell.oracle(accuracy.mean),
            "spread": statistics.spread(list(gains.values())), "gains": gains}


def rows_of(cells):
    return [row_of(cell, method) for cell in cells.values() for method in ordered(cell.methods())]


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows]) + "\n"


def cell_table(cell):
    """One cell: a line a method, with the distribution over people."""
    lines = []
    for method in ordered(cell.methods()):
        row = row_of(cell, method)
        accuracy = row["accuracy"]
        least, low, middle, high, most = (f"{POINT * v:+.1f}" for v in row["spread"])
        oracle = f"{row['oracle_speedup']:.2f}x" if row["oracle_speedup"] else "-"
        lines.append([title(method), f"{percent(accuracy['mean'])} [{percent(accuracy['low'])}, {percent(accuracy['high'])}]",
                      show(statistics.Interval(**row["gain"])), f"{least} / {low} / {middle} / {high} / {most}",
                      f"{row['speedup']:.2f}x", oracle])
    return table(["", "accuracy %", "above untouched", "people: least / quartiles / most", "speed-up",
                  "oracle's speed-up at this accuracy"], lines)


def heading(key):
    kind = "near twins together" if key.split == "twins" else "random split"
    return f"{key.scenario}, {kind}, {key.size} photos, {key.share} % labelled" + (f", {key.variant}" if key.variant else "")


def bars_section(cells):
    mark = {True: "pass", False: "**fail**", None: "-"}
    findings = judge(cells)
    run = [f for f in findings if f.passed is not None]
    count = f"{sum(f.passed for f in run)} of {len(run)} pass.\n\n" if run else ""
    return count + table(["bar", "", "figures"], [[f.bar, mark[f.passed], f.figures] for f in findings])


def trend(cells):
    """Pool sizes side by side, each cohort of people over all sizes that it has photos for."""
    lines = []
    for kind, mine in kinds(cells).items():
        for cohort in cohorts(mine):
            lines += [[*kind, len(cell.people), cell.key.size, show(cell.interval(LAST, "untouched")),
                       show(cell.interval(KEEP, "untouched")), f"{cell.speedup(KEEP):.2f}x",
                       show(cell.interval(SECOND, "untouched")), f"{cell.speedup(SECOND):.2f}x"] for cell in cohort]
    return table(["scenario", "split", "labelled %", "people", "photos", "last exit above untouched",
                  "policy above untouched", "speed-up", "second point above untouched", "speed-up"], lines)


def ablation(cells):
    """The method without one of its parts at a time, on the same splits: run with it left out, or, for the policy, another in its
    place."""
    lines = []
    for key in [key for key in cells if not key.variant]:
        variants = [key, *(other for other in cells if other.variant and replace(other, variant="") == key)]
        found = dict(zip(variants, alike([cells[variant] for variant in variants]))) if len(variants) > 1 else {}
        for variant, cell in found.items():
            lines.append(([heading(key), variant.variant.replace("no-", "without ") or "all of it"], cell, KEEP, SECOND))
        if found:
            lines.append(([heading(key), "one threshold instead of the policy (SDN)"], found[key], "sdn-keep", "sdn-untouched"))
    rows = [[*names, len(cell.people), show(cell.interval(LAST, "untouched")), show(cell.interval(keep, "untouched")),
             f"{cell.speedup(keep):.2f}x", show(cell.interval(second, "untouched")), f"{cell.speedup(second):.2f}x"]
            for names, cell, keep, second in sorted(lines, key=lambda line: line[0])]
    return table(["", "", "people", "last exit above untouched", "policy above untouched", "speed-up",
                  "second point above untouched", "speed-up"], rows) if rows else ""


def finetuned(out, cells):
    """Whole-network fine-tuning beside the last exit and the policy, person by person: the same pool and test photos."""
    lines = []
    for path in sorted(Path(out, "wholes").glob("*/*.json")):
        scenario, person = path.parent.name, path.stem
        cell = cells.get(Key(scenario, "twins", 100, wholes.SIZE))
        mine = [run["methods"] for run in cell.runs if (run["person"], run["seed"]) == (person, wholes.SEED)] if cell else []
        found = json.loads(path.read_text(encoding="utf-8"))
        if mine and {"rates", "exits"} <= set(found):
            ours = [percent(mine[0][method]["accuracy"]) for method in ("untouched", LAST, KEEP)]
            whole = found["rates"].items()
            lines.append([scenario, person, *ours, ", ".join(f"{percent(w['accuracy'])} (rate {rate})" for rate, w in whole),
                          f"{found['exits']['extract']:.1f} + {found['exits']['train']:.1f}",
                          f"{np.mean([w['seconds'] for _, w in whole]):.1f}"])
    header = ["scenario", "person", "untouched", "personalised last exit", "policy", "whole network fine-tuned",
              "exits: seconds to extract + train", "whole network: seconds"]
    return table(header, lines) if lines else ""


def timed(out):
    """Speed-ups measured in the program beside those of the cost table, person by person."""
    path = Path(out, "timing.json")
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    lines = [[scenario, person, target, f"{measured:.2f}x", f"{told:.2f}x"] for scenario, persons in found.items()
             for person, targets in persons.items() for target, (measured, told) in targets.items()]
    return table(["scenario", "person", "operating point", "measured alternately", "cost table"], lines) if lines else ""


def parts(cells):
    """What each part of the method gives alone: the yardsticks without exits, the last exit, and both operating points."""
    shown = ("normalised", "prior", "last", KEEP, SECOND)
    lines = []
    for key, cell in cells.items():
        if not key.variant and key.split == "twins":
            gain = [show(cell.having(m).interval(m, "untouched")) if m in cell.methods() else "-" for m in shown]
            lines.append([heading(key), *gain[:3], *(f"{g} at {cell.speedup(m):.2f}x" for g, m in zip(gain[3:], shown[3:]))])
    return table(["above untouched", *map(title, shown)], lines)


def seconds(cells):
    """Mean seconds a run took on this machine, cached features or not; what is timed alone stands in costs.json."""
    lines = []
    for key, cell in cells.items():
        mean = lambda part: np.mean([run["seconds"][part] for run in cell.runs])
        lines.append([heading(key), f"{mean('extract'):.2f}", f"{mean('train'):.2f}"])
    return table(["", "extract s", "train s"], lines)


def headline(cells, training):
    """The three ratios beside the paper's. training: figures of wholes.measure, or None."""
    lines = []
    for key, cell in cells.items():
        if key.size == 50 and key.share == 100 and not key.variant:
            lines.append([key.scenario + (", random split" if key.split == "random" else ""),
                          show(cell.interval(LAST, "untouched")), show(cell.interval(KEEP, "untouched")),
                          f"{cell.speedup(KEEP):.2f}x",
                          f"{cell.speedup(SECOND):.2f}x at {show(cell.interval(SECOND, 'untouched'))}"])
    lines.append(["the paper", PAPER_GAIN, PAPER_GAIN, PAPER_SPEED, PAPER_SPEED])
    text = table(["50 photos, all labelled", "last exit", "policy", "its speed-up", "second point"], sorted(lines))
    if training:
        uncached, cached = wholes.ratios(training)
        mine = training["photos"] * (training["extract"] + training["train"])
        theirs = training["photos"] * training["epochs"] * training["whole"]
        text += (f"\nTraining on {training['photos']} photos takes {mine:.1f} s; {training['epochs']} passes over the whole "
                 f"network in PyTorch take {theirs:.0f} s: **{uncached:.1f}x** cheaper if every pass extracted anew, "
                 f"**{cached:.0f}x** with the cache. The paper: up to {PAPER_COST}.\n")
    return text + "\nThe paper's data and heads are unpublished: three ratios and the trend are what compares.\n"


def made_with(out):
    """The program and the exits, as --out has them."""
    path = Path(out, "settings.json")
    settings = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return "Made with: " + ", ".join(f"{name} {value}" for name, value in settings.items()) + ".\n" if settings else ""


def markdown(out, cells, training=None):
    runs = sum(len(cell.runs) for cell in cells.values())
    sections = ["# Study\n", f"{runs} runs. {NOTES}\n", made_with(out), "## Bars\n", bars_section(cells), "## Headline\n",
                headline(cells, training), "## Trend\n", trend(cells), "## Parts one by one\n", parts(cells)]
    for name, text in (("Parts left out", ablation(cells)), ("Whole-network fine-tuning", finetuned(out, cells)),
                       ("Cost table against the clock", timed(out))):
        sections += [f"## {name}\n", text] if text else []
    for key in sorted(cells, key=lambda k: (k.scenario, k.split, -k.share, k.size, k.variant)):
        if not key.variant:
            count = f"{len(cells[key].people)} people, {len(cells[key].runs)} runs\n"
            sections += [f"## {heading(key)}\n", count, cell_table(cells[key])]
    return "\n".join(sections + ["## Seconds a run\n", seconds(cells)])


def write_csv(path, header, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def csv_of_cells(path, rows):
    key = ["scenario", "split", "share", "size", "variant", "method", "people"]
    header = key + ["accuracy", "low", "high", "gain", "gain_low", "gain_high", "least", "most", "speedup", "oracle_speedup"]
    write_csv(path, header, ([*(row[k] for k in key), *row["accuracy"].values(), *row["gain"].values(), row["spread"][0],
                              row["spread"][4], row["speedup"], row["oracle_speedup"]] for row in rows))


def csv_of_runs(path, cells):
    """Every run of every person, a line a method: for whoever wants to draw other conclusions."""
    key = ["scenario", "split", "share", "size", "variant", "person", "seed", "photos", "labelled"]
    write_csv(path, key + ["method", "accuracy", "ms"],
              ([*(run[k] for k in key), method, figures["accuracy"], figures["ms"]]
               for cell in cells.values() for run in cell.runs for method, figures in run["methods"].items()))


def write(out, cells, training=None):
    rows = rows_of(cells)
    findings = [{"bar": f.bar, "passed": f.passed, "figures": f.figures} for f in judge(cells)]
    document = {"schema": "exeunt.study/1", "cells": rows, "bars": findings, "training": training}
    (out / "study.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (out / "report.md").write_text(markdown(out, cells, training), encoding="utf-8")
    csv_of_cells(out / "study.csv", rows)
    csv_of_runs(out / "runs.csv", cells)
