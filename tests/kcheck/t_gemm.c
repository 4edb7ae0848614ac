/* SPDX-License-Identifier: Apache-2.0
 * Clauses K1..K8 for matrix micro-kernels: generic against the oracle, every fused set against generic. */
#include <math.h>
#include <string.h>

#include "kernels/generic.h"
#include "tests/kcheck/kcheck.h"

typedef enum layout { ROWS, COLUMNS, OVERLAP, REVERSED, LAYOUTS } layout;
typedef enum residual_kind { NO_RESIDUAL, SEPARATE, IN_PLACE, RESIDUAL_KINDS } residual_kind;
typedef enum activation_kind { NO_ACTIVATION, RELU, CLAMP, ACTIVATION_KINDS } activation_kind;

/* One call. Extra floats between rows are poison in inputs and canaries in C. */
typedef struct gemm_case {
    const exn_f32_gemm *tile;
    size_t m, n, k, segments;
    layout a;
    size_t a_gap, b_gap, c_gap, shift;
    kc_mode mode;
    kc_side side;
    bool accumulate, bias;
    bool asks; /* for what lies beyond B, where nothing can be read */
    residual_kind residual;
    activation_kind activation;
    kc_gemm_args args; /* built from the above */
} gemm_case;

enum { SCRATCH_WANT, SCRATCH_DENSE, SCRATCH_ORACLE, SCRATCH_MAGNITUDE, SCRATCH_START };

static void describe(char *text, size_t bytes, const void *argument) {
    static const char *const layouts[] = {"rows", "columns", "overlap", "reversed"};
    static const char *const residuals[] = {"none", "separate", "in place"};
    static const char *const activations[] = {"none", "relu", "clamp"};
    const gemm_case *c = argument;
    snprintf(
        text, bytes,
        "m %zu n %zu k %zu segments %zu a %s gaps %zu,%zu,%zu shift %zu %s edge %s%s%s%s residual %s activation %s",
        c->m, c->n, c->k, c->segments, layouts[c->a], c->a_gap, c->b_gap, c->c_gap, c->shift, kc_mode_name(c->mode),
        c->side == KC_RIGHT ? "right" : "left", c->accumulate ? " accumulate" : "", c->bias ? " bias" : "",
        c->asks ? " asks" : "", residuals[c->residual], activations[c->activation]);
}

static void run_tile(void *argument) {
    const gemm_case *c = argument;
    const kc_gemm_args *g = &c->args;
    c->tile->run(g->m, g->n, g->k, g->segments, g->a, g->a_row, g->a_col, g->a_segment, g->b, g->b_row, g->c, g->c_row,
                 &g->e);
}

static void run_generic(const kc_gemm_args *g, float *c) {
    kc_gemm_args copy = *g;
    if (copy.e.residual == copy.c) copy.e.residual = c;
    exn_generic_gemm(copy.m, copy.n, copy.k, copy.segments, copy.a, copy.a_row, copy.a_col, copy.a_segment, copy.b,
                     copy.b_row, c, copy.c_row, &copy.e);
}

static size_t window_count(size_t rows, size_t columns, size_t pitch) {
    return rows && columns ? (rows - 1) * pitch + columns : 0;
}

/* Strides and the number of floats from the lowest to the highest element read; *origin is element (0, 0)'s place. */
static size_t lay_out_a(gemm_case *c, size_t *origin) {
    kc_gemm_args *g = &c->args;
    const size_t gap = c->a_gap;
    *origin = 0;
    if (c->a == COLUMNS) {
        g->a_row = 1, g->a_col = (ptrdiff_t)(c->m + gap), g->a_segment = g->a_col * (ptrdiff_t)c->k;
    } else if (c->a == OVERLAP) { /* rows of a strip, as in convolutions: row i+1 starts inside row i */
        g->a_row = (ptrdiff_t)(1 + gap), g->a_col = 1;
        g->a_segment = (ptrdiff_t)(c->m * (1 + gap) + c->k + gap);
    } else {
        g->a_row = (ptrdiff_t)(c->k * c->segments + gap), g->a_col = 1, g->a_segment = (ptrdiff_t)c->k;
    }
    if (c->m * c->k * c->segments == 0) return 0;
    const size_t extent = (size_t)((ptrdiff_t)(c->m - 1) * g->a_row + (ptrdiff_t)(c->k - 1) * g->a_col +
                                   (ptrdiff_t)(c->segments - 1) * g->a_segment + 1);
    if (c->a == REVERSED) { /* negative row stride */
        *origin = (c->m - 1) * (size_t)g->a_row;
        g->a_row = -g->a_row;
    }
    return extent;
}

