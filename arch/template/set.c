/* SPDX-License-Identifier: Apache-2.0
 * A set whose every slot is a portable body over vec.h: the start of a port. arch/README.md says how to go on. */
#include "arch/cpu.h"
#include "arch/template/vec.h"
#define EXN_SET template
#include "kernels/vector_body.h"
#include "kernels/winograd_body.h"

#define EXN_GEMM_NAME exn_f32_gemm_4x8_template
#define EXN_GEMM_MR 4
#define EXN_GEMM_NV 2
#include "kernels/gemm_body.h"

#define EXN_DWCONV_NAME exn_f32_dwconv_1x4_template
#define EXN_DWCONV_PANEL EXN_VEC_LANES
#include "kernels/dwconv_body.h"

extern const exn_kernel_set exn_kernel_set_template;
const exn_kernel_set exn_kernel_set_template = {
    .name = "template",
    .needs = EXN_CPU_FMA,
    .fused = true,
    .f32_gemm = {{exn_f32_gemm_4x8_template, 4, 8, "f32_gemm_4x8_template", 0}},
    .f32_dwconv = {exn_f32_dwconv_1x4_template, EXN_VEC_LANES, 1, "f32_dwconv_1x4_template"},
    .f32_winograd = EXN_F32_WINOGRAD_INIT,
    .f32_vector = EXN_F32_VECTOR_INIT,
};
