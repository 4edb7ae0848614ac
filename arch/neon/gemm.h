/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels of the NEON set. */
#ifndef EXN_ARCH_NEON_GEMM_H
#define EXN_ARCH_NEON_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_8x8_neon;
exn_f32_gemm_fn exn_f32_gemm_8x12_neon; /* outputs that are multiples of 12 */
exn_f32_gemm_fn exn_f32_gemm_1x32_neon; /* single rows: streams B */

#endif
