/* SPDX-License-Identifier: Apache-2.0
 * Elementwise drivers: broadcasting, permutation, boxes, reductions, softmax, activations. */
#include "kernels/elementwise.h"
#include "tests/unit/drivers.h"

#include <math.h>
#include <stdlib.h>

/* Everything a case of this file may need; each `run` takes what it wants. */
typedef struct elements {
    exn_shape y, a, b;
    const float *x, *z;
    exn_binary op;
    exn_activation act;
    float lo, hi;
    exn_reduce_kind kind;
    uint32_t axes;
    size_t order[EXN_RANK_MAX], outer, n, inner;
    ptrdiff_t x_stride[EXN_RANK_MAX], y_stride[EXN_RANK_MAX];
    bool log;
} elements;

static exn_shape random_shape(exn_rng *rng, size_t rank) {
    exn_shape shape = {.rank = rank};
    for (size_t i = 0; i < rank; i++) shape.dim[i] = DRIVERS_PICK(rng, 1, 2, 3, 5, 17);
    return shape;
}

/* Index of element `at` of `shape` along dimension i. */
static size_t index_of(const exn_shape *shape, size_t at, size_t i) {
    for (size_t d = shape->rank; --d > i;) at /= shape->dim[d];
    return at % shape->dim[i];
}

static size_t offset_in(const exn_shape *operand, const exn_shape *y, size_t at) {
    const size_t missing = y->rank - operand->rank;
    size_t offset = 0;
    for (size_t i = 0; i < operand->rank; i++)
        offset = offset * operand->dim[i] + (operand->dim[i] == 1 ? 0 : index_of(y, at, i + missing));
    return offset;
}

static void run_binary(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_binary_broadcast(&set->f32_vector, e->op, &e->y, &e->a, e->x, &e->b, e->z, out, part);
}

static exn_shape with_ones(exn_rng *rng, const exn_shape *y) {
    const size_t drop = exn_rng_below(rng, (uint32_t)y->rank + 1);
    exn_shape shape = {.rank = y->rank - drop};
    for (size_t i = 0; i < shape.rank; i++) shape.dim[i] = exn_rng_below(rng, 3) ? y->dim[i + drop] : 1;
    return shape;
}

START_TEST(broadcasting) {
    exn_rng rng = exn_rng_seed(41, 0);
    for (size_t round = 0; round < 80; round++) {
        elements e = {.y = random_shape(&rng, exn_rng_below(&rng, 5)), .op = (exn_binary)(round % EXN_POW)};
        e.a = round % 3 ? with_ones(&rng, &e.y) : e.y;
        e.b = round % 3 == 1 ? e.y : with_ones(&rng, &e.y);
        if (round % 3 == 2) e.a = e.y;
        const size_t count = exn_shape_elements(&e.y);
        float *x = drivers_random(&rng, exn_shape_elements(&e.a)), *z = drivers_random(&rng, exn_shape_elements(&e.b));
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        e.x = x, e.z = z;
        for (size_t i = 0; i < count; i++) {
            const float left = x[offset_in(&e.a, &e.y, i)], right = z[offset_in(&e.b, &e.y, i)];
            const float values[] = {left + right, left - right,       left * right,
                                    left / right, fmaxf(left, right), fminf(left, right)};
            expected[i] = (double)values[e.op];
        }
        drivers_verify(&(drivers_job){
            .name = "broadcast", .count = count, .expected = expected, .bound = bound, .run = run_binary, .user = &e});
        free(x), free(z), free(expected), free(bound);
    }
}
END_TEST

static void run_permute(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    (void)set;
    exn_permute(&e->a, e->order, e->x, out, part);
}

START_TEST(permutation) {
    exn_rng rng = exn_rng_seed(42, 0);
    for (size_t round = 0; round < 40; round++) {
        elements e = {.a = random_shape(&rng, exn_rng_below(&rng, 6))};
        for (size_t i = 0; i < e.a.rank; i++) e.order[i] = i;
        exn_rng_shuffle(&rng, e.order, e.a.rank);
        const size_t count = exn_shape_elements(&e.a);
        exn_shape y = {.rank = e.a.rank};
        for (size_t i = 0; i < y.rank; i++) y.dim[i] = e.a.dim[e.order[i]];
        float *x = drivers_random(&rng, count);
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        e.x = x;
        for (size_t at = 0; at < count; at++) {
            size_t to = 0;
            for (size_t i = 0; i < y.rank; i++) to = to * y.dim[i] + index_of(&e.a, at, e.order[i]);
            expected[to] = (double)x[at];
        }
        drivers_verify(&(drivers_job){
            .name = "permute", .count = count, .expected = expected, .bound = bound, .run = run_permute, .user = &e});
        free(x), free(expected), free(bound);
    }
}
END_TEST

