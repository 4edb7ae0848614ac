/* SPDX-License-Identifier: Apache-2.0
 * Packed panels: layout, padding with zeros, bounds. */
#include <string.h>

#include "kernels/gemm.h"
#include "tests/kcheck/kcheck.h"

typedef struct pack_case {
    const exn_f32_gemm *tile;
    size_t n, k;
    bool transposed, scale, bias;
    kc_side side;
    ptrdiff_t b_row, b_col;
    const float *b, *scales, *biases;
    float *packed;
} pack_case;

static void describe(char *text, size_t bytes, const void *argument) {
    const pack_case *c = argument;
    snprintf(text, bytes, "n %zu k %zu%s%s%s %s edge", c->n, c->k, c->transposed ? " transposed" : "",
             c->scale ? " scale" : "", c->bias ? " bias" : "", c->side == KC_RIGHT ? "right" : "left");
}

static void run_pack(void *argument) {
    const pack_case *c = argument;
    exn_gemm_pack(c->packed, c->tile, c->n, c->k, c->b, c->b_row, c->b_col, c->scales, c->biases);
}

static float wanted(const pack_case *c, size_t panel, size_t row, size_t lane) {
    const size_t j = panel * c->tile->nr + lane;
    if (j >= c->n) return 0;
    if (row == 0) return c->biases ? c->biases[j] : 0;
    const float b = c->b[(ptrdiff_t)(row - 1) * c->b_row + (ptrdiff_t)j * c->b_col];
    return c->scales ? b * c->scales[j] : b;
}

static void run_case(pack_case *c) {
    kc_case(describe, c);
    const size_t nr = c->tile->nr, panels = (c->n + nr - 1) / nr, count = panels * (1 + c->k) * nr;
    if (exn_gemm_packed_count(c->tile, c->n, c->k) != count) {
        kc_fail("packed count is %zu, wanted %zu", exn_gemm_packed_count(c->tile, c->n, c->k), count);
        return;
    }
    float *b = kc_place(KC_B, c->n * c->k, c->side, 0), *scales = kc_place(KC_A, c->n, c->side, 0);
    float *biases = kc_place(KC_BIAS, c->n, c->side, 0);
    kc_fill(b, c->n * c->k, KC_UNIFORM);
    kc_fill(scales, c->n, KC_UNIFORM);
    kc_fill(biases, c->n, KC_UNIFORM);
    c->b = b, c->scales = c->scale ? scales : NULL, c->biases = c->bias ? biases : NULL;
    c->b_row = c->transposed ? 1 : (ptrdiff_t)c->n, c->b_col = c->transposed ? (ptrdiff_t)c->k : 1;
    c->packed = kc_place(KC_C, count, c->side, 0);
    kc_poison(c->packed, count);
    if (!kc_call(run_pack, c)) return;
    for (size_t i = 0; i < count; i++) {
        const size_t panel = i / ((1 + c->k) * nr), row = i / nr % (1 + c->k), lane = i % nr;
        if (kc_same_value(c->packed[i], wanted(c, panel, row, lane), false)) continue;
        kc_fail("panel %zu row %zu lane %zu is %a, wanted %a", panel, row, lane, (double)c->packed[i],
                (double)wanted(c, panel, row, lane));
        return;
    }
}

static void test_tile(const exn_f32_gemm *tile) {
    const size_t nr = tile->nr, ns[] = {1, nr - 1, nr, nr + 1, 3 * nr + 2};
    static const size_t ks[] = {0, 1, 7, 32, 33};
    for (unsigned i = 0; i < 5 * 5 * 16; i++) {
        pack_case c = {.tile = tile, .n = ns[i % 5], .k = ks[i / 5 % 5]};
        const unsigned flags = i / 25;
        c.transposed = flags & 1, c.scale = flags & 2, c.bias = flags & 4, c.side = flags & 8 ? KC_LEFT : KC_RIGHT;
        if (c.n) run_case(&c);
    }
}

void kc_test_pack(const exn_kernel_set *set) {
    for (size_t i = 0; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++) {
        char name[96];
        snprintf(name, sizeof name, "pack.%s", set->f32_gemm[i].name);
        if (kc_subject_begin(set, name) && kc_test("K1_panels")) test_tile(&set->f32_gemm[i]);
    }
}
