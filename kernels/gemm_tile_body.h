/* SPDX-License-Identifier: Apache-2.0
 * GEMM tile of a constant number of rows and vectors over an ISA's vec.h, for micro-kernels that keep it in registers:
 * include after vec.h, then call exn_tile_run with constants from a switch over m. Besides vec.md's words it wants
 * exn_vec_cut, exn_vec_cut_below(count), exn_vec_load_cut(p, cut), exn_vec_store_cut(p, v, cut): the first `count` >= 1
 * lanes, prepared once. EXN_VEC_FMA_MEMORY says that there is exn_vec_fma_memory(x, b, c) as well: fma(*x in every lane, b,
 * c) in one instruction that reads x. */
#ifndef EXN_KERNELS_GEMM_TILE_BODY_H
#define EXN_KERNELS_GEMM_TILE_BODY_H

#include "kernels/gemm_parameters.h"
#include "kernels/unroll.h"

/* Accumulators; only the constant part that is used takes registers. */
typedef exn_vec exn_tile[8][8];

/* How the last vector of a row is cut. whole, a constant: not at all. */
typedef struct exn_tile_edge {
    bool whole;
    exn_vec_cut cut;
} exn_tile_edge;

/* Vector j of the v in a row at p. */
EXN_INLINE exn_vec exn_tile_load(const float *p, size_t j, size_t v, exn_tile_edge edge) {
    p += j * EXN_VEC_LANES;
    return edge.whole || j + 1 < v ? exn_vec_load(p) : exn_vec_load_cut(p, edge.cut);
}

EXN_INLINE void exn_tile_store(float *p, exn_vec value, size_t j, size_t v, exn_tile_edge edge) {
    p += j * EXN_VEC_LANES;
    if (edge.whole || j + 1 < v)
        exn_vec_store(p, value);
    else
        exn_vec_store_cut(p, value, edge.cut);
}

/* The first values of the chains (K6), for m rows of v vectors. */
EXN_INLINE void exn_tile_start(exn_tile acc, const float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                               const size_t v, exn_tile_edge edge) {
    if (e->accumulate) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_tile_load(c + (ptrdiff_t)i * c_row, j, v, edge);
        }
        return;
    }
    EXN_UNROLL for (size_t j = 0; j < v; j++) {
        const exn_vec bias = e->bias ? exn_tile_load(e->bias, j, v, edge) : exn_vec_set1(0.0f);
        EXN_UNROLL for (size_t i = 0; i < m; i++) acc[i][j] = bias;
    }
}

EXN_INLINE void exn_tile_finish(exn_tile acc, float *c, ptrdiff_t c_row, const exn_epilogue *e, const size_t m,
                                const size_t v, exn_tile_edge edge) {
    /* Addresses of C are not worth a register during the chains: compute them again. */
    EXN_FORGET(c_row);
    if (e->residual) {
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            const float *residual = e->residual + (ptrdiff_t)i * e->residual_row;
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] =
                exn_vec_add(acc[i][j], exn_tile_load(residual, j, v, edge));
        }
    }
    if (e->activation == EXN_ACT_CLAMP) {
        const exn_vec lo = exn_vec_set1(e->lo), hi = exn_vec_set1(e->hi);
        EXN_UNROLL for (size_t i = 0; i < m; i++) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_clamp(acc[i][j], lo, hi);
        }
    }
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        EXN_UNROLL for (size_t j = 0; j < v; j++) exn_tile_store(c + (ptrdiff_t)i * c_row, acc[i][j], j, v, edge);
    }
}

/* One k: acc += column of A * row of B. Tiles of two vectors take each element of A from memory once for each of them
 * where an instruction can: loading costs less there than reading one more register. */
EXN_INLINE void exn_tile_step(exn_tile acc, const float *a, ptrdiff_t a_row, const float *b, const size_t m,
                              const size_t v, exn_tile_edge edge) {
    exn_vec row[8];
    EXN_UNROLL for (size_t j = 0; j < v; j++) row[j] = exn_tile_load(b, j, v, edge);
    EXN_UNROLL for (size_t i = 0; i < m; i++) {
        const float *const x = a + (ptrdiff_t)i * a_row;
#ifdef EXN_VEC_FMA_MEMORY
        if (m > 1 && v == 2) {
            EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_fma_memory(x, row[j], acc[i][j]);
            continue;
        }
#endif
        const exn_vec all = exn_vec_set1(*x);
        EXN_UNROLL for (size_t j = 0; j < v; j++) acc[i][j] = exn_vec_fma(all, row[j], acc[i][j]);
    }
}

/* Bytes of the usual cache line. */
#define EXN_TILE_LINE 64u

/* Asks for a row of what the caller will read next, which keeps the memory waiting less than the arithmetic. */
EXN_INLINE void exn_tile_ask(const float *next, const size_t v) {
    EXN_UNROLL for (size_t line = 0; line < v * EXN_VEC_LANES * sizeof(float); line += EXN_TILE_LINE)
        __builtin_prefetch((const char *)next + line, 0, 2);
}

/* The chains over all segments; asks, a constant: with hints. */
EXN_INLINE void exn_tile_chains(exn_tile acc, size_t k, size_t segments, const float *a, ptrdiff_t a_row,
                                ptrdiff_t a_col, ptrdiff_t a_segment, const float *b, ptrdiff_t b_row, const float *ask,
                                const bool asks, const size_t m, const size_t v, exn_tile_edge edge) {
    for (size_t s = 0; s < segments; s++) {
        const float *x = a + (ptrdiff_t)s * a_segment;
        for (size_t p = k; p > 0; p--) {
            if (asks) {
                exn_tile_ask(ask, v);
                ask += v * EXN_VEC_LANES;
            }
            exn_tile_step(acc, x, a_row, b, m, v, edge);
            x += a_col;
            b += b_row;
            EXN_FORGET(b); /* else its last value is computed early, and kept */
        }
    }
}

/* The whole micro-kernel for m rows of v vectors, n > (v - 1) * EXN_VEC_LANES; m, v and whole are constants. A single row
 * asks for nothing: it reads B but once, as fast as memory gives it; nor do short tiles and partial columns, which are few. */
EXN_INLINE void exn_tile_run(EXN_TILE_PARAMETERS, const size_t m, const size_t v, const bool whole) {
    const exn_tile_edge edge = {whole, exn_vec_cut_below(n - (v - 1) * EXN_VEC_LANES)};
    exn_tile acc;
    exn_tile_start(acc, c, c_row, e, m, v, edge);
    if ((m * v >= 12 || m == 8) && whole && e->ask)
        exn_tile_chains(acc, k, segments, a, a_row, a_col, a_segment, b, b_row, e->ask, true, m, v, edge);
    else
        exn_tile_chains(acc, k, segments, a, a_row, a_col, a_segment, b, b_row, NULL, false, m, v, edge);
    exn_tile_finish(acc, c, c_row, e, m, v, edge);
}

/* A case of the switch over m. */
#define EXN_TILE_ROWS(m, v, whole)                                                                                     \
    case m:                                                                                                            \
        exn_tile_run(EXN_TILE_ARGUMENTS, m, v, whole);                                                                 \
        break;

#endif
