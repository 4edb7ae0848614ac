/* SPDX-License-Identifier: Apache-2.0
 * Records in memory or appended to a file, found by content hash. */
#include "train/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x31656863616e7865ull /* "exncach1" in little-endian order */
#define VERSION 2u
#define KEY_BYTES (EXN_HASH_TEXT_BYTES - 1u)

typedef struct header {
    uint64_t magic;
    uint32_t version, record_floats, half, unused;
    char key[KEY_BYTES];
    uint64_t checksum;
} header;

typedef struct record_head {
    exn_content content;
    uint64_t checksum;
} record_head;

/* A record has a place. Places are never moved; one that is dropped or was damaged is dead until it is taken again. */
struct exn_cache {
    exn_context *ctx;
    char *path; /* NULL: in memory */
    exn_lock *lock;
    int file;
    size_t record_floats, most; /* most: places there may be */
    bool half;
    exn_content *contents;
    uint8_t *state; /* of each place */
    size_t places, live, capacity, state_capacity;
    void **records; /* in memory; NULL where dead */
    size_t record_capacity;
    size_t *table; /* open addressing: place + 1, or 0 */
    size_t table_size;
    uint8_t *raw; /* a record as it is kept; in memory it becomes that record, and is NULL until the next is prepared */
};
enum { DEAD, LIVE, HELD };

exn_content exn_content_of(const float *values, size_t count) {
    exn_content content;
    const size_t bytes = count * sizeof *values;
    const uint64_t half[2] = {exn_hash64(values, bytes, 0x65786575), exn_hash64(values, bytes, 0x6e742121)};
    for (size_t i = 0; i < EXN_CONTENT_BYTES; i++) content.bytes[i] = (uint8_t)(half[i / 8] >> (8 * (i % 8)));
    return content;
}

