/* SPDX-License-Identifier: Apache-2.0
 * The AVX2 set: its vector and depthwise slots are the portable bodies over vec.h. */
#include "arch/avx2/gemm.h"
#include "arch/avx2/vec.h"
#include "arch/cpu.h"
#define EXN_SET avx2
#include "kernels/vector_body.h"
#include "kernels/winograd_body.h"

#define EXN_BLOCKS_NAME exn_f32_dwconv_2x4_avx2
#define EXN_BLOCKS_PIXELS 4
#include "kernels/dwconv_blocks_body.h"

extern const exn_kernel_set exn_kernel_set_avx2;
const exn_kernel_set exn_kernel_set_avx2 = {
    .name = "avx2",
    .needs = EXN_CPU_AVX2,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_6x16_avx2, 6, 16, "f32_gemm_6x16_avx2", EXN_VEC_LANES},
                 {exn_f32_gemm_4x24_avx2, 4, 24, "f32_gemm_4x24_avx2", EXN_VEC_LANES},
                 {exn_f32_gemm_1x64_avx2, 1, 64, "f32_gemm_1x64_avx2", EXN_VEC_LANES}},
    .f32_dwconv = {exn_f32_dwconv_2x4_avx2, EXN_VEC_LANES, 2, "f32_dwconv_2x4_avx2"},
    .f32_winograd = EXN_F32_WINOGRAD_INIT,
    .f32_vector = EXN_F32_VECTOR_INIT,
};
