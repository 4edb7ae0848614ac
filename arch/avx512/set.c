/* SPDX-License-Identifier: Apache-2.0
 * The AVX-512 set: its vector and depthwise slots are the portable bodies over vec.h. */
#include "arch/avx512/gemm.h"
#include "arch/avx512/vec.h"
#include "arch/cpu.h"
#define EXN_SET avx512
#include "kernels/vector_body.h"
#include "kernels/winograd_body.h"

#define EXN_BLOCKS_NAME exn_f32_dwconv_2x7_avx512
#define EXN_BLOCKS_PIXELS 7
#include "kernels/dwconv_blocks_body.h"

extern const exn_kernel_set exn_kernel_set_avx512;
const exn_kernel_set exn_kernel_set_avx512 = {
    .name = "avx512",
    .needs = EXN_CPU_AVX512,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_7x32_avx512, 7, 32, "f32_gemm_7x32_avx512", EXN_VEC_LANES},
                 {exn_f32_gemm_8x16_avx512, 8, 16, "f32_gemm_8x16_avx512", EXN_VEC_LANES},
                 {exn_f32_gemm_7x24_avx512, 7, 24, "f32_gemm_7x24_avx512", EXN_VEC_LANES},
                 {exn_f32_gemm_1x128_avx512, 1, 128, "f32_gemm_1x128_avx512", EXN_VEC_LANES}},
    .f32_dwconv = {exn_f32_dwconv_2x7_avx512, EXN_VEC_LANES, 2, "f32_dwconv_2x7_avx512"},
    .f32_winograd = EXN_F32_WINOGRAD_INIT,
    .f32_vector = EXN_F32_VECTOR_INIT,
};
