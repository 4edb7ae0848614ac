/* SPDX-License-Identifier: Apache-2.0
 * Fast arithmetic: how far Winograd's roundings stray, which layers take it and why, what it may cost in memory. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "graph/step.h"
#include "tests/unit/check_graph.h"
#include "tests/unit/drivers.h"
#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NONE EXN_VALUE_NONE
/* Largest error of one layer, as a share of the largest result, beside the exact algorithm. */
#define LAYER_ERROR 1e-5

/* ---- One layer ---- */
static exn_conv_shape random_layer(exn_rng *rng) {
    exn_conv_shape s = {.n = DRIVERS_PICK(rng, 1, 1, 2),
                        .h = DRIVERS_PICK(rng, 1, 7, 8, 13, 14, 17),
                        .w = DRIVERS_PICK(rng, 3, 7, 9, 14, 16, 31),
                        .c = DRIVERS_PICK(rng, 1, 3, 16, 64, 130, 300),
                        .oc = DRIVERS_PICK(rng, 1, 16, 24, 70, 144),
                        .kh = 3,
                        .kw = 3,
                        .stride_h = 1,
                        .stride_w = 1,
                        .dilation_h = 1,
                        .dilation_w = 1,
                        .pad_top = 1,
                        .pad_left = 1,
                        .groups = 1};
    s.oh = s.h, s.ow = s.w;
    return s;
}

typedef struct layer {
    exn_conv_shape shape;
    float *in, *weight, *scale, *bias, *residual;
} layer;

/* outputs of a Winograd tile, 0: exact. free() the result. */
static float *run_layer(const layer *l, const exn_kernel_set *set, size_t outputs, exn_activation activation) {
    exn_conv conv;
    if (outputs)
        exn_conv_prepare_winograd(&conv, set, &l->shape, outputs, activation, 0.0f, 6.0f);
    else
        exn_conv_prepare(&conv, set, &l->shape, activation, 0.0f, 6.0f);
    float *packed = drivers_scratch(conv.packed_count * sizeof(float));
    float *out = drivers_scratch(l->shape.n * l->shape.oh * l->shape.ow * l->shape.oc * sizeof(float));
    void *workspace = drivers_scratch(conv.workspace_bytes);
    exn_conv_pack(packed, &conv, l->weight, l->scale, l->bias);
    exn_conv_run(&conv, packed, l->in, out, l->residual, workspace, exn_part_whole());
    free(packed);
    free(workspace);
    return out;
}

START_TEST(layers_stay_within_the_bound) {
    static const exn_activation activations[] = {EXN_ACT_NONE, EXN_ACT_CLAMP, EXN_ACT_SILU};
    exn_rng rng = exn_rng_seed(31, 0);
    const exn_kernel_set set = drivers_best_set();
    for (size_t round = 0; round < 120; round++) {
        layer l = {.shape = random_layer(&rng)};
        const exn_conv_shape *s = &l.shape;
        const size_t count = s->n * s->oh * s->ow * s->oc;
        const exn_activation activation = activations[round % 3];
        l.in = drivers_random(&rng, s->n * s->h * s->w * s->c), l.weight = drivers_random(&rng, s->oc * s->c * 9);
        l.scale = drivers_random(&rng, s->oc), l.bias = drivers_random(&rng, s->oc);
        l.residual = drivers_random(&rng, count);
        float *exact = run_layer(&l, &set, 0, activation), *fast = run_layer(&l, &set, round % 2 ? 2 : 4, activation);
        float *plain = run_layer(&l, &set, 0, EXN_ACT_NONE);
        double largest = 1.0, error = 0.0; /* inputs and bias are up to 1 */
        for (size_t i = 0; i < count; i++) {
            largest = fmax(largest, fabs((double)plain[i]));
            error = fmax(error, fabs((double)fast[i] - (double)exact[i]));
        }
        ck_assert_msg(error <= LAYER_ERROR * largest, "%zux%zux%zu to %zu, F(%d,3): error %.3g of %.3g", s->h, s->w,
                      s->c, s->oc, round % 2 ? 2 : 4, error, largest);
        free(l.in), free(l.weight), free(l.scale), free(l.bias), free(l.residual), free(exact), free(fast), free(plain);
    }
}
END_TEST

START_TEST(only_3x3_at_stride_1) {
    exn_rng rng = exn_rng_seed(32, 0);
    const exn_conv_shape good = random_layer(&rng);
    ck_assert(exn_conv_takes_winograd(&good));
    size_t members[] = {offsetof(exn_conv_shape, kh),         offsetof(exn_conv_shape, kw),
                        offsetof(exn_conv_shape, stride_h),   offsetof(exn_conv_shape, stride_w),
                        offsetof(exn_conv_shape, dilation_h), offsetof(exn_conv_shape, dilation_w),
                        offsetof(exn_conv_shape, groups)};
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        exn_conv_shape bad = good;
        const size_t two = 2;
        memcpy((char *)&bad + members[i], &two, sizeof two);
        ck_assert(!exn_conv_takes_winograd(&bad));
    }
}
END_TEST

