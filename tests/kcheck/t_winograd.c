/* SPDX-License-Identifier: Apache-2.0
 * Clauses K1..K8 for the Winograd transforms: generic against matrices in double precision, every fused set against
 * generic. */
#include <math.h>
#include <string.h>

#include "kernels/generic.h"
#include "tests/kcheck/kcheck.h"

typedef enum residual_kind { NO_RESIDUAL, SEPARATE, IN_PLACE, RESIDUAL_KINDS } residual_kind;

/* One call of either transform. Gaps are floats between pixels and between tiles. */
typedef struct wino_case {
    const exn_f32_winograd *kernel;
    bool back; /* the output transform */
    size_t tiles, channels, h, w;
    ptrdiff_t y, x;
    size_t gap, shift;
    kc_mode mode;
    kc_side side;
    residual_kind residual;
    exn_activation activation;
    exn_winograd_tiles t; /* built from the above */
    exn_epilogue e;
    float *image, *transformed;
    const float *bias;
} wino_case;

enum { SCRATCH_WANT, SCRATCH_ORACLE, SCRATCH_MAGNITUDE, SCRATCH_START };

static void describe(char *text, size_t bytes, const void *argument) {
    static const char *const residuals[] = {"none", "separate", "in place"};
    const wino_case *c = argument;
    snprintf(
        text, bytes, "%s tiles %zu channels %zu image %zux%zu at %td,%td gap %zu shift %zu %s %s edge residual %s%s",
        c->back ? "out" : "in", c->tiles, c->channels, c->h, c->w, c->y, c->x, c->gap, c->shift, kc_mode_name(c->mode),
        c->side == KC_RIGHT ? "right" : "left", residuals[c->residual], c->activation == EXN_ACT_CLAMP ? " clamp" : "");
}

static void run_kernel(void *argument) {
    const wino_case *c = argument;
    if (c->back)
        c->kernel->out(&c->t, c->transformed, c->bias, c->image, &c->e);
    else
        c->kernel->in(&c->t, c->image, c->transformed);
}

static size_t window(const wino_case *c) {
    return c->kernel->outputs + 2u;
}

static size_t image_count(const wino_case *c) {
    return c->h * c->w * c->channels == 0 ? 0 : (c->h * c->w - 1) * (c->channels + c->gap) + c->channels;
}

static size_t transformed_count(const wino_case *c) {
    if (c->tiles * c->channels == 0) return 0;
    return (window(c) * window(c) - 1) * (size_t)c->t.position + (c->tiles - 1) * (size_t)c->t.tile + c->channels;
}

static void fill_image(const wino_case *c, float *image) {
    for (size_t i = 0; c->channels && i < c->h * c->w; i++)
        kc_fill(image + i * (c->channels + c->gap), c->channels, c->mode);
}

static void place(wino_case *c) {
    const size_t pitch = c->channels + c->gap;
    c->t = (exn_winograd_tiles){.tiles = c->tiles,
                                .channels = c->channels,
                                .h = c->h,
                                .w = c->w,
                                .row = (ptrdiff_t)(c->w * pitch),
                                .pixel = (ptrdiff_t)pitch,
                                .y = c->y,
                                .x = c->x,
                                .position = (ptrdiff_t)(c->tiles * pitch + c->gap),
                                .tile = (ptrdiff_t)pitch};
    c->image = kc_place(c->back ? KC_C : KC_A, image_count(c), c->side, c->shift);
    c->transformed = kc_place(c->back ? KC_A : KC_C, transformed_count(c), c->side, c->shift);
    kc_poison(c->image, image_count(c)), kc_poison(c->transformed, transformed_count(c));
    float *bias = kc_place(KC_BIAS, c->channels, c->side, c->shift);
    kc_fill(bias, c->channels, c->mode), c->bias = bias;
    c->e = (exn_epilogue){.activation = c->activation, .lo = -0.75f, .hi = INFINITY};
    if (!c->back) {
        fill_image(c, c->image);
        return;
    }
    for (size_t p = 0; c->channels && p < window(c) * window(c); p++)
        for (size_t i = 0; i < c->tiles; i++)
            kc_fill(c->transformed + (ptrdiff_t)p * c->t.position + (ptrdiff_t)i * c->t.tile, c->channels, c->mode);
    if (c->residual == NO_RESIDUAL) return;
    float *residual = c->residual == IN_PLACE ? c->image : kc_place(KC_RESIDUAL, image_count(c), c->side, c->shift);
    kc_poison(residual, image_count(c));
    fill_image(c, residual);
    c->e.residual = residual;
}

/* ---- Matrices, from the interpolation points alone: entry (i, k) of B^T or A^T for p = m + 2 points. ---- */
static double point(size_t m, size_t i) {
    static const double two[] = {0, 1, -1}, four[] = {0, M_SQRT1_2, -M_SQRT1_2, M_SQRT2, -M_SQRT2};
    return m == 2 ? two[i] : four[i];
}

