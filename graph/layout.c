/* SPDX-License-Identifier: Apache-2.0
 * Where the elements of a value lie: channels last for rank 4, row-major otherwise. */
#include "graph/step.h"

exn_shape exn_memory_shape(const exn_shape *shape) {
    if (shape->rank != 4) return *shape;
    const size_t dims[4] = {shape->dim[0], shape->dim[2], shape->dim[3], shape->dim[1]};
    return exn_shape_of(4, dims);
}

size_t exn_memory_axis(size_t rank, size_t axis) {
    static const size_t last[4] = {0, 3, 1, 2};
    return rank == 4 ? last[axis] : axis;
}

void exn_memory_strides(ptrdiff_t stride[EXN_RANK_MAX], const exn_shape *shape) {
    const exn_shape memory = exn_memory_shape(shape);
    ptrdiff_t of_memory[EXN_RANK_MAX] = {0};
    ptrdiff_t step = 1;
    for (size_t i = memory.rank; i-- > 0;) {
        of_memory[i] = step;
        step *= (ptrdiff_t)memory.dim[i];
    }
    for (size_t i = 0; i < shape->rank; i++) stride[i] = of_memory[exn_memory_axis(shape->rank, i)];
}

bool exn_memory_is_rows(const exn_shape *shape) {
    return shape->rank != 4 || shape->dim[1] <= 1 || shape->dim[2] * shape->dim[3] <= 1;
}
