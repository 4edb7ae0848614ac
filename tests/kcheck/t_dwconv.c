/* SPDX-License-Identifier: Apache-2.0
 * Clauses K1..K8 for depthwise row kernels: generic against the oracle, every fused set against generic. */
#include <math.h>
#include <string.h>

#include "kernels/generic.h"
#include "tests/kcheck/kcheck.h"

typedef enum residual_kind { NO_RESIDUAL, SEPARATE, IN_PLACE, RESIDUAL_KINDS } residual_kind;

/* One call. Gaps are floats between pixels: poison in inputs, canaries in outputs. */
typedef struct dw_case {
    const exn_f32_dwconv *kernel;
    size_t rows, pixels, channels, kh, kw, stride, dilation;
    size_t gap, shift;
    size_t pad, cut; /* input pixels missing at the left and right */
    unsigned absent; /* bit 0, 1: the first, the last input row does not exist */
    bool one_row;    /* every pointer is the same input row, flush with the forbidden page */
    kc_mode mode;
    kc_side side;
    residual_kind residual;
    exn_activation activation;
    exn_dwconv_rows work; /* built from the above */
    exn_epilogue e;
} dw_case;

enum { SCRATCH_WANT, SCRATCH_DENSE, SCRATCH_ORACLE, SCRATCH_MAGNITUDE, SCRATCH_START };

static void describe(char *text, size_t bytes, const void *argument) {
    static const char *const residuals[] = {"none", "separate", "in place"};
    const dw_case *c = argument;
    snprintf(text, bytes,
             "rows %zu pixels %zu channels %zu kernel %zux%zu stride %zu dilation %zu gap %zu shift %zu pad %zu "
             "cut %zu absent %u%s %s edge %s residual %s%s",
             c->rows, c->pixels, c->channels, c->kh, c->kw, c->stride, c->dilation, c->gap, c->shift, c->pad, c->cut,
             c->absent, c->one_row ? " one row" : "", kc_mode_name(c->mode), c->side == KC_RIGHT ? "right" : "left",
             residuals[c->residual], c->activation == EXN_ACT_CLAMP ? " clamp" : "");
}

static void run_kernel(void *argument) {
    const dw_case *c = argument;
    c->kernel->run(&c->work);
}

static size_t smaller(size_t a, size_t b) {
    return a < b ? a : b;
}

static void place_input(dw_case *c) {
    exn_dwconv_rows *w = &c->work;
    const size_t pitch = c->channels + c->gap;
    const size_t reach = c->pixels ? (c->pixels - 1) * c->stride + (c->kw - 1) * c->dilation + 1 : 0;
    w->stride = c->stride, w->dilation = c->dilation;
    w->pad_left = smaller(c->pad, reach);
    w->width = reach - w->pad_left - smaller(c->cut, reach - w->pad_left);
    const size_t row_count = w->width && c->channels ? (w->width - 1) * pitch + c->channels : 0;
    const size_t table_count = c->rows ? (c->rows - 1) * c->stride + c->kh : 0;
    const size_t input_rows = c->one_row ? 1 : table_count;
    float *x = kc_place(KC_A, row_count * input_rows, c->side, c->shift);
    kc_poison(x, row_count * input_rows);
    for (size_t r = 0; r < input_rows && row_count; r++)
        for (size_t i = 0; i < w->width; i++) kc_fill(x + r * row_count + i * pitch, c->channels, c->mode);
    const float **table =
        (const float **)(void *)kc_place(KC_TABLE, table_count * sizeof *table / sizeof(float), c->side, 0);
    for (size_t r = 0; r < table_count; r++) {
        const bool absent = (r == 0 && c->absent & 1) || (r + 1 == table_count && c->absent & 2);
        table[r] = absent ? NULL : c->one_row ? x : x + r * row_count;
    }
    w->in = table, w->row_step = c->stride;
    w->in_pixel = (ptrdiff_t)pitch;
}

static void place_weights(dw_case *c) {
    const size_t panel = c->kernel->panel, taps = 1 + c->kh * c->kw, panels = (c->channels + panel - 1) / panel;
    float *w = kc_place(KC_B, panels * taps * panel, c->side, c->shift);
    memset(w, 0, panels * taps * panel * sizeof *w);
    for (size_t p = 0; p < panels; p++)
        for (size_t t = 0; t < taps; t++) {
            const size_t count = p + 1 < panels ? panel : c->channels - p * panel;
            kc_fill(w + (p * taps + t) * panel, count, c->mode == KC_ADVERSARIAL ? KC_UNIFORM : c->mode);
        }
    c->work.w = w;
}

/* Rows lie `gap` floats apart beyond their pixels, pixels beyond their channels. */
static size_t out_count(const dw_case *c) {
    if (c->rows * c->pixels * c->channels == 0) return 0;
    return (c->rows - 1) * (size_t)c->work.out_row + (c->pixels - 1) * (size_t)c->work.out_pixel + c->channels;
}

static float *out_at(const dw_case *c, float *out, size_t row, size_t pixel) {
    return out + (ptrdiff_t)row * c->work.out_row + (ptrdiff_t)pixel * c->work.out_pixel;
}