static void fill_window(float *x, size_t rows, size_t columns, size_t pitch, kc_mode mode) {
    for (size_t i = 0; columns && i < rows; i++) kc_fill(x + i * pitch, columns, mode);
}

static void place_a(gemm_case *c) {
    kc_gemm_args *g = &c->args;
    size_t origin;
    const size_t count = lay_out_a(c, &origin);
    float *a = kc_place(KC_A, count, c->side, c->shift);
    kc_poison(a, count);
    g->a = a + origin;
    for (size_t i = 0; i < c->m; i++)
        for (size_t s = 0; s < c->segments; s++)
            for (size_t p = 0; p < c->k; p++) {
                const ptrdiff_t at = (ptrdiff_t)i * g->a_row + (ptrdiff_t)p * g->a_col + (ptrdiff_t)s * g->a_segment;
                kc_fill(a + (ptrdiff_t)origin + at, 1, c->mode == KC_ADVERSARIAL ? KC_UNIFORM : c->mode);
            }
    /* Adversarial rows are filled as wholes, so that neighbours cancel. */
    if (c->mode == KC_ADVERSARIAL && g->a_col == 1)
        for (size_t i = 0; i < c->m; i++)
            for (size_t s = 0; s < c->segments; s++)
                kc_fill(a + (ptrdiff_t)origin + (ptrdiff_t)i * g->a_row + (ptrdiff_t)s * g->a_segment, c->k, c->mode);
}

static void place_rest(gemm_case *c) {
    kc_gemm_args *g = &c->args;
    const size_t b_rows = c->k * c->segments, b_pitch = c->n + c->b_gap, c_pitch = c->n + c->c_gap;
    const size_t b_count = window_count(b_rows, c->n, b_pitch), c_count = window_count(c->m, c->n, c_pitch);
    float *b = kc_place(KC_B, b_count, c->side, c->shift);
    kc_poison(b, b_count);
    fill_window(b, b_rows, c->n, b_pitch, c->mode == KC_ADVERSARIAL ? KC_UNIFORM : c->mode);
    g->b = b, g->b_row = (ptrdiff_t)b_pitch;
    g->c = kc_place(KC_C, c_count, c->side, c->shift), g->c_row = (ptrdiff_t)c_pitch;
    kc_poison(g->c, c_count);
    if (c->accumulate || c->residual == IN_PLACE) fill_window(g->c, c->m, c->n, c_pitch, c->mode);
    g->e = (exn_epilogue){.accumulate = c->accumulate, .residual_row = (ptrdiff_t)c_pitch};
    if (c->bias) {
        float *bias = kc_place(KC_BIAS, c->n, c->side, c->shift);
        kc_fill(bias, c->n, c->mode);
        g->e.bias = bias;
    }
    if (c->residual == IN_PLACE) g->e.residual = g->c;
    if (c->residual == SEPARATE) { /* another pitch than C's */
        float *residual = kc_place(KC_RESIDUAL, window_count(c->m, c->n, c_pitch + 1), c->side, c->shift);
        fill_window(residual, c->m, c->n, c_pitch + 1, c->mode);
        g->e.residual = residual, g->e.residual_row = (ptrdiff_t)(c_pitch + 1);
    }
    if (c->asks) g->e.ask = c->side == KC_RIGHT ? b + b_count : b - 1;
    g->e.activation = c->activation == NO_ACTIVATION ? EXN_ACT_NONE : EXN_ACT_CLAMP;
    g->e.lo = c->activation == RELU ? 0.0f : -0.75f;
    g->e.hi = c->activation == RELU ? INFINITY : 0.5f;
}

