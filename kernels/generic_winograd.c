/* SPDX-License-Identifier: Apache-2.0
 * The executable specification of the Winograd transforms: which operations, in which order (K6). */
#include "kernels/generic.h"

#include <math.h>

#define A 0.70710678118654752f /* sqrt(1/2); the other points are its double, 0 and infinity */

/* v = B^T d for one row or column; neighbours are `step` apart in d, `to` in v. */
static void input_line(size_t m, const float *d, size_t step, float *v, size_t to) {
    const float d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step];
    if (m == 2) {
        v[0] = d0 - d2;
        v[to] = d1 + d2;
        v[2 * to] = d2 - d1;
        v[3 * to] = d3 - d1;
        return;
    }
    const float d4 = d[4 * step], d5 = d[5 * step];
    v[0] = fmaf(-2.5f, d2, d0 + d4);
    v[to] = fmaf(A, fmaf(-2.0f, d1, d3), fmaf(-2.0f, d2, d4));
    v[2 * to] = fmaf(-A, fmaf(-2.0f, d1, d3), fmaf(-2.0f, d2, d4));
    v[3 * to] = fmaf(2.0f * A, fmaf(-0.5f, d1, d3), fmaf(-0.5f, d2, d4));
    v[4 * to] = fmaf(-2.0f * A, fmaf(-0.5f, d1, d3), fmaf(-0.5f, d2, d4));
    v[5 * to] = fmaf(-2.5f, d3, d1 + d5);
}

/* y = A^T v for one row or column. */
static void output_line(size_t m, const float *v, size_t step, float *y, size_t to) {
    const float v0 = v[0], v1 = v[step], v2 = v[2 * step], v3 = v[3 * step];
    if (m == 2) {
        y[0] = v0 + (v1 + v2);
        y[to] = v3 + (v1 - v2);
        return;
    }
    const float v4 = v[4 * step], v5 = v[5 * step];
    y[0] = v0 + ((v1 + v2) + (v3 + v4));
    y[to] = A * fmaf(2.0f, v3 - v4, v1 - v2);
    y[2 * to] = 0.5f * fmaf(4.0f, v3 + v4, v1 + v2);
    y[3 * to] = fmaf(A / 2.0f, fmaf(8.0f, v3 - v4, v1 - v2), v5);
}

void exn_generic_winograd_in(size_t m, const exn_winograd_tiles *t, const float *image, float *transformed) {
    const size_t p = m + 2;
    for (size_t tile = 0; tile < t->tiles; tile++)
        for (size_t c = 0; c < t->channels; c++) {
            float d[36], columns[36], v[36];
            for (size_t i = 0; i < p; i++)
                for (size_t j = 0; j < p; j++) {
                    const ptrdiff_t y = t->y + (ptrdiff_t)i, x = t->x + (ptrdiff_t)(tile * m + j);
                    const bool inside = y >= 0 && y < (ptrdiff_t)t->h && x >= 0 && x < (ptrdiff_t)t->w;
                    d[i * p + j] = inside ? image[y * t->row + x * t->pixel + (ptrdiff_t)c] : 0.0f;
                }
            for (size_t j = 0; j < p; j++) input_line(m, d + j, p, columns + j, p);
            for (size_t i = 0; i < p; i++) input_line(m, columns + i * p, 1, v + i * p, 1);
            for (size_t k = 0; k < p * p; k++)
                transformed[(ptrdiff_t)k * t->position + (ptrdiff_t)tile * t->tile + (ptrdiff_t)c] = v[k];
        }
}

/* Output (i, j) of a tile, if the image has it: bias, residual, clamp. */
static void store_output(const exn_winograd_tiles *t, ptrdiff_t y, ptrdiff_t x, size_t c, float value, float bias,
                         float *image, const exn_epilogue *e) {
    if (y < 0 || y >= (ptrdiff_t)t->h || x < 0 || x >= (ptrdiff_t)t->w) return;
    const ptrdiff_t at = y * t->row + x * t->pixel + (ptrdiff_t)c;
    value += bias;
    if (e->residual) value += e->residual[at];
    if (e->activation == EXN_ACT_CLAMP) value = value < e->lo ? e->lo : value > e->hi ? e->hi : value;
    image[at] = value;
}

void exn_generic_winograd_out(size_t m, const exn_winograd_tiles *t, const float *transformed, const float *bias,
                              float *image, const exn_epilogue *e) {
    const size_t p = m + 2;
    for (size_t tile = 0; tile < t->tiles; tile++)
        for (size_t c = 0; c < t->channels; c++) {
            float v[36], columns[24], y[16];
            for (size_t k = 0; k < p * p; k++)
                v[k] = transformed[(ptrdiff_t)k * t->position + (ptrdiff_t)tile * t->tile + (ptrdiff_t)c];
            for (size_t j = 0; j < p; j++) output_line(m, v + j, p, columns + j, p);
            for (size_t i = 0; i < m; i++) output_line(m, columns + i * p, 1, y + i * m, 1);
            for (size_t k = 0; k < m * m; k++)
                store_output(t, t->y + (ptrdiff_t)(k / m), t->x + (ptrdiff_t)(tile * m + k % m), c, y[k], bias[c],
                             image, e);
        }
}
