/* SPDX-License-Identifier: Apache-2.0
 * The loss that other people had, and bounds for small samples. Only + - * /: the same bits everywhere. */
#include "train/caution.h"

/* Thresholds fall, losses rise; between two, straight lines. */
static const struct {
    double threshold, loss;
} others[] = {{1.0, 0.0},   {0.99, 0.001}, {0.975, 0.0035}, {0.95, 0.007}, {0.9, 0.016}, {0.85, 0.028}, {0.8, 0.04},
              {0.7, 0.063}, {0.6, 0.085},  {0.5, 0.12},     {0.4, 0.155},  {0.3, 0.19},  {0.0, 0.19}};
enum { OTHERS = sizeof others / sizeof *others };

#define MANY_LABELS 50.0
#define MORE_WITHOUT 3.0

double exn_caution_loss(float threshold, double labels) {
    const double t = (double)threshold, lacking = 1 - labels / MANY_LABELS;
    size_t i = 1;
    if (t >= others[0].threshold) return 0;
    while (i + 1 < OTHERS && t < others[i].threshold) i++;
    const double part = (others[i - 1].threshold - t) / (others[i - 1].threshold - others[i].threshold);
    const double loss = others[i - 1].loss + part * (others[i].loss - others[i - 1].loss);
    return lacking > 0 ? loss * (1 + MORE_WITHOUT * lacking) : loss;
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
