/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary with one lane: the model of every other vec.h (kernels/vec.md says what each word must do).
 * EXN_SCALAR_FUSED, defined before, makes exn_vec_fma one rounding instead of two. */
#ifndef EXN_ARCH_SCALAR_VEC_H
#define EXN_ARCH_SCALAR_VEC_H

#include "arch/elementary.h"

#include <math.h>

typedef float exn_vec;
#define EXN_VEC_LANES 1u

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
static inline exn_vec exn_vec_load(const float *p) {
    return *p;
}
static inline void exn_vec_store(float *p, exn_vec v) {
    *p = v;
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    return count > 0 ? *p : 0.0f;
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    if (count > 0) *p = v;
}
static inline exn_vec exn_vec_set1(float x) {
    return x;
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return a + b;
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return a - b;
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return a * b;
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return a / b;
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return sqrtf(a);
}
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    const float raised = x < lo ? lo : x;
    return raised > hi ? hi : raised;
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    return a > b || a != a ? a : b;
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return a < b ? yes : no;
}

#ifdef EXN_SCALAR_FUSED
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return __builtin_fmaf(a, b, c);
}
EXN_VEC_ELEMENTARY(exp, Sleef_finz_expf1_u10purecfma)
EXN_VEC_ELEMENTARY(log, Sleef_finz_logf1_u10purecfma)
EXN_VEC_ELEMENTARY(tanh, Sleef_finz_tanhf1_u10purecfma)
#else
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return a * b + c;
}
EXN_VEC_ELEMENTARY(exp, Sleef_cinz_expf1_u10purec)
EXN_VEC_ELEMENTARY(log, Sleef_cinz_logf1_u10purec)
EXN_VEC_ELEMENTARY(tanh, Sleef_cinz_tanhf1_u10purec)
#endif

#endif
