/* SPDX-License-Identifier: Apache-2.0
 * Class frequencies of a person. */
#include "train/prior.h"

#include "core/rng.h"

#include <math.h>
#include <string.h>

#define ROUNDS 30u
#define RESAMPLINGS 10u
#define RESAMPLING_STREAM 7001u
#define LEAST_SAMPLES 20u
#define MOST_EFFECTIVE 0.2
#define MOST_UNSTABLE 0.3
#define TRUST 0.5f
/* Further than this, in nats, no estimated frequency is believed to lie from the general one. */
#define FARTHEST 3.0f
/* Pseudo samples that speak for the general frequencies. */
#define STRENGTH 5.0
#define LEAST_SHARE 1e-6

static float at_most(float value, float most) {
    return value > most ? most : value < -most ? -most : value;
}

static bool counts(const exn_labels *l, size_t i) {
    return l->label[i] >= 0 && (!l->counts || l->counts[i]);
}

/* How many samples of i's twins with its label count; 0 where one before i does. */
static size_t twins_from(const exn_labels *l, size_t i) {
    size_t twins = 0;
    for (size_t j = 0; j < l->samples; j++) {
        if (!counts(l, j) || l->group[j] != l->group[i] || l->label[j] != l->label[i]) continue;
        if (j < i) return 0;
        twins++;
    }
    return twins;
}

static bool met_again(const exn_labels *l, size_t first) {
    for (size_t j = 0; j < l->samples; j++)
        if (counts(l, j) && l->label[j] == l->label[first] && l->group[j] != l->group[first]) return true;
    return false;
}

double exn_prior_unseen(bool *seen, const exn_labels *l) {
    size_t groups = 0, once = 0, classes = 0;
    memset(seen, 0, l->classes * sizeof *seen);
    for (size_t i = 0; i < l->samples; i++) {
        if (!counts(l, i) || !twins_from(l, i)) continue;
        groups++;
        once += !met_again(l, i);
        classes += !seen[l->label[i]];
        seen[l->label[i]] = true;
    }
    const double unseen = ((double)once + 1) / ((double)groups + 1);
    return classes == l->classes ? 0 : unseen > 0.5 ? 0.5 : unseen;
}

void exn_prior_from_labels(float *shift, bool *seen, const exn_f32_vector *vector, const exn_labels *l) {
    const double unseen = exn_prior_unseen(seen, l);
    double total = 0;
    size_t known = 0;
    memset(shift, 0, l->classes * sizeof *shift);
    for (size_t i = 0; i < l->samples; i++)
        if (counts(l, i)) shift[l->label[i]] += (float)sqrt((double)twins_from(l, i));
    for (size_t c = 0; c < l->classes; c++) {
        known += seen[c];
        total += seen[c] ? (double)shift[c] + 1 : 0;
    }
    for (size_t c = 0; c < l->classes; c++) {
        const double share =
            seen[c] ? (1 - unseen) * ((double)shift[c] + 1) / total : unseen / (double)(l->classes - known);
        shift[c] = (float)((share > LEAST_SHARE ? share : LEAST_SHARE) * (double)l->classes);
    }
    vector->activate(EXN_ACT_LOG, l->classes, shift, shift, 0, 0);
    for (size_t c = 0; c < l->classes; c++) shift[c] *= TRUST;
}

/* ---- without labels ---- */

typedef struct shifted {
    const float *shares;
    const int64_t *label;
    size_t samples, classes;
} shifted;

/* Adds sample i's expected classes under `frequency` (general frequencies: all the same, so they cancel). */
static void expect(double *count, const shifted *s, size_t i, const double *frequency) {
    const float *share = s->shares + i * s->classes;
    double sum = 0;
    if (s->label[i] >= 0) {
        count[s->label[i]] += 1;
        return;
    }
    for (size_t c = 0; c < s->classes; c++) sum += (double)share[c] * frequency[c];
    for (size_t c = 0; c < s->classes && sum > 0; c++) count[c] += (double)share[c] * frequency[c] / sum;
}

/* pick: which sample comes i-th; NULL: the i-th. count: scratch. */
static void estimate(double *frequency, double *count, const shifted *s, const size_t *pick) {
    const double classes = (double)s->classes;
    for (size_t c = 0; c < s->classes; c++) frequency[c] = 1 / classes;
    for (size_t round = 0; round < ROUNDS; round++) {
        for (size_t c = 0; c < s->classes; c++) count[c] = STRENGTH / classes;
        for (size_t i = 0; i < s->samples; i++) expect(count, s, pick ? pick[i] : i, frequency);
        for (size_t c = 0; c < s->classes; c++) frequency[c] = count[c] / ((double)s->samples + STRENGTH);
    }
}

static double distance(const double *a, const double *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += fabs(a[i] - b[i]);
    return 0.5 * sum;
}

static void measure(exn_prior *out, double *const table[3], size_t *pick, const shifted *s, uint64_t seed) {
    exn_rng rng = exn_rng_seed(seed, RESAMPLING_STREAM);
    double square = 0;
    *out = (exn_prior){.samples = s->samples};
    estimate(table[0], table[2], s, NULL);
    for (size_t c = 0; c < s->classes; c++) square += table[0][c] * table[0][c];
    out->effective = 1 / square;
    for (size_t r = 0; r < RESAMPLINGS; r++) {
        for (size_t i = 0; i < s->samples; i++) pick[i] = exn_rng_below(&rng, (uint32_t)s->samples);
        estimate(table[1], table[2], s, pick);
        out->unstable += distance(table[0], table[1], s->classes) / RESAMPLINGS;
    }
    out->used = s->samples >= LEAST_SAMPLES && out->effective <= MOST_EFFECTIVE * (double)s->classes &&
                out->unstable < MOST_UNSTABLE;
}

exn_status exn_prior_from_predictions(float *shift, exn_prior *out, exn_context *ctx, const exn_f32_vector *vector,
                                      const float *shares, const int64_t *label, size_t samples, size_t classes,
                                      uint64_t seed) {
    const shifted s = {.shares = shares, .label = label, .samples = samples, .classes = classes};
    double *block = exn_calloc(ctx, classes, 3 * sizeof *block);
    size_t *pick = exn_calloc(ctx, samples, sizeof *pick);
    const exn_status status = block && pick ? EXN_OK : EXN_E_NOMEM;
    if (status == EXN_OK) {
        measure(out, (double *const[3]){block, block + classes, block + 2 * classes}, pick, &s, seed);
        for (size_t c = 0; c < classes; c++) shift[c] = (float)(block[c] * (double)classes);
        vector->activate(EXN_ACT_LOG, classes, shift, shift, 0, 0);
        for (size_t c = 0; c < classes; c++) shift[c] = TRUST * at_most(shift[c], FARTHEST);
    }
    exn_free(ctx, block);
    exn_free(ctx, pick);
    return status;
}
