/* SPDX-License-Identifier: Apache-2.0
 * Plans: order, memory without overlap and near its lower bound, what is dropped, what is refused. */
#include "arch/cpu.h"
#include "arch/select.h"
#include "graph/dump.h"
#include "graph/head.h"
#include "graph/model.h"
#include "graph/step.h"
#include "tests/unit/reference.h"
#include "tests/unit/unit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NONE EXN_VALUE_NONE

static exn_kernel_set best_set(exn_context *ctx) {
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_select(&set, ctx, exn_cpu_detect(), NULL));
    return set;
}

static exn_plan *make_plan(const exn_graph *graph, size_t threads, const exn_value_id *outputs, size_t count) {
    const exn_kernel_set set = best_set(graph->ctx);
    const exn_plan_options options = {.kernels = &set, .threads = threads, .outputs = outputs, .output_count = count};
    exn_plan *plan;
    unit_assert_ok(graph->ctx, exn_plan_create(&plan, graph, &options));
    return plan;
}

/* ---- Who owns each 64 bytes of the arena: every read must find what its producer wrote. ---- */
typedef struct owners {
    const exn_plan *plan;
    int64_t *block; /* the buffer as lowering made it, not the one it was merged into; -1 for scratch */
} owners;

static bool in_arena(const exn_operand *operand) {
    return !operand->constant && operand->buffer != EXN_NO_BUFFER;
}

static void claim(owners *o, size_t offset, size_t bytes, int64_t owner) {
    ck_assert_uint_eq(offset % EXN_ALIGNMENT, 0);
    ck_assert_uint_le(offset + bytes, o->plan->arena.bytes);
    for (size_t b = offset / EXN_ALIGNMENT; b < (offset + bytes + EXN_ALIGNMENT - 1) / EXN_ALIGNMENT; b++)
        o->block[b] = owner;
}

static void claim_operand(owners *o, const exn_operand *operand) {
    if (!in_arena(operand)) return;
    claim(o, operand->offset, o->plan->buffers[operand->buffer].bytes, operand->buffer);
}

static void expect_operand(const owners *o, const exn_operand *operand, const char *who) {
    if (!in_arena(operand)) return;
    const size_t begin = operand->offset / EXN_ALIGNMENT, bytes = o->plan->buffers[operand->buffer].bytes;
    for (size_t b = begin; b < begin + (bytes + EXN_ALIGNMENT - 1) / EXN_ALIGNMENT; b++)
        ck_assert_msg(o->block[b] == operand->buffer, "%s reads block %zu, which belongs to %lld, not %lld", who, b,
                      (long long)o->block[b], (long long)operand->buffer);
}

static void expect_inputs(const owners *o, const exn_step *step) {
    for (size_t i = 0; i < EXN_STEP_INPUTS; i++) expect_operand(o, &step->in[i], step->name);
    for (size_t i = 0; i < step->move_count; i++) expect_operand(o, &step->moves[i].from, step->name);
}

static void assert_memory_is_sound(const exn_plan *plan) {
    owners o = {plan, malloc((plan->arena.bytes / EXN_ALIGNMENT + 1) * sizeof(int64_t))};
    for (size_t b = 0; b < plan->arena.bytes / EXN_ALIGNMENT; b++) o.block[b] = -2;
    claim_operand(&o, &plan->input);
    for (size_t s = 0; s < plan->step_count; s++) {
        const exn_step *step = &plan->steps[s];
        claim(&o, step->workspace_offset, step->workspace_bytes * plan->threads, -1);
        expect_inputs(&o, step);
        claim_operand(&o, &step->out);
        for (size_t i = 0; i < EXN_STEP_INPUTS; i++) /* the result must not lie on what is read */
            if (!(step->in_place & (1u << i))) expect_operand(&o, &step->in[i], step->name);
        for (size_t i = step->output_begin; i < step->output_end; i++)
            expect_operand(&o, &plan->outputs[i].at, "an output");
    }
    free(o.block);
    ck_assert_msg((double)plan->arena.bytes <= 1.05 * (double)plan->arena.lower_bound_bytes, "%zu of %zu bytes",
                  plan->arena.bytes, plan->arena.lower_bound_bytes);
    size_t largest = 0;
    for (size_t s = 0; s < plan->step_count; s++)
        if (plan->steps[s].live_bytes > largest) largest = plan->steps[s].live_bytes;
    ck_assert_uint_eq(largest, plan->arena.lower_bound_bytes);
}

