/* SPDX-License-Identifier: Apache-2.0
 * Runs: who leaves where, what is left untouched, no allocation, the same bits however it runs. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "tests/unit/check_graph.h"
#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>

#define NONE EXN_VALUE_NONE
#define BATCH 5u
#define CLASSES 4u
#define EXITS 3u

typedef struct network {
    exn_graph *graph;
    exn_value_id outputs[EXITS];
    float *input;
    float *expected[EXITS]; /* of the oracle */
} network;

static network make_network(exn_context *ctx) {
    exn_rng rng = exn_rng_seed(5, 1);
    network net = {.graph = build_graph(ctx, BUILD_DIMS(BATCH, 3, 12, 12))};
    exn_value_id x = net.graph->input;
    for (size_t i = 0; i < EXITS; i++) {
        x = build_conv(net.graph, &rng, x, 8, 3, i ? 1 : 2, 1, EXN_ACT_CLAMP, NONE);
        x = build_conv(net.graph, &rng, x, 8, 1, 1, 1, EXN_ACT_CLAMP, x);
        net.outputs[i] = build_classifier(net.graph, &rng, x, CLASSES);
    }
    net.input = check_input(net.graph, 3);
    reference oracle;
    reference_run(&oracle, net.graph, net.input);
    for (size_t i = 0; i < EXITS; i++) net.expected[i] = reference_memory_order(&oracle, net.outputs[i]);
    reference_free(&oracle);
    return net;
}

static void free_network(network *net) {
    for (size_t i = 0; i < EXITS; i++) free(net->expected[i]);
    free(net->input);
    exn_graph_destroy(net->graph);
}

/* In double: what an exit thinks of one sample. */
static double confidence_of(const float *logits, double temperature, size_t *label) {
    double sum = 0;
    *label = 0;
    for (size_t j = 1; j < CLASSES; j++)
        if (logits[j] > logits[*label]) *label = j;
    for (size_t j = 0; j < CLASSES; j++) sum += exp(((double)logits[j] - (double)logits[*label]) / temperature);
    return 1 / sum;
}

static void poison(float sinks[EXITS][BATCH * CLASSES]) {
    for (size_t i = 0; i < EXITS; i++)
        for (size_t j = 0; j < BATCH * CLASSES; j++) sinks[i][j] = 12345.0f;
}

static bool poisoned(const float *sink) {
    for (size_t j = 0; j < BATCH * CLASSES; j++)
        if (sink[j] != 12345.0f) return false;
    return true;
}

