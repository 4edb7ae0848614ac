#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The study over many people: what personalised early exits gain, what they cost, and whom they harm.

Every person's photos are split into pools that personalise (nested over their sizes) and photos that test, near twins on one
side; everything about exits goes through the exeunt program. Needs numpy and Dask's distributed; onnx and Pillow for further
yardsticks; matplotlib for pictures. What is finished is kept under --out: the same command goes on after a crash.

    bench/study.py --data ../shared/data --out /tmp/study --scenario wardrobe --sizes 50 --seeds 1
    bench/study.py --people photos --model net.onnx --classes classes.txt --mean 127 --std 128 --out /tmp/mine
"""
import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

try:
    from study import StudyError, bars, cells, cluster, people, plots, profiles, program, report, results, scenarios, timing, wholes, work
    from study.networks import Network
except ModuleNotFoundError as missing:
    sys.exit(f"study: {missing}: pip install numpy distributed (and onnx pillow matplotlib)")

PARTS = ("normalise", "prior", "heads", "gate")  # of the method, that personalise can leave out
ABLATION = tuple((f"no-{part}", ("--without", part)) for part in PARTS)
ABLATED_SIZE = 50
OWN_SEEDS = 5  # splits of people of your own


def read_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=Path, required=True, help="folder of results: what is there is not computed again")
    p.add_argument("--exeunt", default="build/tools/exeunt", help="the program (default %(default)s)")
    p.add_argument("--data", type=Path, help="folder with clothing192, grocery192 and models")
    p.add_argument("--scenario", nargs="+", choices=scenarios.NAMES, default=scenarios.NAMES)
    p.add_argument("--sizes", nargs="+", type=int, default=(10, 25, 50, 100), help="photos in a pool")
    p.add_argument("--shares", nargs="+", type=int, default=(100, 20, 0), help="labelled, in percent")
    p.add_argument("--seeds", type=int, help="splits of everybody's photos (default 10; shopper, mobilenet and --people 5)")
    p.add_argument("--splits", nargs="+", choices=("twins", "random"), default=("twins", "random"))
    p.add_argument("--ablation", action="store_true", help="also with parts of the method left out")
    p.add_argument("--quick", action="store_true", help="only what the bars are about, and no input-normalised yardstick")
    p.add_argument("--jobs", type=int, default=1, help="worker processes on this machine (default %(default)s)")
    p.add_argument("--scheduler", metavar="ADDRESS", help="a Dask cluster instead, whose workers see the same files and find "
                   "bench/ on PYTHONPATH")
    p.add_argument("--heads", type=Path, help="folder with general profiles, NETWORK.safetensors each: those networks are not "
                   "pretrained again")
    p.add_argument("--attach", nargs=argparse.REMAINDER, default=[], help="last: words for exeunt attach about exits, instead of "
                   "the study's own")
    p.add_argument("--finetune", type=int, default=0, metavar="N",
                   help="also fine-tune whole networks, for N people a scenario (torch)")
    p.add_argument("--only", choices=("prepare", "costs", "timing", "training", "report"),
                   help="stop after preparing; on a quiet machine measure cost tables anew, policies against the clock, or what "
                        "training costs (torch); report what is there")
    own = p.add_argument_group("people of your own instead of --data and --scenario")
    own.add_argument("--people", type=Path, help="folder of people, each a folder of class folders")
    own.add_argument("--model", type=Path)
    own.add_argument("--classes", type=Path, help="class names, one a line")
    own.add_argument("--mean", default="0")
    own.add_argument("--std", default="255")
    own.add_argument("--twins", type=Path, help="CSV of photo,group: near twins stay together")
    own.add_argument("--general", type=Path, help="people for pretraining the exits")
    arguments = p.parse_args()
    if arguments.only != "report" and (arguments.people is None) == (arguments.data is None):
        p.error("either --data or --people")
    if arguments.people and not (arguments.model and arguments.classes):
        p.error("--people needs --model and --classes")
    return arguments


def own_source(arguments):
    network = Network("own", arguments.model.resolve(), arguments.classes.resolve(), arguments.mean, arguments.std)
    twins = people.read_twins(arguments.twins) if arguments.twins else {}
    everybody = tuple(people.read_people(arguments.people.resolve(), twins))
    return scenarios.Source(network, everybody, arguments.general and arguments.general.resolve(), True)


def hold_to(out, settings, adding=False):
    """Results of different programs or exits are not mixed in one folder: what it was made with stays. adding: settings that it
    does not have yet may be new."""
    path = out / "settings.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if adding or not known:
        known = {**settings, **known}
    for name, value in settings.items():
        if name not in known or known[name] != value:
            raise StudyError(f"{out}: made with another {name} ({known.get(name, 'unknown')}, now {value}): give a new --out "
                             "(general/ may be copied there)")
    path.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")


def stage_of(task):
    """When a task's turn is: what the bars are about, other sizes and shares, parts left out, networks without bars, random
    splits."""
    about = {(scenario, split, size) for scenario, split, _, size in bars.WANTED}
    if task.variants == ABLATION:
        return 3
    if {(task.scenario.name, task.kind, share, task.size) for share in task.shares} <= bars.WANTED:
        return 1 if task.size == bars.TEN else 0
    if not task.together:
        return 5
    return 2 if task.scenario.name in {scenario for scenario, _, _ in about} else 4


def tasks_of_photos(arguments, task):
    """One person's pool of one size: (what the bars are about), (the other shares), (parts left out; all labelled, or none)."""
    about = [share for share in arguments.shares if (task.scenario.name, task.kind, share, task.size) in bars.WANTED]
    others = [share for share in arguments.shares if share not in about]
    tasks = [replace(task, shares=tuple(about))] + ([] if arguments.quick else [replace(task, shares=tuple(others))])
    if arguments.ablation and task.size == ABLATED_SIZE and task.together:
        tasks.append(replace(task, shares=tuple(share for share in arguments.shares if share in (0, 100)), variants=ABLATION))
    return [task for task in tasks if task.shares]


