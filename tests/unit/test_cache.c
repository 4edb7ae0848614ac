/* SPDX-License-Identifier: Apache-2.0
 * The feature cache: what survives a kill, a damaged file, another network, a budget. */
#include "tests/unit/unit.h"
#include "train/cache.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FLOATS 5u
#define KEY "0123456789abcdef0123456789abcdef"

static void make_record(float record[FLOATS], size_t which) {
    for (size_t i = 0; i < FLOATS; i++) record[i] = (float)(which * 10 + i);
}

static exn_content content_of(size_t which) {
    float record[FLOATS];
    make_record(record, which);
    return exn_content_of(record, FLOATS);
}

static exn_status append(exn_cache *cache, size_t which) {
    float record[FLOATS];
    make_record(record, which);
    const exn_content content = content_of(which);
    size_t index;
    EXN_TRY(exn_cache_prepare(cache, record));
    return exn_cache_put(&index, cache, &content);
}

static void check_record(exn_context *ctx, const exn_cache *cache, size_t which) {
    float expected[FLOATS], found[FLOATS];
    make_record(expected, which);
    const exn_content content = content_of(which);
    const size_t index = exn_cache_find(cache, &content);
    ck_assert_msg(index != EXN_CACHE_MISSING, "record %zu is missing", which);
    unit_assert_ok(ctx, exn_cache_read(found, cache, index, 0, FLOATS));
    unit_assert_same_bits(found, expected, FLOATS);
    unit_assert_ok(ctx, exn_cache_read(found, cache, index, 3, 2));
    unit_assert_same_bits(found, expected + 3, 2);
}

START_TEST(in_memory) {
    exn_context *ctx = unit_context();
    exn_cache *cache;
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, NULL, KEY, FLOATS, 0, false));
    const exn_content absent = content_of(999);
    ck_assert_uint_eq(exn_cache_find(cache, &absent), EXN_CACHE_MISSING);
    for (size_t i = 0; i < 200; i++) unit_assert_ok(ctx, append(cache, i));
    for (size_t i = 0; i < 200; i++) check_record(ctx, cache, i);
    ck_assert_uint_eq(exn_cache_find(cache, &absent), EXN_CACHE_MISSING);
    exn_cache_close(cache);
    exn_cache_close(NULL);
    exn_context_destroy(ctx);
}
END_TEST

static void hold(exn_cache *cache, size_t which) {
    const exn_content content = content_of(which);
    exn_cache_hold(cache, exn_cache_find(cache, &content));
}

START_TEST(budget_is_refused_with_the_need) {
    exn_context *ctx = unit_context();
    exn_cache *cache;
    unit_assert_ok(ctx,
                   exn_cache_open(&cache, ctx, NULL, KEY, FLOATS, 3 * exn_cache_record_bytes(FLOATS, false), false));
    for (size_t i = 0; i < 3; i++) unit_assert_ok(ctx, append(cache, i));
    for (size_t i = 0; i < 3; i++) hold(cache, i);
    unit_assert_fails(ctx, append(cache, 3), EXN_E_NOMEM, "4 samples of");
    check_record(ctx, cache, 2);
    exn_cache_close(cache);
    exn_context_destroy(ctx);
}
END_TEST

static size_t file_bytes(const char *path) {
    struct stat s;
    ck_assert_int_eq(stat(path, &s), 0);
    return (size_t)s.st_size;
}

static void fill(exn_context *ctx, const char *path, size_t count) {
    exn_cache *cache;
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false));
    for (size_t i = 0; i < count; i++) unit_assert_ok(ctx, append(cache, i));
    exn_cache_close(cache);
}

