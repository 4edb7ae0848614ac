/* SPDX-License-Identifier: Apache-2.0
 * A feature cache: the file as it is, then the same with every checksum made good, so that what lies behind them is
 * reached too. */
#include "tests/fuzz/fuzz.h"

#include <stdlib.h>
#include <string.h>

#include "train/cache.h"

/* The file's layout as train/cache.h states it. */
enum { FLOATS = 4, VERSION = 2, HEADER_BYTES = 64, CHECKED_BYTES = 56, HEAD_BYTES = 24, HALF_AT = 16 };
static const char key[] = "0123456789abcdef0123456789abcdef";

static void use(const char *path, bool half) {
    exn_context *ctx = fuzz_context();
    const size_t live = fuzz_live();
    exn_cache *cache = NULL;
    exn_lock *lock = NULL;
    if (exn_cache_open(&cache, ctx, path, key, FLOATS, 0, half) == EXN_OK) {
        const float record[FLOATS] = {1, 2, 3, 4};
        float back[FLOATS];
        const exn_content content = exn_content_of(record, FLOATS);
        size_t at = exn_cache_count(cache);
        fuzz_assert(exn_lock_take(&lock, ctx, path) == EXN_E_BUSY);
        for (size_t i = 0; i < at; i++) fuzz_assert(exn_cache_read(back, cache, i, 0, FLOATS) == EXN_OK);
        if (exn_cache_find(cache, &content) == EXN_CACHE_MISSING) {
            fuzz_assert(exn_cache_prepare(cache, record) == EXN_OK);
            fuzz_assert(exn_cache_put(&at, cache, &content) == EXN_OK);
            fuzz_assert(exn_cache_find(cache, &content) == at);
            fuzz_assert(exn_cache_read(back, cache, at, 1, 2) == EXN_OK && back[0] == 2 && back[1] == 3);
        }
        const size_t count = exn_cache_count(cache);
        exn_cache_close(cache);
        fuzz_assert(exn_cache_open(&cache, ctx, path, key, FLOATS, 0, half) == EXN_OK &&
                    exn_cache_count(cache) == count);
        exn_cache_close(cache);
    }
    fuzz_assert_live(live);
}

static void put_hash(uint8_t *to, uint64_t hash) {
    memcpy(to, &hash, sizeof hash);
}

/* Header and records, as long as the header says they are. */
static void mend(uint8_t *bytes, size_t size) {
    if (size < HEADER_BYTES) return;
    const size_t values = FLOATS * (bytes[HALF_AT] & 1 ? 2 : 4), record = HEAD_BYTES + values;
    put_hash(bytes + CHECKED_BYTES, exn_hash64(bytes, CHECKED_BYTES, 0));
    for (size_t at = HEADER_BYTES; at + record <= size; at += record)
        put_hash(bytes + at + 16, exn_hash64(bytes + at + HEAD_BYTES, values, exn_hash64(bytes + at, 16, VERSION)));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    const bool half = size > HALF_AT && (bytes[HALF_AT] & 1);
    use(fuzz_file(0, "cache", bytes, size), half);
    uint8_t *mended = fuzz_copy(bytes, size);
    mend(mended, size);
    use(fuzz_file(0, "cache", mended, size), half);
    free(mended);
    return 0;
}