/* Coefficient k of the product of (x - point) over all finite points but `without`. */
static double coefficient(size_t m, size_t without, size_t k) {
    double poly[7] = {1};
    for (size_t i = 0, degree = 0; i < m + 1; i++) {
        if (i == without) continue;
        degree++;
        for (size_t d = degree; d > 0; d--) poly[d] = poly[d - 1] - point(m, i) * poly[d];
        poly[0] *= -point(m, i);
    }
    return fabs(poly[k]) < 1e-9 ? 0 : poly[k];
}

static double entry(size_t m, bool back, size_t i, size_t k) {
    /* m 2 takes the row of point 0 with the other sign. */
    if (!back) return coefficient(m, i, k) * (m == 2 && i == 0 ? -1 : 1);
    if (k == m + 1) return i == m - 1;
    return i == 0 ? 1 : point(m, k) == 0 ? 0 : pow(point(m, k), (double)i);
}

/* Element (i, j) of L d L^T, L being rows x p; d(k, l) by `at`. */
typedef double read_fn(const wino_case *c, size_t tile, size_t k, size_t l, size_t channel);

static double matrix[6][6]; /* of the transform under test */

static void set_matrix(const wino_case *c) {
    const size_t m = c->kernel->outputs;
    for (size_t i = 0; i < (c->back ? m : m + 2); i++)
        for (size_t k = 0; k < m + 2; k++) matrix[i][k] = entry(m, c->back, i, k);
}

static void sandwich(double *want, double *magnitude, const wino_case *c, size_t tile, size_t i, size_t j,
                     size_t channel, read_fn *at) {
    const size_t m = c->kernel->outputs;
    *want = *magnitude = 0;
    for (size_t k = 0; k < m + 2; k++)
        for (size_t l = 0; l < m + 2; l++) {
            const double factor = matrix[i][k] * matrix[j][l];
            if (factor == 0) continue;
            *want += factor * at(c, tile, k, l, channel);
            *magnitude += fabs(factor * at(c, tile, k, l, channel));
        }
}

static double read_image(const wino_case *c, size_t tile, size_t k, size_t l, size_t channel) {
    const ptrdiff_t y = c->y + (ptrdiff_t)k, x = c->x + (ptrdiff_t)(tile * c->kernel->outputs + l);
    if (y < 0 || x < 0 || y >= (ptrdiff_t)c->h || x >= (ptrdiff_t)c->w) return 0;
    return (double)c->image[y * c->t.row + x * c->t.pixel + (ptrdiff_t)channel];
}

static double read_transformed(const wino_case *c, size_t tile, size_t k, size_t l, size_t channel) {
    return (double)c->transformed[(ptrdiff_t)(k * window(c) + l) * c->t.position + (ptrdiff_t)tile * c->t.tile +
                                  (ptrdiff_t)channel];
}

/* Roundings on the way to one element, generously. */
#define ROUNDINGS 24

static bool check_element(const wino_case *c, float got, const float *start, size_t tile, size_t i, size_t j,
                          size_t channel) {
    double want, magnitude;
    sandwich(&want, &magnitude, c, tile, i, j, channel, c->back ? read_transformed : read_image);
    if (c->back) {
        const ptrdiff_t at = (c->y + (ptrdiff_t)i) * c->t.row +
                             (c->x + (ptrdiff_t)(tile * c->kernel->outputs + j)) * c->t.pixel + (ptrdiff_t)channel;
        const double bias = (double)c->bias[channel];
        const double residual = c->e.residual ? (double)(c->residual == IN_PLACE ? start : c->e.residual)[at] : 0;
        want = kc_oracle_activation(c->activation, want + bias + residual, (double)c->e.lo, (double)c->e.hi);
        magnitude += fabs(bias) + fabs(residual);
    }
    return kc_near(c->back ? "out" : "in", &got, &want, &magnitude, ROUNDINGS, 1);
}

/* Every element that the call had to write, against the matrices. start: the image before the call. */
static void check_oracle(const wino_case *c, const float *start) {
    const size_t rows = c->back ? c->kernel->outputs : window(c);
    set_matrix(c);
    for (size_t tile = 0; tile < c->tiles; tile++)
        for (size_t ij = 0; ij < rows * rows; ij++) {
            const size_t i = ij / rows, j = ij % rows;
            const ptrdiff_t y = c->y + (ptrdiff_t)i, x = c->x + (ptrdiff_t)(tile * c->kernel->outputs + j);
            const bool inside = y >= 0 && x >= 0 && y < (ptrdiff_t)c->h && x < (ptrdiff_t)c->w;
            for (size_t channel = 0; channel < c->channels && (!c->back || inside); channel++) {
                const float got = c->back ? c->image[y * c->t.row + x * c->t.pixel + (ptrdiff_t)channel]
                                          : (float)read_transformed(c, tile, i, j, channel);
                if (!check_element(c, got, start, tile, i, j, channel)) return;
            }
        }
}

