/* SPDX-License-Identifier: Apache-2.0
 * The compiled-in schedule, and bounds for small samples. Only + - * / and square roots: the same bits everywhere. */
#include "train/caution.h"

#include <math.h>

const exn_caution exn_caution_default = {
    .count = 3,
    .headroom = 2.0f,
    .unlabelled = 0.95f,
    .row = {{0, {0.95f, 0.95f}, 2.0f}, {100, {0.925f, 0.925f}, 2.0f}, {200, {0.9f, 0.9f}, 2.0f}}};

const exn_caution *exn_caution_or_default(const exn_caution *schedule) {
    return schedule->count ? schedule : &exn_caution_default;
}

const exn_caution_row *exn_caution_find(const exn_caution *schedule, size_t labels) {
    size_t i = 0;
    while (i + 1 < schedule->count && schedule->row[i + 1].labels <= labels) i++;
    return &schedule->row[i];
}

/* ---- Clopper-Pearson ---- */

/* Probability of at least `hits` where one succeeds with p <= hits / trials. Terms are taken relative to that of `hits`
 * itself, so nothing underflows; where the ones below overflow, the share is 0. */
static double upper_tail(size_t hits, size_t trials, double p) {
    const double odds = p / (1.0 - p);
    double above = 1.0, below = 0.0, term = 1.0;
    for (size_t k = hits; k < trials; k++) {
        term *= odds * (double)(trials - k) / (double)(k + 1);
        above += term;
    }
    term = 1.0;
    for (size_t k = hits; k > 0; k--) {
        term *= (double)k / ((double)(trials - k + 1) * odds);
        below += term;
    }
    return above / (above + below);
}

double exn_lower_bound(size_t hits, size_t trials, double miss) {
    if (!trials || !hits) return 0;
    double low = 0, high = (double)hits / (double)trials;
    for (size_t i = 0; i < 60; i++) {
        const double middle = 0.5 * (low + high);
        if (middle >= 1 || upper_tail(hits, trials, middle) > miss)
            high = middle;
        else
            low = middle;
    }
    return low;
}

/* ---- Learn then Test ---- */

/* A gambler stakes on every person in turn that losses stay below the limit, more where they have varied little so far. If the
 * mean loss is above the limit, the stake is as likely as not to shrink, and reaches 1 / p with probability p at most
 * (Ville), so its greatest value is one over a p-value. */
double exn_risk_p_value(const double *losses, size_t count, double limit) {
    const double target = (limit + EXN_LOSS_MAX) / (2 * EXN_LOSS_MAX),
                 boldness = 2 * 2.302585092994046; /* at p = 0.1 */
    double stake = 1, most = 1, sum = 0.5, squares = 0.02;
    if (!(target < 1)) return 0;
    for (size_t i = 0; i < count; i++) {
        double loss = (losses[i] + EXN_LOSS_MAX) / (2 * EXN_LOSS_MAX);
        loss = loss < 0 ? 0 : loss > 1 ? 1 : loss;
        const double bet = sqrt(boldness / ((double)count * squares / (double)(i + 1)));
        const double largest = 0.95 / (1 - target);
        stake *= 1 + (bet < largest ? bet : largest) * (target - loss);
        if (stake > most) most = stake;
        sum += loss;
        const double mean = sum / (double)(i + 2);
        squares += (loss - mean) * (loss - mean);
    }
    return 1 / most;
}
