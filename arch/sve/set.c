/* SPDX-License-Identifier: Apache-2.0
 * The SVE set: its vector and depthwise slots are the portable bodies over vec.h; Winograd transforms are NEON's. */
#include "arch/cpu.h"
#include "arch/sve/gemm.h"
#include "arch/sve/vec.h"
#define EXN_SET sve
#include "kernels/vector_body.h"

#define PANEL 32 /* channels: a whole vector up to 1024 bits */
#define EXN_DWCONV_NAME exn_f32_dwconv_1x4_sve
#define EXN_DWCONV_PANEL PANEL
#include "kernels/dwconv_body.h"

extern const exn_kernel_set exn_kernel_set_sve;
const exn_kernel_set exn_kernel_set_sve = {
    .name = "sve",
    .needs = EXN_CPU_SVE,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_8x32_sve, 8, 32, "f32_gemm_8x32_sve", 8}},
    .f32_dwconv = {exn_f32_dwconv_1x4_sve, PANEL, 1, "f32_dwconv_1x4_sve"},
    .f32_vector = EXN_F32_VECTOR_INIT,
};