/* ---- Networks ---- */
/* Layers that Winograd pays for, one whose channels are too few, one at stride 2. */
static exn_graph *make_network(exn_context *ctx) {
    exn_rng rng = exn_rng_seed(33, 0);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(1, 2, 20, 20));
    exn_value_id x = build_conv(graph, &rng, graph->input, 2, 3, 1, 1, EXN_ACT_CLAMP, NONE);
    x = build_conv(graph, &rng, x, 32, 3, 2, 1, EXN_ACT_CLAMP, NONE);
    for (size_t block = 0; block < 3; block++) {
        const exn_value_id y = build_conv(graph, &rng, x, 48, 3, 1, 1, EXN_ACT_SILU, NONE);
        x = build_conv(graph, &rng, y, 32, 3, 1, 1, EXN_ACT_CLAMP, x);
    }
    exn_attrs attrs = exn_attrs_default();
    attrs.axis = 1;
    const exn_value_id left = build_conv(graph, &rng, x, 20, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id right = build_conv(graph, &rng, x, 28, 3, 1, 1, EXN_ACT_SILU, NONE);
    x = build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(left, right), &attrs, BUILD_DIMS(1, 48, 10, 10));
    build_classifier(graph, &rng, x, 5);
    return graph;
}

static exn_plan *make_plan(const exn_graph *graph, size_t threads, exn_arithmetic arithmetic, size_t bytes) {
    exn_kernel_set set;
    unit_assert_ok(graph->ctx, exn_kernels_select(&set, graph->ctx, exn_cpu_detect(), NULL));
    const exn_plan_options options = {.kernels = &set,
                                      .threads = threads,
                                      .arithmetic = arithmetic,
                                      .fast_bytes = bytes,
                                      .outputs = &graph->output,
                                      .output_count = 1};
    exn_plan *plan;
    unit_assert_ok(graph->ctx, exn_plan_create(&plan, graph, &options));
    return plan;
}

static size_t winograds(const exn_plan *plan) {
    size_t count = 0;
    for (size_t s = 0; s < exn_plan_step_count(plan); s++)
        count += strstr(exn_plan_get_step(plan, s).algorithm, "winograd") != NULL;
    return count;
}

static void run_plan(float logits[5], const exn_plan *plan, exn_context *ctx, const float *input) {
    exn_exec *exec;
    float *sink = logits;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    exn_exec_set_nchw(exec, input);
    exn_exec_run(exec, &sink);
    exn_exec_destroy(exec);
}

START_TEST(networks_stay_near_and_do_not_depend_on_threads) {
    exn_context *ctx = unit_context();
    exn_graph *graph = make_network(ctx);
    float *input = check_input(graph, 1), exact[5], fast[5], other[5];
    exn_plan *plan = make_plan(graph, 1, EXN_EXACT, 0);
    ck_assert_uint_eq(winograds(plan), 0);
    run_plan(exact, plan, ctx, input);
    exn_plan_destroy(plan);
    for (size_t threads = 1; threads <= 4; threads++) {
        plan = make_plan(graph, threads, EXN_FAST, 0);
        ck_assert_uint_eq(winograds(plan), 7);
        run_plan(threads == 1 ? fast : other, plan, ctx, input);
        exn_plan_destroy(plan);
        if (threads > 1) unit_assert_same_bits(other, fast, 5);
    }
    unit_assert_near(fast, exact, 5, 1e-4, 1e-4);
    free(input);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(plans_say_why) {
    exn_context *ctx = unit_context();
    exn_graph *graph = make_network(ctx);
    exn_plan *plan = make_plan(graph, 1, EXN_FAST, 0);
    ck_assert_ptr_nonnull(strstr(exn_plan_get_step(plan, 0).why, "would not be faster"));
    ck_assert_str_eq(exn_plan_get_step(plan, 1).why, "kernel rows are contiguous");
    ck_assert_ptr_nonnull(strstr(exn_plan_get_step(plan, 2).why, "of the direct time"));
    exn_plan_destroy(plan);
    plan = make_plan(graph, 1, EXN_FAST, 1);
    ck_assert_ptr_nonnull(strstr(exn_plan_get_step(plan, 2).why, "beyond the budget"));
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(the_budget_holds) {
    exn_context *ctx = unit_context();
    exn_graph *graph = make_network(ctx);
    exn_plan *exact = make_plan(graph, 1, EXN_EXACT, 0), *all = make_plan(graph, 1, EXN_FAST, SIZE_MAX);
    const size_t least = exn_plan_packed_bytes(exact), most = exn_plan_packed_bytes(all) - least;
    size_t taken = 0;
    for (size_t budget = 1; budget < 2 * most; budget += most / 16 + 1) {
        exn_plan *plan = make_plan(graph, 1, EXN_FAST, budget);
        ck_assert_uint_le(exn_plan_packed_bytes(plan), least + budget);
        taken = winograds(plan);
        ck_assert(budget > 1 || taken == 0);
        exn_plan_destroy(plan);
    }
    ck_assert_uint_eq(taken, winograds(all));
    exn_plan_destroy(exact);
    exn_plan_destroy(all);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status plan_once(exn_context *ctx, void *user) {
    exn_graph *graph = user;
    graph->ctx = ctx;
    const exn_kernel_set set = drivers_best_set();
    const exn_plan_options options = {
        .kernels = &set, .threads = 2, .arithmetic = EXN_FAST, .outputs = &graph->output, .output_count = 1};
    exn_plan *plan;
    EXN_TRY(exn_plan_create(&plan, graph, &options));
    exn_plan_destroy(plan);
    return EXN_OK;
}

START_TEST(short_of_memory) {
    exn_context *ctx = unit_context();
    exn_graph *graph = make_network(ctx);
    unit_sweep_failures(plan_once, graph);
    graph->ctx = ctx;
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("fast", (const TTest *[]){layers_stay_within_the_bound, only_3x3_at_stride_1,
                                              networks_stay_near_and_do_not_depend_on_threads, plans_say_why,
                                              the_budget_holds, short_of_memory, NULL});
}
