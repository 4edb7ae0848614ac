/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernel of the RVV set. */
#ifndef EXN_ARCH_RVV_GEMM_H
#define EXN_ARCH_RVV_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_7x32_rvv;

#endif
