/* SPDX-License-Identifier: Apache-2.0
 * Elementwise operations with broadcasting, permutation and copies of boxes. */
#include "kernels/elementwise.h"
#include "kernels/block.h"
#include "kernels/walk.h"
#include <string.h>

#define GRAIN_ELEMENTS 64u

void exn_activate(const exn_f32_vector *vector, exn_activation act, size_t n, const float *x, float *y, float lo,
                  float hi, exn_part part) {
    size_t first, last;
    exn_part_range(&first, &last, part, n, GRAIN_ELEMENTS);
    if (first < last) exn_unary(vector, act, last - first, x + first, y + first, lo, hi);
}

void exn_prelu(const exn_f32_vector *vector, size_t n, size_t channels, const float *slope, const float *x, float *y,
               exn_part part) {
    if (n == 0) return;
    if (channels == 1) {
        exn_activate(vector, EXN_ACT_LEAKY_RELU, n, x, y, *slope, 0.0f, part);
        return;
    }
    size_t first, last;
    exn_part_range(&first, &last, part, n / channels, 1);
    for (size_t row = first; row < last; row++)
        for (size_t c = 0; c < channels; c++) {
            const float value = x[row * channels + c];
            y[row * channels + c] = value < 0.0f ? slope[c] * value : value;
        }
}

/* Strides of an operand of a broadcast along y's dimensions: 0 where it repeats. */
static void broadcast_strides(ptrdiff_t stride[EXN_RANK_MAX], const exn_shape *operand, const exn_shape *y) {
    const size_t missing = y->rank - operand->rank;
    size_t step = 1;
    for (size_t i = y->rank; i-- > 0;) {
        const size_t dim = i < missing ? 1 : operand->dim[i - missing];
        stride[i] = dim == 1 ? 0 : (ptrdiff_t)step;
        step *= dim;
    }
}

static void row_major_strides(ptrdiff_t stride[EXN_RANK_MAX], const exn_shape *shape) {
    size_t step = 1;
    for (size_t i = shape->rank; i-- > 0;) {
        stride[i] = (ptrdiff_t)step;
        step *= shape->dim[i];
    }
}

static exn_walk walk_over(const exn_shape *box, size_t streams) {
    exn_walk walk = {.rank = box->rank, .streams = streams};
    memcpy(walk.dim, box->dim, sizeof walk.dim);
    return walk;
}

void exn_binary_broadcast(const exn_f32_vector *vector, exn_binary op, const exn_shape *y_shape,
                          const exn_shape *a_shape, const float *a, const exn_shape *b_shape, const float *b, float *y,
                          exn_part part) {
    exn_walk walk = walk_over(y_shape, 3);
    row_major_strides(walk.stride[0], y_shape);
    broadcast_strides(walk.stride[1], a_shape, y_shape);
    broadcast_strides(walk.stride[2], b_shape, y_shape);
    exn_walk_simplify(&walk);
    ptrdiff_t step[EXN_WALK_STREAMS];
    const size_t inner = exn_walk_take_inner(&walk, step);
    size_t runs[2], piece[2];
    exn_walk_share(runs, piece, exn_walk_count(&walk), inner, part);
    if (runs[0] >= runs[1] || piece[0] >= piece[1]) return;
    const ptrdiff_t at = (ptrdiff_t)piece[0];
    exn_walk_seek(&walk, runs[0]);
    for (size_t run = runs[0]; run < runs[1]; run++, exn_walk_next(&walk))
        exn_pair(vector, op, piece[1] - piece[0], a + walk.offset[1] + at * step[1], (size_t)step[1],
                 b + walk.offset[2] + at * step[2], (size_t)step[2], y + walk.offset[0] + at);
}

static void copy_run(size_t n, const float *x, ptrdiff_t x_step, float *y, ptrdiff_t y_step) {
    if (x_step == 1 && y_step == 1)
        memcpy(y, x, n * sizeof *y);
    else
        for (size_t i = 0; i < n; i++, x += x_step, y += y_step) *y = *x;
}

void exn_copy_box(const exn_shape *box, const float *x, const ptrdiff_t x_stride[], float *y,
                  const ptrdiff_t y_stride[], exn_part part) {
    exn_walk walk = walk_over(box, 2);
    for (size_t i = 0; i < box->rank; i++) {
        walk.stride[0][i] = y_stride[i];
        walk.stride[1][i] = x_stride[i];
    }
    exn_walk_simplify(&walk);
    ptrdiff_t step[EXN_WALK_STREAMS];
    const size_t inner = exn_walk_take_inner(&walk, step);
    size_t runs[2], piece[2];
    exn_walk_share(runs, piece, exn_walk_count(&walk), inner, part);
    if (runs[0] >= runs[1] || piece[0] >= piece[1]) return;
    const ptrdiff_t at = (ptrdiff_t)piece[0];
    exn_walk_seek(&walk, runs[0]);
    for (size_t run = runs[0]; run < runs[1]; run++, exn_walk_next(&walk))
        copy_run(piece[1] - piece[0], x + walk.offset[1] + at * step[1], step[1], y + walk.offset[0] + at * step[0],
                 step[0]);
}

void exn_permute(const exn_shape *x_shape, const size_t order[], const float *x, float *y, exn_part part) {
    exn_shape y_shape = {.rank = x_shape->rank};
    ptrdiff_t x_plain[EXN_RANK_MAX] = {0}, x_stride[EXN_RANK_MAX] = {0}, y_stride[EXN_RANK_MAX] = {0};
    row_major_strides(x_plain, x_shape);
    for (size_t i = 0; i < x_shape->rank; i++) {
        y_shape.dim[i] = x_shape->dim[order[i]];
        x_stride[i] = x_plain[order[i]];
    }
    row_major_strides(y_stride, &y_shape);
    exn_copy_box(&y_shape, x, x_stride, y, y_stride, part);
}

void exn_fill(size_t n, float value, float *y, exn_part part) {
    size_t first, last;
    exn_part_range(&first, &last, part, n, GRAIN_ELEMENTS);
    for (size_t i = first; i < last; i++) y[i] = value;
}