/* A process may die at any byte: what was whole stays, the rest can be appended again. */
START_TEST(cut_at_every_byte) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    fill(ctx, path, 3);
    struct stat mode;
    ck_assert_int_eq(stat(path, &mode), 0);
    ck_assert_uint_eq(mode.st_mode & 0777u, 0600u);
    const size_t whole = file_bytes(path), record = exn_cache_record_bytes(FLOATS, false), header = whole - 3 * record;
    for (size_t cut = header; cut <= whole; cut++) {
        remove(path);
        fill(ctx, path, 3);
        ck_assert_int_eq(truncate(path, (off_t)cut), 0);
        exn_cache *cache;
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false));
        ck_assert_uint_eq(exn_cache_count(cache), (cut - header) / record);
        for (size_t i = exn_cache_count(cache); i < 3; i++) unit_assert_ok(ctx, append(cache, i));
        for (size_t i = 0; i < 3; i++) check_record(ctx, cache, i);
        exn_cache_close(cache);
        ck_assert_uint_eq(file_bytes(path), whole);
    }
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

static void flip(const char *path, size_t offset) {
    FILE *file = fopen(path, "r+b");
    ck_assert_ptr_nonnull(file);
    fseek(file, (long)offset, SEEK_SET);
    const int byte = fgetc(file);
    fseek(file, (long)offset, SEEK_SET);
    fputc(byte ^ 0x10, file);
    fclose(file);
}

START_TEST(flipped_bytes_are_never_served) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    fill(ctx, path, 2);
    const size_t whole = file_bytes(path), record = exn_cache_record_bytes(FLOATS, false), header = whole - 2 * record;
    for (size_t offset = 8; offset < whole; offset++) {
        remove(path);
        fill(ctx, path, 2);
        flip(path, offset);
        exn_cache *cache;
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false));
        const size_t damaged = offset < header ? 2 : 1;
        ck_assert_uint_eq(exn_cache_count(cache), 2 - damaged);
        if (damaged == 1) check_record(ctx, cache, offset < header + record ? 1 : 0);
        exn_cache_close(cache);
    }
    flip(path, 0);
    exn_cache *cache;
    unit_assert_fails(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false), EXN_E_FORMAT, "no feature cache");
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

/* The checksum is right, so somebody forged it. */
START_TEST(features_that_are_not_finite_are_not_read) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    exn_cache *cache;
    fill(ctx, path, 2);
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false));
    float record[FLOATS] = {1, NAN};
    const exn_content content = exn_content_of(record, FLOATS);
    size_t index;
    unit_assert_ok(ctx, exn_cache_prepare(cache, record));
    unit_assert_ok(ctx, exn_cache_put(&index, cache, &content));
    exn_cache_close(cache);
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false));
    ck_assert_uint_eq(exn_cache_count(cache), 2);
    exn_cache_close(cache);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(another_key_starts_anew_and_a_second_writer_waits) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    fill(ctx, path, 2);
    exn_cache *cache, *second;
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, "another network", FLOATS, 0, false));
    ck_assert_uint_eq(exn_cache_count(cache), 0);
    unit_assert_fails(ctx, exn_cache_open(&second, ctx, path, KEY, FLOATS, 0, false), EXN_E_BUSY, "features");
    exn_cache_close(cache);
    free(path);
    path = unit_path(folder, "no/such/folder");
    ck_assert_int_ne(exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false), EXN_OK);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

/* Records that nobody holds give way; those of places written anew are found again, and so are the others. */
START_TEST(limits_hold) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    const size_t record = exn_cache_record_bytes(FLOATS, false);
    for (size_t in_file = 0; in_file < 2; in_file++) {
        const char *where = in_file ? path : NULL;
        exn_cache *cache;
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, where, KEY, FLOATS, 10 * record, false));
        for (size_t i = 0; i < 10; i++) unit_assert_ok(ctx, append(cache, i));
        for (size_t i = 0; i < 10; i += 2) hold(cache, i);
        for (size_t i = 10; i < 100; i++) {
            unit_assert_ok(ctx, append(cache, i));
            ck_assert_uint_eq(exn_cache_count(cache), 10);
            check_record(ctx, cache, i);
            for (size_t j = 0; j < 10; j += 2) check_record(ctx, cache, j);
        }
        const exn_content four = content_of(4);
        exn_cache_drop(cache, exn_cache_find(cache, &four));
        ck_assert_uint_eq(exn_cache_count(cache), 9);
        ck_assert_uint_eq(exn_cache_find(cache, &four), EXN_CACHE_MISSING);
        unit_assert_ok(ctx, append(cache, 200));
        exn_cache_close(cache);
        if (!in_file) continue;
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, where, KEY, FLOATS, 0, false));
        ck_assert_uint_eq(exn_cache_count(cache), 10);
        check_record(ctx, cache, 200);
        for (size_t j = 0; j < 10; j += j == 2 ? 4 : 2) check_record(ctx, cache, j);
        exn_cache_close(cache);
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, where, KEY, FLOATS, 3 * record, false));
        ck_assert_uint_eq(exn_cache_count(cache), 3);
        exn_cache_close(cache);
    }
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

