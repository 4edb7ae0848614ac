/* SPDX-License-Identifier: Apache-2.0
 * The convolution driver, every algorithm, against naive double-precision loops. */
#include "kernels/conv.h"
#include "tests/unit/drivers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct convolution {
    exn_conv_shape shape;
    exn_activation activation;
    float lo, hi;
    const float *in, *weight, *scale, *bias, *residual;
    bool in_place;
    exn_conv conv;
    float *packed;
    void *workspace[DRIVERS_PARTS];
} convolution;

static void prepare(void *user, const exn_kernel_set *set, size_t parts) {
    convolution *c = user;
    exn_conv_prepare(&c->conv, set, &c->shape, c->activation, c->lo, c->hi);
    c->packed = drivers_scratch(c->conv.packed_count * sizeof(float));
    exn_conv_pack(c->packed, &c->conv, c->weight, c->scale, c->bias);
    for (size_t i = 0; i < DRIVERS_PARTS; i++)
        c->workspace[i] = i < parts ? drivers_scratch(c->conv.workspace_bytes) : NULL;
}

static void run(void *user, const exn_kernel_set *set, float *out, exn_part part) {
    const convolution *c = user;
    (void)set;
    exn_conv_run(&c->conv, c->packed, c->in, out, c->in_place ? out : c->residual, c->workspace[part.index], part);
}

static void finish(void *user) {
    convolution *c = user;
    free(c->packed);
    for (size_t i = 0; i < DRIVERS_PARTS; i++) free(c->workspace[i]);
}

/* Sum over the taps of one output; *size gathers magnitudes. */
static double output_of(const convolution *c, size_t n, size_t oy, size_t ox, size_t o, double *size) {
    const exn_conv_shape *s = &c->shape;
    const size_t cg = s->c / s->groups, group = o / (s->oc / s->groups);
    double sum = c->bias ? (double)c->bias[o] : 0.0;
    *size = fabs(sum);
    for (size_t ky = 0; ky < s->kh; ky++)
        for (size_t kx = 0; kx < s->kw; kx++)
            for (size_t i = 0; i < cg; i++) {
                const ptrdiff_t y = (ptrdiff_t)(oy * s->stride_h + ky * s->dilation_h) - (ptrdiff_t)s->pad_top;
                const ptrdiff_t x = (ptrdiff_t)(ox * s->stride_w + kx * s->dilation_w) - (ptrdiff_t)s->pad_left;
                if (y < 0 || x < 0 || y >= (ptrdiff_t)s->h || x >= (ptrdiff_t)s->w) continue;
                const double value = (double)c->in[((n * s->h + (size_t)y) * s->w + (size_t)x) * s->c + group * cg + i];
                const double weight = (double)c->weight[((o * cg + i) * s->kh + ky) * s->kw + kx];
                const double term = value * weight * (c->scale ? (double)c->scale[o] : 1.0);
                sum += term;
                *size += fabs(term);
            }
    return sum;
}

static double activated(const convolution *c, double x) {
    switch (c->activation) {
    case EXN_ACT_CLAMP:
        return fmin(fmax(x, (double)c->lo), (double)c->hi);
    case EXN_ACT_SILU:
        return x / (1.0 + exp(-x));
    case EXN_ACT_HARD_SWISH:
        return x * fmin(fmax(x / 6.0 + 0.5, 0.0), 1.0);
    default:
        return x;
    }
}

static void reference(const convolution *c, const float *start, double *expected, double *bound) {
    const exn_conv_shape *s = &c->shape;
    for (size_t at = 0; at < s->n * s->oh * s->ow * s->oc; at++) {
        const size_t pixel = at / s->oc, row = pixel / s->ow;
        double size, sum = output_of(c, row / s->oh, row % s->oh, pixel % s->ow, at % s->oc, &size);
        if (c->in_place) sum += (double)start[at];
        if (c->residual) sum += (double)c->residual[at];
        expected[at] = activated(c, sum);
        bound[at] = (double)(s->kh * s->kw * s->c / s->groups + 8) * 0x1p-23 * (size + 2.0);
    }
}

