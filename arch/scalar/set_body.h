/* SPDX-License-Identifier: Apache-2.0
 * The portable bodies compiled for one lane: kernels of the sets `scalar` and `scalar_fma`, which include this after
 * defining EXN_SET. */
#include "arch/cpu.h"
#include "arch/scalar/vec.h"
#include "kernels/vector_body.h"
#include "kernels/winograd_body.h"

#define EXN_GEMM_NAME EXN_OF_SET(gemm_4x8)
#define EXN_GEMM_MR 4
#define EXN_GEMM_NV 8
#include "kernels/gemm_body.h"

#define EXN_DWCONV_NAME EXN_OF_SET(dwconv_1x4)
#define EXN_DWCONV_PANEL 4
#include "kernels/dwconv_body.h"

#define EXN_SCALAR_KERNELS                                                                                             \
    .f32_gemm = {{EXN_OF_SET(gemm_4x8), 4, 8, "f32_gemm_4x8_" EXN_TEXT(EXN_SET), 0}},                                  \
    .f32_dwconv = {EXN_OF_SET(dwconv_1x4), 4, 1, "f32_dwconv_1x4_" EXN_TEXT(EXN_SET)},                                 \
    .f32_winograd = EXN_F32_WINOGRAD_INIT, .f32_vector = EXN_F32_VECTOR_INIT
