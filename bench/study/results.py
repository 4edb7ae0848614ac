# SPDX-License-Identifier: Apache-2.0
"""Finished runs, kept: each is a pair of files, and is not computed again."""
import json

import numpy as np

from . import work


def path_of(study, task, share, variant):
    return (study.out / "runs" / task.stem(share, variant)).with_suffix(".json")


def pending(study, task):
    """Those of work.runs that are not there yet."""
    return [run for run in work.runs(task) if not path_of(study, task, *run[:2]).exists()]


def write(study, stem, record, arrays):
    """Both files, whole or not at all; the record last, for it is what counts as finished."""
    path = study.out / "runs" / stem.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    np.savez_compressed(part, **arrays)
    part.replace(path.with_suffix(".npz"))
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
