/* SPDX-License-Identifier: Apache-2.0
 * The vector vocabulary (kernels/vec.md) in RISC-V Vector 1.0: pairs of registers, whatever their length. */
#ifndef EXN_ARCH_RVV_VEC_H
#define EXN_ARCH_RVV_VEC_H

#include <riscv_vector.h>
#include <stddef.h>

typedef vfloat32m2_t exn_vec;
#define EXN_VEC_LANES 0u
#define EXN_VEC_LANES_MAX 4096u /* of the longest vectors that the architecture allows, 65536 bits */

static inline size_t exn_vec_lanes(void) {
    return __riscv_vsetvlmax_e32m2();
}
static inline exn_vec exn_vec_load(const float *p) {
    return __riscv_vle32_v_f32m2(p, exn_vec_lanes());
}
static inline void exn_vec_store(float *p, exn_vec v) {
    __riscv_vse32_v_f32m2(p, v, exn_vec_lanes());
}
static inline exn_vec exn_vec_set1(float x) {
    return __riscv_vfmv_v_f_f32m2(x, exn_vec_lanes());
}
static inline exn_vec exn_vec_load_n(const float *p, size_t count) {
    return __riscv_vle32_v_f32m2_tu(exn_vec_set1(0.0f), p, count);
}
static inline void exn_vec_store_n(float *p, exn_vec v, size_t count) {
    __riscv_vse32_v_f32m2(p, v, count);
}
static inline exn_vec exn_vec_add(exn_vec a, exn_vec b) {
    return __riscv_vfadd_vv_f32m2(a, b, exn_vec_lanes());
}
static inline exn_vec exn_vec_sub(exn_vec a, exn_vec b) {
    return __riscv_vfsub_vv_f32m2(a, b, exn_vec_lanes());
}
static inline exn_vec exn_vec_mul(exn_vec a, exn_vec b) {
    return __riscv_vfmul_vv_f32m2(a, b, exn_vec_lanes());
}
static inline exn_vec exn_vec_div(exn_vec a, exn_vec b) {
    return __riscv_vfdiv_vv_f32m2(a, b, exn_vec_lanes());
}
static inline exn_vec exn_vec_sqrt(exn_vec a) {
    return __riscv_vfsqrt_v_f32m2(a, exn_vec_lanes());
}
static inline exn_vec exn_vec_fma(exn_vec a, exn_vec b, exn_vec c) {
    return __riscv_vfmacc_vv_f32m2(c, a, b, exn_vec_lanes());
}
static inline exn_vec exn_vec_select_less(exn_vec a, exn_vec b, exn_vec yes, exn_vec no) {
    return __riscv_vmerge_vvm_f32m2(no, yes, __riscv_vmflt_vv_f32m2_b16(a, b, exn_vec_lanes()), exn_vec_lanes());
}
/* vfmin and vfmax drop NaN and order zeros; comparisons do not. */
static inline exn_vec exn_vec_clamp(exn_vec x, exn_vec lo, exn_vec hi) {
    const exn_vec raised = exn_vec_select_less(x, lo, lo, x);
    return exn_vec_select_less(hi, raised, hi, raised);
}
static inline exn_vec exn_vec_max(exn_vec a, exn_vec b) {
    const size_t lanes = exn_vec_lanes();
    const vbool16_t more = __riscv_vmflt_vv_f32m2_b16(b, a, lanes),
                    not_a_number = __riscv_vmfne_vv_f32m2_b16(a, a, lanes);
    return __riscv_vmerge_vvm_f32m2(b, a, __riscv_vmor_mm_b16(more, not_a_number, lanes), lanes);
}

#include "arch/elementary.h"
EXN_VEC_ELEMENTARY_LANES(exp, Sleef_finz_expf1_u10purecfma)
EXN_VEC_ELEMENTARY_LANES(log, Sleef_finz_logf1_u10purecfma)
EXN_VEC_ELEMENTARY_LANES(tanh, Sleef_finz_tanhf1_u10purecfma)

#endif
