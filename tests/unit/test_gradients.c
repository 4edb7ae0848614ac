/* SPDX-License-Identifier: Apache-2.0
 * Every layer's gradient against central differences of a naive forward in double precision.
 *
 * The reference shares nothing with the library but the definition. The loss is a fixed random weighting of the layer's
 * output, so its gradient reaches every element. Inputs within reach of a kink are moved away from it. */
#include "arch/select.h"
#include "core/rng.h"
#include "tests/unit/unit.h"
#include "train/layers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VARS_MAX 4u
#define STEP 1e-4

typedef struct problem problem;
typedef exn_status record_fn(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *vars);
typedef void reference_fn(const problem *p, double *const *vars, double *y);

struct problem {
    const char *name;
    size_t vars; /* parameters of the tape: everything that gets a gradient */
    exn_shape shape[VARS_MAX], out;
    size_t stride, grid, n;
    float lo, hi, temperature;
    bool frozen;
    record_fn *record;
    reference_fn *reference;
    const float *fixed[2]; /* inputs without gradient: statistics, or target and weight */
    exn_shape fixed_shape[2];
    size_t fixed_count;
    float *running[2], *saved[2];
};

/* loss = sum y * weighting: a rule of its own, so that any output can be differentiated. */
static void weigh_forward(const exn_step_view *v) {
    const float *weighting = v->state;
    if (v->part.index) return;
    v->value[1][0] = 0;
    for (size_t i = 0; i < exn_shape_elements(v->shape[0]); i++) v->value[1][0] += v->value[0][i] * weighting[i];
}
static void weigh_backward(const exn_step_view *v) {
    const float *weighting = v->state;
    for (size_t i = v->part.index; i < exn_shape_elements(v->shape[0]); i += v->part.count)
        v->grad[0][i] += v->grad[1][0] * weighting[i];
}
static const exn_step_rule weigh = {.name = "weigh", .forward = weigh_forward, .backward = weigh_backward};

static float *random_floats(size_t count, uint64_t seed) {
    exn_rng rng = exn_rng_seed(seed, 7);
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) values[i] = 2.0f * exn_rng_uniform(&rng) - 1.0f;
    return values;
}

static double weighted(const problem *p, double *const *vars, const float *weighting, double *y) {
    double sum = 0;
    p->reference(p, vars, y);
    for (size_t i = 0; i < exn_shape_elements(&p->out); i++) sum += y[i] * (double)weighting[i];
    return sum;
}

typedef struct replay {
    exn_tape *tape;
    exn_var loss;
} replay;
static void run(void *argument, exn_part part) {
    const replay *r = argument;
    exn_tape_forward(r->tape, part);
    exn_tape_backward(r->tape, r->loss, part);
}

/* The library's gradients of all variables, with `threads` threads. */
static void library_gradients(exn_context *ctx, const exn_kernel_set *set, const problem *p, float *const *value,
                              float *const *gradient, const float *weighting, size_t threads) {
    exn_tape *tape;
    exn_pool *pool;
    exn_layer layer = {.ctx = ctx, .set = set, .parts = threads};
    exn_var vars[VARS_MAX + 2], y, loss;
    exn_arena_plan plan;
    unit_assert_ok(ctx, exn_pool_create(&pool, ctx, threads));
    unit_assert_ok(ctx, exn_tape_create(&tape, ctx));
    for (size_t i = 0; i < p->vars; i++) {
        unit_assert_ok(ctx, exn_tape_variable(&vars[i], tape, EXN_VAR_PARAMETER, &p->shape[i]));
        exn_tape_bind(tape, vars[i], value[i], gradient[i]);
    }
    for (size_t i = 0; i < p->fixed_count; i++)
        unit_assert_ok(ctx, exn_tape_variable(&vars[p->vars + i], tape, EXN_VAR_INPUT, &p->fixed_shape[i]));
    unit_assert_ok(ctx, p->record(&y, tape, &layer, p, vars));
    const exn_shape scalar = {0, {0}};
    unit_assert_ok(ctx, exn_tape_push(&loss, tape, &weigh, (void *)(uintptr_t)weighting, &y, 1, &scalar, 0));
    unit_assert_ok(ctx, exn_tape_plan(&plan, tape, NULL, 0));
    void *arena = exn_malloc(ctx, 1, plan.bytes);
    memset(arena, 0xFF, plan.bytes); /* NaN: nothing may read what nobody wrote */
    exn_tape_place(tape, arena);
    for (size_t i = 0; i < p->fixed_count; i++)
        memcpy(exn_tape_value(tape, vars[p->vars + i]), p->fixed[i],
               exn_shape_elements(&p->fixed_shape[i]) * sizeof(float));
    exn_pool_run(pool, run, &(replay){tape, loss});
    exn_free(ctx, arena);
    exn_tape_destroy(tape);
    exn_pool_destroy(pool);
}

