/* SPDX-License-Identifier: Apache-2.0
 * Every operator, lowered and run, against the oracle. */
#include "tests/unit/check_graph.h"
#include "tests/unit/unit.h"

#include <math.h>

#define NONE EXN_VALUE_NONE

static exn_context *ctx;
static exn_graph *graph;
static exn_rng rng;
static exn_value_id map; /* computed, (2,6,5,7) */

static void set_up(void) {
    ctx = unit_context();
    rng = exn_rng_seed(11, 1);
    graph = build_graph(ctx, BUILD_DIMS(2, 3, 5, 7));
    map = build_conv(graph, &rng, graph->input, 6, 3, 1, 1, EXN_ACT_NONE, NONE);
}

static void tear_down(void) {
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}

/* The graph as built so far, then a fresh one. */
static void check_and_renew(void) {
    check_graph(graph, 2e-5);
    tear_down();
    set_up();
}

START_TEST(convolutions) {
    for (size_t k = 1; k <= 5; k += 2)
        for (size_t stride = 1; stride <= 2; stride++) {
            build_conv(graph, &rng, map, 9, k, stride, 1, EXN_ACT_CLAMP, NONE);
            check_and_renew();
            build_conv(graph, &rng, map, 6, k, stride, 6, EXN_ACT_SILU, NONE);
            check_and_renew();
            build_conv(graph, &rng, map, 4, k, stride, 2, EXN_ACT_HARD_SWISH, NONE);
            check_and_renew();
        }
}
END_TEST

START_TEST(residuals) {
    const exn_value_id y = build_conv(graph, &rng, map, 6, 3, 1, 1, EXN_ACT_CLAMP, NONE);
    build_conv(graph, &rng, y, 6, 1, 1, 1, EXN_ACT_CLAMP, map);
    check_and_renew();
    build_conv(graph, &rng, map, 6, 1, 1, 1, EXN_ACT_CLAMP, map); /* its own input: not in place */
    check_and_renew();
    build_conv(graph, &rng, map, 6, 3, 1, 6, EXN_ACT_NONE, map);
    check_and_renew();
    const exn_value_id constant = build_random(graph, &rng, BUILD_DIMS(2, 6, 5, 7), 1);
    build_conv(graph, &rng, map, 6, 3, 1, 1, EXN_ACT_TANH, constant);
    check_and_renew();
}
END_TEST

START_TEST(folded_scale_and_shift) {
    float scale[6], shift[6];
    for (size_t i = 0; i < 6; i++) {
        scale[i] = 0.5f + 0.25f * (float)i;
        shift[i] = (float)i - 2.5f;
    }
    build_conv(graph, &rng, map, 6, 3, 1, 1, EXN_ACT_CLAMP, NONE);
    exn_attrs *attrs = &graph->nodes[graph->node_count - 1].attrs;
    attrs->fold_scale = scale;
    attrs->fold_shift = shift;
    check_and_renew();
}
END_TEST

START_TEST(matrices) {
    const exn_value_id flat = build_node(graph, EXN_OP_Flatten, NULL, &map, 1, NULL, BUILD_DIMS(2, 210));
    for (int trans_b = 0; trans_b < 2; trans_b++) {
        exn_attrs attrs = exn_attrs_default();
        attrs.alpha = 0.5f;
        attrs.beta = 2.0f;
        attrs.trans_b = trans_b;
        const exn_value_id w = trans_b ? build_random(graph, &rng, BUILD_DIMS(11, 210), 0.2f)
                                       : build_random(graph, &rng, BUILD_DIMS(210, 11), 0.2f);
        const exn_value_id c =
            trans_b ? build_random(graph, &rng, BUILD_DIMS(11), 1) : build_random(graph, &rng, BUILD_DIMS(1), 1);
        build_node(graph, EXN_OP_Gemm, NULL, BUILD_INPUTS(flat, w, c), &attrs, BUILD_DIMS(2, 11));
        check_graph(graph, 2e-5);
    }
    exn_attrs attrs = exn_attrs_default();
    attrs.trans_a = true;
    const exn_value_id w = build_random(graph, &rng, BUILD_DIMS(2, 3), 1),
                       c = build_random(graph, &rng, BUILD_DIMS(210, 3), 1);
    build_node(graph, EXN_OP_Gemm, NULL, BUILD_INPUTS(flat, w, c), &attrs, BUILD_DIMS(210, 3));
    check_and_renew();
}
END_TEST

