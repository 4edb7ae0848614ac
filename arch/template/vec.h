/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in plain C, four lanes: the start of a port. Copy this folder, rename it, and
 * replace each loop by the instruction that does it. */
#ifndef EXN_ARCH_TEMPLATE_VEC_H
#define EXN_ARCH_TEMPLATE_VEC_H

#include "arch/elementary.h"

#include <math.h>
#include <stddef.h>

#define EXN_VEC_LANES 4u
typedef struct exn_vec {
    float lane[EXN_VEC_LANES];
} exn_vec;

static inline size_t exn_vec_lanes(void) {
    return EXN_VEC_LANES;
}
/* Loaded lanes beyond `count` are +0; memory beyond is not touched. */
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = i < count ? p[i] : 0.0f;
    return r;
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    for (size_t i = 0; i < count; i++) p[i] = v.lane[i];
}
static inline exn_vec exn_vec_load(const float *p) {
    return exn_vec_load_n(p, EXN_VEC_LANES);
}
static inline void exn_vec_store(float *p, exn_vec v) {
    exn_vec_store_n(p, v, EXN_VEC_LANES);
}
static inline exn_vec exn_vec_set1(float x) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = x;
    return r;
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = a.lane[i] + b.lane[i];
    return r;
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = a.lane[i] - b.lane[i];
    return r;
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = a.lane[i] * b.lane[i];
    return r;
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = a.lane[i] / b.lane[i];
    return r;
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = sqrtf(a.lane[i]);
    return r;
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return r;
}
/* Comparisons, not the ISA's own minimum and maximum, unless those let NaN and -0 pass as these do. */
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++) r.lane[i] = a.lane[i] < b.lane[i] ? yes.lane[i] : no.lane[i];
    return r;
}
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    const exn_vec raised = exn_vec_select_less(x, lo, lo, x);
    return exn_vec_select_less(hi, raised, hi, raised);
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    exn_vec r;
    for (size_t i = 0; i < EXN_VEC_LANES; i++)
        r.lane[i] = a.lane[i] > b.lane[i] || a.lane[i] != a.lane[i] ? a.lane[i] : b.lane[i];
    return r;
}
/* SLEEF's finz_ function for this ISA (EXN_VEC_ELEMENTARY), or this one: all of them agree bit for bit. */
EXN_VEC_ELEMENTARY_LANES(exp, Sleef_finz_expf1_u10purecfma)
EXN_VEC_ELEMENTARY_LANES(log, Sleef_finz_logf1_u10purecfma)
EXN_VEC_ELEMENTARY_LANES(tanh, Sleef_finz_tanhf1_u10purecfma)

#endif
