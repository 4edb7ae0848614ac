/* SPDX-License-Identifier: Apache-2.0
 * Decisions on made-up evidence: which exits, from which confidence on, where the network may end; and the bounds behind them. */
#include "arch/select.h"
#include "tests/unit/small.h"
#include "train/caution.h"
#include "train/policy.h"

#include <math.h>
#include <string.h>

/* ---- the policy ---- */

#define N 200u
#define CLASSES 3u
typedef struct world {
    int64_t label[N];
    size_t choice[3 * N], untouched[N];
    float confidence[3 * N], logits[3 * N * CLASSES], temperature[3];
    bool usable[3];
    double reach[3], head[3];
    exn_evidence evidence;
    exn_costs costs;
} world;

/* Two early exits at 0.3 and 0.6 of the cost; everybody right, early exits sure of the first `sure` samples only, and
 * wrong about samples from `wrong` on. */
static void make_world(world *w, size_t sure, size_t wrong) {
    *w = (world){.usable = {true, true, false}, .reach = {0.3, 0.6, 1.0}, .head = {0.01, 0.01, 0}};
    for (size_t i = 0; i < N; i++) {
        w->label[i] = 1;
        w->untouched[i] = 1;
        for (size_t e = 0; e < 3; e++) {
            w->choice[e * N + i] = e < 2 && i >= wrong ? 0 : 1;
            w->confidence[e * N + i] = i < sure ? 0.96f : 0.5f;
        }
    }
    w->evidence = (exn_evidence){.exits = 3,
                                 .samples = N,
                                 .label = w->label,
                                 .classes = CLASSES,
                                 .logits = w->logits,
                                 .temperature = w->temperature,
                                 .untouched = w->untouched,
                                 .usable = w->usable};
    w->costs = (exn_costs){.reach = w->reach, .head = w->head, .exits = 3};
}

/* Logits that make an exit choose this class with this confidence. */
static void speak(float *logits, size_t choice, float confidence) {
    for (size_t c = 0; c < CLASSES; c++) logits[c] = 0;
    logits[choice] = logf(confidence * (CLASSES - 1) / (1 - confidence));
}

static void decide_on(exn_policy *p, exn_target target, exn_evidence *e, const exn_costs *costs) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    e->kernels = &set;
    unit_assert_ok(ctx, exn_policy_decide(p, ctx, target, e, costs));
    exn_context_destroy(ctx);
}

static void speak_all(world *w) {
    for (size_t e = 0; e < 3; e++) {
        w->temperature[e] = 1;
        for (size_t i = 0; i < w->evidence.samples; i++) {
            const size_t at = e * w->evidence.samples + i;
            speak(w->logits + at * CLASSES, w->choice[at], w->confidence[at]);
        }
    }
}

static void decide(exn_policy *p, world *w, exn_target target) {
    speak_all(w);
    decide_on(p, target, &w->evidence, &w->costs);
}

START_TEST(good_exit_is_used) {
    world w;
    exn_policy p;
    make_world(&w, 150, 150);
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.enabled[0] && !p.enabled[1] && p.enabled[2]); /* the second head would only cost */
    ck_assert_uint_eq(p.taken[0], 150);
    ck_assert_uint_eq(p.taken[2], 50);
    ck_assert_double_eq_tol(p.cost, 0.75 * 0.31 + 0.25 * 1.01, 1e-9);
    ck_assert(p.threshold[0] <= 0.96f && p.labelled);
}
END_TEST

START_TEST(surely_wrong_exit_is_not_used) {
    world w;
    exn_policy p;
    make_world(&w, 150, 100);
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.enabled[0] && !p.enabled[1] && p.enabled[2]);
    ck_assert_uint_eq(p.taken[2], N);
    ck_assert_double_eq(p.cost, 1.0);
}
END_TEST

START_TEST(untrained_exit_is_not_used) {
    world w;
    exn_policy p;
    make_world(&w, 150, N);
    w.usable[0] = false;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.enabled[0] && p.enabled[1]);
}
END_TEST

START_TEST(head_that_costs_what_it_saves_is_not_used) {
    world w;
    exn_policy p;
    make_world(&w, 20, 20);
    w.head[0] = w.head[1] = 0.2;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.enabled[0] && !p.enabled[1]);
}
END_TEST

