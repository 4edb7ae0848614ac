# SPDX-License-Identifier: Apache-2.0
"""Milliseconds of whole policies measured in the program, the untouched network and the policy alternately, to hold the cost table
against: for a few people, on a quiet machine."""
import json
import shutil

from . import people, profiles, program

SIZE, SHARE, SEED = 50, 100, 1
PEOPLE, PHOTOS = 2, 40  # of a scenario; test photos of a person


def able(scenario):
    return [person for person in scenario.people if SIZE in people.reachable(person, (SIZE,))][:PEOPLE]


def time_person(study, scenario, person):
    """target -> (speed-up measured, speed-up by the cost table) of a policy learnt from SIZE photos, on the same test photos."""
    split = people.split(person, study.sizes, SEED, together=True)
    folder = study.out / "work" / f"timing-{scenario.name}-{person.name}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    profile, cache = profiles.copy(scenario.profile, scenario.network.model, folder), folder / "cache"
    known, test = people.lay_out(split.pools[SIZE], folder / "known"), people.lay_out(split.test[:PHOTOS], folder / "test")
    program.personalise(study.program, profile, known, None, cache, scenario.costs, folder / "pool.npy")
    ran = study.program.run("evaluate", profile, test)
    told = program.evaluate(study.program, profile, test, cache, scenario.costs, folder / "test.npy").report
    shutil.rmtree(folder)
    by_table = {entry["target"]: entry["speedup"] for entry in told["targets"]}
    return {entry["target"]: (entry["speedup"], by_table[entry["target"]]) for entry in ran["targets"]}


def measure(study, scenarios, out):
    found = {scenario.name: {person.name: time_person(study, scenario, person) for person in able(scenario)}
             for scenario in scenarios}
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