static void check_variable(const problem *p, size_t v, double *const *vars, const float *gradient,
                           const float *weighting, double *y) {
    for (size_t i = 0; i < exn_shape_elements(&p->shape[v]); i++) {
        const double at = vars[v][i];
        vars[v][i] = at + STEP;
        const double above = weighted(p, vars, weighting, y);
        vars[v][i] = at - STEP;
        const double below = weighted(p, vars, weighting, y);
        vars[v][i] = at;
        const double expected = (above - below) / (2 * STEP);
        ck_assert_msg(fabs((double)gradient[i] - expected) <= 2e-4 + 2e-4 * fabs(expected),
                      "%s: gradient of variable %zu at %zu is %g, not %g", p->name, v, i, (double)gradient[i],
                      expected);
    }
}

static void check(problem *p, uint64_t seed) {
    exn_context *ctx = unit_context();
    exn_kernel_set set;
    unit_assert_ok(ctx, exn_kernels_for_context(&set, ctx));
    float *value[VARS_MAX], *gradient[VARS_MAX], *again[VARS_MAX];
    double *vars[VARS_MAX];
    float *weighting = random_floats(exn_shape_elements(&p->out), seed + 99);
    double *y = malloc(exn_shape_elements(&p->out) * sizeof *y);
    for (size_t v = 0; v < p->vars; v++) {
        const size_t count = exn_shape_elements(&p->shape[v]);
        value[v] = random_floats(count, seed + v);
        vars[v] = malloc(count * sizeof **vars);
        gradient[v] = malloc(count * sizeof **gradient);
        again[v] = malloc(count * sizeof **again);
        for (size_t i = 0; i < count; i++) {
            if (fabsf(value[v][i] - p->lo) < 0.01f || fabsf(value[v][i] - p->hi) < 0.01f) value[v][i] += 0.03f;
            vars[v][i] = (double)value[v][i];
        }
    }
    library_gradients(ctx, &set, p, value, gradient, weighting, 1);
    for (size_t v = 0; v < p->vars; v++) check_variable(p, v, vars, gradient[v], weighting, y);
    library_gradients(ctx, &set, p, value, again, weighting, 3);
    for (size_t v = 0; v < p->vars; v++) unit_assert_same_bits(again[v], gradient[v], exn_shape_elements(&p->shape[v]));
    for (size_t v = 0; v < p->vars; v++) {
        free(value[v]);
        free(vars[v]);
        free(gradient[v]);
        free(again[v]);
    }
    free(weighting);
    free(y);
    exn_context_destroy(ctx);
}

/* ---- linear ---- */

static exn_status record_linear(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    return exn_layer_linear(out, tape, layer, &p->shape[0], v[0], v[1], p->vars == 3 ? v[2] : EXN_VAR_NONE, p->n);
}
static void linear(const problem *p, double *const *v, double *y) {
    const size_t k = p->shape[1].dim[1], rows = exn_shape_elements(&p->shape[0]) / k;
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < p->n; j++) {
            double sum = p->vars == 3 ? v[2][j] : 0;
            for (size_t i = 0; i < k; i++) sum += v[0][r * k + i] * v[1][j * k + i];
            y[r * p->n + j] = sum;
        }
}
START_TEST(linear_layer) {
    static const size_t sizes[][3] = {{1, 1, 1}, {5, 3, 7}, {2, 17, 33}, {9, 2, 64}};
    for (size_t s = 0; s < 4; s++)
        for (size_t vars = 2; vars <= 3; vars++) {
            const size_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            problem p = {.name = "linear",
                         .vars = vars,
                         .n = n,
                         .record = record_linear,
                         .reference = linear,
                         .lo = 9,
                         .hi = 9,
                         .shape = {{2, {m, k}}, {2, {n, k}}, {1, {n}}},
                         .out = {2, {m, n}}};
            check(&p, 10 + s);
        }
}
END_TEST

