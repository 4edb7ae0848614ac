/* SPDX-License-Identifier: Apache-2.0
 * What a fit starts from: the statistics of its norms. */
#include "train/fresh.h"
#include "train/loop_private.h"

#include <math.h>
#include <string.h>

/* Features that hardly move among these samples may do so among others: they are not blown up beyond ten times. */
#define LEAST_VARIANCE 0.01

exn_status exn_fit_read_row(float *out, const exn_fit *fit, size_t sample) {
    const exn_fit_samples *s = &fit->samples;
    return exn_cache_read(out, s->cache, s->record[sample], s->first, fit->row);
}

/* Closed form over all samples, two passes in double: mean, then deviation around it. A classifier goes on computing what
 * it did: its start is the network's own layer. */
static exn_status measure_statistics(exn_fit *fit) {
    exn_context *ctx = fit->ctx;
    const size_t n = fit->samples.count, features = fit->row;
    float *row = exn_malloc(ctx, features, sizeof *row);
    float *statistics = exn_malloc(ctx, 2 * features, sizeof *statistics);
    double *sum = exn_calloc(ctx, 2 * features, sizeof *sum), *square = sum ? sum + features : NULL;
    exn_status status = row && sum && statistics ? EXN_OK : EXN_E_NOMEM;
    for (size_t i = 0; status == EXN_OK && i < n; i++) {
        status = exn_fit_read_row(row, fit, i);
        for (size_t j = 0; status == EXN_OK && j < features; j++) sum[j] += (double)row[j] / (double)n;
    }
    for (size_t i = 0; status == EXN_OK && i < n; i++) {
        status = exn_fit_read_row(row, fit, i);
        for (size_t j = 0; status == EXN_OK && j < features; j++)
            square[j] += ((double)row[j] - sum[j]) * ((double)row[j] - sum[j]) / (double)n;
    }
    double mean_square = 0;
    for (size_t j = 0; status == EXN_OK && j < features; j++) mean_square += square[j] / (double)features;
    for (size_t j = 0; status == EXN_OK && j < features; j++) {
        const double floor = (double)EXN_FIT_NORM_EPSILON + LEAST_VARIANCE * mean_square;
        statistics[j] = (float)sum[j];
        statistics[features + j] = (float)(1.0 / sqrt(square[j] + floor));
    }
    if (status == EXN_OK)
        exn_head_set_norm(fit->head, statistics, statistics + features, fit->head->kind == EXN_HEAD_CLASSIFIER);
    exn_free(ctx, statistics);
    exn_free(ctx, row);
    exn_free(ctx, sum);
    return status;
}

/* Whole: running statistics start as the head's own. */
static void start_running_variance(exn_fit *fit) {
    const float *inv_std = fit->head->tensor[EXN_HEAD_INV_STD];
    for (size_t i = 0; i < exn_head_features(fit->head); i++)
        fit->variance[i] = 1.0f / (inv_std[i] * inv_std[i]) - EXN_FIT_NORM_EPSILON;
}

exn_status exn_fit_set_statistics(exn_fit *fit) {
    exn_head *head = fit->head;
    if (fit->whole) {
        start_running_variance(fit);
        return EXN_OK;
    }
    EXN_TRY(measure_statistics(fit));
    memcpy(exn_tape_value(fit->tape, fit->mean), head->tensor[EXN_HEAD_MEAN], fit->row * sizeof(float));
    memcpy(exn_tape_value(fit->tape, fit->inv_std), head->tensor[EXN_HEAD_INV_STD], fit->row * sizeof(float));
    return EXN_OK;
}
