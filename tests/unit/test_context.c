/* SPDX-License-Identifier: Apache-2.0
 * Contexts: options of every age, allocators, messages, checked sizes. */
#include "core/context.h"
#include "core/tensor.h"
#include "tests/unit/unit.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

START_TEST(defaults) {
    unsetenv("EXN_CPU");
    exn_context *ctx = unit_context();
    ck_assert_uint_eq(exn_context_threads(ctx), 1);
    ck_assert_ptr_null(exn_context_cpu(ctx));
    ck_assert_str_eq(exn_context_error(ctx), "");
    exn_context_destroy(ctx);
    exn_context_destroy(NULL);
}
END_TEST

START_TEST(environment_names_the_cpu) {
    exn_context *ctx = NULL;
    setenv("EXN_CPU", "scalar", 1);
    ck_assert_int_eq(exn_context_create(&ctx, NULL), EXN_OK);
    setenv("EXN_CPU", "neon", 1); /* read at creation only */
    ck_assert_str_eq(exn_context_cpu(ctx), "scalar");
    exn_context_destroy(ctx);
    const exn_context_options options = {.struct_size = sizeof options, .cpu = "avx2", .threads = 3};
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
    ck_assert_str_eq(exn_context_cpu(ctx), "avx2");
    ck_assert_uint_eq(exn_context_threads(ctx), 3);
    exn_context_destroy(ctx);
    setenv("EXN_CPU", "", 1);
    ck_assert_int_eq(exn_context_create(&ctx, NULL), EXN_OK);
    ck_assert_ptr_null(exn_context_cpu(ctx));
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(options_of_every_age) {
    struct {
        exn_context_options known;
        size_t newer;
    } grown = {.known = {.struct_size = sizeof grown, .threads = 2}};
    exn_context *ctx = NULL;
    ck_assert_int_eq(exn_context_create(&ctx, &grown.known), EXN_OK);
    ck_assert_uint_eq(exn_context_threads(ctx), 2);
    exn_context_destroy(ctx);
    ctx = NULL;
    grown.newer = 1;
    ck_assert_int_eq(exn_context_create(&ctx, &grown.known), EXN_E_UNSUPPORTED);
    exn_context_options older = {.struct_size = offsetof(exn_context_options, threads), .threads = 99};
    ck_assert_int_eq(exn_context_create(&ctx, &older), EXN_OK);
    ck_assert_uint_eq(exn_context_threads(ctx), 1); /* the caller's struct has no such field */
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(bad_options_leave_out_alone) {
    exn_context *const untouched = (exn_context *)&unit_run;
    exn_context *ctx = untouched;
    exn_context_options bad = {.struct_size = 0};
    ck_assert_int_eq(exn_context_create(&ctx, &bad), EXN_E_INVALID);
    bad.struct_size = (size_t)1 << 20;
    ck_assert_int_eq(exn_context_create(&ctx, &bad), EXN_E_INVALID);
    bad = (exn_context_options){.struct_size = sizeof bad, .threads = EXN_THREADS_MAX + 1};
    ck_assert_int_eq(exn_context_create(&ctx, &bad), EXN_E_INVALID);
    bad = (exn_context_options){.struct_size = sizeof bad, .allocator = {.user = &bad, .allocate = NULL}};
    bad.allocator.release = (void (*)(void *, void *))(void *)free;
    ck_assert_int_eq(exn_context_create(&ctx, &bad), EXN_E_INVALID);
    ck_assert_int_eq(exn_context_create(NULL, NULL), EXN_E_INVALID);
    ck_assert_ptr_eq(ctx, untouched);
}
END_TEST

START_TEST(results_of_every_age) {
    struct result {
        size_t struct_size, first, second;
    } mine = {sizeof mine, 1, 2}, theirs = {2 * sizeof(size_t), 0, 77};
    exn_context *ctx = unit_context();
    unit_assert_ok(ctx, exn_result_write(&theirs, ctx, &mine, sizeof mine));
    ck_assert_uint_eq(theirs.struct_size, 2 * sizeof(size_t));
    ck_assert_uint_eq(theirs.first, 1);
    ck_assert_uint_eq(theirs.second, 77); /* beyond its struct_size */
    theirs.struct_size = sizeof theirs;
    unit_assert_ok(ctx, exn_result_write(&theirs, ctx, &mine, 2 * sizeof(size_t)));
    ck_assert_uint_eq(theirs.second, 0); /* the library knows nothing of it */
    theirs.struct_size = 0;
    unit_assert_fails(ctx, exn_result_write(&theirs, ctx, &mine, sizeof mine), EXN_E_INVALID, "struct_size");
    unit_assert_fails(ctx, exn_result_write(NULL, ctx, &mine, sizeof mine), EXN_E_INVALID, "struct_size");
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(allocator_is_honoured) {
    setenv("EXN_CPU", "scalar", 1);
    unit_allocator counter = {.fail_at = 1};
    ck_assert_ptr_null(unit_context_counting(&counter));
    counter.fail_at = 3;
    ck_assert_ptr_null(unit_context_counting(&counter)); /* the second allocation of creation: the copy of the name */
    ck_assert_uint_eq(counter.live, 0);
    counter.fail_at = 0;
    exn_context *ctx = unit_context_counting(&counter);
    uint8_t *cleared = exn_calloc(ctx, 7, 9);
    for (size_t i = 0; i < 63; i++) ck_assert_uint_eq(cleared[i], 0);
    ck_assert_uint_eq((uintptr_t)cleared % EXN_ALIGNMENT, 0);
    void *empty = exn_malloc(ctx, 0, 8);
    ck_assert_ptr_nonnull(empty);
    exn_free(ctx, empty);
    exn_free(ctx, NULL);
    exn_free(ctx, cleared);
    ck_assert_ptr_null(exn_calloc(ctx, SIZE_MAX / 2, 3));
    ck_assert_ptr_nonnull(strstr(exn_context_error(ctx), "out of memory"));
    counter.fail_at = counter.calls + 1;
    ck_assert_ptr_null(exn_malloc(ctx, 1, 1));
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
}
END_TEST

START_TEST(blocks_have_a_limit) {
    const exn_context_options options = {.struct_size = sizeof options, .block_limit_bytes = 1000};
    exn_context *ctx = NULL, *usual = unit_context();
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
    void *block = exn_malloc(ctx, 250, 4);
    ck_assert_ptr_nonnull(block);
    ck_assert_ptr_null(exn_malloc(ctx, 1001, 1));
    ck_assert_str_eq(exn_context_error(ctx), "1001 bytes wanted at once; the context's limit is 1000");
    ck_assert_ptr_null(exn_malloc_aligned(usual, EXN_BLOCK_LIMIT_BYTES / 8 + 1, 8, EXN_ALIGNMENT));
    ck_assert_ptr_nonnull(strstr(exn_context_error(usual), "limit"));
    exn_free(ctx, block);
    exn_context_destroy(ctx);
    exn_context_destroy(usual);
}
END_TEST

START_TEST(limits_are_options) {
    exn_context_options options = {
        .struct_size = sizeof options, .file_limit_bytes = 9, .node_limit = 3, .element_limit = 100};
    exn_context *ctx = NULL, *usual = unit_context();
    size_t count;
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
    ck_assert_uint_eq(exn_context_limits(ctx)->nodes, 3);
    ck_assert_uint_eq(exn_context_limits(usual)->nodes, 65536);
    unit_assert_ok(ctx, exn_shape_count(&count, ctx, &(exn_shape){2, {10, 10}}));
    unit_assert_fails(ctx, exn_shape_count(&count, ctx, &(exn_shape){2, {101, 1}}), EXN_E_SHAPE, "more than 100");
    unit_assert_ok(usual, exn_shape_count(&count, usual, &(exn_shape){2, {101, 1}}));
    exn_context_destroy(ctx);
    exn_context_destroy(usual);
    options.element_limit = ((size_t)1 << 31) + 1;
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_E_INVALID);
    options.element_limit = 0;
    options.node_limit = ((size_t)1 << 24) + 1;
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_E_INVALID);
}
END_TEST

static exn_status grow_and_copy(exn_context *ctx, void *user) {
    (void)user;
    uint32_t *items = NULL;
    size_t capacity = 0;
    char *text = NULL;
    exn_status status = EXN_OK;
    for (size_t wanted = 1; wanted < 100 && status == EXN_OK; wanted += 7) {
        status = exn_grow(ctx, (void **)&items, &capacity, wanted, sizeof *items);
        if (status != EXN_OK) break;
        ck_assert_uint_ge(capacity, wanted);
        for (size_t i = 0; i < wanted - 1; i++)
            ck_assert_uint_eq(items[i], i + 7 < wanted ? i + 1 : 0); /* written in earlier rounds, or still zero */
        for (size_t i = 0; i < wanted; i++) items[i] = (uint32_t)i + 1;
    }
    if (status == EXN_OK && (text = exn_strndup(ctx, "abcdef", 3)) == NULL) status = EXN_E_NOMEM;
    if (text != NULL) ck_assert_str_eq(text, "abc");
    exn_free(ctx, text);
    exn_free(ctx, items);
    return status;
}

START_TEST(growing_and_copying) {
    unit_sweep_failures(grow_and_copy, NULL);
    exn_context *ctx = unit_context();
    void *block = NULL;
    size_t capacity = 0;
    ck_assert_int_eq(exn_grow(ctx, &block, &capacity, SIZE_MAX / 4, 8), EXN_E_NOMEM);
    ck_assert_ptr_null(block);
    ck_assert_uint_eq(capacity, 0);
    ck_assert_ptr_null(exn_strndup(ctx, "", SIZE_MAX));
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(messages) {
    exn_context *ctx = unit_context();
    ck_assert_int_eq(exn_fail(ctx, EXN_E_SHAPE, "axis %d is not in %d", 4, 3), EXN_E_SHAPE);
    ck_assert_int_eq(exn_fail_in(ctx, EXN_E_SHAPE, "node \"%s\"", "Concat_7"), EXN_E_SHAPE);
    ck_assert_str_eq(exn_context_error(ctx), "node \"Concat_7\": axis 4 is not in 3");
    exn_fail(ctx, EXN_E_IO, "again: %s", exn_context_error(ctx)); /* an argument may be the old message */
    ck_assert_str_eq(exn_context_error(ctx), "again: node \"Concat_7\": axis 4 is not in 3");
    char long_text[2 * EXN_MESSAGE_BYTES];
    memset(long_text, 'x', sizeof long_text);
    long_text[sizeof long_text - 1] = '\0';
    exn_fail(ctx, EXN_E_IO, "%s", long_text);
    ck_assert_uint_eq(strlen(exn_context_error(ctx)), EXN_MESSAGE_BYTES - 1);
    exn_fail_in(ctx, EXN_E_IO, "%s", long_text);
    ck_assert_uint_eq(strlen(exn_context_error(ctx)), EXN_MESSAGE_BYTES - 1);
    ck_assert_int_eq(exn_fail(NULL, EXN_E_IO, "nobody listens"), EXN_E_IO);
    ck_assert_int_eq(exn_fail_in(NULL, EXN_E_IO, "nobody listens"), EXN_E_IO);
    ck_assert_str_eq(exn_context_error(NULL), "");
    exn_context_destroy(ctx);
}
END_TEST

static void *fail_often(void *user) {
    for (int i = 0; i < 2000; i++) {
        exn_fail(user, EXN_E_IO, "%s", i % 2 != 0 ? "aaaaaaaaaaaaaaaaaaaaaaaa" : "bbbb");
        exn_fail_in(user, EXN_E_IO, "where");
    }
    return NULL;
}

START_TEST(threads_may_fail_together) {
    exn_context *ctx = unit_context();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_often, ctx), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    const char *message = exn_context_error(ctx);
    ck_assert_msg(strstr(message, "where: ") == message && strpbrk(message, "ab") != NULL, "%s", message);
    exn_context_destroy(ctx);
}
END_TEST

static void remember(void *user, exn_log_level level, const char *message) {
    ck_assert_int_eq(level, EXN_LOG_INFO);
    memcpy(user, message, strlen(message) + 1);
}

START_TEST(logging) {
    char heard[EXN_MESSAGE_BYTES] = "";
    const exn_context_options options = {.struct_size = sizeof options, .log = remember, .log_user = heard};
    exn_context *ctx = NULL;
    ck_assert_int_eq(exn_context_create(&ctx, &options), EXN_OK);
    exn_log(ctx, EXN_LOG_INFO, "%zu nodes", (size_t)12);
    ck_assert_str_eq(heard, "12 nodes");
    exn_context_destroy(ctx);
    ctx = unit_context();
    exn_log(ctx, EXN_LOG_INFO, "silent");
    exn_context_destroy(ctx);
}
END_TEST

START_TEST(checked_sizes) {
    size_t out = 5;
    ck_assert(exn_size_mul(&out, SIZE_MAX / 3, 3) && out == SIZE_MAX / 3 * 3);
    ck_assert(!exn_size_mul(&out, SIZE_MAX / 3 + 1, 3) && out == SIZE_MAX / 3 * 3);
    ck_assert(exn_size_mul(&out, SIZE_MAX, 0) && out == 0);
    ck_assert(exn_size_mul(&out, 0, SIZE_MAX) && out == 0);
    ck_assert(exn_size_add(&out, SIZE_MAX - 1, 1) && out == SIZE_MAX);
    ck_assert(!exn_size_add(&out, SIZE_MAX, 1) && out == SIZE_MAX);
    ck_assert_uint_eq(exn_round_up(0), 0);
    ck_assert_uint_eq(exn_round_up(1), 64);
    ck_assert_uint_eq(exn_round_up(64), 64);
    ck_assert_uint_eq(exn_round_up(SIZE_MAX - 63), SIZE_MAX - 63);
    ck_assert_uint_eq(exn_round_up(SIZE_MAX - 62), SIZE_MAX);
}
END_TEST

START_TEST(names) {
    ck_assert_str_eq(exn_version(), "0.1.0");
    ck_assert_str_eq(exn_status_name(EXN_OK), "ok");
    ck_assert_str_eq(exn_status_name(EXN_E_BUSY), "busy");
    ck_assert_str_eq(exn_status_name((exn_status)-99), "unknown status");
    const double before = exn_now();
    ck_assert(exn_now() >= before);
}
END_TEST

int main(void) {
    return unit_run("context",
                    (const TTest *const[]){defaults, environment_names_the_cpu, options_of_every_age,
                                           bad_options_leave_out_alone, results_of_every_age, allocator_is_honoured,
                                           blocks_have_a_limit, limits_are_options, growing_and_copying, messages,
                                           threads_may_fail_together, logging, checked_sizes, names, NULL});
}