START_TEST(few_labels_mean_agreement_at_high_thresholds) {
    world w;
    exn_policy p;
    make_world(&w, 150, N);
    for (size_t i = 5; i < N; i++) w.label[i] = EXN_UNLABELLED;
    for (size_t i = 0; i < 150; i++) w.confidence[i] = 0.99f;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.labelled && p.enabled[0] && p.threshold[0] >= 0.98f);
    for (size_t i = 0; i < N; i++) { /* now exits disagree with the network, which is surer */
        w.choice[2 * N + i] = w.untouched[i] = 2;
        w.confidence[2 * N + i] = 0.99f;
    }
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.enabled[0] && !p.enabled[1]);
}
END_TEST

START_TEST(many_exits_are_used) {
    enum { E = 9 };
    static size_t untouched[N];
    static float logits[E * N * CLASSES], temperature[E];
    static int64_t label[N];
    bool usable[E];
    double reach[E], head[E];
    for (size_t e = 0; e < E; e++) {
        usable[e] = e + 1 < E;
        reach[e] = (double)(e + 1) / E;
        head[e] = 0;
        temperature[e] = 1;
        for (size_t i = 0; i < N; i++) speak(logits + (e * N + i) * CLASSES, 0, i % E <= e ? 0.9999f : 0.34f);
    }
    exn_evidence evidence = {.exits = E,
                             .samples = N,
                             .label = label,
                             .classes = CLASSES,
                             .logits = logits,
                             .temperature = temperature,
                             .untouched = untouched,
                             .usable = usable};
    const exn_costs costs = {.reach = reach, .head = head, .exits = E};
    exn_policy p;
    decide_on(&p, EXN_TARGET_KEEP, &evidence, &costs);
    for (size_t e = 0; e < E; e++) ck_assert(p.enabled[e]);
}
END_TEST

/* ---- expected losses, targets and ends ---- */

/* Exits that are as good as the last one, and modest: leaving costs nobody anything, so nearly everybody leaves. */
START_TEST(exits_as_good_as_the_last_are_used_early) {
    world w;
    exn_policy p;
    make_world(&w, 0, N);
    for (size_t i = 0; i < N; i++) {
        w.untouched[i] = i % 2;
        for (size_t e = 0; e < 3; e++) {
            w.choice[e * N + i] = i % 10 ? 1 : 0; /* each right nine times in ten, about the same samples */
            w.confidence[e * N + i] = 0.8f;
        }
    }
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.enabled[0] && p.threshold[0] <= 0.8f);
    ck_assert_uint_eq(p.taken[0], N);
    ck_assert_double_eq_tol(p.cost, 0.31, 1e-9);
    ck_assert(p.gain > 0.2 && p.loss <= p.allowed);
}
END_TEST

/* The same confidence, but what the early exits say is wrong where the last exit is right: nobody leaves. */
START_TEST(exits_worse_than_the_last_stay_closed) {
    world w;
    exn_policy p;
    make_world(&w, 0, N);
    for (size_t i = 0; i < N; i++)
        for (size_t e = 0; e < 3; e++) {
            w.choice[e * N + i] = e < 2 && i % 3 == 0 ? 0 : 1;
            w.confidence[e * N + i] = e < 2 ? 0.8f : 0.99f;
        }
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(!p.enabled[0] && !p.enabled[1]);
    ck_assert(p.last == N && p.untouched == N && p.right == N && p.gain == 0 && p.loss == 0);
}
END_TEST

/* What was gained may be spent on speed, nearly all of it where that is asked for, no more than four points to keep what was
 * learned; what was not gained may not. */
START_TEST(gain_is_spent_where_asked_for) {
    world w;
    exn_policy keep, fast;
    make_world(&w, 0, N);
    for (size_t i = 0; i < N; i++) {
        w.untouched[i] = i % 3 == 0;
        w.choice[i] = i % 3 ? 1 : 0; /* the first exit loses a third, the network lost two */
        w.confidence[i] = 0.75f;
    }
    decide(&keep, &w, EXN_TARGET_KEEP);
    decide(&fast, &w, EXN_TARGET_UNTOUCHED);
    ck_assert(fast.enabled[0] && fast.cost < keep.cost && fast.allowed > keep.allowed && fast.gain == keep.gain);
    ck_assert_uint_eq(fast.untouched, N / 3 + 1);
    ck_assert(keep.gain > 0.2 && fast.allowed > keep.gain);
    ck_assert_double_eq_tol(keep.allowed, 0.0075 + 0.04, 1e-9);
    for (size_t i = 0; i < N; i++) w.untouched[i] = 1;
    decide(&fast, &w, EXN_TARGET_UNTOUCHED);
    ck_assert(!fast.enabled[0] && fast.gain == 0 && fast.allowed < 0.02);
}
END_TEST