static size_t outputs(size_t size, size_t before, size_t after, size_t kernel, size_t stride, size_t dilation) {
    const size_t reach = (kernel - 1) * dilation + 1, padded = size + before + after;
    return padded < reach ? 0 : (padded - reach) / stride + 1;
}

/* Fills in the outputs for these paddings behind, and checks; `round` varies the rest. */
static void check(exn_rng *rng, exn_conv_shape shape, size_t pad_bottom, size_t pad_right, size_t round) {
    shape.oh = outputs(shape.h, shape.pad_top, pad_bottom, shape.kh, shape.stride_h, shape.dilation_h);
    shape.ow = outputs(shape.w, shape.pad_left, pad_right, shape.kw, shape.stride_w, shape.dilation_w);
    const exn_conv_shape *s = &shape;
    const size_t count = s->n * s->oh * s->ow * s->oc;
    if (count == 0) return;
    convolution c = {.shape = shape, .lo = round % 2 ? 0.0f : -0.25f, .hi = 0.75f};
    static const exn_activation activations[] = {EXN_ACT_NONE, EXN_ACT_CLAMP, EXN_ACT_SILU, EXN_ACT_HARD_SWISH};
    c.activation = activations[exn_rng_below(rng, 4)];
    float *in = drivers_random(rng, s->n * s->h * s->w * s->c), *start = drivers_random(rng, count);
    float *weight = drivers_random(rng, s->oc * s->c / s->groups * s->kh * s->kw);
    float *scale = drivers_random(rng, s->oc), *bias = drivers_random(rng, s->oc);
    float *residual = drivers_random(rng, count);
    c.in = in, c.weight = weight;
    c.scale = round % 3 ? scale : NULL;
    c.bias = round % 4 ? bias : NULL;
    c.in_place = round % 5 == 1;
    c.residual = round % 5 == 0 ? residual : NULL;
    double *expected = drivers_doubles(count), *bound = drivers_doubles(count);
    reference(&c, start, expected, bound);
    char name[200];
    snprintf(name, sizeof name,
             "%zux%zux%zux%zu -> %zux%zux%zu, kernel %zux%zu, stride %zu %zu, dilation %zu %zu, groups %zu", s->n, s->h,
             s->w, s->c, s->oh, s->ow, s->oc, s->kh, s->kw, s->stride_h, s->stride_w, s->dilation_h, s->dilation_w,
             s->groups);
    drivers_verify(&(drivers_job){name, count, start, expected, bound, prepare, run, finish, &c, round % 8 == 0});
    free(in), free(start), free(weight), free(scale), free(bias), free(residual), free(expected), free(bound);
}

static exn_conv_shape random_shape(exn_rng *rng) {
    return (exn_conv_shape){.n = DRIVERS_PICK(rng, 1, 1, 2, 3),
                            .h = DRIVERS_PICK(rng, 1, 2, 5, 7, 12, 19),
                            .w = DRIVERS_PICK(rng, 1, 3, 5, 8, 14, 21, 37),
                            .kh = DRIVERS_PICK(rng, 1, 2, 3, 3, 5),
                            .kw = DRIVERS_PICK(rng, 1, 3, 3, 4, 7),
                            .stride_h = DRIVERS_PICK(rng, 1, 1, 2, 3, 6),
                            .stride_w = DRIVERS_PICK(rng, 1, 1, 2, 3, 8),
                            .dilation_h = DRIVERS_PICK(rng, 1, 1, 1, 2),
                            .dilation_w = DRIVERS_PICK(rng, 1, 1, 1, 3),
                            .pad_top = DRIVERS_PICK(rng, 0, 0, 1, 2, 5),
                            .pad_left = DRIVERS_PICK(rng, 0, 0, 1, 2, 4)};
}

START_TEST(dense) {
    exn_rng rng = exn_rng_seed(21, 0);
    for (size_t round = 0; round < drivers_rounds(200); round++) {
        exn_conv_shape shape = random_shape(&rng);
        shape.groups = 1;
        shape.c = DRIVERS_PICK(&rng, 1, 3, 4, 17, 24);
        shape.oc = DRIVERS_PICK(&rng, 1, 2, 8, 17, 40);
        check(&rng, shape, DRIVERS_PICK(&rng, 0, 1, 3), DRIVERS_PICK(&rng, 0, 1, 2), round);
    }
}
END_TEST

