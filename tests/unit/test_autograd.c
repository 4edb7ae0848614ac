/* SPDX-License-Identifier: Apache-2.0
 * The tape by itself: order, accumulation, lives, replay. The rules here are toys whose gradients are known by hand. */
#include "core/autograd.h"
#include "tests/unit/unit.h"

#include <string.h>

/* y = a * b, element by element. */
static void multiply_forward(const exn_step_view *v) {
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[2]); i += v->part.count)
        v->value[2][i] = v->value[0][i] * v->value[1][i];
}
static void multiply_backward(const exn_step_view *v) {
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[2]); i += v->part.count) {
        if (v->grad[0]) v->grad[0][i] += v->grad[2][i] * v->value[1][i];
        if (v->grad[1]) v->grad[1][i] += v->grad[2][i] * v->value[0][i];
    }
}
static const exn_step_rule multiply = {"multiply", multiply_forward, multiply_backward, .backward_reads_inputs = true};

/* y = 3x, through a workspace. */
static void triple_forward(const exn_step_view *v) {
    float *scratch = v->workspace;
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[0]); i += v->part.count) {
        scratch[i] = 3.0f;
        v->value[1][i] = scratch[i] * v->value[0][i];
    }
}
static void triple_backward(const exn_step_view *v) {
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[0]); i += v->part.count)
        if (v->grad[0]) v->grad[0][i] += 3.0f * v->grad[1][i];
}
static const exn_step_rule triple = {.name = "triple", .forward = triple_forward, .backward = triple_backward};

static void sum_forward(const exn_step_view *v) {
    if (v->part.index) return;
    float sum = 0;
    for (size_t i = 0; i < exn_shape_elements(v->shape[0]); i++) sum += v->value[0][i];
    v->value[1][0] = sum;
}
static void sum_backward(const exn_step_view *v) {
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[0]); i += v->part.count)
        if (v->grad[0]) v->grad[0][i] += v->grad[1][0];
}
static const exn_step_rule sum = {.name = "sum", .forward = sum_forward, .backward = sum_backward};

#define N 100u
static const exn_shape vector = {1, {N}};
static const exn_shape scalar = {0, {0}};

/* loss = sum((3 * (x * w)) * (x * w)) = 3 sum x^2 w^2: w is read twice through one value. */
typedef struct model {
    exn_tape *tape;
    exn_var x, w, loss;
    float weight[N], gradient[N];
    void *arena;
    exn_arena_plan plan;
} model;

static exn_status build(model *m, exn_context *ctx) {
    EXN_TRY(exn_tape_create(&m->tape, ctx));
    EXN_TRY(exn_tape_variable(&m->x, m->tape, EXN_VAR_INPUT, &vector));
    EXN_TRY(exn_tape_variable(&m->w, m->tape, EXN_VAR_PARAMETER, &vector));
    exn_tape_bind(m->tape, m->w, m->weight, m->gradient);
    exn_var product, tripled, squared;
    EXN_TRY(exn_tape_push(&product, m->tape, &multiply, NULL, (exn_var[]){m->x, m->w}, 2, &vector, 0));
    EXN_TRY(exn_tape_push(&tripled, m->tape, &triple, NULL, &product, 1, &vector, N * sizeof(float)));
    EXN_TRY(exn_tape_push(&squared, m->tape, &multiply, NULL, (exn_var[]){tripled, product}, 2, &vector, 0));
    EXN_TRY(exn_tape_push(&m->loss, m->tape, &sum, NULL, &squared, 1, &scalar, 0));
    EXN_TRY(exn_tape_plan(&m->plan, m->tape, &m->loss, 1));
    m->arena = exn_malloc(ctx, 1, m->plan.bytes);
    if (!m->arena) return EXN_E_NOMEM;
    memset(m->arena, 0xA5, m->plan.bytes);
    exn_tape_place(m->tape, m->arena);
    return EXN_OK;
}

static void destroy(model *m, exn_context *ctx) {
    exn_tape_destroy(m->tape);
    exn_free(ctx, m->arena);
}

static void replay(void *argument, exn_part part) {
    model *m = argument;
    exn_tape_forward(m->tape, part);
    exn_tape_backward(m->tape, m->loss, part);
}

