/* SPDX-License-Identifier: Apache-2.0
 * Walking over boxes with several strides at once. */
#include "kernels/walk.h"
#include "kernels/block.h"

#define GRAIN_ELEMENTS 16u

/* True where dimension i+1 continues dimension i in every stream. */
static bool continues(const exn_walk *walk, size_t outer, size_t inner) {
    for (size_t s = 0; s < walk->streams; s++)
        if (walk->stride[s][outer] != walk->stride[s][inner] * (ptrdiff_t)walk->dim[inner]) return false;
    return true;
}

static void move_dimension(exn_walk *walk, size_t to, size_t from) {
    walk->dim[to] = walk->dim[from];
    for (size_t s = 0; s < walk->streams; s++) walk->stride[s][to] = walk->stride[s][from];
}

void exn_walk_simplify(exn_walk *walk) {
    size_t kept = 0;
    for (size_t i = 0; i < walk->rank; i++) {
        if (walk->dim[i] == 0) {
            move_dimension(walk, 0, i);
            walk->rank = 1;
            return;
        }
        if (walk->dim[i] == 1) continue;
        if (kept > 0 && continues(walk, kept - 1, i)) {
            const size_t merged = walk->dim[kept - 1] * walk->dim[i];
            move_dimension(walk, kept - 1, i);
            walk->dim[kept - 1] = merged;
        } else {
            move_dimension(walk, kept++, i);
        }
    }
    walk->rank = kept;
}

size_t exn_walk_take_inner(exn_walk *walk, ptrdiff_t inner_stride[EXN_WALK_STREAMS]) {
    for (size_t s = 0; s < EXN_WALK_STREAMS; s++) inner_stride[s] = 0;
    if (walk->rank == 0) return 1;
    walk->rank--;
    for (size_t s = 0; s < walk->streams; s++) inner_stride[s] = walk->stride[s][walk->rank];
    return walk->dim[walk->rank];
}

size_t exn_walk_count(const exn_walk *walk) {
    size_t count = 1;
    for (size_t i = 0; i < walk->rank; i++) count *= walk->dim[i];
    return count;
}

void exn_walk_seek(exn_walk *walk, size_t number) {
    for (size_t s = 0; s < walk->streams; s++) walk->offset[s] = 0;
    for (size_t i = walk->rank; i-- > 0;) {
        walk->index[i] = number % walk->dim[i];
        number /= walk->dim[i];
        for (size_t s = 0; s < walk->streams; s++) walk->offset[s] += (ptrdiff_t)walk->index[i] * walk->stride[s][i];
    }
}

void exn_walk_next(exn_walk *walk) {
    for (size_t i = walk->rank; i-- > 0;) {
        const bool carries = ++walk->index[i] == walk->dim[i];
        const ptrdiff_t steps = carries ? 1 - (ptrdiff_t)walk->dim[i] : 1;
        for (size_t s = 0; s < walk->streams; s++) walk->offset[s] += steps * walk->stride[s][i];
        if (!carries) return;
        walk->index[i] = 0;
    }
}

void exn_walk_share(size_t outer_range[2], size_t inner_range[2], size_t outer, size_t inner, exn_part part) {
    outer_range[0] = inner_range[0] = 0;
    outer_range[1] = outer;
    inner_range[1] = inner;
    if (outer >= 8 * part.count || exn_split_major(outer, exn_ceil_div(inner, GRAIN_ELEMENTS), part.count))
        exn_part_range(&outer_range[0], &outer_range[1], part, outer, 1);
    else
        exn_part_range(&inner_range[0], &inner_range[1], part, inner, GRAIN_ELEMENTS);
}
