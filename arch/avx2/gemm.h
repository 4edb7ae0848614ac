/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels of the AVX2 set. */
#ifndef EXN_ARCH_AVX2_GEMM_H
#define EXN_ARCH_AVX2_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_6x16_avx2;
exn_f32_gemm_fn exn_f32_gemm_4x24_avx2; /* outputs of 24, 72, 144 channels */
exn_f32_gemm_fn exn_f32_gemm_1x64_avx2; /* single rows: streams B */

#endif