/* Runs with the given thresholds and checks every sample against the oracle; returns the deepest exit taken. */
static size_t check_leaving(const network *net, size_t threads, const exn_exit_rule rules[EXITS]) {
    exn_context *ctx = net->graph->ctx;
    exn_plan *plan = check_plan(net->graph, NULL, threads, net->outputs, EXITS);
    exn_exec *exec;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    exn_leave leaves[BATCH];
    float values[EXITS][BATCH * CLASSES];
    float *sinks[EXITS] = {values[0], values[1], values[2]};
    poison(values);
    exn_exec_set_nchw(exec, net->input);
    exn_exec_run_exits(exec, rules, sinks, leaves);
    size_t deepest = 0;
    for (size_t sample = 0; sample < BATCH; sample++) {
        size_t exit = 0, label;
        double sure = confidence_of(net->expected[0] + sample * CLASSES, (double)rules[0].temperature, &label);
        while (exit + 1 < EXITS && !(rules[exit].enabled && sure >= (double)rules[exit].threshold)) {
            exit++;
            sure = confidence_of(net->expected[exit] + sample * CLASSES, (double)rules[exit].temperature, &label);
        }
        ck_assert_uint_eq(leaves[sample].exit, exit);
        ck_assert_uint_eq(leaves[sample].label, label);
        ck_assert_float_eq_tol(leaves[sample].confidence, (float)sure, 1e-5f);
        if (exit > deepest) deepest = exit;
    }
    for (size_t i = 0; i < EXITS; i++) {
        ck_assert(poisoned(values[i]) == (i > deepest));
        if (i <= deepest) unit_assert_near(values[i], net->expected[i], BATCH * CLASSES, 1e-5, 1e-5);
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    return deepest;
}

START_TEST(all_leave_at_the_first_exit_that_is_sure) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    for (size_t threads = 1; threads <= 3; threads++) {
        exn_exit_rule rules[EXITS] = {{true, 1, 0, 0}, {true, 1, 0, 0}, {true, 1, 0, 0}};
        ck_assert_uint_eq(check_leaving(&net, threads, rules), 0);
        rules[0].enabled = false;
        ck_assert_uint_eq(check_leaving(&net, threads, rules), 1);
        rules[1].threshold = 1.5f;
        ck_assert_uint_eq(check_leaving(&net, threads, rules), 2);
        rules[2].enabled = false; /* the last exit takes whoever is left */
        ck_assert_uint_eq(check_leaving(&net, threads, rules), 2);
    }
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

/* Thresholds between the samples' confidences: they leave one by one. */
START_TEST(samples_leave_singly) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    for (size_t sample = 0; sample < BATCH; sample++) {
        size_t label;
        const double sure = confidence_of(net.expected[0] + sample * CLASSES, 2.0, &label);
        const double sure_later = confidence_of(net.expected[1] + sample * CLASSES, 0.5, &label);
        const exn_exit_rule rules[EXITS] = {
            {true, 2.0f, (float)sure - 1e-4f, 0}, {true, 0.5f, (float)sure_later - 1e-4f, 0}, {true, 1, 0, 0}};
        check_leaving(&net, 1 + sample % 3, rules);
    }
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(runs_allocate_nothing) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    network net = make_network(ctx);
    for (size_t threads = 1; threads <= 2; threads++) {
        exn_plan *plan = check_plan(net.graph, NULL, threads, net.outputs, EXITS);
        exn_exec *exec;
        unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
        const size_t calls = counter.calls;
        counter.fail_at = calls + 1;
        const exn_exit_rule rules[EXITS] = {{true, 1, 2, 0}, {true, 1, 2, 0}, {true, 1, 0, 0}};
        exn_leave leaves[BATCH];
        float values[BATCH * CLASSES];
        float *sinks[EXITS] = {NULL, NULL, values};
        exn_exec_set_nchw(exec, net.input);
        exn_exec_run(exec, sinks);
        exn_exec_set_nchw(exec, net.input);
        exn_exec_run_exits(exec, rules, NULL, leaves);
        double *seconds = malloc(exn_plan_step_count(plan) * sizeof *seconds);
        exn_exec_profile(exec, 2, seconds);
        for (size_t s = 0; s < exn_plan_step_count(plan); s++) ck_assert(seconds[s] >= 0 && seconds[s] < 10);
        free(seconds);
        ck_assert_uint_eq(counter.calls, calls);
        counter.fail_at = 0;
        unit_assert_near(values, net.expected[2], BATCH * CLASSES, 1e-5, 1e-5);
        exn_exec_destroy(exec);
        exn_plan_destroy(plan);
    }
    free_network(&net);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
}
END_TEST