int exn_content_compare(const exn_content *a, const exn_content *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static size_t value_bytes(size_t floats, bool half) {
    return floats * (half ? sizeof(uint16_t) : sizeof(float));
}

size_t exn_cache_record_bytes(size_t record_floats, bool half) {
    return sizeof(record_head) + value_bytes(record_floats, half);
}

static size_t record_bytes(const exn_cache *cache) {
    return value_bytes(cache->record_floats, cache->half);
}

static uint64_t record_checksum(const exn_cache *cache, const exn_content *content) {
    return exn_hash64(cache->raw, record_bytes(cache), exn_hash64(content->bytes, sizeof content->bytes, VERSION));
}

/* ---- index ---- */

static size_t slot_of(const exn_cache *cache, const exn_content *content) {
    uint64_t start;
    memcpy(&start, content->bytes, sizeof start);
    size_t slot = (size_t)start & (cache->table_size - 1);
    while (cache->table[slot] && exn_content_compare(&cache->contents[cache->table[slot] - 1], content))
        slot = (slot + 1) & (cache->table_size - 1);
    return slot;
}

size_t exn_cache_find(const exn_cache *cache, const exn_content *content) {
    if (!cache->table_size) return EXN_CACHE_MISSING;
    const size_t entry = cache->table[slot_of(cache, content)];
    return entry ? entry - 1 : EXN_CACHE_MISSING;
}

static void rebuild_table(exn_cache *cache) {
    memset(cache->table, 0, cache->table_size * sizeof *cache->table);
    for (size_t i = 0; i < cache->places; i++)
        if (cache->state[i] != DEAD) cache->table[slot_of(cache, &cache->contents[i])] = i + 1;
}

static exn_status grow_table(exn_cache *cache) {
    const size_t size = cache->table_size ? 2 * cache->table_size : 64;
    size_t *table = exn_calloc(cache->ctx, size, sizeof *table);
    if (!table) return EXN_E_NOMEM;
    exn_free(cache->ctx, cache->table);
    cache->table = table;
    cache->table_size = size;
    rebuild_table(cache);
    return EXN_OK;
}

/* Makes room for one more place, so that nothing after it can fail. */
static exn_status reserve(exn_cache *cache) {
    exn_context *ctx = cache->ctx;
    const size_t wanted = cache->places + 1;
    EXN_TRY(exn_grow(ctx, (void **)&cache->contents, &cache->capacity, wanted, sizeof *cache->contents));
    EXN_TRY(exn_grow(ctx, (void **)&cache->state, &cache->state_capacity, wanted, sizeof *cache->state));
    if (!cache->path)
        EXN_TRY(exn_grow(ctx, (void **)&cache->records, &cache->record_capacity, wanted, sizeof *cache->records));
    return 2 * wanted > cache->table_size ? grow_table(cache) : EXN_OK;
}

static void remember(exn_cache *cache, size_t place, const exn_content *content) {
    if (place == cache->places) cache->places++;
    cache->contents[place] = *content;
    cache->state[place] = LIVE;
    cache->live++;
    cache->table[slot_of(cache, content)] = place + 1;
}

void exn_cache_hold(exn_cache *cache, size_t index) {
    cache->state[index] = HELD;
}

void exn_cache_let_go(exn_cache *cache, size_t index) {
    cache->state[index] = LIVE;
}

void exn_cache_drop(exn_cache *cache, size_t index) {
    if (cache->records) {
        exn_free(cache->ctx, cache->records[index]);
        cache->records[index] = NULL;
    }
    cache->state[index] = DEAD;
    cache->live--;
    rebuild_table(cache);
}

/* A dead place, a new one, or that of a record that nobody holds. */
static exn_status take_place(size_t *place, exn_cache *cache) {
    size_t dead = 0, idle = 0;
    while (cache->live < cache->places && cache->state[dead] != DEAD) dead++;
    const bool any = cache->live < cache->places;
    *place = any ? dead : cache->places;
    if (any || cache->places < cache->most) return EXN_OK;
    while (idle < cache->places && cache->state[idle] != LIVE) idle++;
    if (idle == cache->places)
        return exn_fail(
            cache->ctx, EXN_E_NOMEM,
            "feature cache: %zu samples of %zu bytes exceed the budget: give a cache file, a larger budget, or "
            "fewer exits",
            cache->places + 1, exn_cache_record_bytes(cache->record_floats, cache->half));
    exn_cache_drop(cache, idle);
    *place = idle;
    return EXN_OK;
}

/* ---- half precision ---- */

/* Nearest, ties to even; what is too large becomes infinite. */
static uint16_t to_half(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, magnitude = bits & 0x7fffffffu;
    if (magnitude >= 0x47800000u) return (uint16_t)(sign | 0x7c00u);
    if (magnitude < 0x38800000u) { /* below the least normal number: the sum rounds to a multiple of 2^-24 */
        float sum;
        memcpy(&sum, &magnitude, sizeof sum);
        sum += 0.5f;
        memcpy(&bits, &sum, sizeof bits);
        return (uint16_t)(sign | (bits - 0x3f000000u));
    }
    const uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | (magnitude - 0x38000000u + 0xfffu + odd) >> 13);
}

