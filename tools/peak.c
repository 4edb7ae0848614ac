/* SPDX-License-Identifier: Apache-2.0
 * Measured peak of fused multiply-adds. */
#include "tools/peak.h"

enum { DEPTH = 2048, TRIES = 12, CALLS = 128 };

exn_status exn_peak_gflops(double *out, exn_context *ctx, const exn_kernel_set *kernels) {
    double best = 0.0;
    for (size_t t = 0; t < EXN_GEMM_TILES && kernels->f32_gemm[t].run != NULL; t++) {
        const exn_f32_gemm *tile = &kernels->f32_gemm[t];
        /* Rows of A and of B lie on top of each other: no tile can be held up by memory. */
        const size_t mr = tile->mr, nr = tile->nr;
        float *block = exn_calloc(ctx, DEPTH + nr + mr * nr, sizeof *block);
        if (block == NULL) return EXN_E_NOMEM;
        float *a = block, *b = a + DEPTH, *c = b + nr;
        const exn_epilogue epilogue = {0};
        double least = 1e30;
        for (int attempt = 0; attempt < TRIES; attempt++) {
            const double begin = exn_now();
            for (int call = 0; call < CALLS; call++)
                tile->run(mr, nr, DEPTH, 1, a, 0, 1, 0, b, 0, c, (ptrdiff_t)nr, &epilogue);
            const double seconds = exn_now() - begin;
            if (seconds < least) least = seconds;
        }
        exn_free(ctx, block);
        const double gflops = 2.0 * (double)(mr * nr * DEPTH) * CALLS / least * 1e-9;
        if (gflops > best) best = gflops;
    }
    *out = best;
    return EXN_OK;
}
