/* SPDX-License-Identifier: Apache-2.0
 * The search for thresholds and exits. */
#include "train/policy.h"

#include <string.h>

#define EXHAUSTIVE_MAX 5u
#define LEAST_SAVING 0.01
#define LEAST_AGREEMENT 95u /* per cent */
#define UNLABELLED_THRESHOLD 0.9f

static const float grid[] = {0.99f, 0.975f, 0.95f, 0.925f, 0.9f, 0.875f, 0.85f, 0.8f, 0.75f};

static float least_threshold(const exn_policy *policy) {
    if (!policy->labelled) return UNLABELLED_THRESHOLD;
    if (policy->judged < 20) return 0.975f;
    if (policy->judged < 50) return 0.925f;
    return policy->judged < 100 ? 0.85f : 0.75f;
}

static size_t where_it_leaves(const exn_evidence *e, const bool *enabled, float threshold, size_t sample) {
    size_t exit = 0;
    while (exit + 1 < e->exits && !(enabled[exit] && e->confidence[exit * e->samples + sample] >= threshold)) exit++;
    return exit;
}

/* The label that counts as right: the true one, or what the untouched network says. SIZE_MAX: this sample does not count. */
static size_t wanted(const exn_policy *policy, const exn_evidence *e, size_t sample) {
    if (!policy->labelled) return e->untouched[sample];
    return e->label[sample] == EXN_UNLABELLED ? SIZE_MAX : (size_t)e->label[sample];
}

static void evaluate(exn_policy *policy, const exn_evidence *e, const exn_costs *costs) {
    policy->right = 0;
    policy->cost = 0;
    memset(policy->taken, 0, sizeof policy->taken);
    for (size_t s = 0; s < e->samples; s++) {
        const size_t exit = where_it_leaves(e, policy->enabled, policy->threshold, s);
        policy->right += e->choice[exit * e->samples + s] == wanted(policy, e, s);
        policy->taken[exit]++;
    }
    for (size_t i = 0; i < e->exits; i++)
        policy->cost += exn_costs_until(costs, policy->enabled, i) * (double)policy->taken[i] / (double)e->samples;
}

static bool better(const exn_policy *candidate, const exn_policy *best) {
    return candidate->right >= candidate->floor && candidate->cost < best->cost &&
           candidate->cost < candidate->whole * (1.0 - LEAST_SAVING);
}

/* Tries all thresholds with the exits that `candidate` enables. */
static void try_thresholds(exn_policy *best, exn_policy *candidate, const exn_evidence *e, const exn_costs *costs) {
    const float least = least_threshold(candidate);
    for (size_t i = 0; i < sizeof grid / sizeof *grid && grid[i] >= least; i++) {
        candidate->threshold = grid[i];
        evaluate(candidate, e, costs);
        if (better(candidate, best)) *best = *candidate;
    }
}

static void try_subsets(exn_policy *best, const exn_evidence *e, const exn_costs *costs, const size_t *usable,
                        size_t count) {
    const exn_policy start = *best;
    for (size_t set = 1; set < (size_t)1 << count; set++) {
        exn_policy candidate = start;
        for (size_t i = 0; i < count; i++) candidate.enabled[usable[i]] = set >> i & 1;
        try_thresholds(best, &candidate, e, costs);
    }
}

static void add_greedily(exn_policy *best, const exn_evidence *e, const exn_costs *costs, const size_t *usable,
                         size_t count) {
    for (size_t round = 0; round < count; round++) {
        const exn_policy start = *best;
        for (size_t i = 0; i < count; i++) {
            exn_policy candidate = start;
            if (candidate.enabled[usable[i]]) continue;
            candidate.enabled[usable[i]] = true;
            try_thresholds(best, &candidate, e, costs);
        }
        if (best->cost == start.cost) return;
    }
}

static void set_floor(exn_policy *policy, const exn_evidence *e) {
    size_t labels = 0, untouched = 0;
    for (size_t s = 0; s < e->samples; s++) {
        labels += e->label[s] != EXN_UNLABELLED;
        untouched += e->label[s] == (int64_t)e->untouched[s];
    }
    policy->labelled = labels >= EXN_POLICY_LABELS;
    policy->judged = policy->labelled ? labels : e->samples;
    policy->floor = policy->labelled ? untouched : (e->samples * LEAST_AGREEMENT + 99) / 100;
}

void exn_policy_decide(exn_policy *out, const exn_evidence *e, const exn_costs *costs) {
    exn_policy policy = {.threshold = 1.0f};
    size_t usable[EXN_EXITS_MAX], count = 0;
    set_floor(&policy, e);
    policy.enabled[e->exits - 1] = true;
    policy.whole = costs->reach[e->exits - 1];
    evaluate(&policy, e, costs);
    for (size_t i = 0; i + 1 < e->exits; i++)
        if (e->usable[i]) usable[count++] = i;
    if (count <= EXHAUSTIVE_MAX)
        try_subsets(&policy, e, costs, usable, count);
    else
        add_greedily(&policy, e, costs, usable, count);
    *out = policy;
}
