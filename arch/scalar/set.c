/* SPDX-License-Identifier: Apache-2.0
 * The baseline that every machine runs: no vectors, no fused multiply-add. */
#define EXN_SET scalar
#include "arch/scalar/set_body.h"

extern const exn_kernel_set exn_kernel_set_scalar;
const exn_kernel_set exn_kernel_set_scalar = {.name = "scalar", .needs = 0, .fused = false, EXN_SCALAR_KERNELS};