/* Every exit's logits, with exits in place or alone, on every fused set, with every number of threads. */
START_TEST(bits_do_not_depend_on_how_it_runs) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    const char *sets[8];
    const size_t set_count = check_fused_sets(sets);
    float first[EXITS][BATCH * CLASSES];
    for (size_t s = 0; s < set_count; s++)
        for (size_t threads = 1; threads <= 4; threads++)
            for (size_t alone = 0; alone <= EXITS; alone++) { /* EXITS: all of them */
                const size_t begin = alone < EXITS ? alone : 0, count = alone < EXITS ? 1 : EXITS;
                exn_plan *plan = check_plan(net.graph, sets[s], threads, net.outputs + begin, count);
                exn_exec *exec;
                unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
                float values[EXITS][BATCH * CLASSES];
                float *sinks[EXITS] = {values[begin], values[1], values[2]};
                exn_exec_set_nchw(exec, net.input);
                exn_exec_run(exec, sinks);
                for (size_t i = begin; i < begin + count; i++) {
                    if (s == 0 && threads == 1 && alone < EXITS) memcpy(first[i], values[i], sizeof first[i]);
                    unit_assert_same_bits(values[i], first[i], BATCH * CLASSES);
                }
                exn_exec_destroy(exec);
                exn_plan_destroy(plan);
            }
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(outputs_may_be_inputs_or_repeated) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    const exn_value_id outputs[4] = {net.graph->input, net.outputs[1], net.outputs[0], net.outputs[1]};
    exn_plan *plan = check_plan(net.graph, NULL, 2, outputs, 4);
    exn_exec *exec;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    float *input = malloc(BATCH * 3 * 144 * sizeof *input);
    float values[3][BATCH * CLASSES];
    float *sinks[4] = {input, values[0], values[1], values[2]};
    exn_exec_set_nchw(exec, net.input);
    exn_exec_run(exec, sinks);
    for (size_t n = 0; n < BATCH; n++)
        for (size_t c = 0; c < 3; c++)
            for (size_t p = 0; p < 144; p++)
                ck_assert_float_eq(input[(n * 144 + p) * 3 + c], net.input[(n * 3 + c) * 144 + p]);
    unit_assert_near(values[0], net.expected[1], BATCH * CLASSES, 1e-5, 1e-5);
    unit_assert_near(values[1], net.expected[0], BATCH * CLASSES, 1e-5, 1e-5);
    unit_assert_same_bits(values[2], values[0], BATCH * CLASSES);
    free(input);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(confidence) {
    exn_context *ctx = unit_context();
    const char *sets[8];
    const size_t set_count = check_fused_sets(sets);
    float logits[1000], first = 0;
    exn_rng rng = exn_rng_seed(9, 9);
    for (size_t i = 0; i < 1000; i++) logits[i] = 8 * exn_rng_uniform(&rng);
    logits[700] = logits[77] = 11.0f;
    double sum = 0;
    for (size_t i = 0; i < 1000; i++) sum += exp(((double)logits[i] - 11) / 1.5);
    for (size_t s = 0; s < set_count; s++) {
        exn_kernel_set set;
        unit_assert_ok(ctx, exn_kernels_select(&set, ctx, exn_cpu_detect(), sets[s]));
        size_t label;
        const float sure = exn_confidence(&label, &set, logits, 1000, 1.5f);
        ck_assert_uint_eq(label, 77);
        ck_assert_float_eq_tol(sure, (float)(1 / sum), 1e-6f);
        if (s == 0) first = sure;
        unit_assert_same_bits(&sure, &first, 1);
        const float held = logits[3];
        logits[3] = NAN;
        ck_assert(isnan(exn_confidence(&label, &set, logits, 1000, 1.5f)));
        logits[3] = held;
        const float even[2] = {1, 1}, certain[2] = {-INFINITY, 0};
        ck_assert_float_eq(exn_confidence(&label, &set, even, 2, 1), 0.5f);
        ck_assert_uint_eq(label, 0);
        ck_assert_float_eq(exn_confidence(&label, &set, certain, 2, 1), 1.0f);
        ck_assert_uint_eq(label, 1);
    }
    exn_context_destroy(ctx);
}
END_TEST

static exn_status run_once(exn_context *ctx, void *user) {
    const exn_plan *plan = user;
    exn_exec *exec;
    EXN_TRY(exn_exec_create(&exec, ctx, plan));
    exn_exec_destroy(exec);
    return EXN_OK;
}

START_TEST(short_of_memory) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    exn_plan *plan = check_plan(net.graph, NULL, 3, net.outputs, EXITS);
    unit_sweep_failures(run_once, plan);
    exn_plan_destroy(plan);
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

/* The second exit is off and adds nothing; the third goes by itself and by a part of the first. Twice, because nothing of a run
 * may be left for the next. */
START_TEST(scores_are_carried) {
    exn_context *ctx = unit_context();
    network net = make_network(ctx);
    exn_plan *plan = check_plan(net.graph, NULL, 1, net.outputs, EXITS);
    exn_exec *exec;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    unit_assert_ok(ctx, exn_exec_keep_scores(exec));
    const exn_exit_rule rules[EXITS] = {{true, 2, 2, 0}, {false, 1, 0, 0.5f}, {true, 0.5f, 0, 0.25f}};
    for (int again = 0; again < 2; again++) {
        exn_leave leaves[BATCH];
        exn_exec_set_nchw(exec, net.input);
        exn_exec_run_exits(exec, rules, NULL, leaves);
        for (size_t sample = 0; sample < BATCH; sample++) {
            float score[CLASSES];
            size_t label;
            for (size_t c = 0; c < CLASSES; c++)
                score[c] = 2 * net.expected[2][sample * CLASSES + c] + 0.125f * net.expected[0][sample * CLASSES + c];
            const double sure = confidence_of(score, 1, &label);
            ck_assert(leaves[sample].exit == 2 && leaves[sample].label == label);
            ck_assert_float_eq_tol(leaves[sample].confidence, (float)sure, 1e-5f);
        }
    }
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    free_network(&net);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("run", (const TTest *[]){all_leave_at_the_first_exit_that_is_sure, samples_leave_singly,
                                             runs_allocate_nothing, bits_do_not_depend_on_how_it_runs,
                                             outputs_may_be_inputs_or_repeated, confidence, scores_are_carried,
                                             short_of_memory, NULL});
}