/* ---- Networks ---- */
typedef struct network {
    exn_graph *graph;
    exn_value_id taps[8];
    size_t tap_count;
    exn_value_id outputs[9];
    size_t output_count;
} network;

static void close_network(network *net, exn_rng *rng) {
    const exn_value_id last = net->taps[net->tap_count - 1];
    net->output_count = 0;
    for (size_t i = 0; i + 1 < net->tap_count; i++)
        net->outputs[net->output_count++] = build_classifier(net->graph, rng, net->taps[i], 5);
    net->outputs[net->output_count++] = build_classifier(net->graph, rng, last, 7);
}

/* Expanding, depthwise, projecting blocks with residuals, and exits listed behind the whole backbone in the file. */
static network mobile_network(exn_context *ctx) {
    exn_rng rng = exn_rng_seed(1, 1);
    network net = {.graph = build_graph(ctx, BUILD_DIMS(1, 3, 48, 48))};
    exn_value_id x = build_conv(net.graph, &rng, net.graph->input, 8, 3, 2, 1, EXN_ACT_CLAMP, NONE);
    for (size_t block = 0; block < 5; block++) {
        const size_t c = block < 2 ? 8 : 16, stride = block == 2 ? 2 : 1;
        const exn_value_id wide = build_conv(net.graph, &rng, x, 6 * c, 1, 1, 1, EXN_ACT_CLAMP, NONE);
        const exn_value_id deep = build_conv(net.graph, &rng, wide, 6 * c, 3, stride, 6 * c, EXN_ACT_CLAMP, NONE);
        const bool same = block != 2;
        x = build_conv(net.graph, &rng, deep,
                       block < 1   ? 8
                       : block < 2 ? 8
                                   : 16,
                       1, 1, 1, EXN_ACT_NONE, same ? x : NONE);
        net.taps[net.tap_count++] = x;
    }
    close_network(&net, &rng);
    return net;
}

/* Residual blocks in which the addition is an operator of its own, and a projected shortcut. */
static network residual_network(exn_context *ctx, size_t batch) {
    exn_rng rng = exn_rng_seed(2, 1);
    network net = {.graph = build_graph(ctx, BUILD_DIMS(batch, 3, 16, 16))};
    exn_value_id x = build_conv(net.graph, &rng, net.graph->input, 8, 3, 1, 1, EXN_ACT_CLAMP, NONE);
    for (size_t block = 0; block < 3; block++) {
        const size_t stride = block == 1 ? 2 : 1, oc = block >= 1 ? 16 : 8, size = block >= 1 ? 8 : 16;
        exn_value_id y = build_conv(net.graph, &rng, x, oc, 3, stride, 1, EXN_ACT_CLAMP, NONE);
        y = build_conv(net.graph, &rng, y, oc, 3, 1, 1, EXN_ACT_NONE, NONE);
        const exn_value_id short_cut =
            block == 1 ? build_conv(net.graph, &rng, x, oc, 1, stride, 1, EXN_ACT_NONE, NONE) : x;
        const size_t rank_dims[4] = {batch, oc, size, size};
        y = build_node(net.graph, EXN_OP_Add, NULL, BUILD_INPUTS(y, short_cut), NULL, 4, rank_dims);
        x = build_unary(net.graph, EXN_OP_Relu, y, EXN_ACT_CLAMP, 0.0f, INFINITY);
        net.taps[net.tap_count++] = x;
    }
    close_network(&net, &rng);
    return net;
}

