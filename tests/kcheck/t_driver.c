/* SPDX-License-Identifier: Apache-2.0
 * Whole drivers: matrix product and convolution of random shapes against the oracle, and the same bits for any tile and
 * any number of parts. */
#include <math.h>
#include <string.h>

#include "kernels/gemm.h"
#include "kernels/generic.h"
#include "tests/kcheck/kcheck.h"

static exn_pool *pools[KC_PARTS_MAX + 1]; /* by thread count; [1] is NULL: the caller alone */

enum { SCRATCH_ONE, SCRATCH_WANT, SCRATCH_MAGNITUDE, SCRATCH_WEIGHT, SCRATCH_SCALE };

static size_t between(size_t least, size_t most) {
    return least + exn_rng_below(kc_rng(), (uint32_t)(most - least + 1));
}

/* ---- Matrix product ---- */
typedef struct product_case {
    const exn_f32_gemm *tile;
    size_t parts;
    exn_gemm g;
    const float *a, *b, *residual;
    float *c;
} product_case;

static void describe_product(char *text, size_t bytes, const void *argument) {
    const product_case *p = argument;
    snprintf(text, bytes, "%s m %zu n %zu k %zu a strides %td,%td %s B parts %zu%s%s%s", p->tile->name, p->g.m, p->g.n,
             p->g.k, p->g.a_row, p->g.a_col, p->g.packed ? "packed" : "plain", p->parts, p->g.e.bias ? " bias" : "",
             p->residual ? (p->residual == p->c ? " residual in place" : " residual") : "",
             p->g.e.accumulate ? " accumulate" : "");
}

static void product_part(void *argument, exn_part part) {
    const product_case *p = argument;
    exn_gemm_run(&p->g, p->a, p->b, p->c, p->residual, part);
}

static void run_product(void *argument) {
    const product_case *p = argument;
    exn_pool_run(pools[p->parts], product_part, argument);
}

static void draw_product(product_case *p, kc_gemm_args *plain) {
    const size_t m = between(1, 40), n = between(1, 80), k = between(0, 40);
    const bool columns = between(0, 1), packed = between(0, 1);
    const size_t residual = between(0, 2);
    float *a = kc_place(KC_A, m * k, KC_RIGHT, 0), *b = kc_place(KC_B, k * n, KC_RIGHT, 0);
    float *bias = kc_place(KC_BIAS, n, KC_RIGHT, 0), *extra = kc_place(KC_RESIDUAL, m * n, KC_RIGHT, 0);
    kc_fill(a, m * k, KC_UNIFORM), kc_fill(b, k * n, KC_UNIFORM), kc_fill(bias, n, KC_UNIFORM);
    kc_fill(extra, m * n, KC_UNIFORM);
    p->c = kc_place(KC_C, m * n, KC_RIGHT, 0);
    kc_fill(p->c, m * n, KC_UNIFORM);
    p->a = a, p->b = b, p->residual = residual == 2 ? p->c : residual ? extra : NULL;
    exn_gemm *g = &p->g;
    g->m = m, g->n = n, g->k = k, g->packed = packed, g->b_row = (ptrdiff_t)n, g->c_row = (ptrdiff_t)n;
    g->a_row = columns ? 1 : (ptrdiff_t)k, g->a_col = columns ? (ptrdiff_t)m : 1;
    g->e = (exn_epilogue){.residual_row = (ptrdiff_t)n,
                          .accumulate = residual != 2 && between(0, 2) == 0,
                          .activation = between(0, 1) ? EXN_ACT_CLAMP : EXN_ACT_NONE,
                          .lo = 0,
                          .hi = 6};
    const bool biased = !g->e.accumulate && between(0, 1);
    if (packed && g->e.accumulate) g->e.accumulate = false; /* packed panels begin with their bias */
    *plain = (kc_gemm_args){.m = m,
                            .n = n,
                            .k = k,
                            .segments = 1,
                            .a = a,
                            .a_row = g->a_row,
                            .a_col = g->a_col,
                            .b = b,
                            .b_row = (ptrdiff_t)n,
                            .c = p->c,
                            .c_row = (ptrdiff_t)n,
                            .e = g->e};
    plain->e.bias = biased ? bias : NULL, plain->e.residual = p->residual;
    if (!packed) g->e.bias = plain->e.bias;
    if (packed) {
        float *panels = kc_place(KC_EXTRA, exn_gemm_packed_count(p->tile, n, k), KC_RIGHT, 0);
        exn_gemm_pack(panels, p->tile, n, k, b, (ptrdiff_t)n, 1, NULL, plain->e.bias);
        p->b = panels;
    }
}

