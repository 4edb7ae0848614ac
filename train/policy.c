/* SPDX-License-Identifier: Apache-2.0
 * The search for a threshold and an end. */
#include "train/policy.h"

#include "train/bypass.h"
#include "train/caution.h"
#include "train/quality.h"

#include <math.h>
#include <string.h>

#define LEAST_SAVING 0.01
/* The part of the belief about an answer that goes by labels, not by probabilities. */
#define BY_LABELS 0.3
/* A person's own samples count as much as other people do once this many have labels; where none counts, five without one are
 * worth two. Fewer are mostly noise: see README. */
#define ENOUGH_LABELS 200.0
#define WITHOUT_LABELS 0.4
/* So many labels vouch for half of what was gained. */
#define HALF_GAIN 20.0
static const double share_of_gain[EXN_POINTS] = {0.15, 1}; /* by target - 1 */
/* Whoever taught a network classes that it did not know gained everything: to keep that is no licence to lose a seventh. */
static const double most_of_gain[EXN_POINTS] = {0.04, 1};
/* What undoing another camera gave other people at least, in the mean: believed as far as labels do not say better. */
#define GAIN_OF_NORMALISING 0.045
/* The best of several exits, on photos that hang together, looks better than it is. */
#define HALF_OF_GENERAL 0.5
/* How much exits carry: those before see less, but they err on other photos. */
#define CARRY 0.5f
/* What may be lost by anybody, and how much more by whom many samples speak for: all of it from ENOUGH_TO_LOSE on, where a sample
 * counts half and its label one more. */
#define ALLOWED_LEAST 0.0015
#define ALLOWED_MORE 0.006
#define ENOUGH_TO_LOSE 50.0
/* An end costs people 0 to 0.5 points in the mean; whose early exits are bad lose far more. */
#define LOSS_OF_END 0.012

static const float grid[] = {0.9975f, 0.995f, 0.99f,   0.985f, 0.98f,   0.975f, 0.97f,  0.96f, 0.95f,  0.9375f, 0.925f,
                             0.9125f, 0.9f,   0.8875f, 0.875f, 0.8625f, 0.85f,  0.825f, 0.8f,  0.775f, 0.75f,   0.725f,
                             0.7f,    0.675f, 0.65f,   0.625f, 0.6f,    0.55f,  0.5f,   0.45f, 0.4f,   0.35f,   0.3f};

/* One search: what it is for, and the best found so far. */
typedef struct search {
    const exn_evidence *e;
    size_t *choice;    /* [exits][samples]: of the exits that are tried now, with what they carry */
    float *confidence; /* the same */
    float *score;      /* [samples][classes]: scratch */
    float *belief;     /* [samples][classes]: what the whole cascade makes of a sample */
    size_t *last_says; /* [samples]: what the last exit says alone */
    double *loss;      /* [samples]: scratch */
    const exn_costs *costs;
    size_t labels;
    double own;        /* the weight of the person's own samples beside other people */
    double stay_worth; /* how right the whole cascade is believed to be where nobody leaves */
    exn_policy best;
    float threshold; /* of the best */
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
    for (size_t exit = 0; exit + 1 < e->exits; exit++) {
        const exn_exit_rule rule = {.enabled = p->enabled[exit], .threshold = p->threshold[exit]};
        if (rule.enabled && exn_exit_takes(&rule, s->confidence[exit * e->samples + sample])) return exit;
    }
    return e->exits - 1;
}

/* How right some answers are believed to be, one after the other. */
typedef struct tally {
    double belief;
    size_t right;
} tally;

static void add_answer(tally *t, const search *s, size_t sample, size_t answer) {
    const int64_t label = s->e->label[sample];
    t->belief += (double)s->belief[sample * s->e->classes + answer];
    t->right += label != EXN_UNLABELLED && (size_t)label == answer;
}

static double worth(const search *s, const tally *t) {
    const double believed = t->belief / (double)s->e->samples;
    if (!s->best.labelled) return believed;
    return (1 - BY_LABELS) * believed + BY_LABELS * (double)t->right / (double)s->labels;
}

static double worth_of(const search *s, const size_t *answers, size_t *right) {
    tally t = {0};
    for (size_t i = 0; i < s->e->samples; i++) add_answer(&t, s, i, answers[i]);
    *right = t.right;
    return worth(s, &t);
}

/* Answers that the last exit gives alone, too: where labels are too few to count, these stand for right ones. */
static size_t agreeing(const search *s, const size_t *answers) {
    size_t same = 0;
    for (size_t i = 0; i < s->e->samples; i++) same += answers[i] == s->last_says[i];
    return same;
}

