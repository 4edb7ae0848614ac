/* SPDX-License-Identifier: Apache-2.0
 * The rate of fused multiply-adds that this core really reaches: what shares of peak are shares of. */
#ifndef EXN_TOOLS_PEAK_H
#define EXN_TOOLS_PEAK_H

#include "core/context.h"
#include "kernels/kernel_set.h"

/* Operations (two a multiply-add) a second of one thread, 1e9 of them: the best of the set's GEMM tiles on operands that
 * stay in the first-level cache, best of several tries of about a millisecond. */
exn_status exn_peak_gflops(double *out, exn_context *ctx, const exn_kernel_set *kernels);

#endif