/* A 1x1 convolution is the same layer over pixels. */
START_TEST(pointwise_layer) {
    problem p = {.name = "pointwise",
                 .vars = 2,
                 .n = 4,
                 .record = record_linear,
                 .reference = linear,
                 .lo = 9,
                 .hi = 9,
                 .shape = {{4, {2, 3, 2, 5}}, {2, {4, 5}}},
                 .out = {4, {2, 3, 2, 4}}};
    check(&p, 20);
}
END_TEST

/* ---- depthwise ---- */

static exn_status record_depthwise(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    return exn_layer_depthwise(out, tape, layer, &p->shape[0], v[0], v[1], p->stride);
}
static void depthwise(const problem *p, double *const *v, double *y) {
    const size_t *d = p->shape[0].dim, *o = p->out.dim, c = d[3];
    for (size_t i = 0; i < exn_shape_elements(&p->out); i++) {
        const size_t ch = i % c, ox = i / c % o[2], oy = i / c / o[2] % o[1], n = i / c / o[2] / o[1];
        y[i] = 0;
        for (size_t ky = 0; ky < 3; ky++)
            for (size_t kx = 0; kx < 3; kx++) {
                const size_t iy = oy * p->stride + ky, ix = ox * p->stride + kx; /* one more than the coordinate */
                if (iy < 1 || ix < 1 || iy > d[1] || ix > d[2]) continue;
                y[i] += v[0][((n * d[1] + iy - 1) * d[2] + ix - 1) * c + ch] * v[1][(ky * 3 + kx) * c + ch];
            }
    }
}
START_TEST(depthwise_layer) {
    static const size_t sizes[][5] = {{1, 1, 1, 1, 1}, {2, 5, 4, 3, 1}, {1, 6, 7, 18, 2}, {2, 4, 4, 8, 2}};
    for (size_t s = 0; s < 4; s++) {
        const size_t *d = sizes[s];
        problem p = {.name = "depthwise",
                     .vars = 2,
                     .stride = d[4],
                     .record = record_depthwise,
                     .reference = depthwise,
                     .lo = 9,
                     .hi = 9,
                     .shape = {{4, {d[0], d[1], d[2], d[3]}}, {2, {9, d[3]}}},
                     .out = {4, {d[0], (d[1] - 1) / d[4] + 1, (d[2] - 1) / d[4] + 1, d[3]}}};
        check(&p, 30 + s);
    }
}
END_TEST

/* ---- batch normalisation ---- */

#define EPSILON 1e-2
static exn_status record_batchnorm(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    layer->as.batchnorm = (exn_batchnorm){.epsilon = (float)EPSILON,
                                          .momentum = 0.1f,
                                          .frozen = p->frozen,
                                          .running_mean = p->running[0],
                                          .running_var = p->running[1],
                                          .mean = p->saved[0],
                                          .inv_std = p->saved[1]};
    const bool affine = p->vars == 3;
    return exn_layer_batchnorm(out, tape, layer, &p->out, v[0], affine ? v[1] : EXN_VAR_NONE,
                               affine ? v[2] : EXN_VAR_NONE);
}
static void batchnorm(const problem *p, double *const *v, double *y) {
    const size_t c = p->out.dim[p->out.rank - 1], rows = exn_shape_elements(&p->out) / c;
    for (size_t j = 0; j < c; j++) {
        double mean = 0, variance = 0;
        for (size_t r = 0; r < rows; r++) mean += v[0][r * c + j] / (double)rows;
        for (size_t r = 0; r < rows; r++)
            variance += (v[0][r * c + j] - mean) * (v[0][r * c + j] - mean) / (double)rows;
        if (p->frozen) {
            mean = (double)p->running[0][j];
            variance = (double)p->running[1][j];
        }
        for (size_t r = 0; r < rows; r++) {
            const double normal = (v[0][r * c + j] - mean) / sqrt(variance + EPSILON);
            y[r * c + j] = p->vars == 3 ? normal * v[1][j] + v[2][j] : normal;
        }
    }
}
/* A map taken as rows: every place of every channel is a feature of its own, with statistics of its own. */
START_TEST(batchnorm_of_a_map_as_rows) {
    float running[2][20] = {{0}}, saved[2][20];
    problem p = {.name = "batch-norm of places",
                 .vars = 1,
                 .record = record_batchnorm,
                 .reference = batchnorm,
                 .lo = 9,
                 .hi = 9,
                 .shape = {{4, {6, 2, 2, 5}}},
                 .out = {2, {6, 20}},
                 .running = {running[0], running[1]},
                 .saved = {saved[0], saved[1]}};
    check(&p, 47);
    for (size_t i = 0; i < 20; i++) ck_assert_float_gt(running[1][i], 0.0f);
}
END_TEST

