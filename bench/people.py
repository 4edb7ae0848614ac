#!/usr/bin/env python3
"""Accuracy and speed before and after personalising, person by person, on photos kept apart.

Each person is a folder of class folders. A random half of the photos of each class personalises, the other half tests;
with --twins (a CSV of photo,group) near duplicates stay on one side. Everything goes through the exeunt program.

    bench/people.py --exeunt build/tools/exeunt --model net.onnx --classes classes.txt --mean 127 --std 128 \\
        --data photos --people u48,u322 --exits 4
"""
import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PHOTO = {".jpg", ".jpeg", ".png"}


def read_twins(path):
    if not path:
        return {}
    with open(path, newline="") as rows:
        return {row["photo"]: row["group"] for row in csv.DictReader(rows)}


def split_groups(photos, twin_of, data, rng):
    """Halves of one class, groups of near twins unbroken."""
    groups = {}
    for photo in photos:
        key = twin_of.get(str(photo.relative_to(data)), str(photo))
        groups.setdefault(key, []).append(photo)
    order = [groups[key] for key in sorted(groups)]
    rng.shuffle(order)
    halves = ([], [])
    for group in order:
        halves[len(halves[0]) > len(halves[1])].extend(group)
    # the odd photo goes to either side
    return halves if rng.random() < 0.5 else (halves[1], halves[0])


def lay_out(person, data, twin_of, seed, target):
    """Folders of links: target/personal/<class>/..., target/test/<class>/... Returns the counts."""
    rng = random.Random(f"{person.name}/{seed}")
    counts = [0, 0]
    for folder in sorted(p for p in person.iterdir() if p.is_dir()):
        photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in PHOTO)
        for side, half in enumerate(split_groups(photos, twin_of, data, rng)):
            place = target / ("personal", "test")[side] / folder.name
            if half:
                place.mkdir(parents=True)
            for photo in half:
                (place / photo.name).symlink_to(photo.resolve())
            counts[side] += len(half)
    return counts


def exeunt(arguments, *command):
    run = subprocess.run([arguments.exeunt, *map(str, command), "--json"], capture_output=True, text=True)
    if run.returncode:
        sys.exit(f"{' '.join(map(str, command))}: exit status {run.returncode}: {run.stderr.strip()}")
    return json.loads(run.stdout)


def measure(arguments, person, twin_of, work):
    personal, test = lay_out(person, arguments.data, twin_of, arguments.seed, work)
    profile = work / "profile.safetensors"
    attach = ["attach", arguments.model, "-o", profile, "--exits", arguments.exits, "--head", arguments.head]
    for option in ("classes", "size", "mean", "std", "order"):
        value = getattr(arguments, option)
        attach += [f"--{option}", value] if value else []
    exeunt(arguments, *attach)
    before = exeunt(arguments, "evaluate", profile, work / "test")
    exeunt(arguments, "personalise", profile, work / "personal", "--holdout", "0")
    after = exeunt(arguments, "evaluate", profile, work / "test")
    return {"person": person.name, "personal": personal, "test": test, "before": before, "after": after}


def show(rows):
    exits = len(rows[0]["after"]["exits"])
    names = "".join(f"  exit{i:<2d}" for i in range(exits))
    print(f"{'person':8s} {'train':>5s} {'test':>5s}   full {names}   policy  speed-up  full ms  policy ms")
    for row in rows:
        a = row["after"]
        cells = "".join(f"  {100 * e['accuracy']:6.1f}" for e in a["exits"])
        print(f"{row['person']:8s} {row['personal']:5d} {row['test']:5d}  {100 * a['full']['accuracy']:5.1f} {cells}   "
              f"{100 * a['policy']['accuracy']:5.1f}   {a['policy']['speedup']:6.2f}x  {a['full']['mean_ms']:7.2f}  "
              f"{a['policy']['mean_ms']:8.2f}")
    mean = lambda pick: statistics.fmean(pick(row) for row in rows)
    cells = "".join(f"  {100 * mean(lambda r: r['after']['exits'][i]['accuracy']):6.1f}" for i in range(exits))
    print(f"{'mean':8s} {'':5s} {'':5s}  {100 * mean(lambda r: r['after']['full']['accuracy']):5.1f} {cells}   "
          f"{100 * mean(lambda r: r['after']['policy']['accuracy']):5.1f}   "
          f"{mean(lambda r: r['after']['policy']['speedup']):6.2f}x")
    print("full: the untouched network; exits and policy: after personalising; all on photos not used for it")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--exeunt", default="build/tools/exeunt")
    p.add_argument("--model", required=True)
    p.add_argument("--data", type=Path, required=True, help="folder of people")
    p.add_argument("--people", required=True, help="comma-separated folder names")
    p.add_argument("--classes")
    p.add_argument("--size")
    p.add_argument("--mean")
    p.add_argument("--std")
    p.add_argument("--order")
    p.add_argument("--exits", type=int, default=4)
    p.add_argument("--head", default="auto")
    p.add_argument("--twins", type=Path)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--json", type=Path, help="also write everything measured here")
    arguments = p.parse_args()
    arguments.data = arguments.data.resolve()
    arguments.exeunt = os.path.abspath(arguments.exeunt)
    twin_of = read_twins(arguments.twins)
    rows = []
    for name in arguments.people.split(","):
        with tempfile.TemporaryDirectory(prefix="exeunt-people-") as work:
            rows.append(measure(arguments, arguments.data / name, twin_of, Path(work)))
        print(f"{name}: done", file=sys.stderr)
    show(rows)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
