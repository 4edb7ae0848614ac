/* SPDX-License-Identifier: Apache-2.0
 * Settling the set of samples and dividing it into folds. */
#include "train/samples.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Chosen against groups of photos made with a whole data set's statistics: of fifty photos, 0.4 finds six to seven twins in
 * ten, 0.6 not two. Features that tell few classes apart put all of a class above it: then a stricter one. */
static const double twin_cosines[] = {0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98};
enum { TWIN_COSINES = sizeof twin_cosines / sizeof *twin_cosines, TWINS_ALLOWED = 8 };

static int by_content(const void *a, const void *b) {
    const exn_sample *x = a, *y = b;
    const int order = exn_content_compare(&x->content, &y->content);
    if (order) return order;
    return x->label < y->label ? -1 : x->label > y->label;
}

/* Equal contents stand together with the unlabelled one first. */
static bool superfluous(const exn_sample *samples, size_t i, size_t count) {
    if (i + 1 == count || exn_content_compare(&samples[i].content, &samples[i + 1].content)) return false;
    return samples[i].label == samples[i + 1].label || samples[i].label == EXN_UNLABELLED;
}

size_t exn_samples_settle(exn_sample *samples, size_t count) {
    if (count) qsort(samples, count, sizeof *samples, by_content);
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (!superfluous(samples, i, count)) samples[kept++] = samples[i];
    return kept;
}

size_t exn_samples_surplus(const exn_sample *samples, size_t count, const exn_sample *newcomer, const size_t *of_class,
                           size_t classes) {
    size_t largest = 0; /* class + 1 */
    for (size_t c = 1; !of_class[0] && c <= classes; c++)
        if (of_class[c] >= of_class[largest]) largest = c;
    size_t found = SIZE_MAX;
    for (size_t i = 0; i <= count; i++) {
        const exn_sample *sample = i < count ? &samples[i] : newcomer;
        if ((size_t)(sample->label + 1) != largest) continue;
        const exn_sample *best = found == SIZE_MAX ? NULL : found < count ? &samples[found] : newcomer;
        if (!best || exn_content_compare(&sample->content, &best->content) >= 0) found = i;
    }
    return found;
}

size_t exn_fold_count(size_t samples) {
    if (samples < 2) return 0;
    return samples < 4 ? 2 : samples < 10 ? 3 : EXN_FOLDS_MAX;
}

/* Rows to mean 0 and deviation 1 per feature, then to length 1. */
static void standardise_rows(const exn_f32_vector *vector, float *rows, size_t count, size_t features) {
    for (size_t j = 0; j < features; j++) {
        double mean = 0, square = 0;
        for (size_t i = 0; i < count; i++) mean += (double)rows[i * features + j] / (double)count;
        for (size_t i = 0; i < count; i++) {
            const double d = (double)rows[i * features + j] - mean;
            square += d * d / (double)count;
        }
        const double inverse = 1.0 / sqrt(square + 1e-12);
        for (size_t i = 0; i < count; i++)
            rows[i * features + j] = (float)(((double)rows[i * features + j] - mean) * inverse);
    }
    for (size_t i = 0; i < count; i++) {
        float *row = rows + i * features;
        const double length = sqrt((double)vector->dot(features, row, row)) + 1e-12;
        for (size_t j = 0; j < features; j++) row[j] = (float)((double)row[j] / length);
    }
}

static size_t root_of(const size_t *group, size_t i) {
    while (group[i] != i) i = group[i];
    return i;
}

static bool differ(const exn_sample *a, const exn_sample *b) {
    return a->label != b->label && a->label != EXN_UNLABELLED && b->label != EXN_UNLABELLED;
}

/* Links pairs above the cosine; group[i] becomes the least index of what they connect. Returns the largest group's size. */
static size_t connect(size_t *group, size_t *size, const exn_f32_vector *vector, const exn_sample *samples,
                      const float *rows, size_t count, size_t features, double cosine) {
    for (size_t i = 0; i < count; i++) {
        group[i] = i;
        for (size_t j = 0; j < i; j++) {
            if (samples && differ(&samples[i], &samples[j])) continue;
            if ((double)vector->dot(features, rows + i * features, rows + j * features) <= cosine) continue;
            const size_t a = root_of(group, i), b = root_of(group, j);
            group[a < b ? b : a] = a < b ? a : b;
        }
    }
    size_t largest = 0;
    memset(size, 0, count * sizeof *size);
    for (size_t i = 0; i < count; i++) {
        group[i] = root_of(group, i);
        if (++size[group[i]] > largest) largest = size[group[i]];
    }
    return largest;
}

/* Standardising over few rows pushes all of them apart. */
static size_t first_cosine(size_t count) {
    return count < 20 ? 0 : count < 75 ? 1 : count < 200 ? 2 : 3;
}

exn_status exn_samples_group(size_t *group, exn_context *ctx, const exn_f32_vector *vector, const exn_sample *samples,
                             float *rows, size_t count, size_t features) {
    if (!features) return exn_fail(ctx, EXN_E_INVALID, "samples without features");
    size_t *size = exn_calloc(ctx, count, sizeof *size);
    if (!size) return EXN_E_NOMEM;
    standardise_rows(vector, rows, count, features);
    const size_t allowed = count / 10 > TWINS_ALLOWED ? count / 10 : TWINS_ALLOWED;
    size_t largest = SIZE_MAX;
    for (size_t i = first_cosine(count); i < TWIN_COSINES && largest > allowed; i++)
        largest = connect(group, size, vector, samples, rows, count, features, twin_cosines[i]);
    for (size_t i = 0; i < count && largest > allowed; i++) group[i] = i;
    exn_free(ctx, size);
    return EXN_OK;
}

/* The fold that has the fewest of this class, then the fewest at all, then the first. */
static size_t lightest(const size_t *of_class, const size_t *total, size_t folds) {
    size_t best = 0;
    for (size_t f = 1; f < folds; f++)
        if (of_class[f] < of_class[best] || (of_class[f] == of_class[best] && total[f] < total[best])) best = f;
    return best;
}

exn_status exn_folds_assign(size_t *fold, exn_context *ctx, const exn_sample *samples, const size_t *group,
                            size_t count, size_t folds, size_t classes) {
    memset(fold, 0, count * sizeof *fold);
    if (folds < 2) return EXN_OK;
    size_t *counts = exn_calloc(ctx, (classes + 1) * folds, sizeof *counts), total[EXN_FOLDS_MAX] = {0};
    if (!counts) return EXN_E_NOMEM;
    for (size_t i = 0; i < count; i++) {
        size_t *of_class = counts + (size_t)(samples[i].label + 1) * folds;
        fold[i] = group[i] < i ? fold[group[i]] : lightest(of_class, total, folds);
        of_class[fold[i]]++;
        total[fold[i]]++;
    }
    exn_free(ctx, counts);
    return EXN_OK;
}
