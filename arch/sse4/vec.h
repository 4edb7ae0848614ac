/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in SSE4.1, which has no fused multiply-add: `fma` multiplies, rounds, and adds, as
 * in the set `scalar`. */
#ifndef EXN_ARCH_SSE4_VEC_H
#define EXN_ARCH_SSE4_VEC_H

#include <smmintrin.h>
#include <stddef.h>

typedef __m128 exn_vec;
#define EXN_VEC_LANES 4u

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
static inline exn_vec exn_vec_load(const float *p) {
    return _mm_loadu_ps(p);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    _mm_storeu_ps(p, v);
}
/* There are no masked loads: two lanes, then one. */
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    if (count >= EXN_VEC_LANES) return _mm_loadu_ps(p);
    exn_vec v = _mm_setzero_ps();
    if (count >= 2) v = _mm_loadl_pi(v, (const __m64 *)(const void *)p);
    if (count == 1) v = _mm_load_ss(p);
    if (count == 3) v = _mm_insert_ps(v, _mm_load_ss(p + 2), 0x20);
    return v;
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    if (count >= EXN_VEC_LANES) {
        _mm_storeu_ps(p, v);
        return;
    }
    if (count >= 2) _mm_storel_pi((__m64 *)(void *)p, v);
    if (count == 1) _mm_store_ss(p, v);
    if (count == 3) _mm_store_ss(p + 2, _mm_movehl_ps(v, v));
}
/* The lanes that a partial load or store touches (kernels/gemm_tile_body.h): here just their count. */
typedef size_t exn_vec_cut;
static inline exn_vec_cut exn_vec_cut_below(size_t count) {
    return count;
}
static inline exn_vec exn_vec_load_cut(const float *p, exn_vec_cut cut) {
    return exn_vec_load_n(p, cut);
}
static inline void exn_vec_store_cut(float *p, exn_vec v, exn_vec_cut cut) {
    exn_vec_store_n(p, v, cut);
}
static inline exn_vec exn_vec_set1(float x) {
    return _mm_set1_ps(x);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return _mm_add_ps(a, b);
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return _mm_sub_ps(a, b);
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return _mm_mul_ps(a, b);
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return _mm_div_ps(a, b);
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return _mm_sqrt_ps(a);
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return _mm_add_ps(_mm_mul_ps(a, b), c);
}
/* max and min return their second operand where one is NaN or both are zeros: NaN and -0 pass. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    return _mm_min_ps(hi, _mm_max_ps(lo, x));
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    return _mm_blendv_ps(_mm_max_ps(a, b), a, _mm_cmpunord_ps(a, a));
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return _mm_blendv_ps(no, yes, _mm_cmplt_ps(a, b));
}

#include "arch/elementary.h"
EXN_VEC_ELEMENTARY(exp, Sleef_cinz_expf4_u10sse4)
EXN_VEC_ELEMENTARY(log, Sleef_cinz_logf4_u10sse4)
EXN_VEC_ELEMENTARY(tanh, Sleef_cinz_tanhf4_u10sse4)

#endif
