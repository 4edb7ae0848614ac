/* SPDX-License-Identifier: Apache-2.0
 * What unit tests share. */
#include "tests/unit/unit.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In front of every counted block, one alignment's worth, so that the block itself stays aligned. */
typedef struct counted_head {
    size_t bytes, alignment;
    uint64_t mark;
} counted_head;

#define COUNTED_MARK 0x45786575u

static pthread_mutex_t counter_lock = PTHREAD_MUTEX_INITIALIZER;

static bool count_allocation(unit_allocator *counter, size_t bytes) {
    pthread_mutex_lock(&counter_lock);
    counter->calls++;
    const bool later = counter->calls > counter->fail_at;
    const bool granted = counter->fail_at == 0 || counter->calls < counter->fail_at || (later && counter->only);
    if (granted) {
        counter->live++;
        counter->live_bytes += bytes;
        if (counter->live_bytes > counter->peak_bytes) counter->peak_bytes = counter->live_bytes;
    }
    pthread_mutex_unlock(&counter_lock);
    return granted;
}

static void *counting_allocate(void *user, size_t bytes, size_t alignment) {
    if (alignment < sizeof(counted_head)) alignment = EXN_ALIGNMENT;
    void *block = NULL;
    if (!count_allocation(user, bytes)) return NULL;
    ck_assert_int_eq(posix_memalign(&block, alignment, bytes + alignment), 0);
    char *payload = (char *)block + alignment;
    memset(block, 0xA5, bytes + alignment);
    ((counted_head *)(void *)payload)[-1] = (counted_head){bytes, alignment, COUNTED_MARK};
    return payload;
}

static void counting_release(void *user, void *block) {
    unit_allocator *counter = user;
    if (block == NULL) return;
    counted_head *head = (counted_head *)block - 1;
    ck_assert_msg(head->mark == COUNTED_MARK, "released a block that this allocator did not give");
    pthread_mutex_lock(&counter_lock);
    counter->live--;
    counter->live_bytes -= head->bytes;
    pthread_mutex_unlock(&counter_lock);
    head->mark = 0;
    free((char *)block - head->alignment);
}

exn_context *unit_context(void) {
    exn_context *ctx = NULL;
    ck_assert_int_eq(exn_context_create(&ctx, NULL), EXN_OK);
    return ctx;
}

exn_context *unit_context_counting(unit_allocator *counter) {
    const exn_context_options options = {.struct_size = sizeof options,
                                         .allocator = {counting_allocate, counting_release, counter}};
    exn_context *ctx = NULL;
    const exn_status status = exn_context_create(&ctx, &options);
    ck_assert_int_eq(status, ctx != NULL ? EXN_OK : EXN_E_NOMEM);
    return ctx;
}

/* Whether the body got through without meeting the failure. */
static bool fail_one(unit_body_fn *body, void *user, size_t n, bool only) {
    unit_allocator counter = {.only = only};
    const char *which = only ? "only" : "and all after it";
    exn_context *ctx = unit_context_counting(&counter);
    const size_t before = counter.live;
    counter.fail_at = counter.calls + n;
    const exn_status status = body(ctx, user);
    ck_assert_msg(counter.live == before, "allocation %zu (%s) failing: %zu blocks leak", n, which,
                  counter.live - before);
    const bool failed = counter.calls >= counter.fail_at;
    ck_assert_msg(status == (failed ? EXN_E_NOMEM : EXN_OK), "allocation %zu (%s) failing: %s: %s", n, which,
                  exn_status_name(status), exn_context_error(ctx));
    ck_assert_msg(!failed || exn_context_error(ctx)[0] != '\0', "allocation %zu (%s) failing: no message", n, which);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
    return !failed;
}

bool unit_emulated(void) {
    return getenv("EXN_TEST_EMULATED") != NULL;
}

static size_t sweep_step(void) {
    return unit_emulated() ? 11 : 1;
}

void unit_sweep_failures_onward(unit_body_fn *body, void *user) {
    size_t n = 1;
    while (!fail_one(body, user, n, false)) n += sweep_step();
}

void unit_sweep_failures(unit_body_fn *body, void *user) {
    for (size_t n = 1; !fail_one(body, user, n, false); n += sweep_step()) fail_one(body, user, n, true);
}

char *unit_path(const char *folder, const char *name) {
    char *path = NULL;
    ck_assert_int_ge(asprintf(&path, "%s/%s", folder, name), 0);
    return path;
}

char *unit_source_path(const char *relative) {
    const char *root = getenv("EXN_SOURCE_ROOT");
    return unit_path(root != NULL ? root : ".", relative);
}

char *unit_temp_create(void) {
    const char *base = getenv("TMPDIR");
    char *folder = unit_path(base != NULL ? base : "/tmp", "exeunt-unit-XXXXXX");
    ck_assert_msg(mkdtemp(folder) != NULL, "%s: %s", folder, strerror(errno));
    return folder;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *where) {
    (void)info, (void)kind, (void)where;
    return remove(path);
}

void unit_temp_remove(char *folder) {
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    free(folder);
}

void unit_write_file(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file != NULL, "%s: %s", path, strerror(errno));
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

void unit_same_bits(const char *file, int line, const float *actual, const float *expected, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint32_t a = 0, e = 0;
        memcpy(&a, &actual[i], sizeof a);
        memcpy(&e, &expected[i], sizeof e);
        if (a != e)
            ck_abort_msg("%s:%d: element %zu of %zu is %.9g (%08x), not %.9g (%08x)", file, line, i, count,
                         (double)actual[i], a, (double)expected[i], e);
    }
}

void unit_near(const char *file, int line, const float *actual, const float *expected, size_t count, double absolute,
               double relative) {
    for (size_t i = 0; i < count; i++) {
        const double a = (double)actual[i], e = (double)expected[i];
        if (!(fabs(a - e) <= absolute + relative * fabs(e)))
            ck_abort_msg("%s:%d: element %zu of %zu is %.9g, not %.9g", file, line, i, count, a, e);
    }
}

int unit_run(const char *name, const TTest *const *tests) {
    return unit_run_with(name, NULL, NULL, tests);
}

int unit_run_with(const char *name, void (*set_up)(void), void (*tear_down)(void), const TTest *const *tests) {
    Suite *suite = suite_create(name);
    TCase *all = tcase_create(name);
    /* Check gives a test four seconds, and some sweep every failure; CK_DEFAULT_TIMEOUT chooses otherwise. */
    if (getenv("CK_DEFAULT_TIMEOUT") == NULL) tcase_set_timeout(all, 100);
    tcase_add_checked_fixture(all, set_up, tear_down);
    for (size_t i = 0; tests[i] != NULL; i++) tcase_add_test(all, tests[i]);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
