/* SPDX-License-Identifier: Apache-2.0
 * The bypass under simulated drift, and a runner that obeys it: false alarms stay as rare as stated, shifts are found soon,
 * what was lost comes back, nothing allocates while classifying. */
#include "core/rng.h"
#include "tests/unit/small.h"
#include "train/bypass.h"
#include "train/caution.h"

#include <stdlib.h>

#define DIFFER 0.12
#define SEEDS 40u

static exn_bypass_plan plan_of(exn_rung top) {
    return (exn_bypass_plan){
        .top = top, .differ = {0, DIFFER, DIFFER}, .unsure = {0, 0.1, 0.1}, .share = 0.01, .seed = 5};
}

/* `count` audits whose answers differ with this probability at every rung. Returns after how many the rung changed. */
static size_t audit(exn_bypass *b, const exn_bypass_plan *plan, exn_rng *rng, double rate, size_t count) {
    const exn_rung start = b->rung;
    for (size_t i = 0; i < count; i++) {
        const bool hit = exn_rng_uniform(rng) < rate, differs[EXN_RUNGS] = {false, hit, hit};
        exn_bypass_audited(b, plan, differs);
        if (b->rung != start) return i + 1;
    }
    return SIZE_MAX;
}

/* The stated rate: at most one false alarm in a thousand audits, here at the very share that was expected. */
START_TEST(stable_stream_stays) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CUT);
    const size_t audits = 2000;
    size_t alarms = 0;
    for (size_t seed = 0; seed < SEEDS; seed++) {
        exn_rng rng = exn_rng_seed(seed, 1);
        exn_bypass b = exn_bypass_begin(&plan);
        for (size_t done = 0; done < audits; done++) {
            const bool hit = exn_rng_uniform(&rng) < DIFFER, differs[EXN_RUNGS] = {false, hit, hit};
            exn_bypass_audited(&b, &plan, differs);
            if (b.rung == EXN_RUNG_CUT) continue;
            alarms++;
            b = exn_bypass_begin(&plan);
        }
    }
    ck_assert_uint_le(alarms, SEEDS * audits / 1000);
}
END_TEST

START_TEST(shifted_stream_steps_back) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CUT);
    for (size_t seed = 0; seed < SEEDS; seed++) {
        exn_rng rng = exn_rng_seed(seed, 2);
        exn_bypass b = exn_bypass_begin(&plan);
        audit(&b, &plan, &rng, 0.08, 300);
        b = exn_bypass_begin(&plan);
        ck_assert_uint_le(audit(&b, &plan, &rng, 0.6, 1000), 60);
        ck_assert_int_eq(b.rung, EXN_RUNG_CASCADE);
        ck_assert_uint_gt(b.alert, 0);
        ck_assert_uint_le(audit(&b, &plan, &rng, 0.6, 1000), 60);
        ck_assert_int_eq(b.rung, EXN_RUNG_WHOLE);
        ck_assert_uint_eq(audit(&b, &plan, &rng, 0.6, 2000), SIZE_MAX); /* and stays there while the shift lasts */
        ck_assert_uint_eq(b.rollbacks, 2);
    }
}
END_TEST

START_TEST(recovered_stream_comes_back) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CUT);
    size_t back = 0;
    for (size_t seed = 0; seed < SEEDS; seed++) {
        exn_rng rng = exn_rng_seed(seed, 3);
        exn_bypass b = exn_bypass_begin(&plan);
        audit(&b, &plan, &rng, 0.6, 1000);
        audit(&b, &plan, &rng, 0.6, 1000);
        ck_assert_int_eq(b.rung, EXN_RUNG_WHOLE);
        for (size_t i = 0; i < 10; i++) audit(&b, &plan, &rng, 0.05, 100);
        back += b.rung == EXN_RUNG_CUT;
        ck_assert_uint_ge(b.advances, 1);
    }
    ck_assert_uint_ge(back, SEEDS * 9 / 10);
}
END_TEST