static float from_half(uint16_t half) {
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, magnitude = half & 0x7fffu;
    if (magnitude < 0x400u) { /* multiples of 2^-24 */
        const float small = (float)magnitude * 0x1p-24f;
        return sign ? -small : small;
    }
    uint32_t bits = sign | (magnitude >= 0x7c00u ? 0x7f800000u : (magnitude << 13) + 0x38000000u);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Into cache->raw. */
static exn_status pack(exn_cache *cache, const float *record) {
    if (!cache->raw) cache->raw = exn_malloc(cache->ctx, record_bytes(cache) + 1, 1);
    if (!cache->raw) return EXN_E_NOMEM;
    if (!cache->half) {
        memcpy(cache->raw, record, record_bytes(cache));
        return EXN_OK;
    }
    for (size_t i = 0; i < cache->record_floats; i++) {
        const uint16_t half = to_half(record[i]);
        if ((half & 0x7fffu) == 0x7c00u)
            return exn_fail(cache->ctx, EXN_E_INVALID, "feature cache: a feature of %g is beyond half precision",
                            (double)record[i]);
        memcpy(cache->raw + i * sizeof half, &half, sizeof half);
    }
    return EXN_OK;
}

static void unpack(float *out, const uint8_t *raw, size_t count, bool half) {
    if (!half) memcpy(out, raw, count * sizeof *out);
    for (size_t i = 0; half && i < count; i++) {
        uint16_t value;
        memcpy(&value, raw + i * sizeof value, sizeof value);
        out[i] = from_half(value);
    }
}

/* ---- file ---- */

static exn_status io_error(const exn_cache *cache, const char *what) {
    return exn_fail(cache->ctx, EXN_E_IO, "%s: cannot %s: %s", cache->path, what, strerror(errno));
}

static size_t record_offset(const exn_cache *cache, size_t place) {
    return sizeof(header) + place * exn_cache_record_bytes(cache->record_floats, cache->half);
}

static header make_header(const char *key, size_t record_floats, bool half) {
    header h;
    memset(&h, 0, sizeof h);
    h.magic = MAGIC;
    h.version = VERSION;
    h.record_floats = (uint32_t)record_floats;
    h.half = half;
    memcpy(h.key, key, strnlen(key, KEY_BYTES));
    h.checksum = exn_hash64(&h, offsetof(header, checksum), 0);
    return h;
}

/* Features that are not finite are never written, but a checksum can be forged. */
static bool all_finite(const exn_cache *cache) {
    const size_t step = cache->half ? sizeof(uint16_t) : sizeof(float);
    for (size_t i = 0; i < cache->record_floats; i++) {
        float value;
        unpack(&value, cache->raw + i * step, 1, cache->half);
        if (!isfinite(value)) return false;
    }
    return true;
}

/* A place whose record is damaged, or there twice, is dead: a kill may have met it while it was written anew. */
static exn_status load_record(bool *end, exn_cache *cache) {
    record_head head;
    const size_t offset = record_offset(cache, cache->places), bytes = record_bytes(cache);
    const size_t got = exn_read_at(cache->file, &head, sizeof head, offset);
    const size_t more = got == sizeof head ? exn_read_at(cache->file, cache->raw, bytes, offset + sizeof head) : 0;
    /* What cannot be read now may be whole: nothing is cut. */
    if (got == SIZE_MAX || more == SIZE_MAX) return io_error(cache, "read");
    *end = got != sizeof head || more != bytes;
    if (*end) return EXN_OK;
    EXN_TRY(reserve(cache));
    const bool good = head.checksum == record_checksum(cache, &head.content) && all_finite(cache) &&
                      exn_cache_find(cache, &head.content) == EXN_CACHE_MISSING;
    if (good)
        remember(cache, cache->places, &head.content);
    else
        cache->state[cache->places++] = DEAD;
    return EXN_OK;
}

/* Reads all records and cuts the file after the last that is whole. */
static exn_status load_records(exn_cache *cache) {
    for (bool end = false; !end;) EXN_TRY(load_record(&end, cache));
    while (cache->places && (cache->state[cache->places - 1] == DEAD || cache->places > cache->most)) {
        if (cache->state[cache->places - 1] != DEAD) exn_cache_drop(cache, cache->places - 1);
        cache->places--;
    }
    return ftruncate(cache->file, (off_t)record_offset(cache, cache->places)) ? io_error(cache, "truncate") : EXN_OK;
}

static exn_status open_file(exn_cache *cache, const char *key) {
    EXN_TRY(exn_lock_take(&cache->lock, cache->ctx, cache->path));
    cache->file = open(cache->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (cache->file < 0) return io_error(cache, "open");
    const header wanted = make_header(key, cache->record_floats, cache->half);
    header found;
    const size_t n = exn_read_at(cache->file, &found, sizeof found, 0);
    if (n == SIZE_MAX) return io_error(cache, "read");
    if (n > 0 && (n < sizeof found.magic || found.magic != MAGIC))
        return exn_fail(cache->ctx, EXN_E_FORMAT, "%s: exists and is no feature cache", cache->path);
    if (n == sizeof found && !memcmp(&found, &wanted, sizeof found)) return load_records(cache);
    if (ftruncate(cache->file, 0) || !exn_write_at(cache->file, &wanted, sizeof wanted, 0))
        return io_error(cache, "write");
    return EXN_OK;
}

/* ---- the cache ---- */

exn_status exn_cache_open(exn_cache **out, exn_context *ctx, const char *path, const char *key, size_t record_floats,
                          size_t limit, bool half) {
    if (record_floats > UINT32_MAX) return exn_fail(ctx, EXN_E_UNSUPPORTED, "feature cache: records too large");
    exn_cache *cache = exn_calloc(ctx, 1, sizeof *cache);
    if (!cache) return EXN_E_NOMEM;
    *cache = (exn_cache){.ctx = ctx, .file = -1, .record_floats = record_floats, .half = half};
    cache->most = limit ? limit / exn_cache_record_bytes(record_floats, half) : SIZE_MAX;
    cache->raw = exn_malloc(ctx, record_bytes(cache) + 1, 1);
    exn_status status = cache->raw ? EXN_OK : EXN_E_NOMEM;
    if (path && status == EXN_OK) {
        cache->path = exn_strdup(ctx, path);
        status = cache->path ? open_file(cache, key) : EXN_E_NOMEM;
    }
    if (status != EXN_OK) {
        exn_cache_close(cache);
        return status;
    }
    *out = cache;
    return EXN_OK;
}

void exn_cache_close(exn_cache *cache) {
    if (!cache) return;
    exn_context *ctx = cache->ctx;
    if (cache->file >= 0) close(cache->file);
    if (cache->lock) exn_lock_release(cache->lock);
    for (size_t i = 0; cache->records && i < cache->places; i++) exn_free(ctx, cache->records[i]);
    exn_free(ctx, cache->records);
    exn_free(ctx, cache->contents);
    exn_free(ctx, cache->state);
    exn_free(ctx, cache->raw);
    exn_free(ctx, cache->table);
    exn_free(ctx, cache->path);
    exn_free(ctx, cache);
}

static exn_status append_file(exn_cache *cache, size_t place, const exn_content *content) {
    const size_t offset = record_offset(cache, place);
    const record_head head = {*content, record_checksum(cache, content)};
    if (!exn_write_at(cache->file, &head, sizeof head, offset) ||
        !exn_write_at(cache->file, cache->raw, record_bytes(cache), offset + sizeof head))
        return io_error(cache, "append");
    return EXN_OK;
}

exn_status exn_cache_prepare(exn_cache *cache, const float *record) {
    EXN_TRY(pack(cache, record));
    return reserve(cache);
}

exn_status exn_cache_put(size_t *index, exn_cache *cache, const exn_content *content) {
    size_t place;
    EXN_TRY(take_place(&place, cache));
    if (cache->path) {
        EXN_TRY(append_file(cache, place, content));
    } else {
        cache->records[place] = cache->raw;
        cache->raw = NULL;
    }
    remember(cache, place, content);
    *index = place;
    return EXN_OK;
}

/* Pieces, so that halves need no memory of their own. */
static exn_status read_file(float *out, const exn_cache *cache, size_t offset, size_t count) {
    enum { PIECE = 512 };
    uint8_t raw[PIECE * sizeof(float)];
    for (size_t done = 0; done < count; done += PIECE) {
        const size_t piece = count - done < PIECE ? count - done : PIECE, bytes = value_bytes(piece, cache->half);
        const size_t n = exn_read_at(cache->file, raw, bytes, offset + value_bytes(done, cache->half));
        if (n == SIZE_MAX) return io_error(cache, "read");
        if (n != bytes) return exn_fail(cache->ctx, EXN_E_IO, "%s: became shorter while in use", cache->path);
        unpack(out + done, raw, piece, cache->half);
    }
    return EXN_OK;
}

exn_status exn_cache_read(float *out, const exn_cache *cache, size_t index, size_t first, size_t count) {
    const size_t skip = value_bytes(first, cache->half);
    if (cache->path) return read_file(out, cache, record_offset(cache, index) + sizeof(record_head) + skip, count);
    unpack(out, (const uint8_t *)cache->records[index] + skip, count, cache->half);
    return EXN_OK;
}

size_t exn_cache_count(const exn_cache *cache) {
    return cache->live;
}
