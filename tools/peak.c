/* SPDX-License-Identifier: Apache-2.0
 * Measured peak of fused multiply-adds. */
#include "tools/peak.h"

enum { DEPTH = 128, TRIES = 12, CALLS = 2000 };

exn_status exn_peak_gflops(double *out, exn_context *ctx, const exn_kernel_set *kernels) {
    double best = 0.0;
    for (size_t t = 0; t < EXN_GEMM_TILES && kernels->f32_gemm[t].run != NULL; t++) {
        const exn_f32_gemm *tile = &kernels->f32_gemm[t];
        const size_t mr = tile->mr, nr = tile->nr;
        float *block = exn_calloc(ctx, mr * DEPTH + DEPTH * nr + mr * nr, sizeof *block);
        if (block == NULL) return EXN_E_NOMEM;
        float *a = block, *b = a + mr * DEPTH, *c = b + DEPTH * nr;
        const exn_epilogue epilogue = {0};
        double least = 1e30;
        for (int attempt = 0; attempt < TRIES; attempt++) {
            const double begin = exn_now();
            for (int call = 0; call < CALLS; call++)
                tile->run(mr, nr, DEPTH, 1, a, DEPTH, 1, 0, b, (ptrdiff_t)nr, c, (ptrdiff_t)nr, &epilogue);
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