/* What the person's samples are worth in labels, as evidence for or against the person's exits. */
static double vouching(const search *s) {
    return s->best.labelled ? (double)s->labels : WITHOUT_LABELS * (double)s->e->samples;
}

/* The same for how sure temperatures may be: samples without a label help there however many have one. */
static double speaking(const search *s) {
    return (double)s->labels + WITHOUT_LABELS * (double)(s->e->samples - s->labels);
}

static double mixed_loss(const search *s, double mine, double others) {
    const double mixed = s->own * mine + (1 - s->own) * others;
    return s->labels < EXN_POLICY_SURE && mixed < others ? others : mixed;
}

/* Where samples leave, and what that costs in time and, as far as is known, in accuracy. */
static void evaluate(exn_policy *p, const search *s, float threshold, bool end) {
    const exn_evidence *e = s->e;
    size_t same = 0;
    tally t = {0};
    p->cost = 0;
    memset(p->taken, 0, sizeof p->taken);
    for (size_t i = 0; i < e->samples; i++) {
        const size_t exit = where_it_leaves(s, p, i), answer = s->choice[exit * e->samples + i];
        add_answer(&t, s, i, answer);
        same += answer == s->last_says[i];
        p->taken[exit]++;
    }
    for (size_t i = 0; i < e->exits; i++)
        if (p->taken[i]) p->cost += exn_costs_until(s->costs, p->enabled, i) * (double)p->taken[i] / (double)e->samples;
    p->right = p->labelled ? t.right : same;
    p->loss =
        mixed_loss(s, s->stay_worth - worth(s, &t), exn_caution_loss(threshold, speaking(s)) + (end ? LOSS_OF_END : 0));
}

static void consider(search *s, exn_policy *candidate, float threshold, bool end) {
    evaluate(candidate, s, threshold, end);
    if (candidate->cost < s->best.cost && candidate->cost < candidate->whole * (1 - LEAST_SAVING) &&
        candidate->loss <= candidate->allowed) {
        s->best = *candidate;
        s->threshold = threshold;
    }
}

static size_t deepest_early(const exn_policy *p, size_t exits) {
    size_t deepest = SIZE_MAX;
    for (size_t i = 0; i + 1 < exits; i++)
        if (p->enabled[i]) deepest = i;
    return deepest;
}

static void set_thresholds(exn_policy *p, size_t exits, float threshold, bool end) {
    const size_t deepest = deepest_early(p, exits);
    for (size_t i = 0; i + 1 < exits; i++) p->threshold[i] = p->enabled[i] ? threshold : 1.0f;
    if (end && deepest != SIZE_MAX) p->threshold[deepest] = 0;
}

/* All thresholds for all usable exits, with the last exit behind them, and with the deepest of them as the end. */
static void try_thresholds(search *s) {
    const exn_evidence *e = s->e;
    exn_policy candidate = s->best;
    for (size_t i = 0; i + 1 < e->exits; i++) candidate.enabled[i] = e->usable[i];
    if (deepest_early(&candidate, e->exits) == SIZE_MAX) return;
    look(s, candidate.enabled, candidate.carry);
    for (size_t k = 0; k < sizeof grid / sizeof *grid; k++)
        for (int end = 0; end <= (s->labels >= EXN_POLICY_SURE); end++) {
            set_thresholds(&candidate, e->exits, grid[k], end);
            consider(s, &candidate, grid[k], end);
        }
}