static void fill_output(const dw_case *c, float *out) {
    for (size_t r = 0; r < c->rows; r++)
        for (size_t p = 0; p < c->pixels; p++) kc_fill(out_at(c, out, r, p), c->channels, c->mode);
}

static void place_output(dw_case *c) {
    exn_dwconv_rows *w = &c->work;
    w->out_pixel = (ptrdiff_t)(c->channels + c->gap);
    w->out_row = (ptrdiff_t)(c->pixels * (c->channels + c->gap) + c->gap);
    const size_t count = out_count(c);
    w->out = kc_place(KC_C, count, c->side, c->shift);
    kc_poison(w->out, count);
    c->e = (exn_epilogue){.activation = c->activation, .lo = -0.75f, .hi = INFINITY};
    if (c->residual == IN_PLACE && count) {
        fill_output(c, w->out);
        c->e.residual = w->out;
    } else if (c->residual == SEPARATE) {
        float *residual = kc_place(KC_RESIDUAL, count, c->side, c->shift);
        kc_poison(residual, count);
        if (count) fill_output(c, residual);
        c->e.residual = residual;
    }
    w->e = &c->e;
}

static void run_generic(const dw_case *c, float *out) {
    exn_dwconv_rows work = c->work;
    exn_epilogue e = c->e;
    if (e.residual == work.out) e.residual = out;
    work.out = out, work.e = &e;
    exn_generic_dwconv(&work, c->kernel->panel);
}

static void gather(const dw_case *c, float *dense, float *out) {
    for (size_t r = 0; r < c->rows; r++)
        for (size_t p = 0; p < c->pixels; p++, dense += c->channels)
            memcpy(dense, out_at(c, out, r, p), c->channels * sizeof *dense);
}

/* Zeroes the window in both, so that what differs was written outside it. */
static bool gaps_kept(const dw_case *c, float *start) {
    const size_t count = out_count(c);
    for (size_t r = 0; r < c->rows && count; r++)
        for (size_t p = 0; p < c->pixels; p++) {
            memset(out_at(c, start, r, p), 0, c->channels * sizeof *start);
            memset(out_at(c, c->work.out, r, p), 0, c->channels * sizeof *start);
        }
    for (size_t i = 0; i < count; i++) {
        if (kc_same_value(c->work.out[i], start[i], false)) continue;
        kc_fail("K3: wrote float %zu of the output, in a gap", i);
        return false;
    }
    return true;
}

static void check_oracle(const dw_case *c, const float *dense, const double *want, const double *magnitude,
                         size_t count) {
    if (c->mode != KC_INTEGERS) {
        kc_near("out", dense, want, magnitude, (double)(c->kh * c->kw + 4), count);
        return;
    }
    float *exact = kc_scratch(SCRATCH_WANT, count * sizeof *exact);
    for (size_t i = 0; i < count; i++) exact[i] = (float)want[i];
    kc_same("out (integer arithmetic)", dense, exact, count);
}

static void run_case(dw_case *c) {
    kc_case(describe, c);
    c->work =
        (exn_dwconv_rows){.rows = c->rows, .pixels = c->pixels, .channels = c->channels, .kh = c->kh, .kw = c->kw};
    place_input(c);
    place_weights(c);
    place_output(c);
    const size_t count = out_count(c), dense_count = c->rows * c->pixels * c->channels;
    const bool fused = kc_subject_fused(), oracle = !fused || c->mode == KC_INTEGERS;
    float *start = kc_scratch(SCRATCH_START, count * sizeof *start);
    float *dense = kc_scratch(SCRATCH_DENSE, 2 * dense_count * sizeof *dense), *want_dense = dense + dense_count;
    double *want = kc_scratch(SCRATCH_ORACLE, dense_count * sizeof *want);
    double *magnitude = kc_scratch(SCRATCH_MAGNITUDE, dense_count * sizeof *magnitude);
    if (count) memcpy(start, c->work.out, count * sizeof *start);
    if (oracle) kc_oracle_dwconv(want, magnitude, &c->work, c->kernel->panel);
    if (fused && count) {
        float *out_want = kc_scratch(SCRATCH_WANT, count * sizeof *out_want);
        memcpy(out_want, start, count * sizeof *out_want);
        run_generic(c, out_want);
        gather(c, want_dense, out_want);
    }
    if (!kc_call(run_kernel, c)) return;
    if (count) gather(c, dense, c->work.out);
    if (!gaps_kept(c, start)) return;
    if (fused && !kc_same("out", dense, want_dense, dense_count)) return;
    if (oracle) check_oracle(c, dense, want, magnitude, dense_count);
}

static void run_sides(dw_case c) {
    for (kc_side side = 0; side < KC_SIDES; side++) {
        c.side = side;
        run_case(&c);
    }
}

static const size_t kernel_sizes[][2] = {{1, 1}, {3, 3}, {5, 5}, {3, 1}, {1, 3}, {7, 7}};