START_TEST(pointwise) {
    exn_rng rng = exn_rng_seed(22, 0);
    for (size_t round = 0; round < drivers_rounds(60); round++) {
        exn_conv_shape shape = random_shape(&rng);
        const size_t stride = round % 4 == 0 ? 2 : 1;
        shape.groups = shape.kh = shape.kw = 1;
        shape.stride_h = shape.stride_w = stride;
        shape.pad_top = shape.pad_left = 0;
        shape.c = DRIVERS_PICK(&rng, 1, 3, 16, 17, 96);
        shape.oc = DRIVERS_PICK(&rng, 1, 5, 24, 33);
        check(&rng, shape, 0, 0, round);
    }
}
END_TEST

START_TEST(grouped) {
    exn_rng rng = exn_rng_seed(23, 0);
    for (size_t round = 0; round < drivers_rounds(120); round++) {
        exn_conv_shape shape = random_shape(&rng);
        shape.groups = DRIVERS_PICK(&rng, 2, 3, 5);
        shape.c = shape.groups * DRIVERS_PICK(&rng, 1, 2, 5);
        shape.oc = shape.groups * DRIVERS_PICK(&rng, 1, 2, 3, 9);
        check(&rng, shape, DRIVERS_PICK(&rng, 0, 1, 2), DRIVERS_PICK(&rng, 0, 1, 2), round);
    }
}
END_TEST

START_TEST(depthwise) {
    exn_rng rng = exn_rng_seed(24, 0);
    for (size_t round = 0; round < drivers_rounds(200); round++) {
        exn_conv_shape shape = random_shape(&rng);
        shape.c = shape.oc = shape.groups = DRIVERS_PICK(&rng, 1, 3, 8, 17, 32, 70, 144);
        if (round % 3 == 0) shape.kh = shape.kw = round % 2 ? 3 : 5, shape.dilation_h = shape.dilation_w = 1;
        check(&rng, shape, DRIVERS_PICK(&rng, 0, 1, 2, 4), DRIVERS_PICK(&rng, 0, 1, 2, 4), round);
    }
}
END_TEST

/* What networks do: maps wider than narrow strips, and strips that come in several pieces. */
START_TEST(network_layers) {
    exn_rng rng = exn_rng_seed(25, 0);
    const exn_conv_shape same = {.n = 1,
                                 .kh = 3,
                                 .kw = 3,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .pad_top = 1,
                                 .pad_left = 1,
                                 .groups = 1};
    exn_conv_shape shape = same;
    shape.h = shape.w = 56, shape.c = shape.oc = shape.groups = 40;
    check(&rng, shape, 1, 1, 2);
    shape.stride_h = shape.stride_w = 2;
    check(&rng, shape, 1, 1, 3);
    shape = same;
    shape.h = shape.w = 33, shape.c = 64, shape.oc = 20;
    check(&rng, shape, 1, 1, 4);
    shape = same;
    shape.h = shape.w = 64, shape.c = 3, shape.oc = 32, shape.stride_h = shape.stride_w = 2, shape.pad_top = 0,
    shape.pad_left = 0;
    check(&rng, shape, 1, 1, 5);
}
END_TEST

START_TEST(names_and_macs) {
    const exn_conv_shape shape = {.n = 2,
                                  .h = 4,
                                  .w = 4,
                                  .c = 6,
                                  .oh = 2,
                                  .ow = 2,
                                  .oc = 9,
                                  .kh = 3,
                                  .kw = 3,
                                  .stride_h = 1,
                                  .stride_w = 1,
                                  .dilation_h = 1,
                                  .dilation_w = 1,
                                  .groups = 3};
    ck_assert_uint_eq(exn_conv_macs(&shape), 2 * 2 * 2 * 9 * 9 * 2);
    ck_assert_str_eq(exn_conv_algorithm_name(EXN_CONV_DEPTHWISE), "depthwise");
    ck_assert_str_eq(exn_conv_algorithm_name((exn_conv_algorithm)99), "unknown");
}
END_TEST

int main(void) {
    return unit_run("conv",
                    (const TTest *[]){dense, pointwise, grouped, depthwise, network_layers, names_and_macs, NULL});
}
