/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in Arm's Scalable Vector Extension, whatever the length. */
#ifndef EXN_ARCH_SVE_VEC_H
#define EXN_ARCH_SVE_VEC_H

#include <arm_sve.h>
#include <stddef.h>

typedef svfloat32_t exn_vec;
#define EXN_VEC_LANES 0u
#define EXN_VEC_LANES_MAX 64u /* of the longest vectors that the architecture allows, 2048 bits */

static inline size_t exn_vec_lanes(void) {
    return svcntw();
}
/* The lanes that a partial load or store touches: the first `count`. */
static inline svbool_t exn_vec_first(size_t count) {
    return svwhilelt_b32_u64(0, count);
}
static inline exn_vec exn_vec_load(const float *p) {
    return svld1_f32(svptrue_b32(), p);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    svst1_f32(svptrue_b32(), p, v);
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    return svld1_f32(exn_vec_first(count), p);
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    svst1_f32(exn_vec_first(count), p, v);
}
static inline exn_vec exn_vec_set1(float x) {
    return svdup_n_f32(x);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return svadd_f32_x(svptrue_b32(), a, b);
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return svsub_f32_x(svptrue_b32(), a, b);
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return svmul_f32_x(svptrue_b32(), a, b);
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return svdiv_f32_x(svptrue_b32(), a, b);
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return svsqrt_f32_x(svptrue_b32(), a);
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return svmla_f32_x(svptrue_b32(), c, a, b);
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return svsel_f32(svcmplt_f32(svptrue_b32(), a, b), yes, no);
}
/* FMAX and FMIN treat NaN and signed zeros differently from x86; comparisons do not. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    const exn_vec raised = exn_vec_select_less(x, lo, lo, x);
    return exn_vec_select_less(hi, raised, hi, raised);
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    const svbool_t all = svptrue_b32();
    return svsel_f32(svorr_b_z(all, svcmpgt_f32(all, a, b), svcmpuo_f32(all, a, a)), a, b);
}

#include "arch/elementary.h"
EXN_VEC_ELEMENTARY(exp, Sleef_finz_expfx_u10sve)
EXN_VEC_ELEMENTARY(log, Sleef_finz_logfx_u10sve)
EXN_VEC_ELEMENTARY(tanh, Sleef_finz_tanhfx_u10sve)

#endif