def tasks_of(arguments, prepared):
    """Stage by stage and seed by seed, so that early reports cover everybody; of the sizes that of most bars first."""
    sizes = sorted(arguments.sizes, key=lambda size: (size != ABLATED_SIZE, size))
    seeds = {scenario.name: arguments.seeds or scenarios.SEEDS.get(scenario.name, OWN_SEEDS) for scenario in prepared}
    photos = [work.Task(replace(scenario, people=()), person, split == "twins", seed, size, ())
              for seed in range(1, max(seeds.values()) + 1) for split in arguments.splits for size in sizes
              for scenario in prepared if seed <= seeds[scenario.name]
              for person in scenario.people if size in people.reachable(person, arguments.sizes)]
    return sorted((task for each in photos for task in tasks_of_photos(arguments, each)), key=stage_of)


class Meter:
    """Runs done, and the time left, on standard error."""

    def __init__(self, total):
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def add(self, count, what):
        self.done += count
        spent = time.monotonic() - self.begin
        left = spent / max(self.done, 1) * (self.total - self.done)
        print(f"study: {self.done} of {self.total} runs, {left / 60:.0f} min left ({what})", file=sys.stderr, flush=True)


def run_all(study, tasks, arguments):
    """Keeps what each task finds as it ends. One that fails is told of and left for the next time; returns how many."""
    todo = [(task, runs) for task in tasks if (runs := results.pending(study, task))]
    meter, failed = Meter(sum(len(runs) for _, runs in todo)), 0
    for task, runs, found, error in cluster.run_all(study, todo, arguments.jobs, arguments.scheduler) if todo else ():
        what = f"{task.scenario.name}/{task.person.name} {task.name}"
        for run in found or ():
            results.write(study, *run)
        if error is not None:
            failed += 1
            print(f"study: {what}: {error}", file=sys.stderr, flush=True)
        meter.add(len(runs), what)
    return failed


def write_report(out, drawn):
    found = cells.read(out, drawn)
    if not found:
        raise StudyError(f"{out}: no finished runs to report")
    training = out / "training.json"
    report.write(out, found, json.loads(training.read_text(encoding="utf-8")) if training.exists() else None)
    if not plots.draw(found, out / "plots"):
        print("study: no matplotlib: no pictures", file=sys.stderr)
    print((out / "report.md").read_text(encoding="utf-8").split("\n## Trend")[0])
    print(f"all of it: {out}/report.md study.json study.csv plots/")


def prepare(arguments, tool):
    prep = scenarios.Preparation(tool, arguments.data and arguments.data.resolve(), arguments.out, tuple(arguments.attach),
                                 arguments.heads and arguments.heads.resolve(), arguments.only == "costs", not arguments.quick)
    if arguments.people:
        return [scenarios.prepare(prep, "own", own_source(arguments))]
    return [scenarios.prepare(prep, name) for name in arguments.scenario]


def study(arguments):
    arguments.out = arguments.out.resolve()
    drawn = {"shopper"}
    if arguments.only == "report":
        write_report(arguments.out, drawn)
        return 0
    arguments.out.mkdir(parents=True, exist_ok=True)
    tool = program.find(arguments.exeunt)
    hold_to(arguments.out, {"build": tool.digest(), "--attach": arguments.attach, "--sizes": sorted(arguments.sizes)})
    prepared = prepare(arguments, tool)
    hold_to(arguments.out, {f"exits of {scenario.network.name}": profiles.digest(scenario.profile) for scenario in prepared},
            adding=True)
    plan = work.Study(tool, arguments.out, tuple(arguments.sizes))
    if arguments.only == "timing":
        timing.measure(plan, prepared, arguments.out / "timing.json")
    if arguments.only == "training":
        wholes.measure(plan, prepared[0], arguments.out / "training.json")
    if arguments.only:
        return 0
    failed = run_all(plan, tasks_of(arguments, prepared), arguments)
    for scenario in prepared if arguments.finetune else ():
        wholes.finetune(plan, scenario, arguments.finetune)
    write_report(arguments.out, drawn)
    return 1 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(study(read_arguments()))
    except StudyError as problem:
        sys.exit(f"study: {problem}")
    except KeyboardInterrupt:
        sys.exit("study: interrupted; the same command goes on")