/* Every rollback makes the way back longer: no swinging between two rungs. */
START_TEST(trust_is_lost_faster_than_won) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CASCADE);
    exn_rng rng = exn_rng_seed(9, 4);
    exn_bypass b = exn_bypass_begin(&plan);
    size_t least = 0;
    for (size_t round = 0; round < 4; round++) {
        ck_assert_uint_ne(audit(&b, &plan, &rng, 0.9, 1000), SIZE_MAX);
        const size_t way = audit(&b, &plan, &rng, 0, 1000);
        ck_assert_uint_gt(way, least);
        least = way;
    }
}
END_TEST

/* Unsure answers make audits dense, and nothing else. */
START_TEST(unsure_answers_are_looked_into) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CUT);
    exn_bypass b = exn_bypass_begin(&plan);
    size_t due = 0, dense = 0;
    for (size_t i = 0; i < 20000; i++) {
        due += exn_bypass_due(&b, &plan);
        exn_bypass_answered(&b, &plan, i % 20 ? 0.9f : 0.15f);
    }
    ck_assert_uint_eq(b.alerts, 0);
    ck_assert(due > 150 && due < 250);
    size_t until = 0;
    for (; !b.alert; until++) exn_bypass_answered(&b, &plan, 0.15f);
    ck_assert_uint_lt(until, 20);
    ck_assert(b.rung == EXN_RUNG_CUT && b.alerts == 1);
    for (size_t i = 0; i < 400; i++) {
        dense += exn_bypass_due(&b, &plan);
        b.inputs++;
    }
    ck_assert(dense > 60 && dense < 140);
    exn_rng rng = exn_rng_seed(1, 1);
    audit(&b, &plan, &rng, 0, 64);
    ck_assert_uint_eq(b.alert, 0);
}
END_TEST

START_TEST(state_as_text) {
    const exn_bypass_plan plan = plan_of(EXN_RUNG_CUT), lower = plan_of(EXN_RUNG_CASCADE);
    exn_rng rng = exn_rng_seed(2, 2);
    exn_bypass a = exn_bypass_begin(&plan), b;
    for (size_t i = 0; i < 100; i++) exn_bypass_answered(&a, &plan, 0.9f);
    audit(&a, &plan, &rng, 0.3, 7);
    char *text;
    ck_assert(exn_bypass_write(&text, &a, "me"));
    ck_assert(exn_bypass_read(&b, &plan, "me", text, strlen(text)));
    ck_assert_mem_eq(&a, &b, sizeof a);
    ck_assert(exn_bypass_read(&b, &plan, "you", text, strlen(text))); /* another profile: anew */
    ck_assert(b.inputs == 0 && b.rung == EXN_RUNG_CUT);
    ck_assert(!exn_bypass_read(&b, &lower, "me", text, strlen(text))); /* a rung that is not there */
    for (size_t i = 0; i < strlen(text); i++) ck_assert(!exn_bypass_read(&b, &plan, "me", text, i));
    ck_assert(b.inputs == 0 && b.alarm == 1);
    free(text);
}
END_TEST

START_TEST(expectations_are_upper_bounds) {
    const exn_policy p = {.enabled = {true, true, true}, .threshold = {0.8f, 0, 1}, .samples = 50, .differ = 5};
    exn_policy q = p;
    q.threshold[1] = 0.8f;
    const exn_bypass_plan cut = exn_bypass_expect(&p, &q, 3, 0.1, 1), cascade = exn_bypass_expect(&q, &q, 3, 0.1, 1);
    ck_assert(cut.top == EXN_RUNG_CUT && cascade.top == EXN_RUNG_CASCADE);
    ck_assert_double_eq_tol(cut.differ[EXN_RUNG_CUT], 1 - exn_lower_bound(45, 50, 0.1), 1e-12);
    ck_assert(cut.differ[EXN_RUNG_CUT] > 0.1 && cut.unsure[EXN_RUNG_CUT] > 0 && cut.unsure[EXN_RUNG_CUT] < 0.06);
    exn_policy none = {.enabled = {false, false, true}, .threshold = {1, 1, 1}, .samples = 50};
    ck_assert_double_eq(exn_bypass_expect(&none, &none, 3, 0.1, 1).share, 0);
}
END_TEST