START_TEST(matmul) {
    exn_value_id w = build_random(graph, &rng, BUILD_DIMS(7, 4), 0.5f);
    build_node(graph, EXN_OP_MatMul, NULL, BUILD_INPUTS(map, w), NULL, BUILD_DIMS(2, 6, 5, 4));
    check_and_renew();
    const exn_value_id flat = build_node(graph, EXN_OP_Reshape, NULL, &map, 1, NULL, BUILD_DIMS(2, 210));
    w = build_random(graph, &rng, BUILD_DIMS(210, 3), 0.2f);
    build_node(graph, EXN_OP_MatMul, NULL, BUILD_INPUTS(flat, w), NULL, BUILD_DIMS(2, 3));
    check_and_renew();
    const exn_value_id a = build_node(graph, EXN_OP_Reshape, NULL, &map, 1, NULL, BUILD_DIMS(2, 6, 35));
    const exn_value_id b = build_node(graph, EXN_OP_Reshape, NULL, &map, 1, NULL, BUILD_DIMS(2, 35, 6));
    build_node(graph, EXN_OP_MatMul, NULL, BUILD_INPUTS(a, b), NULL, BUILD_DIMS(2, 6, 6));
    check_and_renew();
}
END_TEST

START_TEST(activations) {
    static const struct {
        exn_op op;
        exn_activation act;
        float lo, hi;
    } cases[] = {{EXN_OP_Relu, EXN_ACT_CLAMP, 0, INFINITY},
                 {EXN_OP_Clip, EXN_ACT_CLAMP, -0.25f, 0.5f},
                 {EXN_OP_LeakyRelu, EXN_ACT_LEAKY_RELU, 0.125f, 0},
                 {EXN_OP_HardSigmoid, EXN_ACT_HARD_SIGMOID, 0.2f, 0.5f},
                 {EXN_OP_HardSwish, EXN_ACT_HARD_SWISH, 0, 0},
                 {EXN_OP_Sigmoid, EXN_ACT_SIGMOID, 0, 0},
                 {EXN_OP_Tanh, EXN_ACT_TANH, 0, 0},
                 {EXN_OP_Exp, EXN_ACT_EXP, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        build_unary(graph, cases[i].op, map, cases[i].act, cases[i].lo, cases[i].hi);
        check_and_renew();
    }
    build_unary(graph, EXN_OP_Log, build_unary(graph, EXN_OP_Exp, map, EXN_ACT_EXP, 0, 0), EXN_ACT_LOG, 0, 0);
    check_and_renew();
}
END_TEST

START_TEST(prelu_and_batchnorm) {
    exn_value_id slope = build_random(graph, &rng, BUILD_DIMS(6, 1, 1), 1);
    build_node(graph, EXN_OP_PRelu, NULL, BUILD_INPUTS(map, slope), NULL, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
    slope = build_random(graph, &rng, BUILD_DIMS(1), 1);
    build_node(graph, EXN_OP_PRelu, NULL, BUILD_INPUTS(map, slope), NULL, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
    exn_value_id inputs[5] = {map};
    for (size_t i = 1; i < 5; i++) inputs[i] = build_random(graph, &rng, BUILD_DIMS(6), 1);
    for (size_t c = 0; c < 6; c++) { /* variances are positive */
        float *var = (float *)(uintptr_t)graph->values[inputs[4]].data;
        var[c] = fabsf(var[c]) + 0.1f;
    }
    exn_attrs attrs = exn_attrs_default();
    attrs.activation = EXN_ACT_CLAMP;
    attrs.hi = 1.5f;
    build_node(graph, EXN_OP_BatchNormalization, NULL, inputs, 5, &attrs, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
}
END_TEST

START_TEST(arithmetic_broadcasts) {
    static const exn_op ops[] = {EXN_OP_Add, EXN_OP_Sub, EXN_OP_Mul};
    static const size_t shapes[][5] = {/* rank, dims */ {4, 1, 6, 1, 1},
                                       {3, 6, 1, 1},
                                       {3, 6, 5, 7},
                                       {1, 7},
                                       {0},
                                       {4, 2, 1, 5, 1},
                                       {4, 2, 6, 5, 7}};
    for (size_t o = 0; o < 3; o++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
            const exn_value_id c = build_random(graph, &rng, shapes[s][0], shapes[s] + 1, 1);
            const bool first = (o + s) % 2;
            exn_attrs attrs = exn_attrs_default();
            attrs.activation = s % 2 ? EXN_ACT_CLAMP : EXN_ACT_NONE;
            attrs.hi = 0.75f;
            build_node(graph, ops[o], NULL, BUILD_INPUTS(first ? c : map, first ? map : c), &attrs,
                       BUILD_DIMS(2, 6, 5, 7));
            check_and_renew();
        }
    build_node(graph, EXN_OP_Mul, NULL, BUILD_INPUTS(map, map), NULL, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
}
END_TEST

/* A gate over channels, and a computed value of lower rank. */
START_TEST(arithmetic_between_computed_values) {
    const exn_value_id pooled =
        build_node(graph, EXN_OP_GlobalAveragePool, NULL, &map, 1, NULL, BUILD_DIMS(2, 6, 1, 1));
    build_node(graph, EXN_OP_Div, NULL, BUILD_INPUTS(pooled, build_unary(graph, EXN_OP_Exp, map, EXN_ACT_EXP, 0, 0)),
               NULL, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
    exn_attrs attrs = exn_attrs_default();
    attrs.axes = 1;
    const exn_value_id mean = build_node(graph, EXN_OP_ReduceMean, NULL, &map, 1, &attrs, BUILD_DIMS(6, 5, 7));
    build_node(graph, EXN_OP_Sub, NULL, BUILD_INPUTS(map, mean), NULL, BUILD_DIMS(2, 6, 5, 7));
    check_and_renew();
}
END_TEST

static exn_attrs window(size_t k, size_t stride, size_t pad) {
    exn_attrs attrs = exn_attrs_default();
    for (size_t i = 0; i < 2; i++) {
        attrs.kernel[i] = k;
        attrs.stride[i] = stride;
        attrs.pad[i] = attrs.pad[i + 2] = pad;
    }
    return attrs;
}

START_TEST(pools) {
    for (int which = 0; which < 3; which++) {
        exn_attrs attrs = window(3, 2, 1);
        attrs.count_include_pad = which == 2;
        build_node(graph, which ? EXN_OP_AveragePool : EXN_OP_MaxPool, NULL, &map, 1, &attrs, BUILD_DIMS(2, 6, 3, 4));
        check_and_renew();
    }
    exn_attrs attrs = window(2, 2, 0); /* ceil_mode: the last window hangs over */
    attrs.ceil_mode = attrs.count_include_pad = true;
    build_node(graph, EXN_OP_AveragePool, NULL, &map, 1, &attrs, BUILD_DIMS(2, 6, 3, 4));
    check_and_renew();
    attrs = exn_attrs_default();
    attrs.adaptive = true;
    build_node(graph, EXN_OP_AveragePool, NULL, &map, 1, &attrs, BUILD_DIMS(2, 6, 4, 4));
    check_and_renew();
    build_node(graph, EXN_OP_GlobalMaxPool, NULL, &map, 1, NULL, BUILD_DIMS(2, 6, 1, 1));
    check_and_renew();
}
END_TEST

START_TEST(means_and_softmax) {
    static const struct {
        uint32_t axes;
        size_t rank, dims[4];
    } cases[] = {{12, 2, {2, 6}},   {12, 4, {2, 6, 1, 1}}, {2, 3, {2, 5, 7}}, {2, 4, {2, 1, 5, 7}},
                 {4, 3, {2, 6, 7}}, {8, 4, {2, 6, 5, 1}},  {1, 3, {6, 5, 7}}, {6, 2, {2, 7}}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        exn_attrs attrs = exn_attrs_default();
        attrs.axes = cases[i].axes;
        build_node(graph, EXN_OP_ReduceMean, NULL, &map, 1, &attrs, cases[i].rank, cases[i].dims);
        check_and_renew();
    }
    for (int64_t axis = 0; axis < 4; axis++) {
        exn_attrs attrs = exn_attrs_default();
        attrs.axis = axis;
        build_node(graph, axis % 2 ? EXN_OP_Softmax : EXN_OP_LogSoftmax, NULL, &map, 1, &attrs, BUILD_DIMS(2, 6, 5, 7));
        check_and_renew();
    }
}
END_TEST

START_TEST(views_and_reorderings) {
    build_node(graph, EXN_OP_Reshape, NULL, &map, 1, NULL, BUILD_DIMS(2, 6, 35));
    check_and_renew();
    build_node(graph, EXN_OP_Flatten, NULL, &map, 1, NULL, BUILD_DIMS(2, 210)); /* handed out row-major */
    check_and_renew();
    exn_value_id x = build_node(graph, EXN_OP_Flatten, NULL, &map, 1, NULL, BUILD_DIMS(2, 210));
    build_unary(graph, EXN_OP_Relu, x, EXN_ACT_CLAMP, 0, INFINITY);
    check_and_renew();
    x = build_node(graph, EXN_OP_Unsqueeze, NULL, &graph->input, 1, NULL, BUILD_DIMS(2, 1, 3, 5, 7));
    x = build_node(graph, EXN_OP_Squeeze, NULL, &x, 1, NULL, BUILD_DIMS(2, 3, 5, 7));
    build_conv(graph, &rng, x, 4, 3, 1, 1, EXN_ACT_NONE, NONE);
    check_and_renew();
    exn_attrs attrs = exn_attrs_default();
    attrs.memory_order = true;
    build_node(graph, EXN_OP_Flatten, NULL, &map, 1, &attrs, BUILD_DIMS(2, 210));
    check_and_renew();
    build_node(graph, EXN_OP_Identity, NULL, &graph->input, 1, NULL, BUILD_DIMS(2, 3, 5, 7));
    check_and_renew();
}
END_TEST

START_TEST(channel_shuffle) {
    const exn_value_id split = build_node(graph, EXN_OP_Reshape, NULL, &map, 1, NULL, BUILD_DIMS(2, 2, 3, 5, 7));
    exn_attrs attrs = exn_attrs_default();
    const size_t order[5] = {0, 2, 1, 3, 4};
    memcpy(attrs.order, order, sizeof order);
    const exn_value_id swapped =
        build_node(graph, EXN_OP_Transpose, NULL, &split, 1, &attrs, BUILD_DIMS(2, 3, 2, 5, 7));
    const exn_value_id y = build_node(graph, EXN_OP_Reshape, NULL, &swapped, 1, NULL, BUILD_DIMS(2, 6, 5, 7));
    build_conv(graph, &rng, y, 4, 1, 1, 1, EXN_ACT_NONE, NONE);
    check_and_renew();
}
END_TEST

START_TEST(transposes) {
    static const size_t orders[][4] = {{0, 2, 3, 1}, {0, 3, 1, 2}, {3, 2, 1, 0}, {0, 1, 2, 3}, {1, 0, 2, 3}};
    static const size_t dims[4] = {2, 6, 5, 7};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        exn_attrs attrs = exn_attrs_default();
        size_t y[4];
        for (size_t d = 0; d < 4; d++) {
            attrs.order[d] = orders[i][d];
            y[d] = dims[orders[i][d]];
        }
        build_node(graph, EXN_OP_Transpose, NULL, &map, 1, &attrs, 4, y);
        check_and_renew();
    }
}
END_TEST

START_TEST(concat_and_split) {
    for (int64_t axis = 0; axis < 4; axis++) {
        exn_attrs attrs = exn_attrs_default();
        attrs.axis = axis;
        const exn_value_id other = build_unary(graph, EXN_OP_Relu, map, EXN_ACT_CLAMP, 0, INFINITY);
        const exn_value_id constant = build_random(graph, &rng, BUILD_DIMS(2, 6, 5, 7), 1);
        size_t dims[4] = {2, 6, 5, 7};
        dims[axis] *= 3;
        build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(map, constant, other), &attrs, 4, dims);
        check_and_renew();
    }
    exn_attrs attrs = exn_attrs_default();
    attrs.axis = 1;
    exn_value_id parts[2];
    const exn_shape two = exn_shape_of(4, (const size_t[]){2, 2, 5, 7}),
                    four = exn_shape_of(4, (const size_t[]){2, 4, 5, 7});
    unit_assert_ok(ctx, exn_graph_value(&parts[0], graph, NULL, EXN_F32, &two));
    unit_assert_ok(ctx, exn_graph_value(&parts[1], graph, NULL, EXN_F32, &four));
    unit_assert_ok(ctx, exn_graph_append(graph, EXN_OP_Split, NULL, &map, 1, parts, 2, &attrs));
    const exn_value_id thin = build_conv(graph, &rng, parts[1], 2, 1, 1, 1, EXN_ACT_NONE, NONE);
    build_node(graph, EXN_OP_Add, NULL, BUILD_INPUTS(parts[0], thin), NULL, BUILD_DIMS(2, 2, 5, 7));
    check_and_renew();
}
END_TEST

static size_t copies_in_plan(void) {
    exn_plan *plan = check_plan(graph, NULL, 1, &graph->output, 1);
    size_t count = 0;
    for (size_t i = 0; i < exn_plan_step_count(plan); i++)
        count += strcmp(exn_plan_get_step(plan, i).algorithm, "copy") == 0;
    exn_plan_destroy(plan);
    return count;
}

/* Convolutions write their channels of a Concat themselves; whatever else it joins is copied beside them. */
START_TEST(concat_of_convolutions) {
    exn_attrs attrs = exn_attrs_default();
    attrs.axis = 1;
    const exn_value_id narrow = build_conv(graph, &rng, map, 5, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id wide = build_conv(graph, &rng, map, 40, 3, 1, 1, EXN_ACT_SILU, NONE);
    const exn_value_id grouped = build_conv(graph, &rng, map, 4, 3, 1, 2, EXN_ACT_TANH, NONE);
    const exn_value_id all =
        build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(narrow, wide, grouped), &attrs, BUILD_DIMS(2, 49, 5, 7));
    build_conv(graph, &rng, all, 3, 3, 1, 1, EXN_ACT_NONE, NONE);
    ck_assert_uint_eq(copies_in_plan(), 0);
    check_and_renew();
    const exn_value_id conv = build_conv(graph, &rng, map, 5, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id depthwise = build_conv(graph, &rng, map, 6, 3, 1, 6, EXN_ACT_CLAMP, NONE);
    const exn_value_id added = build_conv(graph, &rng, map, 6, 3, 1, 1, EXN_ACT_CLAMP, map);
    build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(depthwise, conv, map, added), &attrs, BUILD_DIMS(2, 23, 5, 7));
    ck_assert_uint_eq(copies_in_plan(), 1);
    check_and_renew();
    const exn_value_id twice = build_conv(graph, &rng, map, 5, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(twice, twice), &attrs, BUILD_DIMS(2, 10, 5, 7));
    check_and_renew();
    attrs.axis = 2;
    const exn_value_id other = build_conv(graph, &rng, map, 6, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    build_node(graph, EXN_OP_Concat, NULL, BUILD_INPUTS(map, other), &attrs, BUILD_DIMS(2, 6, 10, 7));
    check_and_renew();
}
END_TEST

START_TEST(slice_pad_gather) {
    exn_attrs attrs = exn_attrs_default();
    attrs.start[1] = 1;
    attrs.step[1] = 2;
    attrs.start[3] = 6;
    attrs.step[3] = -2;
    build_node(graph, EXN_OP_Slice, NULL, &map, 1, &attrs, BUILD_DIMS(2, 3, 5, 4));
    check_and_renew();
    attrs = exn_attrs_default();
    attrs.start[2] = 1;
    attrs.start[3] = -2;
    const exn_value_id value = build_random(graph, &rng, 0, NULL, 1);
    build_node(graph, EXN_OP_Pad, NULL, BUILD_INPUTS(map, NONE, value), &attrs, BUILD_DIMS(2, 6, 8, 4));
    check_and_renew();
    attrs = exn_attrs_default();
    attrs.axis = 1;
    exn_value_id indices = build_i64(graph, BUILD_DIMS(3), (const int64_t[]){4, -6, 1});
    build_node(graph, EXN_OP_Gather, NULL, BUILD_INPUTS(map, indices), &attrs, BUILD_DIMS(2, 3, 5, 7));
    check_and_renew();
    indices = build_i64(graph, 0, NULL, (const int64_t[]){2});
    build_node(graph, EXN_OP_Gather, NULL, BUILD_INPUTS(map, indices), &attrs, BUILD_DIMS(2, 5, 7));
    check_and_renew();
}
END_TEST

int main(void) {
    return unit_run_with("lower", set_up, tear_down,
                         (const TTest *[]){convolutions, residuals, folded_scale_and_shift, matrices, matmul,
                                           activations, prelu_and_batchnorm, arithmetic_broadcasts,
                                           arithmetic_between_computed_values, pools, means_and_softmax,
                                           views_and_reorderings, channel_shuffle, transposes, concat_and_split,
                                           concat_of_convolutions, slice_pad_gather, NULL});
}