/* Nothing outside the window may have changed: C is compared with `start` where the window is not. */
static bool gaps_kept(const gemm_case *c, const float *start) {
    const kc_gemm_args *g = &c->args;
    const size_t pitch = (size_t)g->c_row, count = window_count(c->m, c->n, pitch);
    for (size_t i = 0; i < count; i++) {
        if (i % pitch < c->n || kc_same_value(g->c[i], start[i], false)) continue;
        kc_fail("K3: wrote row %zu, column %zu of C", i / pitch, i % pitch);
        return false;
    }
    return true;
}

static void check_oracle(const gemm_case *c, const float *dense, const double *want, const double *magnitude) {
    const size_t count = c->m * c->n;
    if (c->mode != KC_INTEGERS) {
        kc_near("C", dense, want, magnitude, (double)(c->k * c->segments + 4), count);
        return;
    }
    float *exact = kc_scratch(SCRATCH_WANT, count * sizeof *exact);
    for (size_t i = 0; i < count; i++) exact[i] = (float)want[i];
    kc_same("C (integer arithmetic)", dense, exact, count);
}

static void gather(float *dense, const float *c, size_t m, size_t n, size_t pitch) {
    for (size_t i = 0; i < m; i++) memcpy(dense + i * n, c + i * pitch, n * sizeof *dense);
}

static void run_case(gemm_case *c) {
    kc_case(describe, c);
    kc_gemm_args *g = &c->args;
    *g = (kc_gemm_args){.m = c->m, .n = c->n, .k = c->k, .segments = c->segments};
    place_a(c);
    place_rest(c);
    const size_t count = window_count(c->m, c->n, (size_t)g->c_row), dense_count = c->m * c->n;
    float *start = kc_scratch(SCRATCH_START, count * sizeof *start);
    float *dense = kc_scratch(SCRATCH_DENSE, 2 * dense_count * sizeof *dense), *want_dense = dense + dense_count;
    double *want = kc_scratch(SCRATCH_ORACLE, dense_count * sizeof *want);
    double *magnitude = kc_scratch(SCRATCH_MAGNITUDE, dense_count * sizeof *magnitude);
    const bool fused = kc_subject_fused(), oracle = !fused || c->mode == KC_INTEGERS;
    if (count) memcpy(start, g->c, count * sizeof *start);
    if (oracle) kc_oracle_gemm(want, magnitude, g);
    if (fused) {
        float *c_want = kc_scratch(SCRATCH_WANT, count * sizeof *c_want);
        if (count) memcpy(c_want, start, count * sizeof *c_want);
        run_generic(g, c_want);
        gather(want_dense, c_want, c->m, c->n, (size_t)g->c_row);
    }
    if (!kc_call(run_tile, c) || !gaps_kept(c, start)) return;
    gather(dense, g->c, c->m, c->n, (size_t)g->c_row);
    if (fused && !kc_same("C", dense, want_dense, dense_count)) return;
    if (oracle) check_oracle(c, dense, want, magnitude);
}

static void run_sides(gemm_case c) {
    for (kc_side side = 0; side < KC_SIDES; side++) {
        c.side = side;
        run_case(&c);
    }
}

/* {1, t-1, t} without repetition. */
static size_t edges(size_t out[3], size_t tile) {
    size_t count = 0;
    out[count++] = 1;
    if (tile > 2) out[count++] = tile - 1;
    if (tile > 1) out[count++] = tile;
    return count;
}

static void over_edges(gemm_case c, void (*body)(gemm_case)) {
    size_t m[3], n[3];
    const size_t ms = edges(m, c.tile->mr), ns = edges(n, c.tile->nr);
    for (size_t i = 0; i < ms; i++)
        for (size_t j = 0; j < ns; j++) {
            c.m = m[i], c.n = n[j];
            body(c);
        }
}

static void over_epilogues(gemm_case c) {
    for (unsigned i = 0; i < 4u * RESIDUAL_KINDS * ACTIVATION_KINDS; i++) {
        c.accumulate = i & 1, c.bias = i >> 1 & 1;
        c.residual = (residual_kind)(i / 4 % RESIDUAL_KINDS);
        c.activation = (activation_kind)(i / 4 / RESIDUAL_KINDS);
        if (c.accumulate && c.residual == IN_PLACE) continue; /* C would be added twice: no caller does it */
        run_sides(c);
    }
}

