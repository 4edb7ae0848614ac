/* SPDX-License-Identifier: Apache-2.0
 * Whether weights are numbers: asked of every one of them, so by itself, where it becomes vectors. */
#include "graph/ir.h"

#include <string.h>

#define FINITE_BLOCK 1024u

/* Bits of each float's exponent all set: infinity or NaN. No branch within a block, so that it is vectors. */
static bool block_is_finite(const uint8_t *floats) {
    uint32_t bad = 0;
    for (size_t i = 0; i < FINITE_BLOCK; i++) {
        uint32_t bits;
        memcpy(&bits, floats + i * sizeof bits, sizeof bits);
        bad |= (uint32_t)((bits & 0x7f800000u) == 0x7f800000u);
    }
    return bad == 0;
}

size_t exn_floats_finite(const void *floats, size_t count) {
    const uint8_t *at = floats;
    size_t i = 0;
    while (count - i >= FINITE_BLOCK && block_is_finite(at + i * sizeof(float))) i += FINITE_BLOCK;
    for (; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, at + i * sizeof bits, sizeof bits);
        if ((bits & 0x7f800000u) == 0x7f800000u) return i;
    }
    return count;
}