static void run_case(wino_case *c) {
    kc_case(describe, c);
    place(c);
    const size_t count = c->back ? image_count(c) : transformed_count(c), m = c->kernel->outputs;
    float *const result = c->back ? c->image : c->transformed;
    float *start = kc_scratch(SCRATCH_START, count * sizeof *start),
          *want = kc_scratch(SCRATCH_WANT, count * sizeof *want);
    if (count) memcpy(start, result, count * sizeof *start), memcpy(want, result, count * sizeof *want);
    const bool fused = kc_subject_fused();
    if (fused && c->back) {
        exn_epilogue e = c->e;
        if (e.residual == c->image) e.residual = want;
        exn_generic_winograd_out(m, &c->t, c->transformed, c->bias, want, &e);
    } else if (fused) {
        exn_generic_winograd_in(m, &c->t, c->image, want);
    }
    if (!kc_call(run_kernel, c)) return;
    if (fused && !kc_same(c->back ? "image" : "transformed", result, want, count)) return; /* gaps too */
    if (!fused && c->mode != KC_ADVERSARIAL) check_oracle(c, start);
}

static void run_both(wino_case c) {
    for (kc_side side = 0; side < KC_SIDES; side++) {
        c.side = side;
        c.back = false;
        run_case(&c);
        c.back = true;
        if (c.y < 0) c.y = 0;
        if (c.x < 0) c.x = 0;
        run_case(&c);
    }
}

/* 1, 3 and everything around one and two vectors of any set. */
static void over_channels(wino_case c, void (*body)(wino_case)) {
    static const size_t channels[] = {1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33};
    for (size_t i = 0; i < sizeof channels / sizeof *channels; i++) {
        c.channels = channels[i];
        body(c);
    }
}

/* Images smaller and larger than a window, windows over every edge. */
static void over_edges(wino_case c) {
    const size_t sizes[] = {1, 2, 3, 5, 6, 9};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (c.tiles = 1; c.tiles <= 3; c.tiles++)
            for (ptrdiff_t at = -2; at <= 4; at += 2) {
                c.h = sizes[i], c.w = sizes[(i + c.tiles) % 6];
                c.y = at, c.x = at < 2 ? at : 0;
                run_both(c);
            }
}

static void over_gaps(wino_case c) {
    for (c.gap = 0; c.gap < 7; c.gap += 3) run_both(c);
}

static void over_epilogues(wino_case c) {
    for (kc_mode mode = 0; mode < KC_MODES; mode++)
        for (residual_kind residual = 0; residual < RESIDUAL_KINDS; residual++)
            for (int clamp = 0; clamp < 2; clamp++) {
                c.mode = mode, c.residual = residual, c.activation = clamp ? EXN_ACT_CLAMP : EXN_ACT_NONE;
                run_both(c);
            }
}

static void test_alignment(wino_case c) {
    for (c.shift = 0; c.shift < 16; c.shift++) over_channels(c, run_both);
}

static void test_empty(wino_case c) {
    for (unsigned i = 1; i < 4; i++) {
        wino_case empty = c;
        empty.tiles = i & 1 ? 0 : 2, empty.channels = i & 2 ? 0 : 5;
        run_both(empty);
    }
}

static void test_kernel(const exn_kernel_set *set, const exn_f32_winograd *kernel) {
    if (!kc_subject_begin(set, kernel->name)) return;
    const wino_case c = {.kernel = kernel, .tiles = 2, .channels = 19, .h = 8, .w = 9, .mode = KC_UNIFORM};
    wino_case variant = c;
    if (kc_test("K1_layout")) over_channels(c, over_gaps);
    if (kc_test("K2_partial")) over_channels(c, kc_opt.quick ? run_both : over_edges);
    variant.y = variant.x = -1;
    if (kc_test("K3_bounds")) over_channels(variant, over_gaps);
    if (kc_test("K4_alignment")) test_alignment(c);
    variant = c, variant.residual = SEPARATE, variant.gap = 2;
    if (kc_test("K5_c_not_read")) over_channels(variant, run_both);
    if (kc_test("K6_arithmetic")) over_channels(c, over_epilogues);
    variant.mode = KC_ADVERSARIAL;
    if (kc_test("K7_nan_inf")) over_channels(variant, over_edges);
    if (kc_test("K8_empty")) test_empty(c);
}

static void generic_in_2(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_generic_winograd_in(2, t, image, transformed);
}
static void generic_in_4(const exn_winograd_tiles *t, const float *image, float *transformed) {
    exn_generic_winograd_in(4, t, image, transformed);
}
static void generic_out_2(const exn_winograd_tiles *t, const float *transformed, const float *bias, float *image,
                          const exn_epilogue *e) {
    exn_generic_winograd_out(2, t, transformed, bias, image, e);
}
static void generic_out_4(const exn_winograd_tiles *t, const float *transformed, const float *bias, float *image,
                          const exn_epilogue *e) {
    exn_generic_winograd_out(4, t, transformed, bias, image, e);
}

void kc_test_winograd(const exn_kernel_set *set) {
    static const exn_f32_winograd generic[EXN_WINOGRADS] = {
        {generic_in_2, generic_out_2, 2, "f32_winograd_2x2_generic"},
        {generic_in_4, generic_out_4, 4, "f32_winograd_4x4_generic"}};
    const exn_f32_winograd *kernels = set ? set->f32_winograd : generic;
    for (size_t i = 0; i < EXN_WINOGRADS && kernels[0].in; i++) test_kernel(set, &kernels[i]);
}