static void over_layouts(gemm_case c) {
    for (layout a = 0; a < LAYOUTS; a++)
        for (size_t segments = 1; segments <= 3; segments++)
            for (size_t gap = 0; gap < 4; gap += 3)
                for (kc_mode mode = 0; mode < KC_MODES; mode++) {
                    c.a = a, c.segments = segments, c.a_gap = gap, c.b_gap = gap, c.c_gap = gap, c.mode = mode;
                    run_sides(c);
                }
}

static void over_modes(gemm_case c) {
    for (kc_mode mode = 0; mode < KC_MODES; mode++) {
        c.mode = mode;
        run_sides(c);
    }
}

/* k in 0..70, then primes around and beyond any unrolling. */
static void over_k(gemm_case c, void (*body)(gemm_case)) {
    static const size_t primes[] = {71, 79, 97, 127, 131, 257, 521};
    const size_t step = kc_opt.quick ? 7 : 1;
    for (c.k = 0; c.k <= 70; c.k += step) body(c);
    for (size_t i = 0; i < sizeof primes / sizeof *primes; i += step) {
        c.k = primes[i];
        body(c);
    }
}

static void test_partial(gemm_case c) {
    static const size_t ks[] = {1, 3, 8};
    const size_t step = kc_opt.quick ? 3 : 1;
    c.mode = KC_UNIFORM;
    for (size_t i = 0; i < 3; i++)
        for (c.m = 1; c.m <= c.tile->mr; c.m++)
            for (c.n = 1; c.n <= c.tile->nr; c.n += step) {
                c.k = ks[i];
                run_sides(c);
            }
}

static void k_by_edges(gemm_case c) {
    over_edges(c, run_sides);
}

static void test_bounds(gemm_case c) {
    over_k(c, k_by_edges);
    c.asks = true, c.k = 33;
    over_edges(c, run_sides);
}

static void modes_by_edges(gemm_case c) {
    over_edges(c, over_modes);
}

static void test_alignment(gemm_case c) {
    c.m = c.tile->mr, c.n = c.tile->nr, c.k = 9, c.mode = KC_UNIFORM, c.residual = SEPARATE;
    for (c.shift = 0; c.shift < 16; c.shift++) run_sides(c);
}

static void test_empty(gemm_case c) {
    static const size_t sizes[] = {0, 1, 3};
    for (size_t i = 0; i < 81; i++) {
        c.m = sizes[i % 3], c.n = sizes[i / 3 % 3], c.k = sizes[i / 9 % 3], c.segments = sizes[i / 27 % 3];
        if (c.m > c.tile->mr || c.n > c.tile->nr) continue;
        c.mode = KC_UNIFORM;
        over_epilogues(c);
    }
}

static void test_tile(const exn_kernel_set *set, const exn_f32_gemm *tile) {
    if (!kc_subject_begin(set, tile->name)) return;
    const gemm_case c = {.tile = tile, .m = tile->mr, .n = tile->nr, .k = 5, .segments = 1, .bias = true};
    gemm_case variant = c;
    if (kc_test("K1_layout")) over_edges(c, over_layouts);
    if (kc_test("K2_partial")) test_partial(c);
    variant.mode = KC_UNIFORM, variant.c_gap = 2;
    if (kc_test("K3_bounds")) test_bounds(variant);
    if (kc_test("K4_alignment")) test_alignment(c);
    variant.bias = false;
    if (kc_test("K5_c_not_read")) over_edges(variant, over_epilogues);
    variant.bias = true, variant.segments = 2;
    if (kc_test("K6_arithmetic")) over_k(variant, modes_by_edges);
    variant.mode = KC_INTEGERS;
    if (kc_test("K6_epilogue")) over_edges(variant, over_epilogues);
    variant.mode = KC_ADVERSARIAL, variant.k = 11;
    if (kc_test("K7_nan_inf")) over_edges(variant, over_epilogues);
    if (kc_test("K8_empty")) test_empty(c);
}

void kc_test_gemm(const exn_kernel_set *set) {
    static const exn_f32_gemm generic = {exn_generic_gemm, 5, 7, "f32_gemm_generic", 0};
    if (!set) {
        test_tile(NULL, &generic);
        return;
    }
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++) test_tile(set, &set->f32_gemm[i]);
}
