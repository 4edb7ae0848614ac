/* SPDX-License-Identifier: Apache-2.0
 * The scalar kernels with fused multiply-add: the bits that every fused set must reproduce. */
#if defined(__x86_64__) && !defined(__FMA__)
#error "compile with -mfma: without it every fused multiply-add is a call"
#endif
#define EXN_SCALAR_FUSED
#define EXN_SET scalar_fma
#include "arch/scalar/set_body.h"

extern const exn_kernel_set exn_kernel_set_scalar_fma;
const exn_kernel_set exn_kernel_set_scalar_fma = {
    .name = "scalar_fma", .needs = EXN_CPU_FMA, .fused = true, EXN_SCALAR_KERNELS};
