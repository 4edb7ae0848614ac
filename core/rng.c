/* SPDX-License-Identifier: Apache-2.0
 * PCG32: a 64-bit linear congruential generator whose output is a permutation of the state's high bits. */
#include "core/rng.h"

#include <assert.h>

uint32_t exn_rng_u32(exn_rng *rng) {
    const uint64_t old = rng->state;
    rng->state = old * 6364136223846793005u + rng->increment;
    const uint32_t mixed = (uint32_t)(((old >> 18) ^ old) >> 27);
    const uint32_t turn = (uint32_t)(old >> 59);
    return (mixed >> turn) | (mixed << ((32u - turn) & 31u));
}

exn_rng exn_rng_seed(uint64_t seed, uint64_t stream) {
    exn_rng rng = {.state = 0, .increment = (stream << 1) | 1u}; /* odd, or the period is not full */
    exn_rng_u32(&rng);
    rng.state += seed;
    exn_rng_u32(&rng);
    return rng;
}

uint32_t exn_rng_below(exn_rng *rng, uint32_t bound) {
    assert(bound >= 1);
    const uint32_t uneven = (0u - bound) % bound; /* 2^32 mod bound: that many values would favour small results */
    uint32_t value = exn_rng_u32(rng);
    while (value < uneven) value = exn_rng_u32(rng);
    return value % bound;
}

float exn_rng_uniform(exn_rng *rng) {
    return (float)(exn_rng_u32(rng) >> 8) * 0x1p-24f;
}

/* Summed as integers, so that only the last conversion rounds. */
float exn_rng_normal(exn_rng *rng) {
    int32_t sum = -6 * (1 << 24);
    for (int i = 0; i < 12; i++) sum += (int32_t)(exn_rng_u32(rng) >> 8);
    return (float)sum * 0x1p-24f;
}

void exn_rng_shuffle(exn_rng *rng, size_t *items, size_t count) {
    assert(count <= UINT32_MAX);
    for (size_t left = count; left > 1; left--) {
        const size_t chosen = exn_rng_below(rng, (uint32_t)left);
        const size_t held = items[left - 1];
        items[left - 1] = items[chosen];
        items[chosen] = held;
    }
}
