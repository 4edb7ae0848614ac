/* SPDX-License-Identifier: Apache-2.0
 * The NEON set: its vector and depthwise slots are the portable bodies over vec.h. */
#include "arch/cpu.h"
#include "arch/neon/gemm.h"
#include "arch/neon/vec.h"
#define EXN_SET neon
#include "kernels/vector_body.h"
#include "kernels/winograd_body.h"

#define EXN_BLOCKS_NAME exn_f32_dwconv_2x4_neon
#define EXN_BLOCKS_PIXELS 4
#include "kernels/dwconv_blocks_body.h"

extern const exn_kernel_set exn_kernel_set_neon;
const exn_kernel_set exn_kernel_set_neon = {
    .name = "neon",
    .needs = EXN_CPU_NEON,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_8x8_neon, 8, 8, "f32_gemm_8x8_neon", EXN_VEC_LANES},
                 {exn_f32_gemm_8x12_neon, 8, 12, "f32_gemm_8x12_neon", EXN_VEC_LANES},
                 {exn_f32_gemm_1x32_neon, 1, 32, "f32_gemm_1x32_neon", EXN_VEC_LANES}},
    .f32_dwconv = {exn_f32_dwconv_2x4_neon, EXN_VEC_LANES, 2, "f32_dwconv_2x4_neon"},
    .f32_winograd = EXN_F32_WINOGRAD_INIT,
    .f32_vector = EXN_F32_VECTOR_INIT,
};
