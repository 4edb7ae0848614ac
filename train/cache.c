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
#define VERSION 1u
#define KEY_BYTES (EXN_HASH_TEXT_BYTES - 1u)

typedef struct header {
    uint64_t magic;
    uint32_t version, record_floats;
    char key[KEY_BYTES];
    uint64_t checksum;
} header;

typedef struct record_head {
    exn_content content;
    uint64_t checksum;
} record_head;

struct exn_cache {
    exn_context *ctx;
    char *path; /* NULL: in memory */
    exn_lock *lock;
    int file;
    size_t record_floats, limit;
    exn_content *contents;
    size_t count, capacity;
    float **records; /* in memory */
    size_t record_capacity;
    size_t *table; /* open addressing: index + 1, or 0 */
    size_t table_size;
};

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

size_t exn_cache_record_bytes(size_t record_floats) {
    return sizeof(record_head) + record_floats * sizeof(float);
}

static uint64_t record_checksum(const exn_content *content, const float *record, size_t floats) {
    return exn_hash64(record, floats * sizeof *record, exn_hash64(content->bytes, sizeof content->bytes, VERSION));
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

static exn_status grow_table(exn_cache *cache) {
    const size_t size = cache->table_size ? 2 * cache->table_size : 64;
    size_t *table = exn_calloc(cache->ctx, size, sizeof *table);
    if (!table) return EXN_E_NOMEM;
    exn_free(cache->ctx, cache->table);
    cache->table = table;
    cache->table_size = size;
    for (size_t i = 0; i < cache->count; i++) cache->table[slot_of(cache, &cache->contents[i])] = i + 1;
    return EXN_OK;
}

/* Makes room for one more, so that remember cannot fail. */
static exn_status reserve(exn_cache *cache) {
    EXN_TRY(
        exn_grow(cache->ctx, (void **)&cache->contents, &cache->capacity, cache->count + 1, sizeof *cache->contents));
    if (!cache->path)
        EXN_TRY(exn_grow(cache->ctx, (void **)&cache->records, &cache->record_capacity, cache->count + 1,
                         sizeof *cache->records));
    return 2 * (cache->count + 1) > cache->table_size ? grow_table(cache) : EXN_OK;
}

static void remember(exn_cache *cache, const exn_content *content) {
    cache->contents[cache->count] = *content;
    cache->table[slot_of(cache, content)] = ++cache->count;
}

/* ---- file ---- */

static exn_status io_error(const exn_cache *cache, const char *what) {
    return exn_fail(cache->ctx, EXN_E_IO, "%s: cannot %s: %s", cache->path, what, strerror(errno));
}

/* Number of bytes read before the end of the file; SIZE_MAX on an error. */
static size_t read_at(int file, void *bytes, size_t count, size_t offset) {
    size_t done = 0;
    while (done < count) {
        const ssize_t n = pread(file, (char *)bytes + done, count - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return SIZE_MAX;
        if (n == 0) break;
        done += (size_t)n;
    }
    return done;
}

static bool write_at(int file, const void *bytes, size_t count, size_t offset) {
    size_t done = 0;
    while (done < count) {
        const ssize_t n = pwrite(file, (const char *)bytes + done, count - done, (off_t)(offset + done));
        if (n < 0 && errno == EINTR) continue;
        if (n == 0) errno = ENOSPC;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static size_t record_offset(const exn_cache *cache, size_t index) {
    return sizeof(header) + index * exn_cache_record_bytes(cache->record_floats);
}

static header make_header(const char *key, size_t record_floats) {
    header h;
    memset(&h, 0, sizeof h);
    h.magic = MAGIC;
    h.version = VERSION;
    h.record_floats = (uint32_t)record_floats;
    memcpy(h.key, key, strnlen(key, KEY_BYTES));
    h.checksum = exn_hash64(&h, offsetof(header, checksum), 0);
    return h;
}

/* Features that are not finite are never written, but a checksum can be forged. */
static bool all_finite(const float *record, size_t floats) {
    for (size_t i = 0; i < floats; i++)
        if (!isfinite(record[i])) return false;
    return true;
}

/* Reads records up to the first that is short or damaged, and cuts the file there. */
static exn_status load_records(exn_cache *cache) {
    const size_t floats = cache->record_floats;
    float *record = exn_malloc(cache->ctx, floats, sizeof *record);
    exn_status status = record ? EXN_OK : EXN_E_NOMEM;
    while (status == EXN_OK) {
        record_head head;
        const size_t offset = record_offset(cache, cache->count);
        size_t got = read_at(cache->file, &head, sizeof head, offset);
        if (got == sizeof head) got = read_at(cache->file, record, floats * sizeof *record, offset + sizeof head);
        if (got == SIZE_MAX)
            status = io_error(cache, "read"); /* what cannot be read now may be whole: nothing is cut */
        if (got != floats * sizeof *record) break;
        if (head.checksum != record_checksum(&head.content, record, floats) || !all_finite(record, floats)) break;
        if (exn_cache_find(cache, &head.content) != EXN_CACHE_MISSING) break;
        status = reserve(cache);
        if (status == EXN_OK) remember(cache, &head.content);
    }
    exn_free(cache->ctx, record);
    if (status == EXN_OK && ftruncate(cache->file, (off_t)record_offset(cache, cache->count)))
        return io_error(cache, "truncate");
    return status;
}

static exn_status open_file(exn_cache *cache, const char *key) {
    EXN_TRY(exn_lock_take(&cache->lock, cache->ctx, cache->path));
    cache->file = open(cache->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (cache->file < 0) return io_error(cache, "open");
    const header wanted = make_header(key, cache->record_floats);
    header found;
    const size_t n = read_at(cache->file, &found, sizeof found, 0);
    if (n == SIZE_MAX) return io_error(cache, "read");
    if (n > 0 && (n < sizeof found.magic || found.magic != MAGIC))
        return exn_fail(cache->ctx, EXN_E_FORMAT, "%s: exists and is no feature cache", cache->path);
    if (n == sizeof found && !memcmp(&found, &wanted, sizeof found)) return load_records(cache);
    if (ftruncate(cache->file, 0) || !write_at(cache->file, &wanted, sizeof wanted, 0)) return io_error(cache, "write");
    return EXN_OK;
}

/* ---- the cache ---- */

exn_status exn_cache_open(exn_cache **out, exn_context *ctx, const char *path, const char *key, size_t record_floats,
                          size_t limit) {
    if (record_floats > UINT32_MAX) return exn_fail(ctx, EXN_E_UNSUPPORTED, "feature cache: records too large");
    exn_cache *cache = exn_calloc(ctx, 1, sizeof *cache);
    if (!cache) return EXN_E_NOMEM;
    *cache = (exn_cache){.ctx = ctx, .file = -1, .record_floats = record_floats, .limit = limit};
    exn_status status = EXN_OK;
    if (path) {
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
    for (size_t i = 0; cache->records && i < cache->count; i++) exn_free(ctx, cache->records[i]);
    exn_free(ctx, cache->records);
    exn_free(ctx, cache->contents);
    exn_free(ctx, cache->table);
    exn_free(ctx, cache->path);
    exn_free(ctx, cache);
}

static exn_status append_memory(exn_cache *cache, const float *record) {
    const size_t bytes = exn_cache_record_bytes(cache->record_floats);
    if (cache->limit && (cache->count + 1) > cache->limit / bytes)
        return exn_fail(cache->ctx, EXN_E_NOMEM,
                        "feature cache: %zu samples of %zu bytes exceed the budget of %zu bytes: give a cache file, a "
                        "larger memory budget, or fewer exits",
                        cache->count + 1, bytes, cache->limit);
    float *copy = exn_malloc(cache->ctx, cache->record_floats, sizeof *copy);
    if (!copy) return EXN_E_NOMEM;
    memcpy(copy, record, cache->record_floats * sizeof *copy);
    cache->records[cache->count] = copy;
    return EXN_OK;
}

static exn_status append_file(exn_cache *cache, const exn_content *content, const float *record) {
    const size_t offset = record_offset(cache, cache->count);
    const record_head head = {*content, record_checksum(content, record, cache->record_floats)};
    if (!write_at(cache->file, &head, sizeof head, offset) ||
        !write_at(cache->file, record, cache->record_floats * sizeof *record, offset + sizeof head))
        return io_error(cache, "append");
    return EXN_OK;
}

exn_status exn_cache_append(size_t *index, exn_cache *cache, const exn_content *content, const float *record) {
    EXN_TRY(reserve(cache));
    EXN_TRY(cache->path ? append_file(cache, content, record) : append_memory(cache, record));
    *index = cache->count;
    remember(cache, content);
    return EXN_OK;
}

exn_status exn_cache_read(float *out, const exn_cache *cache, size_t index, size_t first, size_t count) {
    if (!cache->path) {
        memcpy(out, cache->records[index] + first, count * sizeof *out);
        return EXN_OK;
    }
    const size_t offset = record_offset(cache, index) + sizeof(record_head) + first * sizeof *out;
    const size_t n = read_at(cache->file, out, count * sizeof *out, offset);
    if (n == SIZE_MAX) return io_error(cache, "read");
    return n == count * sizeof *out ? EXN_OK
                                    : exn_fail(cache->ctx, EXN_E_IO, "%s: became shorter while in use", cache->path);
}

size_t exn_cache_count(const exn_cache *cache) {
    return cache->count;
}
