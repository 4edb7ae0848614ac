/* SPDX-License-Identifier: Apache-2.0
 * Blocks in shared pieces: aligned, apart, little left over, and nothing lost when memory is short. */
#include "core/pieces.h"
#include "tests/unit/unit.h"

#include <stdint.h>
#include <string.h>

#define BLOCKS 200u

/* From nothing to beyond the largest piece. */
static size_t block_bytes(size_t i) {
    return i == BLOCKS / 2 ? (size_t)9 << 20 : i * i * 5;
}

static size_t count_bytes(const unsigned char *block, size_t bytes, unsigned char wanted) {
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) count += block[i] == wanted;
    return count;
}

START_TEST(blocks_are_apart) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    const size_t before = counter.live_bytes;
    exn_pieces pieces = {0};
    unsigned char *block[BLOCKS];
    size_t total = 0;
    for (size_t i = 0; i < BLOCKS; i++) {
        void *out = NULL;
        unit_assert_ok(ctx, exn_pieces_take(&out, &pieces, ctx, block_bytes(i), 1));
        ck_assert_uint_eq((uintptr_t)out % EXN_ALIGNMENT, 0);
        memset(out, (int)i, block_bytes(i));
        block[i] = out;
        total += block_bytes(i);
    }
    for (size_t i = 0; i < BLOCKS; i++)
        ck_assert_uint_eq(count_bytes(block[i], block_bytes(i), (unsigned char)i), block_bytes(i));
    ck_assert_uint_le(counter.live_bytes - before, total + total / 4 + 4096);
    exn_pieces_release(&pieces, ctx);
    ck_assert_uint_eq(counter.live_bytes, before);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(expected_come_in_one_piece) {
    unit_allocator counter = {0};
    exn_context *ctx = unit_context_counting(&counter);
    const size_t before = counter.live;
    exn_pieces pieces = {.expected = 50 * 512};
    void *block[50];
    for (size_t i = 0; i < 50; i++) {
        unit_assert_ok(ctx, exn_pieces_take(&block[i], &pieces, ctx, 100 + i % 28, sizeof(float)));
        if (i > 0) ck_assert_uint_le((uintptr_t)block[i] - (uintptr_t)block[i - 1], 512);
    }
    ck_assert_uint_eq(counter.live - before, 2); /* the piece, and the list of pieces */
    exn_pieces_release(&pieces, ctx);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(too_much_is_refused) {
    exn_context *ctx = unit_context();
    exn_pieces pieces = {0};
    void *block = NULL;
    unit_assert_fails(ctx, exn_pieces_take(&block, &pieces, ctx, SIZE_MAX / 2, 4), EXN_E_NOMEM, "out of memory");
    unit_assert_fails(ctx, exn_pieces_take(&block, &pieces, ctx, SIZE_MAX - 10, 1), EXN_E_NOMEM, "out of memory");
    exn_pieces_release(&pieces, ctx);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status take_some(exn_context *ctx, void *user) {
    (void)user;
    exn_pieces pieces = {0};
    exn_status status = EXN_OK;
    for (size_t i = 0; i < 3 && status == EXN_OK; i++) {
        void *block = NULL;
        status = exn_pieces_take(&block, &pieces, ctx, 200000, 1);
    }
    exn_pieces_release(&pieces, ctx);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(take_some, NULL);
}
END_TEST

int main(void) {
    return unit_run("pieces", (const TTest *const[]){blocks_are_apart, expected_come_in_one_piece, too_much_is_refused,
                                                     memory_may_fail, NULL});
}
