/* SPDX-License-Identifier: Apache-2.0
 * The search for exits, thresholds and ends. */
#include "train/policy.h"

#include "train/bypass.h"
#include "train/quality.h"

#include <math.h>
#include <string.h>

#define EXHAUSTIVE_MAX 5u
#define LEAST_SAVING 0.01
#define LEAST_AGREEMENT 0.9 /* lower bound of the share, exceeded with probability 1 - MISS */
#define MISS 0.1

static const float grid[] = {0.99f, 0.975f, 0.95f, 0.925f, 0.9f, 0.875f, 0.85f, 0.8f,
                             0.75f, 0.7f,   0.65f, 0.6f,   0.5f, 0.4f,   0.3f};

/* One search: what it is for, and the best found so far. */
typedef struct search {
    const exn_evidence *e;
    size_t *choice;    /* [exits][samples]: of the exits that are tried now, with what they carry */
    float *confidence; /* the same */
    float *score;      /* [samples][classes]: scratch */
    size_t *last;      /* [samples]: what the last exit says alone */
    const exn_costs *costs;
    float threshold; /* from here on, the schedule vouches */
    float proof;     /* standard errors that anything else needs */
    bool own;        /* whether the person's own evidence counts at all */
    bool untouched;  /* the floor is the untouched network's, not the last exit's */
    exn_policy best;
} search;

/* What the enabled exits say of every sample, each after the ones before it. */
static void look(search *s, const bool *enabled, float carry) {
    const exn_evidence *e = s->e;
    exn_exit_rule rules[EXN_EXITS_MAX];
    for (size_t x = 0; x < e->exits; x++)
        rules[x] = (exn_exit_rule){.enabled = enabled[x], .temperature = e->temperature[x]};
    exn_rules_carry(rules, e->exits, carry);
    for (size_t x = 0; x < e->exits; x++) {
        if (!enabled[x]) continue;
        for (size_t i = 0; i < e->samples; i++) {
            const size_t at = x * e->samples + i;
            float *score = s->score + i * e->classes;
            exn_exit_score(score, e->logits + at * e->classes, e->classes, &rules[x]);
            s->confidence[at] = exn_confidence(&s->choice[at], e->kernels, score, e->classes, 1.0f);
        }
    }
}

static size_t where_it_leaves(const search *s, const exn_policy *p, size_t sample) {
    const exn_evidence *e = s->e;
    size_t exit = 0;
    while (exit + 1 < e->exits &&
           !(p->enabled[exit] && s->confidence[exit * e->samples + sample] >= p->threshold[exit]))
        exit++;
    return exit;
}

/* The label that counts as right: the true one, or what the last exit says. SIZE_MAX: this sample does not count. */
static size_t wanted(const exn_policy *p, const search *s, size_t sample) {
    const exn_evidence *e = s->e;
    if (!p->labelled) return s->last[sample];
    return e->label[sample] == EXN_UNLABELLED ? SIZE_MAX : (size_t)e->label[sample];
}

static bool reference_is_right(const exn_policy *p, const search *s, bool untouched, size_t sample) {
    return (untouched ? s->e->untouched : s->last)[sample] == wanted(p, s, sample);
}

/* Right answers, cost, and the standard error of the difference to the reference, which only the samples decide where one
 * of both is right; one more such sample than seen, because none seen does not mean none. */
static void evaluate(exn_policy *p, const search *s) {
    const exn_evidence *e = s->e;
    size_t differ = 1;
    p->right = 0;
    p->cost = 0;
    memset(p->taken, 0, sizeof p->taken);
    for (size_t i = 0; i < e->samples; i++) {
        const size_t exit = where_it_leaves(s, p, i);
        const bool right = s->choice[exit * e->samples + i] == wanted(p, s, i);
        p->right += right;
        differ += right != reference_is_right(p, s, s->untouched, i);
        p->taken[exit]++;
    }
    for (size_t i = 0; i < e->exits; i++)
        if (p->taken[i]) p->cost += exn_costs_until(s->costs, p->enabled, i) * (double)p->taken[i] / (double)e->samples;
    p->doubt = sqrt((double)differ);
}