START_TEST(batchnorm_layer) {
    float running[2][20], saved[2][20];
    for (size_t frozen = 0; frozen < 2; frozen++)
        for (size_t vars = 1; vars <= 3; vars += 2) {
            for (size_t i = 0; i < 20; i++) {
                running[0][i] = 0.1f * (float)i;
                running[1][i] = 0.5f + 0.1f * (float)i;
            }
            problem p = {.name = "batch-norm",
                         .vars = vars,
                         .frozen = frozen,
                         .record = record_batchnorm,
                         .reference = batchnorm,
                         .lo = 9,
                         .hi = 9,
                         .shape = {{4, {2, 3, 2, 20}}, {1, {20}}, {1, {20}}},
                         .out = {4, {2, 3, 2, 20}},
                         .running = {running[0], running[1]},
                         .saved = {saved[0], saved[1]}};
            check(&p, 40 + vars);
        }
}
END_TEST

/* ---- clamp, pool, standardise ---- */

static exn_status record_clamp(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    layer->as.clamp.lo = p->lo;
    layer->as.clamp.hi = p->hi;
    return exn_layer_clamp(out, tape, layer, &p->shape[0], v[0]);
}
static void clamp(const problem *p, double *const *v, double *y) {
    for (size_t i = 0; i < exn_shape_elements(&p->out); i++) y[i] = fmin(fmax(v[0][i], (double)p->lo), (double)p->hi);
}
START_TEST(clamp_layer) {
    problem p = {.name = "clamp",
                 .vars = 1,
                 .lo = -0.25f,
                 .hi = 0.5f,
                 .record = record_clamp,
                 .reference = clamp,
                 .shape = {{2, {7, 31}}},
                 .out = {2, {7, 31}}};
    check(&p, 50);
}
END_TEST

static exn_status record_pool(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    return exn_layer_adaptive_pool(out, tape, layer, &p->shape[0], v[0], p->grid);
}
static void pool(const problem *p, double *const *v, double *y) {
    const size_t *d = p->shape[0].dim, *o = p->out.dim, c = d[3];
    for (size_t i = 0; i < exn_shape_elements(&p->out); i++) {
        const size_t ch = i % c, ox = i / c % o[2], oy = i / c / o[2] % o[1], n = i / c / o[2] / o[1];
        const size_t y0 = oy * d[1] / o[1], y1 = ((oy + 1) * d[1] + o[1] - 1) / o[1];
        const size_t x0 = ox * d[2] / o[2], x1 = ((ox + 1) * d[2] + o[2] - 1) / o[2];
        double sum = 0;
        for (size_t iy = y0; iy < y1; iy++)
            for (size_t ix = x0; ix < x1; ix++) sum += v[0][((n * d[1] + iy) * d[2] + ix) * c + ch];
        y[i] = sum / (double)((y1 - y0) * (x1 - x0));
    }
}
START_TEST(adaptive_pool_layer) {
    static const size_t sizes[][4] = {{1, 1, 1, 1}, {2, 7, 7, 5}, {1, 9, 3, 18}, {2, 14, 14, 2}};
    for (size_t s = 0; s < 4; s++) {
        const size_t *d = sizes[s];
        problem p = {.name = "pool",
                     .vars = 1,
                     .grid = 4,
                     .record = record_pool,
                     .reference = pool,
                     .lo = 9,
                     .hi = 9,
                     .shape = {{4, {d[0], d[1], d[2], d[3]}}},
                     .out = {4, {d[0], d[1] < 4 ? d[1] : 4, d[2] < 4 ? d[2] : 4, d[3]}}};
        check(&p, 60 + s);
    }
}
END_TEST

