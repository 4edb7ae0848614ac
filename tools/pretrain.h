/* SPDX-License-Identifier: Apache-2.0
 * attach --pretrain: general data through a pretrainer, from the command line. */
#ifndef EXN_TOOLS_PRETRAIN_H
#define EXN_TOOLS_PRETRAIN_H

#include <jansson.h>

#include "tools/tool.h"

#define EXN_PRETRAIN_OPTIONS                                                                                           \
    {"pretrain", "DATA", "teach the exits general data: labelled photos of anybody's", 0},                             \
        {"people", NULL, "DATA has a folder a person, with class folders in it: persons stay apart in judging", 0},    \
        {"refit", NULL, "with --pretrain: fit the network's own classifier anew, too", 0},                             \
        {"epochs", "N", "with --pretrain: rounds through the photos (default 40)", 0},                                 \
        {"views", "N", "with --pretrain: views of a photo, the augmented ones and itself (default 4)", 0},             \
        {"cache", "FILE", "with --pretrain: keep features there, and use what is there already", 0},                   \
        {"time-budget", "S", "with --pretrain: seconds of training at most", 0}, {                                     \
        "skip-bad", NULL, "with --pretrain: leave out unreadable photos and unknown classes with a warning", 0         \
    }

typedef struct exn_pretrained {
    size_t photos, persons, skipped; /* skipped: photos left out */
    double extract_s, train_s;
    uint64_t cache_bytes;
} exn_pretrained;

/* Whether --pretrain was given; a usage error where one of the options that belong to it was given alone. */
exn_status exn_pretrain_wanted(bool *wanted, exn_tool *tool);
/* Trains the profile's exits. path: of the profile, beside which features and progress are kept. EXN_PAUSED after a signal: the
 * same call goes on from there. */
exn_status exn_pretrain_profile(exn_pretrained *out, exn_tool *tool, exn_profile *profile, const char *path);
/* Removes what was kept, once the profile is written. */
exn_status exn_pretrain_forget(exn_tool *tool, const char *path);

#endif
