/* SPDX-License-Identifier: Apache-2.0
 * Heads: folded operators compute what the unfolded tensors say; shapes, memory, the network's own classifier. */
#include "graph/head.h"
#include "tests/unit/check_graph.h"
#include "tests/unit/unit.h"

#include <math.h>
#include <stdlib.h>

#define BATCH 2u

static const exn_head_kind kinds[] = {EXN_HEAD_LINEAR, EXN_HEAD_POOLED, EXN_HEAD_CONV, EXN_HEAD_CONV2, EXN_HEAD_WIDE};

static void randomise(exn_head *head, exn_rng *rng) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        const bool positive = exn_head_starts_as_ones((exn_head_tensor)which);
        for (size_t i = 0; i < count; i++)
            head->tensor[which][i] = positive ? 0.5f + exn_rng_uniform(rng) : exn_rng_uniform(rng) - 0.5f;
    }
}

/* Maps here are [h][w][c] in double, as heads count features. */
static double *pool_map(const double *map, size_t h, size_t w, size_t c, size_t oh, size_t ow) {
    double *out = calloc(oh * ow * c, sizeof *out);
    for (size_t y = 0; y < oh; y++)
        for (size_t x = 0; x < ow; x++) {
            const size_t y0 = y * h / oh, y1 = ((y + 1) * h + oh - 1) / oh;
            const size_t x0 = x * w / ow, x1 = ((x + 1) * w + ow - 1) / ow;
            for (size_t i = y0; i < y1; i++)
                for (size_t j = x0; j < x1; j++)
                    for (size_t k = 0; k < c; k++)
                        out[(y * ow + x) * c + k] += map[(i * w + j) * c + k] / (double)((y1 - y0) * (x1 - x0));
        }
    return out;
}

static double *conv_map(const exn_head *head, const double *map, const exn_head_stage *s) {
    float *const *tensor = head->tensor + s->first; /* depthwise, 1x1, scale, shift, mean, variance */
    double *out = calloc(s->oh * s->ow * s->hidden, sizeof *out), *deep = calloc(s->c, sizeof *deep);
    for (size_t p = 0; p < s->oh * s->ow; p++) {
        memset(deep, 0, s->c * sizeof *deep);
        for (size_t tap = 0; tap < 9; tap++) {
            const size_t y = p / s->ow * s->stride + tap / 3 - 1, x = p % s->ow * s->stride + tap % 3 - 1;
            if (y >= s->h || x >= s->w) continue;
            for (size_t k = 0; k < s->c; k++)
                deep[k] += map[(y * s->w + x) * s->c + k] * (double)tensor[0][tap * s->c + k];
        }
        for (size_t j = 0; j < s->hidden; j++) {
            double sum = 0;
            for (size_t k = 0; k < s->c; k++) sum += deep[k] * (double)tensor[1][j * s->c + k];
            sum = (sum - (double)tensor[4][j]) / sqrt((double)tensor[5][j] + (double)EXN_HEAD_EPSILON);
            out[p * s->hidden + j] = fmax(sum * (double)tensor[2][j] + (double)tensor[3][j], 0);
        }
    }
    free(deep);
    return out;
}

/* Logits of one sample, straight from the definition in head.h. */
static void define_logits(double *logits, const exn_head *head, const double *map) {
    size_t h = head->h, w = head->w, c = head->c;
    double *convolved = NULL;
    if (exn_head_stages(head->kind) && h >= 48 && w >= 48) {
        map = convolved = pool_map(map, h, w, c, h / 2, w / 2);
        h /= 2;
        w /= 2;
    }
    for (size_t i = 0; i < exn_head_stages(head->kind); i++) {
        const exn_head_stage stage = exn_head_stage_at(head, i);
        double *next = conv_map(head, map, &stage);
        free(convolved);
        map = convolved = next;
        h = stage.oh;
        w = stage.ow;
        c = stage.hidden;
    }
    const size_t grid = head->kind == EXN_HEAD_LINEAR ? 1 : head->kind == EXN_HEAD_CONV2 ? 3 : 4;
    double *x = pool_map(map, h, w, c, h < grid ? h : grid, w < grid ? w : grid);
    const size_t features = exn_head_features(head);
    for (size_t j = 0; j < head->classes; j++) {
        logits[j] = (double)head->tensor[EXN_HEAD_FC_BIAS][j];
        for (size_t i = 0; i < features; i++)
            logits[j] += (double)head->tensor[EXN_HEAD_FC_WEIGHT][j * features + i] *
                         (x[i] - (double)head->tensor[EXN_HEAD_MEAN][i]) * (double)head->tensor[EXN_HEAD_INV_STD][i];
    }
    free(x);
    free(convolved);
}

