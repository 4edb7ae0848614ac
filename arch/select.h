/* SPDX-License-Identifier: Apache-2.0
 * From the CPU to one complete kernel set. */
#ifndef EXN_ARCH_SELECT_H
#define EXN_ARCH_SELECT_H

#include "arch/include/exeunt/kernels.h" /* exn_kernels_for_context */
#include "core/context.h"
#include "kernels/kernel_set.h"

/* Copies `scalar`, then overlays the non-empty slots of every set that `cpu` (exn_cpu_detect) supports, in the order of
 * sets.inc, up to and including the one named `wanted` (NULL: all). A named set overlays only the sets it extends:
 * "scalar" is scalar alone, "scalar_fma" adds itself, "avx2" adds scalar_fma and avx2, and so on. EXN_E_UNSUPPORTED with the names
 * this machine has where `wanted` is unknown or lacking. The result's name is that of the last overlay. */
exn_status exn_kernels_select(exn_kernel_set *out, exn_context *ctx, uint32_t cpu, const char *wanted);
/* All sets compiled in, in order; *count of them. */
const exn_kernel_set *const *exn_kernels_compiled(size_t *count);

#endif