/* An end needs labels, and a last exit that is not worth its time. */
START_TEST(few_labels_end_nothing) {
    world w;
    exn_policy p;
    make_world(&w, 0, N);
    for (size_t i = 0; i < 3 * N; i++) w.confidence[i] = i < N ? 0.34f : 0.95f;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.enabled[1] && p.threshold[1] == 0.0f);
    for (size_t i = EXN_POLICY_SURE - 1; i < N; i++) w.label[i] = EXN_UNLABELLED;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.labelled && (!p.enabled[1] || p.threshold[1] > 0.9f));
}
END_TEST

/* With fifty labels, four fifths of the expected loss are what other people lost. */
START_TEST(other_people_count_more_than_few_labels) {
    world w;
    exn_policy p;
    make_world(&w, N, N);
    w.evidence.samples = 50;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.enabled[0] && p.threshold[0] > 0 && p.threshold[0] <= 0.96f);
    ck_assert_uint_eq(p.taken[0], 50);
    ck_assert_double_eq_tol(p.loss, 0.8 * exn_caution_loss(p.threshold[0], 50), 1e-6);
    for (size_t i = 0; i < 50; i++) w.confidence[i] = 0.99f;
    for (size_t i = 10; i < 50; i++) w.label[i] = EXN_UNLABELLED; /* five of these speak like two */
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert(p.enabled[0]);
    ck_assert_double_eq_tol(p.loss, exn_caution_loss(p.threshold[0], 26), 1e-9);
}
END_TEST

/* What earlier exits say is heard, unless enough labels say that the last one is better alone. */
START_TEST(labels_may_forbid_to_carry) {
    world w;
    exn_policy p;
    make_world(&w, N, N);
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert_float_eq(p.carry, 0.5f);
    make_world(&w, 0, 0); /* early exits are wrong about everything */
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert_float_eq(p.carry, 0);
    for (size_t i = EXN_POLICY_SURE; i < N; i++) w.label[i] = EXN_UNLABELLED;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert_float_eq(p.carry, 0);
    w.label[0] = EXN_UNLABELLED;
    decide(&p, &w, EXN_TARGET_KEEP);
    ck_assert_float_eq(p.carry, 0.5f);
}
END_TEST

/* A head that saves nothing stays where the exits behind it answer better for hearing it: alone, both are nearly right. */
START_TEST(voice_of_a_slow_exit_is_heard) {
    static const float nearly[2][CLASSES] = {{1, 0.9f, -1}, {-1, 0.9f, 1}};
    enum { SURE = N - 2 }; /* so few are left that losing them would be allowed */
    world w;
    exn_policy p;
    make_world(&w, SURE, N);
    for (size_t i = SURE; i < N; i++) w.confidence[i] = 0.34f;
    speak_all(&w);
    for (size_t i = SURE; i < N; i++) {
        w.untouched[i] = 2;
        for (size_t e = 1; e < 3; e++) memcpy(w.logits + (e * N + i) * CLASSES, nearly[e - 1], sizeof nearly[0]);
    }
    decide_on(&p, EXN_TARGET_KEEP, &w.evidence, &w.costs);
    ck_assert(p.enabled[0] && p.enabled[1] && p.taken[1] == 0);
    ck_assert_uint_eq(p.taken[2], 2);
    ck_assert_uint_eq(p.right, N);
    ck_assert_uint_eq(p.last, SURE);
}
END_TEST

/* What others gained by it may be spent as long as labels do not say better. */
START_TEST(undoing_a_camera_is_a_gain) {
    world w;
    exn_policy plain, normalised;
    make_world(&w, N, N);
    for (size_t labels = 0; labels <= N; labels += 10) {
        for (size_t i = 0; i < N; i++) w.label[i] = i < labels ? 1 : EXN_UNLABELLED;
        w.evidence.normalised = false;
        decide(&plain, &w, EXN_TARGET_KEEP);
        w.evidence.normalised = true;
        decide(&normalised, &w, EXN_TARGET_KEEP);
        ck_assert(plain.gain == 0 && normalised.gain > 0 && normalised.gain < (labels < 100 ? 0.045 : 0.002));
        ck_assert_double_eq_tol(normalised.allowed, plain.allowed + 0.15 * normalised.gain, 1e-12);
    }
}
END_TEST