static void check_head(exn_context *ctx, exn_head_kind kind, size_t h, size_t w) {
    exn_rng rng = exn_rng_seed(kind * 100 + h, 2);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(BATCH, 12, h, w));
    exn_head head = {.kind = kind, .c = 12, .h = h, .w = w, .classes = 5};
    unit_assert_ok(ctx, exn_head_allocate(&head, ctx));
    randomise(&head, &rng);
    exn_value_id outputs[2], tail;
    unit_assert_ok(ctx, exn_head_append(&outputs[0], &outputs[1], graph, graph->input, &head));
    size_t ph, pw, pc;
    const size_t prefix_count = exn_head_prefix_shape(&ph, &pw, &pc, &head);
    ck_assert_uint_eq(exn_shape_elements(&graph->values[outputs[0]].shape), BATCH * prefix_count);
    float *input = check_input(graph, 4), *prefix = malloc(BATCH * prefix_count * sizeof *prefix), logits[BATCH * 5];

    exn_plan *plan = check_plan(graph, NULL, 2, outputs, 2);
    exn_exec *exec;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    exn_exec_set_nchw(exec, input);
    exn_exec_run(exec, (float *[]){prefix, logits});
    double expected[BATCH * 5];
    float rounded[BATCH * 5];
    double *map = malloc(h * w * 12 * sizeof *map);
    for (size_t n = 0; n < BATCH; n++) {
        for (size_t p = 0; p < h * w; p++)
            for (size_t c = 0; c < 12; c++) map[p * 12 + c] = (double)input[(n * 12 + c) * h * w + p];
        define_logits(expected + 5 * n, &head, map);
    }
    for (size_t i = 0; i < BATCH * 5; i++) rounded[i] = (float)expected[i];
    unit_assert_near(logits, rounded, BATCH * 5, 1e-4, 1e-5);
    ck_assert_uint_eq(exn_plan_output_macs(plan, 1), BATCH * exn_head_macs(&head));
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);

    /* From the cached prefix: the same bits. */
    exn_graph *from_cache = ph * pw == 1 && kind == EXN_HEAD_LINEAR ? build_graph(ctx, BUILD_DIMS(BATCH, pc))
                                                                    : build_graph(ctx, BUILD_DIMS(BATCH, pc, ph, pw));
    unit_assert_ok(ctx, exn_head_append_tail(&tail, from_cache, from_cache->input, &head));
    plan = check_plan(from_cache, NULL, 1, &tail, 1);
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    memcpy(exn_exec_input(exec), prefix, BATCH * prefix_count * sizeof *prefix);
    float again[BATCH * 5];
    exn_exec_run(exec, (float *[]){again});
    unit_assert_same_bits(again, logits, BATCH * 5);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    exn_graph_destroy(from_cache);
    free(map);
    free(prefix);
    free(input);
    exn_head_free(&head, ctx);
    exn_graph_destroy(graph);
}

START_TEST(folded_heads_compute_their_definition) {
    exn_context *ctx = unit_context();
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        check_head(ctx, kinds[k], 50, 51); /* halved first */
        check_head(ctx, kinds[k], 14, 15); /* stride 2 */
        check_head(ctx, kinds[k], 7, 7);
        check_head(ctx, kinds[k], 4, 3); /* smaller than the grid */
        check_head(ctx, kinds[k], 1, 1);
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(shapes_and_names) {
    const exn_head head = {.kind = EXN_HEAD_CONV, .c = 24, .h = 28, .w = 28, .classes = 17};
    const exn_head_stage stage = exn_head_stage_at(&head, 0);
    ck_assert(stage.oh == 14 && stage.ow == 14 && stage.stride == 2);
    ck_assert_uint_eq(exn_head_features(&head), 16 * 64);
    ck_assert_uint_eq(exn_head_macs(&head), 14 * 14 * 24 * (9 + 64) + 17 * 1024);
    const exn_head deep = {.kind = EXN_HEAD_CONV2, .c = 24, .h = 28, .w = 28, .classes = 17};
    ck_assert_uint_eq(exn_head_features(&deep), 9 * 256);
    ck_assert_uint_eq(exn_head_macs(&deep), 14 * 14 * 24 * (9 + 128) + 7 * 7 * 128 * (9 + 256) + 17 * 9 * 256);
    exn_shape shape;
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &head, EXN_HEAD_DW2_WEIGHT), 0);
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &deep, EXN_HEAD_PW2_WEIGHT), 256 * 128);
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &head, EXN_HEAD_FC_WEIGHT), 17 * 1024);
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &head, EXN_HEAD_DW_WEIGHT), 9 * 24);
    const exn_head linear = {.kind = EXN_HEAD_LINEAR, .c = 24, .h = 28, .w = 28, .classes = 17};
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &linear, EXN_HEAD_PW_WEIGHT), 0);
    ck_assert_uint_eq(exn_head_tensor_shape(&shape, &linear, EXN_HEAD_BN_VAR), 0);
    ck_assert_str_eq(exn_head_tensor_name(EXN_HEAD_FC_BIAS), "fc.bias");
    for (int a = 0; a < EXN_HEAD_TENSORS; a++)
        for (int b = 0; b < a; b++)
            ck_assert_str_ne(exn_head_tensor_name((exn_head_tensor)a), exn_head_tensor_name((exn_head_tensor)b));
}
END_TEST

