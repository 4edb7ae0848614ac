/* SPDX-License-Identifier: Apache-2.0
 * The RVV set: its vector and depthwise slots are the portable bodies over vec.h; Winograd transforms are inherited. */
#include "arch/cpu.h"
#include "arch/rvv/gemm.h"
#include "arch/rvv/vec.h"
#define EXN_SET rvv
#include "kernels/vector_body.h"

#define PANEL 32 /* channels: a whole vector up to 512 bits */
#define EXN_DWCONV_NAME exn_f32_dwconv_1x4_rvv
#define EXN_DWCONV_PANEL PANEL
#include "kernels/dwconv_body.h"

extern const exn_kernel_set exn_kernel_set_rvv;
const exn_kernel_set exn_kernel_set_rvv = {
    .name = "rvv",
    .needs = EXN_CPU_RVV,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_7x32_rvv, 7, 32, "f32_gemm_7x32_rvv", 4}},
    .f32_dwconv = {exn_f32_dwconv_1x4_rvv, PANEL, 1, "f32_dwconv_1x4_rvv"},
    .f32_vector = EXN_F32_VECTOR_INIT,
};
