/* SPDX-License-Identifier: Apache-2.0
 * Reproducible random numbers: the same seed and stream give the same numbers on every machine. */
#ifndef EXN_CORE_RNG_H
#define EXN_CORE_RNG_H

#include <stddef.h>
#include <stdint.h>

/* PCG32 (O'Neill, HMC-CS-2014-0905). */
typedef struct exn_rng {
    uint64_t state, increment;
} exn_rng;

exn_rng exn_rng_seed(uint64_t seed, uint64_t stream);
uint32_t exn_rng_u32(exn_rng *rng);
/* Uniform in 0 .. bound-1 without bias; bound >= 1. */
uint32_t exn_rng_below(exn_rng *rng, uint32_t bound);
/* Uniform in [0, 1), a multiple of 2^-24. */
float exn_rng_uniform(exn_rng *rng);
/* Approximately normal with mean 0 and deviation 1 (sum of twelve uniforms): no transcendental, so the same bits everywhere. */
float exn_rng_normal(exn_rng *rng);
/* Fisher-Yates. */
void exn_rng_shuffle(exn_rng *rng, size_t *items, size_t count);

#endif
