/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels of the SVE set. */
#ifndef EXN_ARCH_SVE_GEMM_H
#define EXN_ARCH_SVE_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_8x32_sve;

#endif