/* The head made from the network's last layer gives the network's own bits. */
START_TEST(a_classifier_starts_as_the_networks_own) {
    exn_context *ctx = unit_context();
    exn_rng rng = exn_rng_seed(6, 6);
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(BATCH, 3, 8, 8));
    const exn_value_id x = build_conv(graph, &rng, graph->input, 10, 3, 1, 1, EXN_ACT_CLAMP, EXN_VALUE_NONE);
    const exn_value_id own = build_classifier(graph, &rng, x, 6);
    const exn_value_id features = graph->nodes[graph->node_count - 1].inputs[0];
    exn_head head;
    unit_assert_ok(ctx, exn_head_from_classifier(&head, ctx, graph));
    ck_assert_int_eq(head.kind, EXN_HEAD_CLASSIFIER);
    ck_assert_uint_eq(head.c, 10);
    ck_assert_uint_eq(head.classes, 6);
    exn_value_id prefix, again;
    unit_assert_ok(ctx, exn_head_append(&prefix, &again, graph, features, &head));
    ck_assert_uint_eq(prefix, features);
    exn_head_free(&head, ctx); /* the graph has its own copy */
    const exn_value_id outputs[2] = {own, again};
    exn_plan *plan = check_plan(graph, NULL, 1, outputs, 2);
    exn_exec *exec;
    unit_assert_ok(ctx, exn_exec_create(&exec, ctx, plan));
    float *input = check_input(graph, 1), a[BATCH * 6], b[BATCH * 6];
    exn_exec_set_nchw(exec, input);
    exn_exec_run(exec, (float *[]){a, b});
    unit_assert_same_bits(b, a, BATCH * 6);
    free(input);
    exn_exec_destroy(exec);
    exn_plan_destroy(plan);
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(heads_that_do_not_fit) {
    exn_context *ctx = unit_context();
    exn_graph *graph = build_graph(ctx, BUILD_DIMS(1, 12, 6, 6));
    exn_head head = {.kind = EXN_HEAD_LINEAR, .c = 13, .h = 6, .w = 6, .classes = 5};
    exn_value_id prefix, logits;
    unit_assert_ok(ctx, exn_head_allocate(&head, ctx));
    unit_assert_fails(ctx, exn_head_append(&prefix, &logits, graph, graph->input, &head), EXN_E_SHAPE, "1x12x6x6");
    exn_head_free(&head, ctx);
    unit_assert_fails(ctx, exn_head_from_classifier(&head, ctx, graph), EXN_E_UNSUPPORTED, "classifier");
    exn_graph_destroy(graph);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status append_once(exn_context *ctx, void *user) {
    (void)user;
    exn_head head = {.kind = EXN_HEAD_CONV, .c = 3, .h = 6, .w = 6, .classes = 5};
    exn_graph *graph = NULL;
    exn_value_id prefix, logits;
    const exn_shape shape = exn_shape_of(4, (const size_t[]){1, 3, 6, 6});
    EXN_TRY(exn_head_allocate(&head, ctx));
    exn_status status = exn_graph_create(&graph, ctx);
    if (status == EXN_OK) status = exn_graph_value(&graph->input, graph, "x", EXN_F32, &shape);
    if (status == EXN_OK) status = exn_head_append(&prefix, &logits, graph, graph->input, &head);
    exn_graph_destroy(graph);
    exn_head_free(&head, ctx);
    return status;
}

START_TEST(short_of_memory) {
    unit_sweep_failures(append_once, NULL);
}
END_TEST

int main(void) {
    return unit_run("head", (const TTest *[]){folded_heads_compute_their_definition, shapes_and_names,
                                              a_classifier_starts_as_the_networks_own, heads_that_do_not_fit,
                                              short_of_memory, NULL});
}
