# SPDX-License-Identifier: Apache-2.0
"""Whole-network fine-tuning beside personalised exits: accuracy for some people, and what a pass costs each way."""
import json
import shutil

import numpy as np

from . import networks, people, profiles, program
from .work import look_up_label

SIZE, SEED = 50, 1
TIMED_PHOTOS, TIMED_EPOCHS = 20, 2


def inputs(network, photos):
    return networks.as_input(network, np.stack([networks.pixels(photo.path) for photo in photos]))


def able(scenario):
    return [person for person in scenario.people if SIZE in people.reachable(person, (SIZE,))]


def learn_alone(study, scenario, pool):
    """Seconds of personalise's `extract` and `train` with a pool, nothing cached."""
    folder = study.out / "work" / "training"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    profile = profiles.copy(scenario.profile, scenario.network.model, folder)
    report = program.personalise(study.program, profile, people.lay_out(pool, folder / "known"), None, folder / "cache",
                                 scenario.costs, folder / "pool.npy").report
    shutil.rmtree(folder)
    return {part: report["seconds"][part] for part in ("extract", "train")}


def whole_networks(scenario, pool, test):
    """rate -> accuracy on the test photos, and seconds."""
    from . import finetune
    label, truth = (look_up_label(scenario, photos) for photos in (pool, test))
    found = finetune.finetune(scenario.network.model, inputs(scenario.network, pool), label, inputs(scenario.network, test), SEED)
    return {str(rate): {"accuracy": float((answers == truth).mean()), "seconds": seconds * finetune.EPOCHS * len(pool)}
            for rate, (answers, seconds) in found.items()}


def finetune(study, scenario, count):
    """Fine-tunes for the first `count` people, all labelled, twins together; what is there stays. Files: out/wholes/, whose
    `rates` know nothing of exits and may be copied to another out."""
    for person in able(scenario)[:count]:
        path = study.out / "wholes" / scenario.name / f"{person.name}.json"
        figures = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        split = people.split(person, study.sizes, SEED, together=True)
        if "rates" not in figures:
            figures["rates"] = whole_networks(scenario, split.pools[SIZE], split.test)
        if "exits" not in figures:
            figures["exits"] = learn_alone(study, scenario, split.pools[SIZE])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(study, scenario, out):
    """Seconds a photo: of a pass through the whole network forward and backward in PyTorch, of extraction, and of all training of
    exits, each on one thread. Wants a machine that does nothing else."""
    from . import finetune
    pool = people.split(able(scenario)[0], study.sizes, SEED, together=True).pools[SIZE]
    label = look_up_label(scenario, pool)
    _, whole = finetune.train_timed(scenario.network.model, inputs(scenario.network, pool[:TIMED_PHOTOS]), label[:TIMED_PHOTOS],
                                    TIMED_EPOCHS)
    figures = {"network": scenario.network.name, "photos": len(pool), "epochs": finetune.EPOCHS, "whole": whole}
    figures |= {part: seconds / len(pool) for part, seconds in learn_alone(study, scenario, pool).items()}
    out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def ratios(figures):
    """(without the cache, with it): how many times cheaper personalising exits is than as many passes over the whole network."""
    whole = figures["epochs"] * figures["whole"]
    return (whole / (figures["epochs"] * figures["extract"] + figures["train"]),
            whole / (figures["extract"] + figures["train"]))
