/* SPDX-License-Identifier: Apache-2.0
 * Random numbers: published values, no bias, moments. */
#include "core/rng.h"
#include "tests/unit/unit.h"

#include <math.h>

/* The first numbers of the reference implementation's demonstration: seed 42, stream 54. */
START_TEST(published_values) {
    static const uint32_t expected[] = {0xa15c02b7, 0x7b47f409, 0xba1d3330, 0x83d2f293, 0xbfa4784b, 0xcbed606e};
    exn_rng rng = exn_rng_seed(42, 54);
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) ck_assert_uint_eq(exn_rng_u32(&rng), expected[i]);
}
END_TEST

START_TEST(streams_differ) {
    exn_rng a = exn_rng_seed(1, 0), b = exn_rng_seed(1, 1), c = exn_rng_seed(1, 0);
    size_t same = 0;
    for (size_t i = 0; i < 100; i++) {
        const uint32_t value = exn_rng_u32(&a);
        same += value == exn_rng_u32(&b);
        ck_assert_uint_eq(value, exn_rng_u32(&c));
    }
    ck_assert_uint_le(same, 1);
}
END_TEST

START_TEST(below_is_even) {
    exn_rng rng = exn_rng_seed(7, 0);
    size_t seen[5] = {0};
    for (size_t i = 0; i < 50000; i++) seen[exn_rng_below(&rng, 5)]++;
    for (size_t i = 0; i < 5; i++) ck_assert(seen[i] > 9500 && seen[i] < 10500);
    /* 3 * 2^30 makes the bias of a plain remainder gross: a third of the range would come twice as often. */
    size_t low = 0;
    for (size_t i = 0; i < 30000; i++) low += exn_rng_below(&rng, 3u << 30) < 1u << 30;
    ck_assert_msg(low > 9500 && low < 10500, "%zu of 30000", low);
    for (size_t i = 0; i < 100; i++) ck_assert_uint_eq(exn_rng_below(&rng, 1), 0);
}
END_TEST

START_TEST(moments) {
    exn_rng rng = exn_rng_seed(3, 9);
    const size_t count = 200000;
    double sum = 0, squares = 0, uniform = 0;
    for (size_t i = 0; i < count; i++) {
        const float u = exn_rng_uniform(&rng);
        ck_assert(u >= 0 && u < 1 && ldexpf(u, 24) == floorf(ldexpf(u, 24)));
        uniform += (double)u;
        const double x = (double)exn_rng_normal(&rng);
        sum += x;
        squares += x * x;
    }
    ck_assert(fabs(uniform / (double)count - 0.5) < 0.005);
    ck_assert(fabs(sum / (double)count) < 0.01);
    ck_assert(fabs(squares / (double)count - 1) < 0.02);
}
END_TEST

START_TEST(golden_floats) {
    exn_rng rng = exn_rng_seed(42, 54);
    const float expected[] = {0x1.42b804p-1f, 0x1.ed1fdp-2f};
    const float actual[] = {exn_rng_uniform(&rng), exn_rng_uniform(&rng)};
    unit_assert_same_bits(actual, expected, 2);
}
END_TEST

START_TEST(shuffle_permutes) {
    exn_rng rng = exn_rng_seed(8, 0);
    size_t moved = 0, items[52];
    bool seen[52] = {false};
    for (size_t i = 0; i < 52; i++) items[i] = i;
    exn_rng_shuffle(&rng, items, 52);
    for (size_t i = 0; i < 52; i++) {
        ck_assert(items[i] < 52 && !seen[items[i]]);
        seen[items[i]] = true;
        moved += items[i] != i;
    }
    ck_assert_uint_gt(moved, 40);
    exn_rng_shuffle(&rng, items, 1);
    exn_rng_shuffle(&rng, NULL, 0);
    size_t orders[6] = {0}; /* of three items: all six about equally often */
    for (size_t i = 0; i < 6000; i++) {
        size_t three[3] = {0, 1, 2};
        exn_rng_shuffle(&rng, three, 3);
        orders[three[0] * 2 + (three[1] > three[2])]++;
    }
    for (size_t i = 0; i < 6; i++) ck_assert(orders[i] > 850 && orders[i] < 1150);
}
END_TEST

int main(void) {
    return unit_run("rng", (const TTest *const[]){published_values, streams_differ, below_is_even, moments,
                                                  golden_floats, shuffle_permutes, NULL});
}
