/* SPDX-License-Identifier: Apache-2.0
 * Predictions of heads on cached features, and figures about them. */
#include "train/quality.h"

#include "kernels/elementwise.h"

#include <math.h>

exn_status exn_predict(float *out, exn_context *ctx, const exn_kernel_set *kernels, const exn_head *head,
                       const exn_cache *cache, exn_cached from, const size_t *records, size_t count) {
    return exn_tail_run(out, EXN_TAIL_LOGITS, ctx, kernels, head, cache, from, records, count);
}

static void scale_row(float *out, const exn_f32_vector *vector, const float *logits, size_t classes,
                      float temperature) {
    const float inverse = 1.0f / temperature;
    vector->binary(EXN_MUL, classes, logits, 1, &inverse, 0, out);
}

void exn_probabilities(float *out, const exn_f32_vector *vector, const float *logits, size_t rows, size_t classes,
                       float temperature) {
    for (size_t r = 0; r < rows; r++) {
        float *row = out + r * classes;
        scale_row(row, vector, logits + r * classes, classes, temperature);
        exn_softmax(vector, false, 1, classes, 1, row, row, exn_part_whole());
    }
}

size_t exn_best_class(const float *logits, size_t classes) {
    size_t best = 0;
    for (size_t i = 1; i < classes; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

size_t exn_count_labelled(const exn_judged *judged) {
    size_t count = 0;
    for (size_t r = 0; r < judged->rows; r++) count += judged->label[r] != EXN_UNLABELLED;
    return count;
}

size_t exn_count_right(const exn_judged *judged) {
    size_t right = 0;
    for (size_t r = 0; r < judged->rows; r++)
        right += judged->label[r] == (int64_t)exn_best_class(judged->logits + r * judged->classes, judged->classes);
    return right;
}

/* The last ones only compare: a head that is surely wrong has to be allowed to be unsure. */
static const float temperatures[] = {0.4f, 0.5f, 0.6f, 0.7f,  0.8f, 0.9f, 1.0f, 1.1f, 1.25f, 1.4f,
                                     1.6f, 1.8f, 2.0f, 2.25f, 2.5f, 3.0f, 4.0f, 6.0f, 12.0f, 30.0f};
enum { COMPARED = sizeof temperatures / sizeof *temperatures, FITTED = COMPARED - 5 };

static double loss_of(const exn_judged *judged, const exn_f32_vector *vector, size_t row, float temperature,
                      float *scratch) {
    scale_row(scratch, vector, judged->logits + row * judged->classes, judged->classes, temperature);
    exn_softmax(vector, true, 1, judged->classes, 1, scratch, scratch, exn_part_whole());
    return -(double)scratch[judged->label[row]];
}

double exn_mean_nll(const exn_judged *judged, const exn_f32_vector *vector, float temperature, float *scratch) {
    double sum = 0;
    size_t count = 0;
    for (size_t r = 0; r < judged->rows; r++) {
        if (judged->label[r] == EXN_UNLABELLED) continue;
        sum += loss_of(judged, vector, r, temperature, scratch);
        count++;
    }
    return count ? sum / (double)count : (double)NAN;
}

/* Of the first `among` of the grid; `otherwise` without labels. */
static float best_temperature(const exn_judged *judged, const exn_f32_vector *vector, size_t among, float otherwise,
                              float *scratch) {
    float best = otherwise;
    double least = INFINITY;
    for (size_t i = 0; i < among; i++) {
        const double nll = exn_mean_nll(judged, vector, temperatures[i], scratch);
        if (!(nll < least)) continue;
        least = nll;
        best = temperatures[i];
    }
    return best;
}

void exn_best_losses(double *loss, const exn_judged *judged, const exn_f32_vector *vector, float *scratch) {
    const float temperature = best_temperature(judged, vector, COMPARED, 1.0f, scratch);
    for (size_t r = 0; r < judged->rows; r++)
        if (judged->label[r] != EXN_UNLABELLED) *loss++ = loss_of(judged, vector, r, temperature, scratch);
}

float exn_fit_temperature(const exn_judged *judged, const exn_f32_vector *vector, float prior, float *scratch) {
    if (!exn_count_labelled(judged)) return prior;
    return sqrtf(best_temperature(judged, vector, FITTED, prior, scratch) * prior);
}
