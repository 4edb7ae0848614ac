/* SPDX-License-Identifier: Apache-2.0
 * The NEON set: its vector slot is the portable body over vec.h. */
#include "arch/cpu.h"
#include "arch/neon/vec.h"
#define EXN_SET neon
#include "kernels/vector_body.h"

extern const exn_kernel_set exn_kernel_set_neon;
const exn_kernel_set exn_kernel_set_neon = {
    .name = "neon",
    .needs = EXN_CPU_NEON,
    .fused = true,
    .f32_vector = EXN_F32_VECTOR_INIT,
};