static void check_gradient(model *m, exn_pool *pool) {
    for (size_t i = 0; i < N; i++) {
        exn_tape_value(m->tape, m->x)[i] = (float)(i % 7) - 3.0f;
        m->weight[i] = (float)(i % 5) - 1.0f;
    }
    for (int times = 0; times < 3; times++) {
        exn_pool_run(pool, replay, m);
        float loss = 0;
        for (size_t i = 0; i < N; i++) {
            const float x = (float)(i % 7) - 3.0f, w = (float)(i % 5) - 1.0f;
            loss += 3 * x * x * w * w;
            ck_assert_float_eq(m->gradient[i], 6 * x * x * w);
        }
        ck_assert_float_eq(exn_tape_value(m->tape, m->loss)[0], loss);
    }
}

START_TEST(gradients_by_hand) {
    exn_context *ctx = unit_context();
    for (size_t threads = 1; threads <= 3; threads++) {
        model m = {0};
        exn_pool *pool = NULL;
        unit_assert_ok(ctx, build(&m, ctx));
        unit_assert_ok(ctx, exn_pool_create(&pool, ctx, threads));
        check_gradient(&m, pool);
        exn_pool_destroy(pool);
        destroy(&m, ctx);
    }
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(arena_is_tight) {
    exn_context *ctx = unit_context();
    model m = {0};
    unit_assert_ok(ctx, build(&m, ctx));
    ck_assert_uint_eq(m.plan.bytes, m.plan.lower_bound_bytes);
    destroy(&m, ctx);
    exn_context_destroy(ctx);
}
END_TEST

/* Nothing learns behind a frozen parameter: no gradient, and no memory for one. */
START_TEST(frozen_parameter) {
    exn_context *ctx = unit_context();
    exn_tape *tape;
    exn_var w, y, loss;
    float weight[N] = {0};
    exn_arena_plan plan;
    unit_assert_ok(ctx, exn_tape_create(&tape, ctx));
    unit_assert_ok(ctx, exn_tape_variable(&w, tape, EXN_VAR_PARAMETER, &vector));
    exn_tape_bind(tape, w, weight, NULL);
    unit_assert_ok(ctx, exn_tape_push(&y, tape, &triple, NULL, &w, 1, &vector, N * sizeof(float)));
    unit_assert_ok(ctx, exn_tape_push(&loss, tape, &sum, NULL, &y, 1, &scalar, 0));
    unit_assert_ok(ctx, exn_tape_plan(&plan, tape, NULL, 0));
    void *arena = exn_malloc(ctx, 1, plan.bytes);
    exn_tape_place(tape, arena);
    ck_assert_ptr_null(exn_tape_grad(tape, y));
    exn_tape_forward(tape, exn_part_whole());
    exn_tape_backward(tape, loss, exn_part_whole());
    exn_free(ctx, arena);
    exn_tape_destroy(tape);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(misuse) {
    exn_context *ctx = unit_context();
    exn_tape *tape;
    exn_var v, y;
    exn_arena_plan plan;
    unit_assert_ok(ctx, exn_tape_create(&tape, ctx));
    unit_assert_fails(ctx, exn_tape_plan(&plan, tape, NULL, 0), EXN_E_INVALID, "empty");
    v = 7;
    unit_assert_fails(ctx, exn_tape_push(&y, tape, &sum, NULL, &v, 1, &scalar, 0), EXN_E_INVALID, "does not exist");
    unit_assert_ok(ctx, exn_tape_variable(&v, tape, EXN_VAR_INPUT, &vector));
    unit_assert_fails(
        ctx, exn_tape_push(&y, tape, &sum, NULL, (exn_var[EXN_STEP_VARS_MAX]){v}, EXN_STEP_VARS_MAX, &scalar, 0),
        EXN_E_INVALID, "inputs");
    unit_assert_ok(ctx, exn_tape_push(&y, tape, &sum, NULL, &v, 1, &scalar, 0));
    unit_assert_ok(ctx, exn_tape_plan(&plan, tape, NULL, 0));
    unit_assert_fails(ctx, exn_tape_push(&y, tape, &sum, NULL, &v, 1, &scalar, 0), EXN_E_INVALID, "after planning");
    exn_tape_destroy(tape);
    exn_tape_destroy(NULL);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status build_and_drop(exn_context *ctx, void *user) {
    (void)user;
    model m = {0};
    const exn_status status = build(&m, ctx);
    destroy(&m, ctx);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(build_and_drop, NULL);
}
END_TEST

int main(void) {
    return unit_run("autograd", (const TTest *const[]){gradients_by_hand, arena_is_tight, frozen_parameter, misuse,
                                                       memory_may_fail, NULL});
}