static void check_product(product_case *p, bool fused) {
    kc_gemm_args plain;
    kc_case(describe_product, p);
    draw_product(p, &plain);
    const size_t count = plain.m * plain.n;
    double *want = kc_scratch(SCRATCH_WANT, count * sizeof *want);
    double *magnitude = kc_scratch(SCRATCH_MAGNITUDE, count * sizeof *magnitude);
    float *one = kc_scratch(SCRATCH_ONE, count * sizeof *one);
    kc_oracle_gemm(want, magnitude, &plain);
    memcpy(one, p->c, count * sizeof *one);
    exn_epilogue e = plain.e;
    if (e.residual == p->c) e.residual = one;
    exn_generic_gemm(plain.m, plain.n, plain.k, 1, plain.a, plain.a_row, plain.a_col, 0, plain.b, plain.b_row, one,
                     plain.c_row, &e);
    if (!plain.e.accumulate && plain.e.residual != p->c) kc_poison(p->c, count);
    if (!kc_call(run_product, p)) return;
    if (!kc_near("C", p->c, want, magnitude, (double)(plain.k + 4), count)) return;
    if (fused) kc_same("C beside generic", p->c, one, count);
}

static void test_products(const exn_kernel_set *set) {
    const size_t rounds = kc_opt.quick ? 20 : 200;
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++)
        for (size_t round = 0; round < rounds; round++) {
            product_case p = {.tile = &set->f32_gemm[i], .parts = 1 + round % KC_PARTS_MAX};
            p.g.tile = p.tile, p.g.vector = &set->f32_vector;
            check_product(&p, set->fused);
        }
}

/* ---- Convolution ---- */
typedef struct conv_case {
    exn_conv conv;
    size_t parts;
    const float *packed, *in, *residual;
    float *out;
    char *workspace;
} conv_case;

static void describe_conv(char *text, size_t bytes, const void *argument) {
    const conv_case *c = argument;
    const exn_conv_shape *s = &c->conv.shape;
    snprintf(text, bytes,
             "%s %zux%zux%zux%zu to %zux%zux%zu kernel %zux%zu stride %zu,%zu dilation %zu,%zu pad %zu,%zu groups %zu "
             "parts %zu%s",
             exn_conv_algorithm_name(c->conv.algorithm), s->n, s->h, s->w, s->c, s->oh, s->ow, s->oc, s->kh, s->kw,
             s->stride_h, s->stride_w, s->dilation_h, s->dilation_w, s->pad_top, s->pad_left, s->groups, c->parts,
             c->residual ? (c->residual == c->out ? " residual in place" : " residual") : "");
}

static void conv_part(void *argument, exn_part part) {
    const conv_case *c = argument;
    exn_conv_run(&c->conv, c->packed, c->in, c->out, c->residual,
                 c->workspace + part.index * exn_round_up(c->conv.workspace_bytes), part);
}

static void run_conv(void *argument) {
    const conv_case *c = argument;
    exn_pool_run(pools[c->parts], conv_part, argument);
}

/* Output size with a random padding behind; at least one. */
static size_t draw_extent(size_t in, size_t kernel, size_t stride, size_t dilation, size_t before) {
    const size_t reach = (kernel - 1) * dilation + 1;
    size_t padded = in + before + between(0, reach - 1);
    if (padded < reach) padded = reach;
    return (padded - reach) / stride + 1;
}

