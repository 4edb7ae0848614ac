/* SPDX-License-Identifier: Apache-2.0
 *
 * The kernels themselves, for people who measure or reuse them. Unstable: anything here may change with every version.
 *
 *     exn_kernel_set set;
 *     exn_kernels_for_context(&set, ctx);
 *     set.f32_gemm[0].run(m, n, k, 1, a, a_row, 1, 0, b, b_row, c, c_row, &epilogue);     m <= .mr, n <= .nr
 *
 * kernels/kernel_set.h is the contract: what each slot reads, writes and computes, clauses K1 to K8. */
#ifndef EXEUNT_KERNELS_H
#define EXEUNT_KERNELS_H

#include <exeunt/exeunt.h>

#ifdef __cplusplus
extern "C" {
#endif

#include "kernels/kernel_set.h"

/* The complete set of this machine, every slot filled, up to the one that the context's options or EXN_CPU name. Copies
 * pointers to functions and static text: *out needs no destruction and outlives the context. EXN_E_UNSUPPORTED with the
 * names that this machine has where the wish is unknown or lacking. */
EXN_API exn_status exn_kernels_for_context(exn_kernel_set *out, exn_context *ctx);

#ifdef __cplusplus
}
#endif
#endif /* EXEUNT_KERNELS_H */
