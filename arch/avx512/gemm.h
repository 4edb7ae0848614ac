/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels of the AVX-512 set. */
#ifndef EXN_ARCH_AVX512_GEMM_H
#define EXN_ARCH_AVX512_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_7x32_avx512;  /* 7 divides the pixel counts of 224-pixel networks */
exn_f32_gemm_fn exn_f32_gemm_8x16_avx512;  /* narrow outputs and N tails */
exn_f32_gemm_fn exn_f32_gemm_7x24_avx512;  /* outputs of 24 and 72 channels */
exn_f32_gemm_fn exn_f32_gemm_1x128_avx512; /* single rows: streams B */

#endif
