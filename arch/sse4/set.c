/* SPDX-License-Identifier: Apache-2.0
 * The SSE4.1 set, for x86 CPUs without AVX2. Not fused: it has the bits of `scalar`, a vector at a time. */
#include "arch/cpu.h"
#include "arch/sse4/gemm.h"
#include "arch/sse4/vec.h"
#define EXN_SET sse4
#include "kernels/vector_body.h"

/* For size: blocks of two rows (dwconv_blocks_body.h) would be two and a half times as fast here, winograd_body.h would save a fifth
 * of fast arithmetic's time, and the set would be twice as large. */
#define EXN_DWCONV_NAME exn_f32_dwconv_1x4_sse4
#define EXN_DWCONV_PANEL EXN_VEC_LANES
#include "kernels/dwconv_body.h"

extern const exn_kernel_set exn_kernel_set_sse4;
const exn_kernel_set exn_kernel_set_sse4 = {
    .name = "sse4",
    .needs = EXN_CPU_SSE4,
    .fused = false,
    .f32_gemm = {{exn_f32_gemm_4x8_sse4, 4, 8, "f32_gemm_4x8_sse4", EXN_VEC_LANES},
                 {exn_f32_gemm_1x32_sse4, 1, 32, "f32_gemm_1x32_sse4", EXN_VEC_LANES}},
    .f32_dwconv = {exn_f32_dwconv_1x4_sse4, EXN_VEC_LANES, 1, "f32_dwconv_1x4_sse4"},
    .f32_vector = EXN_F32_VECTOR_INIT,
};