/* Its head is paid by everybody who goes on, but what it says is heard by the exits behind it. An end stays where it is. */
static void drop_exits_that_only_cost(search *s) {
    const size_t exits = s->e->exits, deepest = deepest_early(&s->best, exits);
    if (deepest == SIZE_MAX) return;
    const bool end = !(s->best.threshold[deepest] > 0);
    const float threshold = s->threshold;
    for (size_t x = 0; x < deepest + !end; x++) {
        exn_policy candidate = s->best;
        if (!candidate.enabled[x]) continue;
        candidate.enabled[x] = false;
        candidate.threshold[x] = 1;
        look(s, candidate.enabled, candidate.carry);
        evaluate(&candidate, s, threshold, end);
        if (candidate.cost < s->best.cost && candidate.loss <= s->best.loss) s->best = candidate;
    }
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

/* The last exit's log-loss over the labels, at its best temperature, with what all usable exits carry to it. */
static double last_loss(search *s, const bool *all, float carry) {
    const exn_evidence *e = s->e;
    const exn_judged judged = {.label = e->label, .rows = e->samples, .classes = e->classes, .logits = s->score};
    double sum = 0;
    look(s, all, carry);
    exn_best_losses(s->loss, &judged, &e->kernels->f32_vector, s->score + e->samples * e->classes);
    for (size_t i = 0; i < s->labels; i++) sum += s->loss[i];
    return sum;
}

/* Nothing is carried where enough labels say that the last exit is better alone. */
static float choose_carry(search *s, const bool *all) {
    return s->labels >= EXN_POLICY_SURE && last_loss(s, all, 0) < last_loss(s, all, CARRY) ? 0 : CARRY;
}

/* What the whole cascade believes, and what it has gained. */
static void look_at_the_whole(search *s, exn_target target) {
    const exn_evidence *e = s->e;
    exn_policy *p = &s->best;
    bool all[EXN_EXITS_MAX] = {false};
    size_t right;
    for (size_t x = 0; x < e->exits; x++) all[x] = e->usable[x] || x + 1 == e->exits;
    p->carry = choose_carry(s, all);
    look(s, all, p->carry);
    exn_probabilities(s->belief, &e->kernels->f32_vector, s->score, e->samples, e->classes, 1.0f);
    const double untouched = worth_of(s, e->untouched, &p->untouched);
    s->stay_worth = worth_of(s, s->choice + (e->exits - 1) * e->samples, &right);
    worth_of(s, s->last_says, &p->last);
    if (!p->labelled) {
        p->untouched = agreeing(s, e->untouched);
        p->last = e->samples;
    }
    const double labels = (double)s->labels, gained = s->stay_worth - untouched;
    const double speak = (labels + 0.5 * (double)e->samples) / ENOUGH_TO_LOSE;
    const double vouch = vouching(s) / HALF_GAIN, sure = vouch * vouch / (vouch * vouch + 1);
    /* A loss counts as no gain; what others gained is mixed in after that. */
    const double general = HALF_OF_GENERAL * e->general_gain,
                 others = e->normalised && GAIN_OF_NORMALISING > general ? GAIN_OF_NORMALISING : general;
    p->gain = (gained > 0 ? sure * gained : 0) + (1 - sure) * others;
    const double shared = share_of_gain[target - 1] * p->gain, most = most_of_gain[target - 1];
    p->allowed = ALLOWED_LEAST + ALLOWED_MORE * (speak < 1 ? speak : 1) + (shared < most ? shared : most);
}

static void decide(search *s, exn_target target) {
    const exn_evidence *e = s->e;
    exn_policy *p = &s->best;
    for (size_t i = 0; i < e->samples; i++) s->labels += e->label[i] != EXN_UNLABELLED;
    p->enabled[e->exits - 1] = true;
    p->samples = e->samples;
    p->labelled = s->labels >= EXN_POLICY_LABELS;
    p->judged = p->labelled ? s->labels : e->samples;
    p->whole = s->costs->reach[e->exits - 1];
    s->own = vouching(s) / (vouching(s) + ENOUGH_LABELS);
    look(s, p->enabled, 0);
    memcpy(s->last_says, s->choice + (e->exits - 1) * e->samples, e->samples * sizeof *s->last_says);
    look_at_the_whole(s, target);
    for (size_t i = 0; i < e->exits; i++) p->threshold[i] = 1;
    look(s, p->enabled, 0);
    evaluate(p, s, 1, false);
    p->loss = 0; /* nobody leaves */
    try_thresholds(s);
    drop_exits_that_only_cost(s);
    foresee(s);
}

exn_status exn_policy_decide(exn_policy *out, exn_context *ctx, exn_target target, const exn_evidence *e,
                             const exn_costs *costs) {
    search s = {.e = e, .costs = costs};
    s.choice = exn_calloc(ctx, e->exits * e->samples, sizeof *s.choice);
    s.confidence = exn_calloc(ctx, e->exits * e->samples, sizeof *s.confidence);
    s.score = exn_calloc(ctx, (e->samples + 1) * e->classes, sizeof *s.score);
    s.belief = exn_calloc(ctx, e->samples * e->classes, sizeof *s.belief);
    s.last_says = exn_calloc(ctx, e->samples, sizeof *s.last_says);
    s.loss = exn_calloc(ctx, e->samples, sizeof *s.loss);
    const bool enough = s.choice && s.confidence && s.score && s.belief && s.last_says && s.loss;
    if (enough) {
        decide(&s, target);
        *out = s.best;
    }
    exn_free(ctx, s.choice);
    exn_free(ctx, s.confidence);
    exn_free(ctx, s.score);
    exn_free(ctx, s.belief);
    exn_free(ctx, s.last_says);
    exn_free(ctx, s.loss);
    return enough ? EXN_OK : EXN_E_NOMEM;
}
