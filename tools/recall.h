/* SPDX-License-Identifier: Apache-2.0
 * Evaluating from a feature cache: what the frozen network said about a photo is not computed again, and milliseconds come
 * from a cost table, so that many profiles of one network are judged in little time and reproducibly. */
#ifndef EXN_TOOLS_RECALL_H
#define EXN_TOOLS_RECALL_H

#include "tools/figures.h"
#include "tools/npy.h"
#include "train/costs.h"

/* What every exit said of every sample, and what leaving costs. Release with exn_recalled_free. */
typedef struct exn_recalled {
    size_t samples, exits, classes;
    float *logits; /* [exits + 1][samples][classes]; the last table is the untouched network's */
    exn_costs costs, macs;
} exn_recalled;
void exn_recalled_free(exn_recalled *recalled, exn_context *ctx);

typedef struct exn_recall {
    const char *cache;  /* filled with what it lacks; kept. NULL: in memory */
    const char *costs;  /* as in exn_costs_get */
    const char *dump;   /* NULL: none; else where logits go: float32 (samples, exits + 1, classes), the last being the
                        * untouched network's */
    exn_recalled *keep; /* NULL, or where the logits go in memory */
} exn_recall;

/* The same figures as exn_figures_measure gives, milliseconds being the table's (0 in a table of multiply-adds). *photos, to be
 * released by the caller: an array of {file label exit answer targets{}}, sample by sample; targets
 * has exit and answer of every operating point. Every sample must be readable. */
exn_status exn_figures_recall(exn_figures *out, json_t **photos, exn_tool *tool, exn_profile *profile,
                              exn_dataset *data, const exn_recall *options);

/* Writes rows of logits: tables[t] is [samples][classes], t < count; sample order[i] (NULL: i) comes i-th. */
exn_status exn_logits_write(exn_context *ctx, const char *path, const float *const *tables, size_t count,
                            const size_t *order, size_t samples, size_t classes);

#endif
