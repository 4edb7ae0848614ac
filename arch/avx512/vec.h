/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in AVX-512. */
#ifndef EXN_ARCH_AVX512_VEC_H
#define EXN_ARCH_AVX512_VEC_H

#include "arch/elementary.h"

#include <immintrin.h>
#include <stddef.h>

typedef __m512 exn_vec;
#define EXN_VEC_LANES 16u

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
/* The lanes that a partial load or store touches, below `count` <= EXN_VEC_LANES (kernels/gemm_tile_body.h). */
typedef __mmask16 exn_vec_cut;
static inline exn_vec_cut exn_vec_cut_below(size_t count) {
    return (__mmask16)((1u << count) - 1u);
}
static inline exn_vec exn_vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    _mm512_storeu_ps(p, v);
}
static inline exn_vec exn_vec_load_cut(const float *p, exn_vec_cut cut) {
    return _mm512_maskz_loadu_ps(cut, p);
}
static inline void exn_vec_store_cut(float *p, exn_vec v, exn_vec_cut cut) {
    _mm512_mask_storeu_ps(p, cut, v);
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    return exn_vec_load_cut(p, exn_vec_cut_below(count));
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    exn_vec_store_cut(p, v, exn_vec_cut_below(count));
}
static inline exn_vec exn_vec_set1(float x) {
    return _mm512_set1_ps(x);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return _mm512_add_ps(a, b);
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return _mm512_sub_ps(a, b);
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return _mm512_mul_ps(a, b);
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return _mm512_div_ps(a, b);
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return _mm512_sqrt_ps(a);
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* What exn_vec_fma(exn_vec_set1(*x), b, c) is, in one instruction even where compilers would load *x once for several:
 * on Zen 4 stores share a register port with the third register of a multiply-add. */
#define EXN_VEC_FMA_MEMORY
static inline exn_vec exn_vec_fma_memory(const float *x, exn_vec b, exn_vec c) {
    __asm__("vfmadd231ps %2%{1to16%}, %1, %0" : "+v"(c) : "v"(b), "m"(*x));
    return c;
}
/* max and min return their second operand where one is NaN or both are zeros: NaN and -0 pass. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    return _mm512_min_ps(hi, _mm512_max_ps(lo, x));
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    return _mm512_mask_max_ps(a, _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q), a, b);
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}
EXN_VEC_ELEMENTARY(exp, Sleef_finz_expf16_u10avx512f)
EXN_VEC_ELEMENTARY(log, Sleef_finz_logf16_u10avx512f)
EXN_VEC_ELEMENTARY(tanh, Sleef_finz_tanhf16_u10avx512f)

#endif
