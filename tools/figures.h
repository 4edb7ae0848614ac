/* SPDX-License-Identifier: Apache-2.0
 * What `evaluate` measures: the untouched network, every exit and the policy, on one list of samples. */
#ifndef EXN_TOOLS_FIGURES_H
#define EXN_TOOLS_FIGURES_H

#include "tools/engine.h"
#include "tools/report.h"

typedef struct exn_exit_figures {
    double accuracy, agreement;       /* agreement: with the untouched network's label */
    double median_ms;                 /* from the input to this exit's decision; enabled exits before it are paid */
    double share;                     /* of the samples that leave here under the policy */
    double macs_fraction;             /* of the untouched network's multiply-adds, heads on the way included */
    double cut_ms, cut_macs_fraction; /* of the network cut at this exit, without the other heads */
} exn_exit_figures;

/* One operating point; see exn_target. */
typedef struct exn_point_figures {
    bool known;
    double accuracy, agreement, mean_ms, macs_fraction;
    size_t deepest_exit;
} exn_point_figures;

typedef struct exn_figures {
    size_t samples;
    double full_accuracy;
    double full_accuracy_masked; /* the untouched network choosing among the classes that occur in the data */
    double full_mean_ms, full_median_ms;
    size_t exit_count;
    exn_exit_figures *exits;
    double policy_accuracy, policy_agreement, policy_mean_ms, policy_macs_fraction; /* at the profile's target */
    exn_point_figures points[EXN_POINTS];
    size_t deepest_exit;
    size_t class_count;
    uint32_t *confusion; /* [label][policy's answer] */
} exn_figures;

/* Samples whose pick is true (NULL: all) and that have a label; unlabelled ones count for time, share and agreement only.
 * The untouched network and the policy are timed alternately, sample by sample. skip_bad: unreadable files are warned of
 * and left out. */
exn_status exn_figures_measure(exn_figures *out, exn_tool *tool, const exn_profile *profile, exn_dataset *data,
                               const bool *pick, bool skip_bad);
void exn_figures_free(exn_figures *figures, exn_context *ctx);
/* Adds samples, full, exits and policy to an object; confusion on request. */
void exn_figures_report(json_t *object, const exn_figures *figures, const exn_profile *profile, bool confusion);
/* The same as a table for people. */
void exn_figures_print(const exn_figures *figures, const exn_profile *profile);

#endif