static exn_conv_shape draw_shape(void) {
    static const size_t kernels[] = {1, 1, 2, 3, 3, 5, 7};
    exn_conv_shape s = {.n = between(1, 2), .h = between(1, 13), .w = between(1, 13)};
    const size_t kind = between(0, 4);
    s.groups = kind == 0 ? between(2, 4) : 1;
    s.c = s.groups * between(1, 19), s.oc = s.groups * between(1, 37);
    if (kind == 1 || kind == 2) s.c = s.oc = s.groups = between(1, 40);
    s.kh = kernels[between(0, 6)], s.kw = between(0, 3) ? s.kh : kernels[between(0, 6)];
    s.stride_h = between(1, 3), s.stride_w = between(0, 3) ? s.stride_h : between(1, 3);
    s.dilation_h = between(0, 4) ? 1 : 2, s.dilation_w = between(0, 4) ? 1 : 2;
    if (kind == 4) s.kh = s.kw = s.stride_h = s.stride_w = 1;
    s.pad_top = between(0, (s.kh - 1) * s.dilation_h), s.pad_left = between(0, (s.kw - 1) * s.dilation_w);
    s.oh = draw_extent(s.h, s.kh, s.stride_h, s.dilation_h, s.pad_top);
    s.ow = draw_extent(s.w, s.kw, s.stride_w, s.dilation_w, s.pad_left);
    return s;
}

/* A shape that Winograd takes. */
static exn_conv_shape draw_winograd_shape(void) {
    exn_conv_shape s = draw_shape();
    s.kh = s.kw = 3;
    s.stride_h = s.stride_w = s.dilation_h = s.dilation_w = s.groups = 1;
    s.c = between(1, 40), s.oc = between(1, 150);
    s.pad_top = between(0, 2), s.pad_left = between(0, 2);
    s.oh = draw_extent(s.h, 3, 1, 1, s.pad_top), s.ow = draw_extent(s.w, 3, 1, 1, s.pad_left);
    return s;
}

static double terms_of(const exn_conv_shape *s) {
    return (double)(s->kh * s->kw * (s->c / s->groups) + 6);
}

/* Winograd's errors are bounded over a tile, not element by element: each is held to this many roundings of the largest
 * sum of magnitudes. */
#define WINOGRAD_TERMS 24
static void spread_largest(double *magnitude, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++) largest = magnitude[i] > largest ? magnitude[i] : largest;
    for (size_t i = 0; i < count; i++) magnitude[i] = largest;
}

/* Poisoned, so that what was not written, or was read from a stale workspace, shows. */
static void poison_run(conv_case *c, size_t count, const float *start) {
    const size_t workspace = KC_PARTS_MAX * exn_round_up(c->conv.workspace_bytes) / sizeof(float);
    c->workspace = (char *)kc_place(KC_EXTRA, workspace, KC_RIGHT, 0);
    kc_poison((float *)(void *)c->workspace, workspace);
    if (start)
        memcpy(c->out, start, count * sizeof *start);
    else
        kc_poison(c->out, count);
}

