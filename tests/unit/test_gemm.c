/* SPDX-License-Identifier: Apache-2.0
 * The matrix product driver against a double-precision triple loop. */
#include "kernels/gemm.h"
#include "tests/unit/drivers.h"

#include <math.h>
#include <stdlib.h>

typedef struct product {
    exn_gemm g; /* tile and vector are set per kernel set */
    const float *a, *b, *scale, *bias, *residual, *start;
    bool in_place; /* the residual is C itself */
    float *packed;
} product;

static void prepare(void *user, const exn_kernel_set *set, size_t parts) {
    product *p = user;
    (void)parts;
    p->g.tile = exn_gemm_choose(set, p->g.m, p->g.n, p->g.k);
    p->g.vector = &set->f32_vector;
    if (!p->g.packed) return;
    p->packed = drivers_scratch(exn_gemm_packed_count(p->g.tile, p->g.n, p->g.k) * sizeof(float));
    exn_gemm_pack(p->packed, p->g.tile, p->g.n, p->g.k, p->b, p->g.b_row, 1, p->scale, p->bias);
}

static void run(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const product *p = user;
    exn_gemm g = p->g;
    g.vector = &set->f32_vector;
    exn_gemm_run(&g, p->a, g.packed ? p->packed : p->b, out, p->in_place ? out : p->residual, part);
}

static void finish(void *user) {
    product *p = user;
    free(p->packed);
    p->packed = NULL;
}

static double activated(const exn_epilogue *e, double x) {
    if (e->activation == EXN_ACT_CLAMP) return fmin(fmax(x, (double)e->lo), (double)e->hi);
    if (e->activation == EXN_ACT_SIGMOID) return 1.0 / (1.0 + exp(-x));
    return x;
}

static void reference(const product *p, double *expected, double *bound) {
    const exn_gemm *g = &p->g;
    for (size_t i = 0; i < g->m; i++)
        for (size_t j = 0; j < g->n; j++) {
            const size_t at = i * (size_t)g->c_row + j;
            double sum = g->e.accumulate ? (double)p->start[at] : p->bias ? (double)p->bias[j] : 0.0, size = fabs(sum);
            for (size_t q = 0; q < g->k; q++) {
                const double factor = p->scale ? (double)p->scale[j] : 1.0;
                const double left = (double)p->a[(ptrdiff_t)i * g->a_row + (ptrdiff_t)q * g->a_col];
                const double term = left * (double)p->b[q * (size_t)g->b_row + j] * factor;
                sum += term;
                size += fabs(term);
            }
            if (p->in_place) sum += (double)p->start[at];
            if (p->residual) sum += (double)p->residual[i * (size_t)g->e.residual_row + j];
            expected[at] = activated(&g->e, sum);
            bound[at] = (double)(g->k + 8) * 0x1p-23 * (size + 2.0);
        }
}

static void check_product(exn_rng *rng, const exn_gemm *shape, bool with_scale, bool with_residual, bool in_place,
                          const char *name) {
    const size_t m = shape->m, n = shape->n, k = shape->k;
    product p = {.g = *shape, .in_place = in_place};
    const bool transposed = exn_rng_below(rng, 4) == 0;
    p.g.a_row = transposed ? 1 : (ptrdiff_t)(k + 2);
    p.g.a_col = transposed ? (ptrdiff_t)(m + 1) : 1;
    p.g.b_row = (ptrdiff_t)(n + 3);
    p.g.c_row = p.g.e.residual_row = (ptrdiff_t)(n + exn_rng_below(rng, 2));
    const size_t count = m * (size_t)p.g.c_row;
    float *a = drivers_random(rng, (m + 2) * (k + 2)), *b = drivers_random(rng, k * (n + 3) + 1);
    float *scale = drivers_random(rng, n), *bias = drivers_random(rng, n), *residual = drivers_random(rng, count);
    float *start = drivers_random(rng, count);
    double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
    p.a = a, p.b = b, p.start = start;
    p.scale = with_scale ? scale : NULL;
    p.bias = !p.g.e.accumulate ? bias : NULL;
    p.residual = with_residual && !in_place ? residual : NULL;
    if (!p.g.packed) p.g.e.bias = p.bias;
    for (size_t i = 0; i < count; i++) expected[i] = (double)start[i]; /* what lies between rows stays */
    reference(&p, expected, bound);
    drivers_verify(&(drivers_job){name, count, start, expected, bound, prepare, run, finish, &p, in_place});
    free(a), free(b), free(scale), free(bias), free(residual), free(start), free(expected), free(bound);
}