static bool allowed(exn_policy *p, const search *s) {
    if (p->right < p->floor) return false;
    p->shared = true;
    for (size_t i = 0; i + 1 < s->e->exits; i++)
        if (p->enabled[i] && p->threshold[i] < s->threshold) p->shared = false;
    return p->shared || (s->own && (double)(p->right - p->floor) >= (double)s->proof * p->doubt);
}

static void consider(search *s, exn_policy *candidate) {
    evaluate(candidate, s);
    if (candidate->cost < s->best.cost && candidate->cost < candidate->whole * (1.0 - LEAST_SAVING) &&
        allowed(candidate, s))
        s->best = *candidate;
}

/* All thresholds for the exits that `candidate` enables, with the last exit behind them, and with the deepest as the end. */
static void try_thresholds(search *s, exn_policy candidate) {
    const size_t last = s->e->exits - 1;
    size_t deepest = 0;
    for (size_t i = 0; i < last; i++)
        if (candidate.enabled[i]) deepest = i;
    look(s, candidate.enabled, candidate.carry);
    for (size_t k = 0; k < sizeof grid / sizeof *grid; k++) {
        for (size_t i = 0; i < last; i++) candidate.threshold[i] = grid[k];
        consider(s, &candidate);
        candidate.threshold[deepest] = 0;
        consider(s, &candidate);
    }
}

static void try_subsets(search *s, const size_t *usable, size_t count) {
    const exn_policy start = s->best;
    for (size_t set = 1; set < (size_t)1 << count; set++) {
        exn_policy candidate = start;
        for (size_t i = 0; i < count; i++) candidate.enabled[usable[i]] = set >> i & 1;
        try_thresholds(s, candidate);
    }
}

static void add_greedily(search *s, const size_t *usable, size_t count) {
    for (size_t round = 0; round < count; round++) {
        const exn_policy start = s->best;
        for (size_t i = 0; i < count; i++) {
            exn_policy candidate = start;
            if (candidate.enabled[usable[i]]) continue;
            candidate.enabled[usable[i]] = true;
            try_thresholds(s, candidate);
        }
        if (s->best.cost == start.cost) return;
    }
}

/* The fewest of `samples` that must agree; more than there are where too few could ever tell. */
static size_t least_agreement(size_t samples) {
    size_t least = samples;
    if (exn_lower_bound(samples, samples, MISS) < LEAST_AGREEMENT) return samples + 1;
    while (least && exn_lower_bound(least - 1, samples, MISS) >= LEAST_AGREEMENT) least--;
    return least;
}

/* One question, asked before any candidate is looked at, so that none can answer it by luck: has this person gained? */
static bool has_gained(const search *s, size_t untouched, size_t last, float headroom) {
    size_t differ = 1;
    for (size_t i = 0; i < s->e->samples; i++)
        differ += reference_is_right(&s->best, s, true, i) != reference_is_right(&s->best, s, false, i);
    return last > untouched && (double)(last - untouched) >= (double)headroom * sqrt((double)differ);
}

static void set_floor(search *s, exn_target target, const exn_caution *schedule) {
    const exn_evidence *e = s->e;
    exn_policy *p = &s->best;
    size_t labels = 0, untouched = 0, last = 0;
    for (size_t i = 0; i < e->samples; i++) labels += e->label[i] != EXN_UNLABELLED;
    p->samples = e->samples;
    p->labelled = labels >= EXN_POLICY_LABELS;
    p->judged = p->labelled ? labels : e->samples;
    for (size_t i = 0; i < e->samples; i++) {
        untouched += reference_is_right(p, s, true, i);
        last += reference_is_right(p, s, false, i);
    }
    s->untouched = p->labelled && (target == EXN_TARGET_UNTOUCHED || untouched > last);
    s->own = p->labelled && target == EXN_TARGET_UNTOUCHED && has_gained(s, untouched, last, schedule->headroom);
    p->floor = !p->labelled ? least_agreement(e->samples) : s->untouched ? untouched : last;
}

static const size_t *list_usable(size_t list[EXN_EXITS_MAX], size_t *count, const exn_evidence *e) {
    *count = 0;
    for (size_t i = 0; i + 1 < e->exits; i++)
        if (e->usable[i]) list[(*count)++] = i;
    return list;
}