/* outputs: of a Winograd tile; 0: the exact algorithms. */
static void check_conv(conv_case *c, const exn_kernel_set *set, size_t outputs) {
    kc_case(describe_conv, c);
    const exn_conv_shape s = outputs ? draw_winograd_shape() : draw_shape();
    const bool clamp = between(0, 1);
    const exn_activation act = clamp ? EXN_ACT_CLAMP : EXN_ACT_NONE;
    c->conv.shape = s;
    if (outputs)
        exn_conv_prepare_winograd(&c->conv, set, &s, outputs, act, 0, 6);
    else
        exn_conv_prepare(&c->conv, set, &s, act, 0, 6);
    const size_t weights = s.oc * (s.c / s.groups) * s.kh * s.kw, count = s.n * s.oh * s.ow * s.oc,
                 inputs = s.n * s.h * s.w * s.c;
    float *weight = kc_scratch(SCRATCH_WEIGHT, weights * sizeof *weight);
    float *scale = kc_scratch(SCRATCH_SCALE, 2 * s.oc * sizeof *scale), *bias = scale + s.oc;
    float *in = kc_place(KC_A, inputs, KC_RIGHT, 0), *packed = kc_place(KC_B, c->conv.packed_count, KC_RIGHT, 0);
    float *residual = kc_place(KC_RESIDUAL, count, KC_RIGHT, 0);
    kc_fill(weight, weights, KC_UNIFORM), kc_fill(scale, 2 * s.oc, KC_UNIFORM);
    kc_fill(in, inputs, KC_UNIFORM), kc_fill(residual, count, KC_UNIFORM);
    const size_t kind = between(0, 2);
    const bool scaled = between(0, 1), biased = between(0, 1);
    c->in = in, c->packed = packed, c->out = kc_place(KC_C, count, KC_RIGHT, 0);
    exn_conv_pack(packed, &c->conv, weight, scaled ? scale : NULL, biased ? bias : NULL);
    double *want = kc_scratch(SCRATCH_WANT, count * sizeof *want);
    double *magnitude = kc_scratch(SCRATCH_MAGNITUDE, count * sizeof *magnitude);
    kc_oracle_conv(want, magnitude, &s, in, weight, scaled ? scale : NULL, biased ? bias : NULL,
                   kind ? residual : NULL);
    for (size_t i = 0; clamp && i < count; i++) want[i] = kc_oracle_activation(EXN_ACT_CLAMP, want[i], 0, 6);
    if (outputs) spread_largest(magnitude, count);
    const double terms = outputs ? WINOGRAD_TERMS : terms_of(&s);
    c->residual = kind == 2 ? c->out : kind ? residual : NULL;
    poison_run(c, count, kind == 2 ? residual : NULL);
    c->parts = 1;
    if (!kc_call(run_conv, c) || !kc_near("out", c->out, want, magnitude, terms, count)) return;
    float *one = kc_scratch(SCRATCH_ONE, count * sizeof *one);
    memcpy(one, c->out, count * sizeof *one);
    for (c->parts = 2; c->parts <= KC_PARTS_MAX; c->parts++) {
        poison_run(c, count, kind == 2 ? residual : NULL);
        if (!kc_call(run_conv, c) || !kc_same("out beside one part", c->out, one, count)) return;
    }
}

static void test_convs(const exn_kernel_set *set) {
    const size_t rounds = kc_opt.quick ? 60 : 600;
    for (size_t round = 0; round < rounds; round++) {
        conv_case c = {.parts = 1};
        check_conv(&c, set, 0);
    }
}

static void test_winograds(const exn_kernel_set *set) {
    const size_t rounds = kc_opt.quick ? 30 : 200;
    for (size_t round = 0; round < rounds; round++) {
        conv_case c = {.parts = 1};
        check_conv(&c, set, round % 2 ? 2 : 4);
    }
}

void kc_test_driver(const exn_kernel_set *set, exn_context *ctx) {
    for (size_t threads = 2; threads <= KC_PARTS_MAX; threads++)
        if (!pools[threads] && exn_pool_create(&pools[threads], ctx, threads) != EXN_OK) {
            kc_skip("drivers: %s", exn_context_error(ctx));
            return;
        }
    if (kc_subject_begin(set, "driver.gemm") && kc_test("K6_products")) test_products(set);
    if (kc_subject_begin(set, "driver.conv") && kc_test("K6_convolutions")) test_convs(set);
    if (kc_subject_begin(set, "driver.winograd") && kc_test("K6_error_bound")) test_winograds(set);

    kc_test_layers(set, pools);
    for (size_t threads = 2; threads <= KC_PARTS_MAX; threads++) {
        exn_pool_destroy(pools[threads]);
        pools[threads] = NULL;
    }
}