/* Every half is read back as itself; other numbers as the nearest half, ties to even. */
START_TEST(halves_round_to_nearest) {
    exn_context *ctx = unit_context();
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    enum { COUNT = 9 };
    static const float given[COUNT] = {0.0f,     -1.0f,      65504.0f, 1.00048828125f, 1.00146484375f,
                                       0x1p-24f, 0x1.8p-24f, 0x1p-26f, -3.14159265f},
                       kept[COUNT] = {0.0f, -1.0f, 65504.0f, 1.0f, 1.001953125f, 0x1p-24f, 0x1p-23f, 0.0f, -3.140625f};
    for (size_t in_file = 0; in_file < 2; in_file++) {
        exn_cache *cache;
        float found[COUNT], much[COUNT] = {65520.0f};
        size_t index;
        unit_assert_ok(ctx, exn_cache_open(&cache, ctx, in_file ? path : NULL, KEY, COUNT, 0, true));
        const exn_content content = exn_content_of(given, COUNT);
        unit_assert_ok(ctx, exn_cache_prepare(cache, given));
        unit_assert_ok(ctx, exn_cache_put(&index, cache, &content));
        unit_assert_ok(ctx, exn_cache_read(found, cache, index, 0, COUNT));
        unit_assert_same_bits(found, kept, COUNT);
        unit_assert_ok(ctx, exn_cache_read(found, cache, index, 8, 1));
        unit_assert_same_bits(found, kept + 8, 1);
        unit_assert_fails(ctx, exn_cache_prepare(cache, much), EXN_E_INVALID, "half precision");
        exn_cache_close(cache);
    }
    exn_cache *cache;
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, COUNT, 0, true));
    ck_assert_uint_eq(exn_cache_count(cache), 1);
    exn_cache_close(cache);
    unit_assert_ok(ctx, exn_cache_open(&cache, ctx, path, KEY, COUNT, 0, false)); /* other precision: another cache */
    ck_assert_uint_eq(exn_cache_count(cache), 0);
    exn_cache_close(cache);
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}
END_TEST

static exn_status open_and_fill(exn_context *ctx, void *path) {
    exn_cache *cache = NULL;
    exn_status status = exn_cache_open(&cache, ctx, path, KEY, FLOATS, 0, false);
    for (size_t i = 0; status == EXN_OK && i < 40; i++) {
        const exn_content content = content_of(i);
        if (exn_cache_find(cache, &content) == EXN_CACHE_MISSING) status = append(cache, i);
    }
    exn_cache_close(cache);
    return status;
}

START_TEST(memory_may_fail) {
    char *folder = unit_temp_create(), *path = unit_path(folder, "features");
    unit_sweep_failures(open_and_fill, NULL);
    unit_sweep_failures(open_and_fill, path);
    free(path);
    unit_temp_remove(folder);
}
END_TEST

int main(void) {
    return unit_run("cache",
                    (const TTest *const[]){in_memory, budget_is_refused_with_the_need, cut_at_every_byte,
                                           flipped_bytes_are_never_served, features_that_are_not_finite_are_not_read,
                                           another_key_starts_anew_and_a_second_writer_waits, limits_hold,
                                           halves_round_to_nearest, memory_may_fail, NULL});
}
