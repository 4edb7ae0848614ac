/* SPDX-License-Identifier: Apache-2.0
 * One personalising job: its parts, shared by the files that do it and that report it. */
#ifndef EXN_TOOLS_JOB_H
#define EXN_TOOLS_JOB_H

#include <limits.h>

#include "tools/figures.h"
#include "tools/meter.h"

typedef struct exn_job {
    exn_tool *tool;
    const char *path;        /* of the profile */
    const char *dump;        /* NULL, or where out-of-fold logits go */
    char cache[PATH_MAX];    /* of the features, beside it unless it is shared */
    char progress[PATH_MAX]; /* where training stands, beside it */
    exn_person person;
    exn_profile *old;               /* the profile as it was; NULL: nothing is measured */
    exn_dataset *data, *unlabelled; /* the second may be NULL */
    exn_trainer *trainer;
    bool *held; /* [samples of data]: kept away from the trainer */
    bool measure, skip_bad, resume, keep_cache, shared_cache;
    unsigned without;  /* EXN_WITHOUT_* */
    size_t held_count; /* 0: figures are out-of-fold */
    size_t labelled, unlabelled_used, to_add, added, steps;
    double extract_s, train_s, total_s;
    double time_budget_s, begin_s; /* 0: none; when extraction began */
    double planned_mb;
    bool unfinished; /* the time was too short */
    size_t left_out; /* samples that had no room */
    uint64_t cache_bytes;
    exn_trainer_estimate estimate;
    json_t *before, *after; /* null where nothing was measured */
    json_t *photos;         /* NULL, or for a dump: what was added, in its order */
} exn_job;

/* Measures a profile on the held-out samples or by folds, and prints or keeps the figures. when: "before". */
exn_status exn_job_measure(json_t **out, exn_job *job, const exn_profile *profile, const char *when);
/* Writes what the exits said about each sample while it was held out, in the order of job->photos. */
exn_status exn_job_dump(exn_job *job);
/* Prints what was done, as JSON or as a table. */
exn_status exn_job_report(exn_job *job);

#endif