/* ---- a runner ---- */

/* A profile whose point ends at its second exit. `differ`: how often that is expected to differ from the last one. */
static void cut_profile(exn_profile *profile, size_t differ) {
    for (size_t i = 0; i < 2; i++) profile->exits[i].trained = true;
    exn_policy p = {.enabled = {false, true, true},
                    .threshold = {1, 0, 1},
                    .judged = 100,
                    .samples = 100,
                    .differ = differ,
                    .unsure = 99};
    profile->point[EXN_TARGET_KEEP - 1] = p;
    profile->exits[1].rule = (exn_exit_rule){.enabled = true, .temperature = 1, .threshold = 0};
}

static void classify(exn_runner *runner, size_t index, bool *due) {
    float input[SMALL_INPUT];
    exn_answer answer = {.struct_size = sizeof answer};
    small_input(input, index % SMALL_CLASSES, index);
    ck_assert_int_eq(exn_runner_classify_tensor(runner, input, &answer), EXN_OK);
    *due = answer.audit_due;
}

/* Makes the second exit answer with the class that the network names least. */
static void contradict(exn_context *ctx, exn_profile *profile) {
    const exn_runner_options whole = {.struct_size = sizeof whole, .whole_network = true};
    size_t named[SMALL_CLASSES] = {0}, least = 0;
    exn_runner *runner;
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &whole));
    for (size_t i = 0; i < 200; i++) {
        float input[SMALL_INPUT];
        exn_answer answer = {.struct_size = sizeof answer};
        small_input(input, i % SMALL_CLASSES, i);
        unit_assert_ok(ctx, exn_runner_classify_tensor(runner, input, &answer));
        named[answer.label]++;
    }
    exn_runner_destroy(runner);
    for (size_t c = 1; c < SMALL_CLASSES; c++)
        if (named[c] < named[least]) least = c;
    ck_assert_uint_lt(named[least], 40);
    profile->exits[1].head.tensor[EXN_HEAD_FC_BIAS][least] = 1000;
}

START_TEST(runner_steps_back_and_remembers) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    exn_model *model;
    exn_profile *profile;
    exn_runner *runner;
    bool due;
    char *folder = unit_temp_create(), *path = unit_path(folder, "me.watch");
    exn_watch watch = {.struct_size = sizeof watch};
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    cut_profile(profile, 5);
    contradict(ctx, profile);
    const exn_runner_options options = {.struct_size = sizeof options, .audit_share = 0.5};
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    unit_assert_ok(ctx, exn_runner_audit(runner, &watch));
    ck_assert(watch.rung == EXN_RUNG_CUT && watch.deepest_exit == 1 && watch.audits == 0);
    size_t audits = 0;
    for (size_t i = 0; i < 200; i++) {
        const size_t calls = counter.calls;
        classify(runner, i, &due);
        ck_assert_uint_eq(counter.calls, calls);
        audits += due;
        unit_assert_ok(ctx, exn_runner_audit(runner, &watch));
        ck_assert_uint_eq(watch.audits, audits);
    }
    ck_assert(audits > 70 && audits < 130);
    ck_assert_uint_ge(watch.rollbacks, 1);
    ck_assert_uint_lt(watch.rung, EXN_RUNG_CUT);
    ck_assert_uint_eq(watch.deepest_exit, 2);
    unit_assert_ok(ctx, exn_runner_save_watch(runner, path));
    exn_runner_destroy(runner);
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    unit_assert_ok(ctx, exn_runner_load_watch(runner, path));
    exn_watch again = {.struct_size = sizeof again};
    unit_assert_ok(ctx, exn_runner_audit(runner, &again));
    ck_assert(again.rung == watch.rung && again.inputs == 200 && again.deepest_exit == 2);
    exn_runner_destroy(runner);
    unit_write_file(path, "{}", 2);
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    unit_assert_fails(ctx, exn_runner_load_watch(runner, path), EXN_E_FORMAT, "me.watch");
    exn_runner_destroy(runner);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
    free(path);
    unit_temp_remove(folder);
}
END_TEST