/* Half of what exits have before the last on general data may be spent until labels say better; undoing a camera is not added. */
START_TEST(general_exits_gain_without_labels) {
    world w;
    exn_policy plain, taught;
    make_world(&w, N, N);
    for (size_t i = 0; i < N; i++) w.label[i] = EXN_UNLABELLED;
    w.evidence.samples = 10; /* sure of a twenty-sixth */
    decide(&plain, &w, EXN_TARGET_UNTOUCHED);
    w.evidence.general_gain = 0.02;
    decide(&taught, &w, EXN_TARGET_UNTOUCHED);
    ck_assert(plain.gain == 0);
    ck_assert_double_eq_tol(taught.gain, 0.01 * 25 / 26, 1e-12);
    ck_assert_double_eq_tol(taught.allowed, plain.allowed + taught.gain, 1e-12);
    w.evidence.normalised = true;
    decide(&taught, &w, EXN_TARGET_UNTOUCHED);
    ck_assert_double_eq_tol(taught.gain, 0.045 * 25 / 26, 1e-12);
}
END_TEST

/* A photo counts half, its label one more; fifty of that are enough. */
START_TEST(more_photos_allow_more) {
    static const struct {
        size_t samples, labels;
        double allowed;
    } known[] = {{10, 0, 0.0021},   {100, 0, 0.0075}, {N, 0, 0.0075},
                 {33, 33, 0.00744}, {34, 34, 0.0075}, {50, 50, 0.0075}};
    world w;
    exn_policy p;
    make_world(&w, N, N);
    for (size_t k = 0; k < sizeof known / sizeof *known; k++) {
        w.evidence.samples = known[k].samples;
        for (size_t i = 0; i < N; i++) w.label[i] = i < known[k].labels ? 1 : EXN_UNLABELLED;
        decide(&p, &w, EXN_TARGET_KEEP);
        ck_assert(p.gain == 0);
        ck_assert_double_eq_tol(p.allowed, known[k].allowed, 1e-12);
    }
}
END_TEST

START_TEST(others_lose_more_at_lower_thresholds) {
    ck_assert_double_eq(exn_caution_loss(1.0f, 50), 0);
    ck_assert_double_eq_tol(exn_caution_loss(0.95f, 50), 0.007, 1e-8);
    ck_assert_double_eq_tol(exn_caution_loss(0.75f, 1000), 0.0515, 1e-8);
    ck_assert_double_eq_tol(exn_caution_loss(0.75f, 10), 0.0515 * 3.4, 1e-8);
    for (int i = 0; i < 100; i++)
        ck_assert(exn_caution_loss((float)i / 100, 50) >= exn_caution_loss((float)(i + 1) / 100, 50));
}
END_TEST

