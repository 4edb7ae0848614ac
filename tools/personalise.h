/* SPDX-License-Identifier: Apache-2.0
 * One personalising job: its parts, shared by the files that do it and that report it. */
#ifndef EXN_TOOLS_PERSONALISE_H
#define EXN_TOOLS_PERSONALISE_H

#include <limits.h>

#include "tools/figures.h"
#include "tools/meter.h"

typedef struct exn_job {
    exn_tool *tool;
    const char *path;     /* of the profile */
    char cache[PATH_MAX]; /* of the features, beside it */
    exn_person person;
    exn_dataset *data, *unlabelled; /* the second may be NULL */
    exn_trainer *trainer;
    bool *held; /* [samples of data]: kept away from the trainer */
    bool measure, skip_bad, resume, keep_cache;
    size_t held_count; /* 0: figures are out-of-fold */
    size_t labelled, unlabelled_used, to_add, added, steps;
    double extract_s, train_s, total_s;
    uint64_t cache_bytes;
    exn_trainer_estimate estimate;
    json_t *before, *after; /* null where nothing was measured */
} exn_job;

/* Measures the profile as it is, on the held-out samples or by folds, and prints or keeps the figures. when: "before". */
exn_status exn_job_measure(json_t **out, exn_job *job, const char *when);
/* Prints what was done, as JSON or as a table. */
exn_status exn_job_report(exn_job *job);

#endif