static void another_camera(exn_profile *p) {
    p->normal = (exn_normalisation){.used = true, .gain = {2, 2, 2}};
}
static void other_frequencies(exn_profile *p) {
    p->exits[1].head.tensor[EXN_HEAD_FC_BIAS][2] += 1;
}
static void other_features(exn_profile *p) {
    p->exits[2].head.tensor[EXN_HEAD_MEAN][0] += 1;
}
static void other_weights(exn_profile *p) {
    p->exits[1].head.tensor[EXN_HEAD_FC_WEIGHT][0] += 1;
}
static void another_temperature(exn_profile *p) {
    p->exits[1].rule.temperature = 2;
}
static void more_carrying(exn_profile *p) {
    p->point[EXN_TARGET_KEEP - 1].carry = 0.5f;
}
static void another_threshold(exn_profile *p) { /* behind the end: the cascade's */
    p->point[EXN_TARGET_KEEP - 1].enabled[0] = p->exits[0].rule.enabled = true;
    p->exits[0].rule.threshold = 0.8f;
}
static void a_personal_last_layer(exn_profile *p) {
    p->exits[2].trained = true;
}
static void another_network(exn_profile *p) {
    p->network_hash[0] ^= 1;
}
static void nothing(exn_profile *p) {
    p->normal.shift = 0.1; /* considered, not used */
}

/* What was observed goes on where answers follow from the same, and begins anew where anything has changed. */
START_TEST(a_watch_is_bound_to_all_that_answers_follow_from) {
    void (*const change[])(exn_profile *) = {
        nothing,       another_camera,    other_frequencies,     other_features, other_weights, another_temperature,
        more_carrying, another_threshold, a_personal_last_layer, another_network};
    exn_context *ctx;
    exn_model *model;
    char *folder, *path;
    const exn_runner_options options = {.struct_size = sizeof options, .audit_share = 0.5};
    small_set_up(&ctx, &model, &folder, &path, "me.watch");
    for (size_t i = 0; i < sizeof change / sizeof *change; i++) {
        exn_profile *profile;
        exn_runner *runner;
        exn_watch watch = {.struct_size = sizeof watch};
        bool due;
        unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
        cut_profile(profile, 99);
        unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
        for (size_t k = 0; k < 3; k++) classify(runner, k, &due);
        unit_assert_ok(ctx, exn_runner_save_watch(runner, path));
        exn_runner_destroy(runner);
        change[i](profile);
        unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
        unit_assert_ok(ctx, exn_runner_load_watch(runner, path));
        unit_assert_ok(ctx, exn_runner_audit(runner, &watch));
        ck_assert_msg(watch.inputs == (i ? 0 : 3), "change %zu", i);
        exn_runner_destroy(runner);
        exn_profile_destroy(profile);
    }
    small_tear_down(ctx, model, folder, path);
}
END_TEST

