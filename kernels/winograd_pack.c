/* SPDX-License-Identifier: Apache-2.0
 * Weights of a Winograd convolution: U = G g G^T in double precision, rounded once, in the driver's order. */
#include "kernels/winograd.h"

#include "kernels/block.h"
#include "kernels/conv_parts.h"

#define SQRT2 1.41421356237309505

/* One value for each output channel of a panel. */
typedef double lane[EXN_NR_MAX];

/* One row or column: u = G g, 3 become m + 2, for n output channels at once. */
static void transform_line(size_t m, size_t n, const double *const g[3], double *const u[6]) {
    if (m == 2) {
        for (size_t j = 0; j < n; j++) {
            const double even = 0.5 * (g[0][j] + g[2][j]), odd = 0.5 * g[1][j];
            u[0][j] = g[0][j], u[1][j] = even + odd, u[2][j] = even - odd, u[3][j] = g[2][j];
        }
        return;
    }
    for (size_t j = 0; j < n; j++) {
        const double even_a = (g[0][j] + 0.5 * g[2][j]) / -1.5, odd_a = g[1][j] * (0.5 * SQRT2 / -1.5);
        const double even_b = (g[0][j] + 2.0 * g[2][j]) / 6.0, odd_b = g[1][j] * (SQRT2 / 6.0);
        u[0][j] = g[0][j], u[5][j] = g[2][j];
        u[1][j] = even_a + odd_a, u[2][j] = even_a - odd_a;
        u[3][j] = even_b + odd_b, u[4][j] = even_b - odd_b;
    }
}

/* The nine weights of n output channels, apart floats from one to the next, for one input channel; `to` is the row of
 * that channel in position 0's panel, later positions' panels are `position` floats further. */
static void transform_filters(size_t m, size_t n, size_t nr, const float *weight, size_t apart, const float *scale,
                              float *to, size_t position) {
    lane g[9], half[6][3], u[6];
    const size_t p = m + 2;
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < 9; i++) g[i][j] = (double)weight[j * apart + i] * (scale ? (double)scale[j] : 1.0);
    for (size_t x = 0; x < 3; x++)
        transform_line(m, n, (const double *const[3]){g[x], g[3 + x], g[6 + x]},
                       (double *const[6]){half[0][x], half[1][x], half[2][x], half[3][x], half[4][x], half[5][x]});
    for (size_t i = 0; i < p; i++) {
        transform_line(m, n, (const double *const[3]){half[i][0], half[i][1], half[i][2]},
                       (double *const[6]){u[0], u[1], u[2], u[3], u[4], u[5]});
        for (size_t k = 0; k < p; k++, to += position) {
            for (size_t j = 0; j < n; j++) to[j] = (float)u[k][j];
            for (size_t j = n; j < nr; j++) to[j] = 0.0f;
        }
    }
}

void exn_conv_winograd_pack(float *packed, const exn_conv *conv, const float *weight, const float *scale,
                            const float *bias) {
    const exn_winograd_layout l = exn_winograd_layout_of(conv);
    const size_t c = conv->shape.c, oc = conv->shape.oc, nr = conv->tile->nr;
    for (size_t o = 0; o < l.bias_count; o++) packed[o] = o < oc && bias ? bias[o] : 0.0f;
    for (size_t o = 0; o < oc; o += nr) {
        const size_t group = o / l.group * l.group, real = exn_min(nr, oc - o);
        const size_t panel = (o - group) / nr * exn_panel_count(conv->tile, c);
        const size_t first = exn_winograd_panels_at(&l, conv, group, 0);
        const size_t position = exn_winograd_panels_at(&l, conv, group, 1) - first;
        float *const to = packed + first + panel;
        for (size_t p = 0; p < l.positions; p++)
            for (size_t j = 0; j < nr; j++) to[p * position + j] = 0.0f; /* the panel's own bias */
        for (size_t i = 0; i < c; i++)
            transform_filters(l.outputs, real, nr, weight + (o * c + i) * 9, c * 9, scale ? scale + o : NULL,
                              to + (1 + i) * nr, position);
    }
}