START_TEST(packed_products) {
    exn_rng rng = exn_rng_seed(11, 0);
    for (size_t round = 0; round < drivers_rounds(120); round++) {
        const exn_gemm shape = {
            .m = DRIVERS_PICK(&rng, 1, 2, 3, 5, 7, 13, 49, 64, 100, 257),
            .n = DRIVERS_PICK(&rng, 1, 3, 8, 17, 24, 33, 130),
            .k = DRIVERS_PICK(&rng, 0, 1, 2, 3, 9, 17, 64, 257),
            .packed = true,
            .e = {.activation = (exn_activation[]){EXN_ACT_NONE, EXN_ACT_CLAMP, EXN_ACT_SIGMOID}[round % 3],
                  .lo = -0.5f,
                  .hi = INFINITY}};
        check_product(&rng, &shape, round % 2, round % 5 < 2, round % 7 == 0, "packed");
    }
}
END_TEST

START_TEST(plain_products) {
    exn_rng rng = exn_rng_seed(12, 0);
    for (size_t round = 0; round < drivers_rounds(120); round++) {
        const exn_gemm shape = {.m = DRIVERS_PICK(&rng, 1, 4, 10, 33, 65),
                                .n = DRIVERS_PICK(&rng, 1, 7, 16, 31, 65, 129),
                                .k = DRIVERS_PICK(&rng, 1, 5, 16, 100),
                                .e = {.accumulate = round % 2 == 1}};
        check_product(&rng, &shape, false, round % 3 == 0, false, "plain");
    }
}
END_TEST

/* More than one cache block of rows and of panels. */
START_TEST(large_product) {
    exn_rng rng = exn_rng_seed(13, 0);
    check_product(&rng, &(exn_gemm){.m = 150, .n = 200, .k = 600, .packed = true}, true, false, false, "large");
}
END_TEST

/* Asking for what comes later moves time, and nothing else. */
START_TEST(asking_ahead) {
    exn_rng rng = exn_rng_seed(15, 0);
    float *later = drivers_random(&rng, 5000);
    for (size_t count = 0; count <= 5000; count += 1250)
        check_product(&rng,
                      &(exn_gemm){.m = 49, .n = 200, .k = 90, .packed = true, .ahead = {count ? later : NULL, count}},
                      true, false, false, "asking ahead");
    free(later);
}
END_TEST

START_TEST(empty_products) {
    exn_rng rng = exn_rng_seed(14, 0);
    check_product(&rng, &(exn_gemm){.m = 0, .n = 5, .k = 3, .packed = true}, true, false, false, "no rows");
    check_product(&rng, &(exn_gemm){.m = 5, .n = 0, .k = 3, .packed = true}, false, false, false, "no columns");
    check_product(&rng, &(exn_gemm){.m = 9, .n = 5, .k = 0}, false, false, false, "no products");
}
END_TEST

/* The tile must follow the shape: whole panels for narrow matrices, a row for a row. */
START_TEST(choice_of_tile) {
    static const exn_f32_gemm tiles[] = {{.mr = 6, .nr = 16}, {.mr = 4, .nr = 24}, {.mr = 1, .nr = 64}};
    exn_kernel_set set = {.name = "made up"};
    for (size_t i = 0; i < 3; i++) {
        set.f32_gemm[i] = tiles[i];
        set.f32_gemm[i].run = drivers_best_set().f32_gemm[0].run;
    }
    ck_assert_ptr_eq(exn_gemm_choose(&set, 196, 96, 64), &set.f32_gemm[0]);
    ck_assert_ptr_eq(exn_gemm_choose(&set, 3136, 24, 144), &set.f32_gemm[1]);
    ck_assert_ptr_eq(exn_gemm_choose(&set, 1, 1000, 1280), &set.f32_gemm[2]);
}
END_TEST

/* A last panel of half the columns costs a wide tile half: 80 columns go to it, 16 to the narrow one. */
START_TEST(choice_by_partial_panels) {
    static const exn_f32_gemm tiles[] = {{.mr = 7, .nr = 32, .step = 16}, {.mr = 14, .nr = 16, .step = 16}};
    exn_kernel_set set = {.name = "made up"};
    for (size_t i = 0; i < 2; i++) {
        set.f32_gemm[i] = tiles[i];
        set.f32_gemm[i].run = drivers_best_set().f32_gemm[0].run;
    }
    ck_assert_ptr_eq(exn_gemm_choose(&set, 196, 80, 480), &set.f32_gemm[0]);
    ck_assert_ptr_eq(exn_gemm_choose(&set, 12544, 16, 32), &set.f32_gemm[1]);
    set.f32_gemm[0].step = 0;
    ck_assert_ptr_eq(exn_gemm_choose(&set, 196, 80, 480), &set.f32_gemm[1]);
}
END_TEST

int main(void) {
    return unit_run("gemm", (const TTest *[]){packed_products, plain_products, large_product, asking_ahead,
                                              empty_products, choice_of_tile, choice_by_partial_panels, NULL});
}
