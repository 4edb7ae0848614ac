/* SPDX-License-Identifier: Apache-2.0
 * How good predictions are. Every figure comes from the kernel set's functions and exact arithmetic in double, so that
 * all fused sets agree on it. */
#ifndef EXN_TRAIN_QUALITY_H
#define EXN_TRAIN_QUALITY_H

#include "train/tail.h"

/* Logits of a folded, lowered head, as a run would compute them, for the records given. out: count x classes. */
exn_status exn_predict(float *out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                       const exn_cache *cache, exn_cached from, const size_t *records, size_t count);

/* out (may be logits itself) = softmax(logits / temperature), row by row. */
void exn_probabilities(float *out, const exn_f32_vector *vector, const float *logits, size_t rows, size_t classes,
                       float temperature);
/* Index of the largest logit, the first of equals. */
size_t exn_best_class(const float *logits, size_t classes);

/* A set of judged rows: logits and the label that each should get (EXN_UNLABELLED rows are skipped). */
typedef struct exn_judged {
    const float *logits;
    const int64_t *label;
    size_t rows, classes;
} exn_judged;
/* Rows with a label, and how many of them are right. */
size_t exn_count_labelled(const exn_judged *judged);
size_t exn_count_right(const exn_judged *judged);
/* Mean negative log-likelihood of the labels at a temperature; NaN without labels. `scratch`: classes floats. */
double exn_mean_nll(const exn_judged *judged, const exn_f32_vector *vector, float temperature, float *scratch);
/* loss: one number a labelled row, its negative log-likelihood at the temperature of least mean NLL: what is left when
 * sharpness is taken out of the comparison. */
void exn_best_losses(double *loss, const exn_judged *judged, const exn_f32_vector *vector, float *scratch);
/* The temperature of least NLL on a fixed grid from 0.4 to 2.5, drawn half-way (geometrically) to `prior`, because few
 * samples say little; the prior itself without labels. */
float exn_fit_temperature(const exn_judged *judged, const exn_f32_vector *vector, float prior, float *scratch);

#endif
