/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in AArch64 Advanced SIMD. */
#ifndef EXN_ARCH_NEON_VEC_H
#define EXN_ARCH_NEON_VEC_H

#include "arch/elementary.h"

#include <arm_neon.h>
#include <stddef.h>

typedef float32x4_t exn_vec;
#define EXN_VEC_LANES 4u

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
static inline exn_vec exn_vec_load(const float *p) {
    return vld1q_f32(p);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    vst1q_f32(p, v);
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    if (count >= EXN_VEC_LANES) return vld1q_f32(p);
    exn_vec v = vdupq_n_f32(0.0f);
    if (count >= 2) v = vcombine_f32(vld1_f32(p), vdup_n_f32(0.0f));
    if (count == 1) v = vld1q_lane_f32(p, v, 0);
    if (count == 3) v = vld1q_lane_f32(p + 2, v, 2);
    return v;
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    if (count >= EXN_VEC_LANES) {
        vst1q_f32(p, v);
        return;
    }
    if (count >= 2) vst1_f32(p, vget_low_f32(v));
    if (count == 1) vst1q_lane_f32(p, v, 0);
    if (count == 3) vst1q_lane_f32(p + 2, v, 2);
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
    return vdupq_n_f32(x);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return vaddq_f32(a, b);
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return vsubq_f32(a, b);
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return vmulq_f32(a, b);
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return vdivq_f32(a, b);
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return vsqrtq_f32(a);
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return vfmaq_f32(c, a, b);
}
/* FMAX and FMIN treat NaN and signed zeros differently from x86; comparisons do not. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    const exn_vec raised = vbslq_f32(vcltq_f32(x, lo), lo, x);
    return vbslq_f32(vcgtq_f32(raised, hi), hi, raised);
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    const uint32x4_t is_number = vceqq_f32(a, a);
    return vbslq_f32(vorrq_u32(vcgtq_f32(a, b), vmvnq_u32(is_number)), a, b);
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return vbslq_f32(vcltq_f32(a, b), yes, no);
}
EXN_VEC_ELEMENTARY(exp, Sleef_finz_expf4_u10advsimd)
EXN_VEC_ELEMENTARY(log, Sleef_finz_logf4_u10advsimd)
EXN_VEC_ELEMENTARY(tanh, Sleef_finz_tanhf4_u10advsimd)

#endif