/* What a watch over the policy shall expect: see train/bypass.h. */
static void foresee(search *s) {
    exn_policy *p = &s->best;
    const exn_evidence *e = s->e;
    const size_t *last = s->choice + (e->exits - 1) * e->samples;
    look(s, p->enabled, p->carry);
    p->differ = p->unsure = 0;
    for (size_t i = 0; i < e->samples; i++) {
        const size_t at = where_it_leaves(s, p, i) * e->samples + i;
        p->differ += s->choice[at] != last[i];
        p->unsure += !(s->confidence[at] >= EXN_BYPASS_UNSURE);
    }
}

/* Log-loss of all usable exits, one after the other, carrying that much; the last pass's choices stay. */
static double chain_loss(search *s, const bool *all, float carry) {
    const exn_evidence *e = s->e;
    const exn_judged judged = {.label = e->label, .rows = e->samples, .classes = e->classes, .logits = s->score};
    exn_exit_rule rules[EXN_EXITS_MAX];
    double loss = 0;
    for (size_t x = 0; x < e->exits; x++) rules[x] = (exn_exit_rule){all[x], e->temperature[x], 0, 0};
    exn_rules_carry(rules, e->exits, carry);
    for (size_t x = 0; x < e->exits; x++) {
        if (!all[x]) continue;
        for (size_t i = 0; i < e->samples; i++)
            exn_exit_score(s->score + i * e->classes, e->logits + (x * e->samples + i) * e->classes, e->classes,
                           &rules[x]);
        loss += exn_mean_nll(&judged, &e->kernels->f32_vector, 1.0f, s->score + e->samples * e->classes);
    }
    return loss;
}

static float choose_carry(search *s) {
    static const float carries[] = {0.4f, 0.2f, 0.6f, 0.0f};
    bool all[EXN_EXITS_MAX] = {false};
    float best = carries[0];
    double least = INFINITY;
    for (size_t x = 0; x < s->e->exits; x++) all[x] = s->e->usable[x] || x + 1 == s->e->exits;
    for (size_t k = 0; s->best.labelled && k < sizeof carries / sizeof *carries; k++) {
        const double loss = chain_loss(s, all, carries[k]);
        if (!(loss < least)) continue;
        least = loss;
        best = carries[k];
    }
    return best;
}

static void decide(search *s, exn_target target, const exn_caution *schedule) {
    const exn_evidence *e = s->e;
    size_t list[EXN_EXITS_MAX], count;
    const size_t *usable = list_usable(list, &count, e);
    exn_policy *p = &s->best;
    p->enabled[e->exits - 1] = true;
    look(s, p->enabled, 0);
    memcpy(s->last, s->choice + (e->exits - 1) * e->samples, e->samples * sizeof *s->last);
    set_floor(s, target, schedule);
    const exn_caution_row *row = exn_caution_find(schedule, p->labelled ? p->judged : 0);
    s->threshold = p->labelled ? row->threshold[target - 1] : schedule->unlabelled;
    s->proof = row->proof;
    for (size_t i = 0; i < e->exits; i++) p->threshold[i] = 1;
    p->carry = choose_carry(s);
    p->whole = s->costs->reach[e->exits - 1];
    p->shared = true;
    look(s, p->enabled, 0);
    evaluate(p, s);
    if (count <= EXHAUSTIVE_MAX)
        try_subsets(s, usable, count);
    else
        add_greedily(s, usable, count);
    foresee(s);
}

exn_status exn_policy_decide(exn_policy *out, exn_context *ctx, exn_target target, const exn_evidence *e,
                             const exn_costs *costs, const exn_caution *schedule) {
    search s = {.e = e, .costs = costs};
    s.choice = exn_calloc(ctx, e->exits * e->samples, sizeof *s.choice);
    s.confidence = exn_calloc(ctx, e->exits * e->samples, sizeof *s.confidence);
    s.score = exn_calloc(ctx, (e->samples + 1) * e->classes, sizeof *s.score);
    s.last = exn_calloc(ctx, e->samples, sizeof *s.last);
    const bool enough = s.choice && s.confidence && s.score && s.last;
    if (enough) {
        decide(&s, target, schedule);
        *out = s.best;
    }
    exn_free(ctx, s.choice);
    exn_free(ctx, s.confidence);
    exn_free(ctx, s.score);
    exn_free(ctx, s.last);
    return enough ? EXN_OK : EXN_E_NOMEM;
}