static void run_box(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    (void)set;
    exn_copy_box(&e->y, e->x, e->x_stride, out + 40, e->y_stride, part);
}

/* A 3 x 4 corner of a 5 x 6 matrix, mirrored along its rows, into the middle of rows of 9; nothing else is written. */
START_TEST(mirrored_box) {
    exn_rng rng = exn_rng_seed(43, 0);
    elements e = {.y = {2, {3, 4}}, .x_stride = {6, 1}, .y_stride = {9, -1}};
    float *x = drivers_random(&rng, 30), *start = drivers_random(&rng, 80);
    double *expected = drivers_doubles(80), *bound = drivers_doubles(80);
    e.x = x;
    for (size_t i = 0; i < 80; i++) expected[i] = (double)start[i];
    for (size_t i = 0; i < 3; i++)
        for (size_t j = 0; j < 4; j++) expected[40 + 9 * i - j] = (double)x[6 * i + j];
    drivers_verify(&(drivers_job){
        .name = "box", .count = 80, .start = start, .expected = expected, .bound = bound, .run = run_box, .user = &e});
    free(x), free(start), free(expected), free(bound);
}
END_TEST

static void run_reduce(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_reduce_axes(&set->f32_vector, e->kind, &e->a, e->axes, e->x, out, part);
}

static void reduce_reference(const elements *e, double *expected) {
    size_t count = 1, kept = 1;
    for (size_t i = 0; i < e->a.rank; i++) *(e->axes >> i & 1 ? &count : &kept) *= e->a.dim[i];
    for (size_t i = 0; i < kept; i++) expected[i] = e->kind == EXN_REDUCE_MAX_OF ? -INFINITY : 0.0;
    for (size_t at = 0; at < exn_shape_elements(&e->a); at++) {
        size_t to = 0;
        for (size_t i = 0; i < e->a.rank; i++)
            if (!(e->axes >> i & 1)) to = to * e->a.dim[i] + index_of(&e->a, at, i);
        const double value = (double)e->x[at];
        expected[to] = e->kind == EXN_REDUCE_MAX_OF ? fmax(expected[to], value) : expected[to] + value;
    }
    for (size_t i = 0; i < kept && e->kind == EXN_REDUCE_MEAN_OF; i++) expected[i] /= (double)count;
}

START_TEST(reductions) {
    exn_rng rng = exn_rng_seed(44, 0);
    for (size_t round = 0; round < 80; round++) {
        elements e = {.a = random_shape(&rng, exn_rng_below(&rng, 5)), .kind = (exn_reduce_kind)(round % 3)};
        e.axes = exn_rng_below(&rng, 1u << e.a.rank);
        size_t kept = 1;
        for (size_t i = 0; i < e.a.rank; i++) kept *= e.axes >> i & 1 ? 1 : e.a.dim[i];
        float *x = drivers_random(&rng, exn_shape_elements(&e.a));
        double *expected = drivers_doubles(kept), *bound = drivers_doubles(kept);
        e.x = x;
        reduce_reference(&e, expected);
        for (size_t i = 0; i < kept; i++) bound[i] = e.kind == EXN_REDUCE_MAX_OF ? 0.0 : 2e-4;
        drivers_verify(&(drivers_job){
            .name = "reduce", .count = kept, .expected = expected, .bound = bound, .run = run_reduce, .user = &e});
        free(x), free(expected), free(bound);
    }
}
END_TEST

static void run_softmax(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_softmax(&set->f32_vector, e->log, e->outer, e->n, e->inner, e->x, out, part);
}

/* In place: `out` holds x already. */
static void run_softmax_in_place(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_softmax(&set->f32_vector, e->log, e->outer, e->n, e->inner, out, out, part);
}

