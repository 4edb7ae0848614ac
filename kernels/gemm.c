/* SPDX-License-Identifier: Apache-2.0
 * Matrix product: choice of tile, packing, cache blocks, shares of threads. */
#include "kernels/gemm.h"
#include "kernels/block.h"

/* A tile's time in arbitrary units: fewer accumulated floats than this (8 AVX2 vectors for latency 4 and two units) leave
 * a multiply-add chain's latency in the open. Vectors of other widths come to about the same. */
#define EXN_LATENCY_FLOATS 64u
/* What a call costs besides, in multiply-adds. */
#define EXN_CALL_FLOATS 1000u
/* A row of A whose bytes are a multiple of this falls into the same cache sets as the rows beside it. */
#define EXN_ALIAS_FLOATS 1024u
#define EXN_ALIAS_ROWS 8u

/* Rows of each tile when m rows are dealt out evenly: 7 rows over tiles of 6 are 4 and 3, not 6 and 1. */
static size_t even_rows(size_t m, size_t mr) {
    return m == 0 ? mr : exn_ceil_div(m, exn_ceil_div(m, mr));
}

static double call_cost(size_t rows, size_t columns, size_t k) {
    const double multiply = (double)exn_max(rows * columns, EXN_LATENCY_FLOATS), load = 0.5 * (double)(rows + columns);
    return multiply + load + (double)EXN_CALL_FLOATS / (double)exn_max(k, 1);
}

double exn_gemm_cost(const exn_f32_gemm *tile, size_t m, size_t n, size_t k) {
    const size_t rows = even_rows(m, tile->mr), nr = tile->nr, rest = n % nr, step = tile->step ? tile->step : nr;
    double row = (double)(n / nr) * call_cost(rows, nr, k);
    if (rest) row += call_cost(rows, exn_min(exn_ceil_div(rest, step) * step, nr), k);
    return (double)exn_ceil_div(m, rows) * row;
}

const exn_f32_gemm *exn_gemm_choose(const exn_kernel_set *set, size_t m, size_t n, size_t k) {
    const exn_f32_gemm *best = &set->f32_gemm[0];
    /* Another tile must promise 3 % before the base tile, the best tried, is left. */
    double least = 0.97 * exn_gemm_cost(best, m, n, k);
    for (size_t i = 1; i < EXN_GEMM_TILES && set->f32_gemm[i].run; i++) {
        const exn_f32_gemm *tile = &set->f32_gemm[i];
        if (tile->mr > EXN_ALIAS_ROWS && m > EXN_ALIAS_ROWS && k > 0 && k % EXN_ALIAS_FLOATS == 0) continue;
        const double cost = exn_gemm_cost(tile, m, n, k);
        if (cost < least) {
            least = cost;
            best = tile;
        }
    }
    return best;
}

size_t exn_gemm_packed_count(const exn_f32_gemm *tile, size_t n, size_t k) {
    return exn_panels(tile, n) * exn_panel_count(tile, k);
}

void exn_gemm_pack_panels(float *packed, const exn_f32_gemm *tile, size_t n, size_t k, const float *b, ptrdiff_t b_row,
                          ptrdiff_t b_col, const float *scale, const float *bias, size_t first, size_t last) {
    const size_t nr = tile->nr;
    for (size_t panel = first; panel < last; panel++) {
        const size_t column = panel * nr, real = exn_min(nr, n - column);
        float *to = packed + panel * exn_panel_count(tile, k);
        for (size_t j = 0; j < nr; j++) to[j] = j < real && bias ? bias[column + j] : 0.0f;
        for (size_t p = 0; p < k; p++) {
            const float *from = b + (ptrdiff_t)p * b_row + (ptrdiff_t)column * b_col;
            to += nr;
            for (size_t j = 0; j < real; j++, from += b_col) to[j] = *from * (scale ? scale[column + j] : 1.0f);
            for (size_t j = real; j < nr; j++) to[j] = 0.0f;
        }
    }
}

void exn_gemm_pack(float *packed, const exn_f32_gemm *tile, size_t n, size_t k, const float *b, ptrdiff_t b_row,
                   ptrdiff_t b_col, const float *scale, const float *bias) {
    exn_gemm_pack_panels(packed, tile, n, k, b, b_row, b_col, scale, bias, 0, exn_panels(tile, n));
}

void exn_activate_late(const exn_f32_vector *vector, const exn_epilogue *e, size_t rows, size_t n, float *c,
                       ptrdiff_t c_row) {
    if (e->activation == EXN_ACT_NONE || e->activation == EXN_ACT_CLAMP) return;
    if (c_row == (ptrdiff_t)n) {
        vector->activate(e->activation, rows * n, c, c, e->lo, e->hi);
        return;
    }
    for (size_t i = 0; i < rows; i++, c += c_row) vector->activate(e->activation, n, c, c, e->lo, e->hi);
}

bool exn_split_major(size_t major, size_t minor, size_t parts) {
    /* The largest share, ceil(items / parts) / items, compared without fractions. */
    return exn_ceil_div(major, parts) * minor <= exn_ceil_div(minor, parts) * major;
}

/* The hint for the next call: what some later product wants, as far as its turn has come, else `next`. */
static const float *ask_for(exn_asking *asking, const float *next, size_t floats) {
    if (!asking || asking->asked * asking->calls > asking->count * asking->call++) return next;
    if (asking->asked >= asking->count) return next;
    const float *const at = asking->at + asking->asked;
    asking->asked += floats;
    return at;
}

