/* SPDX-License-Identifier: Apache-2.0
 * GEMM micro-kernels of the SSE4.1 set. */
#ifndef EXN_ARCH_SSE4_GEMM_H
#define EXN_ARCH_SSE4_GEMM_H

#include "kernels/kernel_set.h"

exn_f32_gemm_fn exn_f32_gemm_4x8_sse4;
exn_f32_gemm_fn exn_f32_gemm_1x32_sse4; /* single rows: streams B */

#endif
