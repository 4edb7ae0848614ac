/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in AVX2 with FMA. */
#ifndef EXN_ARCH_AVX2_VEC_H
#define EXN_ARCH_AVX2_VEC_H

#include "arch/elementary.h"

#include <immintrin.h>
#include <stddef.h>

typedef __m256 exn_vec;
#define EXN_VEC_LANES 8u

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
/* The lanes that a partial load or store touches, below `count` <= EXN_VEC_LANES (kernels/gemm_tile_body.h). */
typedef __m256i exn_vec_cut;
static inline exn_vec_cut exn_vec_cut_below(size_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline exn_vec exn_vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    _mm256_storeu_ps(p, v);
}
static inline exn_vec exn_vec_load_cut(const float *p, exn_vec_cut cut) {
    return _mm256_maskload_ps(p, cut);
}
static inline void exn_vec_store_cut(float *p, exn_vec v, exn_vec_cut cut) {
    _mm256_maskstore_ps(p, cut, v);
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    return exn_vec_load_cut(p, exn_vec_cut_below(count));
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    exn_vec_store_cut(p, v, exn_vec_cut_below(count));
}
static inline exn_vec exn_vec_set1(float x) {
    return _mm256_set1_ps(x);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return _mm256_add_ps(a, b);
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return _mm256_sub_ps(a, b);
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return _mm256_mul_ps(a, b);
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return _mm256_div_ps(a, b);
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return _mm256_sqrt_ps(a);
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
/* max and min return their second operand where one is NaN or both are zeros: NaN and -0 pass. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    return _mm256_min_ps(hi, _mm256_max_ps(lo, x));
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    return _mm256_blendv_ps(_mm256_max_ps(a, b), a, _mm256_cmp_ps(a, a, _CMP_UNORD_Q));
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_LT_OQ));
}
EXN_VEC_ELEMENTARY(exp, Sleef_finz_expf8_u10avx2)
EXN_VEC_ELEMENTARY(log, Sleef_finz_logf8_u10avx2)
EXN_VEC_ELEMENTARY(tanh, Sleef_finz_tanhf8_u10avx2)

#endif