static void over_kernels(dw_case c, void (*body)(dw_case)) {
    for (size_t i = 0; i < sizeof kernel_sizes / sizeof *kernel_sizes; i++) {
        c.kh = kernel_sizes[i][0], c.kw = kernel_sizes[i][1];
        body(c);
    }
}

/* 1, 3 and everything around one and two panels, or what lies next to them. */
static void over_channels(dw_case c, void (*body)(dw_case)) {
    const size_t panel = c.kernel->panel;
    for (c.channels = 1; c.channels <= 2 * panel + 1; c.channels++) {
        const bool far = c.channels > panel + 1 && c.channels <= 2 * panel;
        if (c.channels == 1 || c.channels == 3 || (c.channels >= panel - 1 && !(kc_opt.quick && far))) body(c);
    }
}

static void over_pixels(dw_case c) {
    for (c.rows = 1; c.rows <= 3; c.rows++)
        for (c.pixels = 1; c.pixels <= 9; c.pixels++) run_sides(c);
}

static void over_strides(dw_case c) {
    for (c.stride = 1; c.stride <= 3; c.stride++)
        for (c.dilation = 1; c.dilation <= 2; c.dilation++)
            for (c.gap = 0; c.gap < 4; c.gap += 3) run_sides(c);
}

static void over_epilogues(dw_case c) {
    for (kc_mode mode = 0; mode < KC_MODES; mode++)
        for (residual_kind residual = 0; residual < RESIDUAL_KINDS; residual++)
            for (int clamp = 0; clamp < 2; clamp++) {
                c.mode = mode, c.residual = residual, c.activation = clamp ? EXN_ACT_CLAMP : EXN_ACT_NONE;
                run_sides(c);
            }
}

static void over_borders(dw_case c) {
    for (c.pad = 0; c.pad <= c.kw; c.pad++)
        for (c.cut = 0; c.cut <= c.kw; c.cut += 1 + (c.cut >= 2))
            for (c.absent = 0; c.absent < 4; c.absent += kc_opt.quick ? 3 : 1) run_sides(c);
}

static void channels_by_borders(dw_case c) {
    for (c.stride = 1; c.stride <= 2; c.stride++)
        for (c.pixels = kc_opt.quick ? 15 : 1; c.pixels <= 15; c.pixels += 7) {
            if (kc_opt.quick)
                over_borders(c);
            else
                over_channels(c, over_borders);
        }
}

static void channels_by_pixels(dw_case c) {
    over_channels(c, over_pixels);
}

static void channels_by_strides(dw_case c) {
    over_channels(c, over_strides);
}

static void channels_by_epilogues(dw_case c) {
    over_channels(c, over_epilogues);
}

static void channels_by_sides(dw_case c) {
    over_channels(c, run_sides);
}

static void test_alignment(dw_case c) {
    for (c.shift = 0; c.shift < 16; c.shift++) over_channels(c, run_sides);
}

static void test_empty(dw_case c) {
    for (unsigned i = 1; i < 8; i++) {
        dw_case empty = c;
        empty.rows = i & 1 ? 0 : 2, empty.pixels = i & 2 ? 0 : 3, empty.channels = i & 4 ? 0 : 5;
        run_sides(empty);
    }
}

static void test_kernel(const exn_kernel_set *set, const exn_f32_dwconv *kernel) {
    if (!kc_subject_begin(set, kernel->name)) return;
    const dw_case c = {.kernel = kernel,
                       .rows = 2,
                       .pixels = 5,
                       .channels = kernel->panel + 3u,
                       .kh = 3,
                       .kw = 3,
                       .stride = 1,
                       .dilation = 1,
                       .mode = KC_UNIFORM};
    dw_case variant = c;
    if (kc_test("K1_layout")) over_kernels(c, channels_by_strides);
    if (kc_test("K1_borders")) over_kernels(c, channels_by_borders);
    if (kc_test("K2_partial")) over_kernels(c, channels_by_pixels);
    variant.one_row = true;
    if (kc_test("K3_bounds")) over_kernels(variant, channels_by_sides);
    if (kc_test("K4_alignment")) test_alignment(c);
    variant.one_row = false, variant.gap = 2, variant.residual = SEPARATE;
    if (kc_test("K5_c_not_read")) over_kernels(variant, channels_by_sides);
    if (kc_test("K6_arithmetic")) over_kernels(c, channels_by_epilogues);
    variant.mode = KC_ADVERSARIAL;
    if (kc_test("K7_nan_inf")) over_kernels(variant, channels_by_pixels);
    if (kc_test("K8_empty")) test_empty(c);
}

/* generic takes any panel; this is it with one, as a slot. */
#define GENERIC_PANEL 5
static void generic_panel(const exn_dwconv_rows *work) {
    exn_generic_dwconv(work, GENERIC_PANEL);
}

void kc_test_dwconv(const exn_kernel_set *set) {
    static const exn_f32_dwconv generic = {generic_panel, GENERIC_PANEL, 1, "f32_dwconv_generic"};
    if (!set)
        test_kernel(NULL, &generic);
    else if (set->f32_dwconv.run)
        test_kernel(set, &set->f32_dwconv);
}