/* Values of SciPy's beta quantiles. */
START_TEST(clopper_pearson) {
    static const struct {
        size_t hits, trials;
        double miss, bound;
    } known[] = {{10, 10, 0.05, 0.7411344491069477},
                 {45, 50, 0.05, 0.8011669974835816},
                 {49, 50, 0.1, 0.924419401154672},
                 {1, 20, 0.05, 0.0025613787765302806},
                 {190, 200, 0.1, 0.9240102118265292},
                 {9990, 10000, 0.1, 0.9984597523899532},
                 {0, 5, 0.1, 0},
                 {0, 0, 0.1, 0}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        ck_assert_double_eq_tol(exn_lower_bound(known[i].hits, known[i].trials, known[i].miss), known[i].bound, 1e-9);
}
END_TEST

/* ---- points in a profile ---- */

static exn_policy some_point(float first) {
    return (exn_policy){.enabled = {true, false, true},
                        .threshold = {first, 1, 1},
                        .carry = 0.4f,
                        .labelled = true,
                        .judged = 40,
                        .right = 30,
                        .untouched = 27,
                        .last = 31,
                        .taken = {25, 0, 25},
                        .samples = 50,
                        .differ = 4,
                        .unsure = 3,
                        .gain = 0.0625,
                        .loss = -0.25,
                        .allowed = 0.5,
                        .cost = 0.7,
                        .whole = 1};
}

static void check_point(const exn_profile *profile, exn_target target, float first) {
    const exn_policy *p = &profile->point[target - 1];
    ck_assert(p->enabled[0] && !p->enabled[1] && p->threshold[0] == first && p->carry == 0.4f);
    ck_assert(p->judged == 40 && p->right == 30 && p->untouched == 27 && p->differ == 4 && p->unsure == 3);
    ck_assert(p->labelled && p->last == 31 && p->gain == 0.0625 && p->loss == -0.25 && p->allowed == 0.5);
    ck_assert_uint_eq(p->taken[2], 25);
}

START_TEST(profile_keeps_its_points) {
    exn_context *ctx;
    exn_model *model;
    exn_profile *profile, *again;
    exn_runner *runner;
    char *folder, *path;
    small_set_up(&ctx, &model, &folder, &path, "me");
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    unit_assert_fails(ctx, exn_profile_set_target(profile, EXN_TARGET_UNTOUCHED), EXN_E_INVALID, "personalise it");
    profile->exits[0].trained = true;
    profile->point[0] = some_point(0.9f);
    profile->point[1] = some_point(0);
    unit_assert_ok(ctx, exn_profile_set_target(profile, EXN_TARGET_UNTOUCHED));
    unit_assert_ok(ctx, exn_profile_save(profile, path));
    unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
    check_point(again, EXN_TARGET_KEEP, 0.9f);
    check_point(again, EXN_TARGET_UNTOUCHED, 0);
    ck_assert_int_eq(exn_profile_get_target(again), EXN_TARGET_UNTOUCHED);
    ck_assert_uint_eq(exn_profile_deepest_exit(again), 0);
    exn_exit_rule rules[3];
    unit_assert_ok(ctx, exn_profile_rules(rules, again, EXN_TARGET_KEEP));
    ck_assert(rules[0].carry == 0 && rules[0].threshold == 0.9f && !rules[1].enabled && rules[2].carry == 0.4f);
    ck_assert_float_eq_tol(rules[2].temperature, 1 / exn_carry_own(0.4f), 1e-6f);
    const exn_runner_options options = {.struct_size = sizeof options, .target = EXN_TARGET_KEEP};
    unit_assert_ok(ctx, exn_runner_create(&runner, again, &options));
    exn_runner_destroy(runner);
    small_forge(ctx, again, path, "\"differ\":4", "\"differ\":9");
    exn_profile_destroy(again);
    unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
    small_forge(ctx, again, path, "\"samples\":50", "\"samples\":03");
    exn_profile_destroy(again);
    ck_assert_int_eq(exn_profile_open(&again, model, path, NULL), EXN_E_FORMAT);
    small_forge(ctx, profile, path, "\"allowed\":0.5", "\"allowed\":2.5");
    unit_assert_fails(ctx, exn_profile_open(&again, model, path, NULL), EXN_E_FORMAT, "policy");
    small_forge(ctx, profile, path, "\"carry\":0.4", "\"carry\":9.4");
    unit_assert_fails(ctx, exn_profile_open(&again, model, path, NULL), EXN_E_FORMAT, "policy");
    exn_profile_destroy(profile);
    small_tear_down(ctx, model, folder, path);
}
END_TEST

int main(void) {
    return unit_run("decide", (const TTest *const[]){good_exit_is_used,
                                                     surely_wrong_exit_is_not_used,
                                                     untrained_exit_is_not_used,
                                                     head_that_costs_what_it_saves_is_not_used,
                                                     few_labels_mean_agreement_at_high_thresholds,
                                                     many_exits_are_used,
                                                     exits_as_good_as_the_last_are_used_early,
                                                     exits_worse_than_the_last_stay_closed,
                                                     gain_is_spent_where_asked_for,
                                                     few_labels_end_nothing,
                                                     other_people_count_more_than_few_labels,
                                                     labels_may_forbid_to_carry,
                                                     voice_of_a_slow_exit_is_heard,
                                                     undoing_a_camera_is_a_gain,
                                                     general_exits_gain_without_labels,
                                                     more_photos_allow_more,
                                                     others_lose_more_at_lower_thresholds,
                                                     clopper_pearson,
                                                     profile_keeps_its_points,
                                                     NULL});
}