START_TEST(softmax) {
    exn_rng rng = exn_rng_seed(45, 0);
    for (size_t round = 0; round < 40; round++) {
        elements e = {.outer = DRIVERS_PICK(&rng, 1, 3, 8),
                      .n = DRIVERS_PICK(&rng, 1, 2, 10, 17, 300),
                      .inner = DRIVERS_PICK(&rng, 1, 1, 2, 20, 300),
                      .log = round % 2};
        const size_t count = e.outer * e.n * e.inner;
        float *x = drivers_random(&rng, count);
        for (size_t i = 0; i < count; i++) x[i] = x[i] * 30.0f + 200.0f; /* exp alone would overflow */
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        e.x = x;
        for (size_t line = 0; line < e.outer * e.inner; line++) {
            const size_t at = line / e.inner * e.n * e.inner + line % e.inner;
            double most = -INFINITY, sum = 0.0;
            for (size_t i = 0; i < e.n; i++) most = fmax(most, (double)x[at + i * e.inner]);
            for (size_t i = 0; i < e.n; i++) sum += exp((double)x[at + i * e.inner] - most);
            for (size_t i = 0; i < e.n; i++) {
                const double raised = (double)x[at + i * e.inner] - most;
                expected[at + i * e.inner] = e.log ? raised - log(sum) : exp(raised) / sum;
                bound[at + i * e.inner] = e.log ? 1e-5 : 1e-6;
            }
        }
        drivers_job job = {.name = "softmax",
                           .count = count,
                           .start = x,
                           .expected = expected,
                           .bound = bound,
                           .run = run_softmax,
                           .user = &e};
        drivers_verify(&job);
        job.run = run_softmax_in_place;
        drivers_verify(&job);
        free(x), free(expected), free(bound);
    }
}
END_TEST

static void run_activate(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_activate(&set->f32_vector, e->act, e->n, e->x, out, e->lo, e->hi, part);
}

static double activated(const elements *e, double x) {
    const double lo = (double)e->lo, hi = (double)e->hi;
    switch (e->act) {
    case EXN_ACT_CLAMP:
        return x < lo ? lo : x > hi ? hi : x;
    case EXN_ACT_LEAKY_RELU:
        return x < 0 ? lo * x : x;
    case EXN_ACT_HARD_SIGMOID:
        return fmin(fmax(lo * x + hi, 0.0), 1.0);
    case EXN_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6 + 0.5, 0.0), 1.0);
    case EXN_ACT_SIGMOID:
        return 1 / (1 + exp(-x));
    case EXN_ACT_TANH:
        return tanh(x);
    case EXN_ACT_SILU:
        return x / (1 + exp(-x));
    case EXN_ACT_EXP:
        return exp(x);
    case EXN_ACT_LOG:
        return log(x);
    default:
        return x;
    }
}

static double beyond(const elements *e, double x) {
    const double lo = (double)e->lo, hi = (double)e->hi;
    switch (e->act) {
    case EXN_ACT_ABS:
        return fabs(x);
    case EXN_ACT_SQRT:
        return sqrt(x);
    case EXN_ACT_FLOOR:
        return floor(x);
    case EXN_ACT_CEIL:
        return ceil(x);
    case EXN_ACT_ROUND:
        return rint(x);
    case EXN_ACT_SIGN:
        return x > 0 ? 1 : x < 0 ? -1 : 0;
    case EXN_ACT_THRESHOLD:
        return x > lo ? x : 0;
    case EXN_ACT_SOFTSIGN:
        return x / (1 + fabs(x));
    case EXN_ACT_ERF:
        return erf(x);
    case EXN_ACT_GELU:
        return 0.5 * x * erfc(-x / sqrt(2));
    case EXN_ACT_ELU:
        return hi * (x < 0 ? lo * expm1(x) : x);
    default:
        return fmax(x, 0) + log1p(exp(-fabs(x)));
    }
}

START_TEST(activations) {
    exn_rng rng = exn_rng_seed(46, 0);
    for (size_t act = 0; act < EXN_ACT_END; act++) {
        elements e = {.act = (exn_activation)act, .lo = 0.1f, .hi = 0.6f, .n = 333};
        float *x = drivers_random(&rng, e.n);
        double *expected = drivers_doubles(e.n), *bound = drivers_doubles(e.n);
        for (size_t i = 0; i < e.n; i++) {
            x[i] = act == EXN_ACT_LOG || act == EXN_ACT_SQRT ? fabsf(x[i]) + 0.01f : x[i] * 8.0f;
            expected[i] = act < EXN_ACT_COUNT ? activated(&e, (double)x[i]) : beyond(&e, (double)x[i]);
            bound[i] = 4e-7 * (1.0 + fabs(expected[i]));
        }
        e.x = x;
        drivers_verify(&(drivers_job){
            .name = "activation", .count = e.n, .expected = expected, .bound = bound, .run = run_activate, .user = &e});
        free(x), free(expected), free(bound);
    }
}
END_TEST

