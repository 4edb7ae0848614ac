/* SPDX-License-Identifier: Apache-2.0
 * The kernel person's page: this machine's matrix product, one tile at a time, against a plain loop.
 *
 *     multiply        EXN_CPU=avx2 multiply */
#include <exeunt/kernels.h>
#include <math.h>
#include <stdio.h>

enum { M = 23, N = 150, K = 40 };

static float a[M * K], b[K * N], c[M * N];

/* B is read where it lies: packing (K1) is for products that are computed many times. */
static void multiply(const exn_f32_gemm *tile) {
    const exn_epilogue plain = {.bias = NULL};
    for (size_t i = 0; i < M; i += tile->mr)
        for (size_t j = 0; j < N; j += tile->nr) {
            const size_t m = M - i < tile->mr ? M - i : tile->mr, n = N - j < tile->nr ? N - j : tile->nr;
            tile->run(m, n, K, 1, a + i * K, K, 1, 0, b + j, N, c + i * N + j, N, &plain);
        }
}

static double largest_error(void) {
    double largest = 0;
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N; j++) {
            double sum = 0;
            for (size_t p = 0; p < K; p++) sum += (double)a[i * K + p] * (double)b[p * N + j];
            largest = fmax(largest, fabs(sum - (double)c[i * N + j]));
        }
    return largest;
}

int main(void) {
    exn_context *ctx = NULL;
    exn_kernel_set set;
    if (exn_context_create(&ctx, NULL) != EXN_OK) return 1;
    if (exn_kernels_for_context(&set, ctx) != EXN_OK) return fprintf(stderr, "%s\n", exn_context_error(ctx)), 1;
    exn_context_destroy(ctx);
    for (size_t i = 0; i < M * K; i++) a[i] = (float)(i % 17) / 16 - 0.5f;
    for (size_t i = 0; i < K * N; i++) b[i] = (float)(i % 23) / 22 - 0.5f;
    for (size_t t = 0; t < EXN_GEMM_TILES && set.f32_gemm[t].run != NULL; t++) {
        multiply(&set.f32_gemm[t]);
        const double error = largest_error();
        printf("%-24s largest error %.2g\n", set.f32_gemm[t].name, error);
        if (!(error < 1e-5)) return 1;
    }
    return 0;
}