static exn_status record_standardise(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p,
                                     const exn_var *v) {
    return exn_layer_standardise(out, tape, layer, &p->shape[0], v[0], v[1], v[2]);
}
static void standardise(const problem *p, double *const *v, double *y) {
    const size_t c = p->out.dim[1];
    for (size_t i = 0; i < exn_shape_elements(&p->out); i++)
        y[i] = (v[0][i] - (double)p->fixed[0][i % c]) * (double)p->fixed[1][i % c];
}
START_TEST(standardise_layer) {
    float *mean = random_floats(19, 1), *inv_std = random_floats(19, 2);
    problem p = {.name = "standardise",
                 .vars = 1,
                 .record = record_standardise,
                 .reference = standardise,
                 .lo = 9,
                 .hi = 9,
                 .shape = {{2, {6, 19}}},
                 .out = {2, {6, 19}},
                 .fixed = {mean, inv_std},
                 .fixed_shape = {{1, {19}}, {1, {19}}},
                 .fixed_count = 2};
    check(&p, 70);
    free(mean);
    free(inv_std);
}
END_TEST

/* ---- loss ---- */

static exn_status record_entropy(exn_var *out, exn_tape *tape, exn_layer *layer, const problem *p, const exn_var *v) {
    layer->as.entropy.temperature = p->temperature;
    return exn_layer_soft_cross_entropy(out, tape, layer, &p->shape[0], v[0], v[1], v[2]);
}
static void entropy(const problem *p, double *const *v, double *y) {
    const size_t rows = p->shape[0].dim[0], classes = p->shape[0].dim[1];
    const double t = (double)p->temperature;
    y[0] = 0;
    for (size_t r = 0; r < rows; r++) {
        double sum = 0;
        for (size_t j = 0; j < classes; j++) sum += exp(v[0][r * classes + j] / t);
        for (size_t j = 0; j < classes; j++)
            y[0] -= (double)p->fixed[1][r] * t * t * (double)p->fixed[0][r * classes + j] *
                    (v[0][r * classes + j] / t - log(sum));
    }
}
START_TEST(soft_cross_entropy_layer) {
    for (size_t s = 0; s < 3; s++) {
        const size_t rows = 1 + 2 * s, classes = 2 + 9 * s;
        float *target = random_floats(rows * classes, 3), *weight = random_floats(rows, 4);
        for (size_t r = 0; r < rows; r++) {
            float sum = 0;
            weight[r] = s == 2 && r == 1 ? 0.0f : fabsf(weight[r]);
            for (size_t j = 0; j < classes; j++) sum += target[r * classes + j] = fabsf(target[r * classes + j]);
            for (size_t j = 0; j < classes; j++) target[r * classes + j] /= sum;
        }
        problem p = {.name = "soft cross-entropy",
                     .vars = 1,
                     .temperature = 0.5f + (float)s,
                     .record = record_entropy,
                     .lo = 9,
                     .hi = 9,
                     .reference = entropy,
                     .shape = {{2, {rows, classes}}},
                     .out = {0, {0}},
                     .fixed = {target, weight},
                     .fixed_shape = {{2, {rows, classes}}, {1, {rows}}},
                     .fixed_count = 2};
        check(&p, 80 + s);
        free(target);
        free(weight);
    }
}
END_TEST

int main(void) {
    return unit_run("gradients", (const TTest *const[]){linear_layer, pointwise_layer, depthwise_layer, batchnorm_layer,
                                                        batchnorm_of_a_map_as_rows, clamp_layer, adaptive_pool_layer,
                                                        standardise_layer, soft_cross_entropy_layer, NULL});
}