/* NaN and -0 pass a clamp: what ReLU does to them is visible in a network's output. */
START_TEST(clamp_lets_nan_and_minus_zero_pass) {
    const exn_kernel_set set = drivers_best_set();
    float x[19], y[19];
    for (size_t i = 0; i < 19; i++) x[i] = i % 2 ? NAN : -0.0f;
    exn_activate(&set.f32_vector, EXN_ACT_CLAMP, 19, x, y, 0.0f, INFINITY, exn_part_whole());
    for (size_t i = 0; i < 19; i++) ck_assert(i % 2 ? isnan(y[i]) : y[i] == 0.0f && signbit(y[i]));
}
END_TEST

/* The C library's answer, in its special cases too. */
START_TEST(powers) {
    static const float values[] = {0.0f, -0.0f, 0.5f, 1.0f, -1.0f, 2.0f,     3.0f,      -2.0f,    -3.0f,
                                   0.3f, -0.7f, 7.5f, 4.0f, -4.0f, INFINITY, -INFINITY, 16777218, NAN};
    enum { COUNT = sizeof values / sizeof values[0] };
    const exn_kernel_set set = drivers_best_set();
    float y[COUNT];
    for (size_t b = 0; b < COUNT; b++) {
        float many[COUNT];
        for (size_t i = 0; i < COUNT; i++) many[i] = values[b];
        for (size_t step = 0; step < 2; step++) {
            exn_pair(&set.f32_vector, EXN_POW, COUNT, values, 1, many, step, y);
            for (size_t a = 0; a < COUNT; a++) {
                const float wanted = powf(values[a], values[b]);
                const bool same = isnan(wanted) ? isnan(y[a]) : wanted == y[a] && signbit(wanted) == signbit(y[a]);
                ck_assert_msg(same || fabsf(y[a] - wanted) < 1e-5f * fabsf(wanted), "%g ^ %g = %g, not %g",
                              (double)values[a], (double)values[b], (double)y[a], (double)wanted);
            }
        }
    }
}
END_TEST

START_TEST(nan_in_functions) {
    const exn_kernel_set set = drivers_best_set();
    const float x[5] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f}, one = 1.0f;
    float y[5];
    for (size_t act = EXN_ACT_COUNT; act < EXN_ACT_END; act++) {
        exn_unary(&set.f32_vector, (exn_activation)act, 5, x, y, 1.0f, 1.0f);
        if (act != EXN_ACT_THRESHOLD) ck_assert(isnan(y[0]));
        if (act != EXN_ACT_SOFTSIGN && act != EXN_ACT_SQRT)
            for (size_t i = 1; i < 5; i++) ck_assert_msg(!isnan(y[i]), "function %zu of %g", act, (double)x[i]);
    }
    for (size_t op = EXN_MAX; op <= EXN_MIN; op++) {
        exn_pair(&set.f32_vector, (exn_binary)op, 5, x, 1, &one, 0, y);
        ck_assert(isnan(y[0]) && !isnan(y[1]));
        exn_pair(&set.f32_vector, (exn_binary)op, 5, &one, 0, x, 1, y);
        ck_assert(isnan(y[0]) && !isnan(y[1]));
    }
}
END_TEST

static void run_prelu(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const elements *e = user;
    exn_prelu(&set->f32_vector, e->outer * e->n, e->n, e->z, e->x, out, part);
}

static void run_fill(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    (void)set;
    exn_fill(((const elements *)user)->n, 2.5f, out, part);
}

START_TEST(prelu_and_fill) {
    exn_rng rng = exn_rng_seed(47, 0);
    for (size_t round = 0; round < 6; round++) {
        elements e = {.outer = 37, .n = DRIVERS_PICK(&rng, 1, 3, 20)};
        const size_t count = e.outer * e.n;
        float *x = drivers_random(&rng, count), *slope = drivers_random(&rng, e.n);
        double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
        for (size_t i = 0; i < count; i++) expected[i] = (double)(x[i] < 0.0f ? x[i] * slope[i % e.n] : x[i]);
        e.x = x, e.z = slope;
        drivers_job job = {
            .name = "prelu", .count = count, .expected = expected, .bound = bound, .run = run_prelu, .user = &e};
        drivers_verify(&job);
        for (size_t i = 0; i < count; i++) expected[i] = 2.5;
        e.n = count;
        job.run = run_fill;
        drivers_verify(&job);
        free(x), free(slope), free(expected), free(bound);
    }
}
END_TEST

int main(void) {
    return unit_run("elementwise", (const TTest *[]){broadcasting, permutation, mirrored_box, reductions, softmax,
                                                     activations, clamp_lets_nan_and_minus_zero_pass, powers,
                                                     nan_in_functions, prelu_and_fill, NULL});
}