START_TEST(memory_is_sound_for_all_outputs_and_threads) {
    exn_context *ctx = unit_context();
    for (int which = 0; which < 2; which++) {
        network net = which ? residual_network(ctx, 2) : mobile_network(ctx);
        for (size_t threads = 1; threads <= 4; threads++)
            for (size_t count = 1; count <= net.output_count; count++) {
                exn_plan *plan = make_plan(net.graph, threads, net.outputs + net.output_count - count, count);
                assert_memory_is_sound(plan);
                exn_plan_destroy(plan);
            }
        exn_graph_destroy(net.graph);
    }
    exn_context_destroy(ctx);
}
END_TEST

/* The pretrained networks, where they lie beside the tree, with and without four exits. */
START_TEST(memory_of_real_networks) {
    static const char *const names[] = {"efficientnet_lite0", "wardrobe_lite0",   "grocery_lite0",   "mobilenet_v2",
                                        "squeezenet1_1",      "resnet20_cifar10", "resnet56_cifar10"};
    exn_context *ctx = unit_context();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char relative[96];
        snprintf(relative, sizeof relative, "../shared/data/models/%s.onnx", names[i]);
        char *path = unit_source_path(relative);
        const bool there = access(path, R_OK) == 0;
        exn_model *model = NULL;
        if (there) unit_assert_ok(ctx, exn_model_open(&model, ctx, path, NULL));
        free(path);
        if (!there) continue;
        for (size_t exits = 0; exits <= 4; exits += 4) {
            exn_graph *graph;
            exn_value_id outputs[5], prefix;
            size_t picked[4], count = 0;
            unit_assert_ok(ctx, exn_model_bind(&graph, model, 1, 0, 0));
            if (exits)
                unit_assert_ok(ctx, exn_taps_place(picked, &count, exits, model->taps, model->tap_count, NULL, ctx));
            for (size_t e = 0; e < count; e++) {
                const exn_tap *tap = &model->taps[picked[e]];
                exn_head head = {.kind = EXN_HEAD_CONV, .c = tap->c, .h = tap->h, .w = tap->w, .classes = 10};
                unit_assert_ok(ctx, exn_head_allocate(&head, ctx));
                const exn_value_id x = exn_graph_find(graph, tap->name);
                unit_assert_ok(ctx, exn_head_append(&prefix, &outputs[e], graph, x, &head));
                exn_head_free(&head, ctx);
            }
            outputs[count] = graph->output;
            for (size_t threads = 1; threads <= 2; threads++) {
                exn_plan *plan = make_plan(graph, threads, outputs, count + 1);
                assert_memory_is_sound(plan);
                exn_plan_destroy(plan);
            }
            exn_graph_destroy(graph);
        }
        exn_model_destroy(model);
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(exits_come_between_segments) {
    exn_context *ctx = unit_context();
    network net = mobile_network(ctx);
    exn_plan *plan = make_plan(net.graph, 1, net.outputs, net.output_count);
    size_t completed = 0;
    for (size_t s = 0; s < exn_plan_step_count(plan); s++) {
        const exn_plan_step step = exn_plan_get_step(plan, s);
        if (step.branch != 0) ck_assert_uint_eq(step.branch, completed + 1);
        if (step.output == SIZE_MAX) continue;
        ck_assert_uint_eq(step.output, completed);
        completed++;
    }
    ck_assert_uint_eq(completed, net.output_count);
    for (size_t i = 1; i < net.output_count; i++)
        ck_assert_uint_gt(exn_plan_output_macs(plan, i), exn_plan_output_macs(plan, i - 1));
    exn_plan_destroy(plan);
    exn_graph_destroy(net.graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(what_no_output_needs_is_dropped_and_never_read) {
    exn_context *ctx = unit_context();
    network net = mobile_network(ctx);
    /* The tail's weights lie where nobody may read. */
    void *forbidden = mmap(NULL, 1u << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(forbidden, MAP_FAILED);
    const exn_shape shape = exn_shape_of(4, (const size_t[]){8, 16, 1, 1});
    exn_value_id weight;
    unit_assert_ok(ctx, exn_graph_constant(&weight, net.graph, NULL, EXN_F32, &shape, forbidden, false));
    const exn_value_id tail =
        build_node(net.graph, EXN_OP_Conv, "tail", BUILD_INPUTS(net.taps[4], weight), NULL, BUILD_DIMS(1, 8, 12, 12));
    ck_assert_uint_eq(net.graph->output, tail);
    exn_plan *whole = make_plan(net.graph, 1, net.outputs, net.output_count);
    exn_plan *cut = make_plan(net.graph, 1, net.outputs, 2);
    ck_assert_uint_lt(exn_plan_step_count(cut), exn_plan_step_count(whole));
    ck_assert_uint_lt(exn_plan_packed_bytes(cut), exn_plan_packed_bytes(whole));
    for (size_t s = 0; s < exn_plan_step_count(whole); s++) ck_assert_str_ne(exn_plan_get_step(whole, s).name, "tail");
    exn_plan_destroy(whole);
    exn_plan_destroy(cut);
    exn_graph_destroy(net.graph);
    munmap(forbidden, 1u << 20);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(packed_weights_do_not_depend_on_threads) {
    exn_context *ctx = unit_context();
    network net = mobile_network(ctx);
    exn_plan *one = make_plan(net.graph, 1, net.outputs, net.output_count);
    exn_plan *four = make_plan(net.graph, 4, net.outputs, net.output_count);
    ck_assert_uint_eq(exn_plan_packed_bytes(one), exn_plan_packed_bytes(four));
    ck_assert_uint_eq(exn_plan_step_count(one), exn_plan_step_count(four));
    for (size_t s = 0; s < one->step_count; s++) ck_assert_str_eq(one->steps[s].algorithm, four->steps[s].algorithm);
    exn_plan_destroy(one);
    exn_plan_destroy(four);
    exn_graph_destroy(net.graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(a_dying_residual_is_overwritten) {
    exn_context *ctx = unit_context();
    exn_rng rng = exn_rng_seed(3, 1);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(1, 8, 8, 8));
    const exn_value_id a = build_conv(graph, &rng, graph->input, 8, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id b = build_conv(graph, &rng, a, 8, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id c = build_conv(graph, &rng, b, 8, 1, 1, 1, EXN_ACT_CLAMP, a);
    exn_plan *plan = make_plan(graph, 1, &c, 1);
    ck_assert_uint_eq(plan->steps[2].out.offset, plan->steps[2].in[1].offset);
    assert_memory_is_sound(plan);
    exn_plan_destroy(plan);
    const exn_value_id keep[2] = {c, a}; /* now the residual is handed out after the result */
    plan = make_plan(graph, 1, keep, 2);
    ck_assert_uint_ne(plan->steps[2].out.offset, plan->steps[2].in[1].offset);
    assert_memory_is_sound(plan);
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(a_living_value_is_not_overwritten) {
    exn_context *ctx = unit_context();
    exn_rng rng = exn_rng_seed(3, 2);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(1, 8, 8, 8));
    const exn_value_id a = build_conv(graph, &rng, graph->input, 8, 1, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id b = build_unary(graph, EXN_OP_Sigmoid, a, EXN_ACT_SIGMOID, 0, 0);
    const exn_value_id c = build_conv(graph, &rng, b, 8, 1, 1, 1, EXN_ACT_CLAMP, a);
    const exn_value_id d = build_node(graph, EXN_OP_Mul, NULL, BUILD_INPUTS(a, c), NULL, BUILD_DIMS(1, 8, 8, 8));
    const exn_value_id e = build_conv(graph, &rng, d, 8, 1, 1, 1, EXN_ACT_CLAMP, a);
    exn_plan *plan = make_plan(graph, 1, &e, 1);
    assert_memory_is_sound(plan);
    ck_assert_uint_eq(plan->steps[4].out.offset, plan->steps[4].in[1].offset); /* here it dies */
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(flatten_into_constant_weights_moves_nothing) {
    exn_context *ctx = unit_context();
    exn_rng rng = exn_rng_seed(4, 1);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(2, 3, 4, 4));
    const exn_value_id x = build_conv(graph, &rng, graph->input, 6, 3, 1, 1, EXN_ACT_CLAMP, NONE);
    const exn_value_id flat = build_node(graph, EXN_OP_Flatten, NULL, &x, 1, NULL, BUILD_DIMS(2, 96));
    exn_attrs attrs = exn_attrs_default();
    attrs.alpha = attrs.beta = 1.0f;
    const exn_value_id w = build_random(graph, &rng, BUILD_DIMS(96, 5), 0.2f);
    const exn_value_id y = build_node(graph, EXN_OP_Gemm, NULL, BUILD_INPUTS(flat, w), &attrs, BUILD_DIMS(2, 5));
    exn_plan *plan = make_plan(graph, 1, &y, 1);
    ck_assert_uint_eq(exn_plan_step_count(plan), 2);
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(plans_can_be_read) {
    exn_context *ctx = unit_context();
    network net = mobile_network(ctx);
    exn_plan *plan = make_plan(net.graph, 2, net.outputs, net.output_count);
    char *text;
    unit_assert_ok(ctx, exn_plan_text(&text, plan));
    size_t lines = 0;
    for (const char *at = text; *at; at++) lines += *at == '\n';
    ck_assert_uint_eq(lines, 1 + plan->step_count);
    ck_assert_ptr_nonnull(strstr(text, " branch 2 output 1\n"));
    ck_assert_ptr_nonnull(strstr(text, " in place "));
    exn_free(ctx, text);
    exn_plan_destroy(plan);
    exn_graph_destroy(net.graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(refusals_name_the_node) {
    exn_context *ctx = unit_context();
    const exn_kernel_set set = best_set(ctx);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(1, 3, 4, 4));
    exn_value_id y = build_node(graph, EXN_OP_Shape, "odd", &graph->input, 1, NULL, BUILD_DIMS(4));
    exn_plan *plan = NULL;
    exn_plan_options options = {.kernels = &set, .threads = 1, .outputs = &y, .output_count = 1};
    unit_assert_fails(ctx, exn_plan_create(&plan, graph, &options), EXN_E_UNSUPPORTED, "odd (Shape)");
    options.threads = 0;
    unit_assert_fails(ctx, exn_plan_create(&plan, graph, &options), EXN_E_INVALID, "thread");
    const exn_value_id beyond = 99;
    options = (exn_plan_options){.kernels = &set, .threads = 1, .outputs = &beyond, .output_count = 1};
    unit_assert_fails(ctx, exn_plan_create(&plan, graph, &options), EXN_E_INVALID, "output 0");
    ck_assert_ptr_null(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status plan_once(exn_context *ctx, void *user) {
    network *net = user;
    net->graph->ctx = ctx;
    const exn_kernel_set set = best_set(ctx);
    const exn_plan_options options = {
        .kernels = &set, .threads = 2, .outputs = net->outputs, .output_count = net->output_count};
    exn_plan *plan;
    EXN_TRY(exn_plan_create(&plan, net->graph, &options));
    exn_plan_destroy(plan);
    return EXN_OK;
}

START_TEST(short_of_memory) {
    exn_context *ctx = unit_context();
    network net = residual_network(ctx, 1);
    unit_sweep_failures(plan_once, &net);
    net.graph->ctx = ctx;
    exn_graph_destroy(net.graph);
    exn_context_destroy(ctx);
}
END_TEST

int main(void) {
    return unit_run("plan",
                    (const TTest *[]){memory_is_sound_for_all_outputs_and_threads, memory_of_real_networks,
                                      exits_come_between_segments, what_no_output_needs_is_dropped_and_never_read,
                                      packed_weights_do_not_depend_on_threads, a_dying_residual_is_overwritten,
                                      a_living_value_is_not_overwritten, flatten_into_constant_weights_moves_nothing,
                                      plans_can_be_read, refusals_name_the_node, short_of_memory, NULL});
}