/* One panel's columns against every row of the block. The first call asks for the next panel. */
static void panel_run(const exn_gemm_block *block, size_t columns, const float *a, const float *b, ptrdiff_t b_row,
                      float *c, exn_epilogue *e) {
    const size_t rows = even_rows(block->m, block->tile->mr);
    const float *const residual = e->residual, *const next = e->ask;
    for (size_t line = 0; line < block->lines; line++) {
        for (size_t i = 0; i < block->m; i += rows) {
            const ptrdiff_t at = (ptrdiff_t)i;
            if (line + i > 0) e->ask = ask_for(block->asking, next, columns * block->k * block->segments);
            if (residual) e->residual = residual + (ptrdiff_t)line * block->residual_line + at * e->residual_row;
            block->tile->run(exn_min(rows, block->m - i), columns, block->k, block->segments,
                             a + (ptrdiff_t)line * block->a_line + at * block->a_row, block->a_row, block->a_col,
                             block->a_segment, b, b_row, c + (ptrdiff_t)line * block->c_line + at * block->c_row,
                             block->c_row, e);
        }
    }
}

void exn_gemm_block_run(const exn_gemm_block *block, const float *a, const float *b, float *c) {
    const size_t nr = block->tile->nr, panel_count = exn_panel_count(block->tile, block->k * block->segments);
    /* Panels that stay in the nearest cache between calls need no hint; those that come once do. */
    const size_t floats = panel_count * exn_panels(block->tile, block->n);
    const bool distant = block->after || floats * sizeof(float) > 2 * EXN_BLOCK_L1_BYTES;
    for (size_t j = 0; j < block->n; j += nr) {
        exn_epilogue e = block->e;
        if (e.activation != EXN_ACT_CLAMP) e.activation = EXN_ACT_NONE;
        if (e.residual) e.residual += j;
        const float *rows = b + j;
        ptrdiff_t b_row = block->b_row;
        if (block->packed) {
            e.bias = b + j / nr * panel_count;
            rows = e.bias + nr;
            b_row = (ptrdiff_t)nr;
            e.ask = j + nr < block->n ? (distant ? rows + panel_count : NULL) : block->after;
        } else if (e.bias) {
            e.bias += j;
        }
        panel_run(block, exn_min(nr, block->n - j), a, rows, b_row, c + j, &e);
    }
}

/* Rows of A that one pass over B takes: near in cache when all of B is, else many, because B comes from afar. */
static size_t block_rows(const exn_gemm *g) {
    const size_t near = g->n * g->k * sizeof(float) <= EXN_BLOCK_L2_BYTES;
    const size_t bytes = near ? EXN_BLOCK_L1_BYTES : EXN_BLOCK_L2_BYTES / 2;
    const size_t mr = g->tile->mr, row_bytes = exn_max(g->k, 1) * sizeof(float);
    return exn_max(bytes / row_bytes / mr, 1) * mr;
}

/* This part's share of what is to be asked for, over the calls of rows x columns. */
static exn_asking asking_for(const exn_gemm *g, size_t rows, size_t columns, exn_part part) {
    if (g->ahead.count == 0) return (exn_asking){0};
    size_t first, last;
    exn_part_range(&first, &last, part, g->ahead.count, EXN_ALIGNMENT / sizeof(float));
    const size_t calls = exn_ceil_div(rows, even_rows(rows, g->tile->mr)) * exn_panels(g->tile, columns);
    return (exn_asking){.at = g->ahead.at + first, .count = last - first, .calls = calls};
}

void exn_gemm_run(const exn_gemm *g, const float *a, const float *b, float *c, const float *residual, exn_part part) {
    const size_t mr = g->tile->mr, nr = g->tile->nr;
    size_t i0 = 0, i1 = g->m, j0 = 0, j1 = g->n;
    if (g->m >= 4 * mr * part.count || exn_split_major(exn_ceil_div(g->m, mr), exn_panels(g->tile, g->n), part.count))
        exn_part_range(&i0, &i1, part, g->m, mr);
    else
        exn_part_range(&j0, &j1, part, g->n, nr);
    if (i0 >= i1 || j0 >= j1) return;
    exn_gemm_block block = {.tile = g->tile,
                            .vector = g->vector,
                            .lines = 1,
                            .n = j1 - j0,
                            .k = g->k,
                            .segments = 1,
                            .a_row = g->a_row,
                            .a_col = g->a_col,
                            .packed = g->packed,
                            .b_row = g->b_row,
                            .c_row = g->c_row,
                            .e = g->e};
    b += g->packed ? j0 / nr * exn_panel_count(g->tile, g->k) : j0;
    if (block.e.bias) block.e.bias += j0;
    const size_t step = block_rows(g);
    exn_asking asking = asking_for(g, i1 - i0, j1 - j0, part);
    if (asking.count > 0) block.asking = &asking;
    for (size_t i = i0; i < i1; i += step) {
        const ptrdiff_t at = (ptrdiff_t)i;
        block.m = exn_min(step, i1 - i);
        block.e.residual = residual ? residual + at * g->e.residual_row + (ptrdiff_t)j0 : NULL;
        float *const to = c + at * g->c_row + (ptrdiff_t)j0;
        exn_gemm_block_run(&block, a + at * g->a_row, b, to);
        exn_activate_late(g->vector, &g->e, block.m, block.n, to, g->c_row);
    }
}