/* Until an audit draws consequences, watching changes no answer. */
START_TEST(watching_changes_nothing) {
    exn_context *ctx = unit_context();
    exn_model *model;
    exn_profile *profile;
    exn_runner *plain, *watched;
    exn_rng rng = exn_rng_seed(3, 1);
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    for (size_t i = 0; i < 2; i++) {
        const exn_head *head = &profile->exits[i].head;
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, EXN_HEAD_FC_WEIGHT);
        for (size_t k = 0; k < count; k++)
            head->tensor[EXN_HEAD_FC_WEIGHT][k] = (float)exn_rng_uniform(&rng) * 0.2f - 0.1f;
        profile->exits[i].trained = true;
        profile->exits[i].rule = (exn_exit_rule){.enabled = true, .temperature = 1.0f, .threshold = 0.6f};
    }
    profile->point[EXN_TARGET_KEEP - 1] = (exn_policy){
        .enabled = {true, true, true}, .threshold = {0.6f, 0.6f, 1}, .carry = 0.6f, .judged = 100, .samples = 100};
    const exn_runner_options no = {.struct_size = sizeof no}, yes = {.struct_size = sizeof yes, .audit_share = 1e-9};
    unit_assert_ok(ctx, exn_runner_create(&plain, profile, &no));
    unit_assert_ok(ctx, exn_runner_create(&watched, profile, &yes));
    size_t left[3] = {0};
    for (size_t i = 0; i < 300; i++) {
        float input[SMALL_INPUT];
        exn_answer a = {.struct_size = sizeof a}, b = a;
        small_input(input, i % SMALL_CLASSES, i);
        unit_assert_ok(ctx, exn_runner_classify_tensor(plain, input, &a));
        unit_assert_ok(ctx, exn_runner_classify_tensor(watched, input, &b));
        ck_assert(a.exit == b.exit && a.label == b.label);
        left[a.exit]++;
    }
    ck_assert(left[0] > 0 && left[1] > 0 && left[2] > 0);
    exn_runner_destroy(plain);
    exn_runner_destroy(watched);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

/* The tail is there during an audit only: between audits the runner holds what it held. */
START_TEST(tail_is_let_go) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    exn_model *model;
    exn_profile *profile;
    exn_runner *runner;
    bool due;
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&profile, model, EXN_HEAD_POOLED));
    cut_profile(profile, 99); /* differing is what is expected here */
    const exn_runner_options options = {.struct_size = sizeof options, .audit_share = 1};
    unit_assert_ok(ctx, exn_runner_create(&runner, profile, &options));
    const size_t held = counter.live_bytes;
    for (size_t i = 0; i < 5; i++) {
        classify(runner, i, &due);
        ck_assert(due);
        unit_assert_ok(ctx, exn_runner_audit(runner, NULL));
        ck_assert_uint_eq(counter.live_bytes, held);
    }
    ck_assert_uint_gt(counter.peak_bytes, held);
    exn_runner_destroy(runner);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status audited_life(exn_context *ctx, void *user) {
    exn_model *model = NULL;
    exn_profile *profile = NULL;
    exn_runner *runner = NULL;
    float input[SMALL_INPUT];
    exn_answer answer = {.struct_size = sizeof answer};
    const exn_runner_options options = {.struct_size = sizeof options, .audit_share = 1};
    (void)user;
    small_input(input, 0, 0);
    exn_status status = small_model(&model, ctx);
    if (status == EXN_OK) status = small_profile(&profile, model, EXN_HEAD_POOLED);
    if (status == EXN_OK) {
        cut_profile(profile, 5);
        status = exn_runner_create(&runner, profile, &options);
    }
    if (status == EXN_OK) status = exn_runner_classify_tensor(runner, input, &answer);
    if (status == EXN_OK) status = exn_runner_audit(runner, NULL);
    exn_runner_destroy(runner);
    exn_profile_destroy(profile);
    exn_model_destroy(model);
    return status;
}

START_TEST(failed_allocations) {
    unit_sweep_failures(audited_life, NULL);
}
END_TEST

int main(void) {
    return unit_run("bypass",
                    (const TTest *const[]){
                        stable_stream_stays, shifted_stream_steps_back, recovered_stream_comes_back,
                        trust_is_lost_faster_than_won, unsure_answers_are_looked_into, state_as_text,
                        expectations_are_upper_bounds, watching_changes_nothing, runner_steps_back_and_remembers,
                        a_watch_is_bound_to_all_that_answers_follow_from, tail_is_let_go, failed_allocations, NULL});
}
