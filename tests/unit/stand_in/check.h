/* SPDX-License-Identifier: Apache-2.0
 * Stands in for Check, as far as kernel tests use it, where a build wants libc alone: one test after another in one
 * process; the first assertion that fails ends it with status 1. */
#ifndef EXN_TESTS_UNIT_STAND_IN_CHECK_H
#define EXN_TESTS_UNIT_STAND_IN_CHECK_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct TTest {
    const char *name;
    void (*run)(int);
} TTest;
#define START_TEST(test_name)                                                                                          \
    static void test_name##_run(int);                                                                                  \
    static const TTest test_name##_test = {#test_name, test_name##_run};                                               \
    static const TTest *const test_name = &test_name##_test;                                                           \
    static void test_name##_run(int _i) {                                                                              \
        (void)_i;
#define END_TEST }

#define ck_abort_msg(...)                                                                                              \
    do {                                                                                                               \
        printf("%s:%d: ", __FILE__, __LINE__);                                                                         \
        printf(__VA_ARGS__);                                                                                           \
        putchar('\n');                                                                                                 \
        exit(1);                                                                                                       \
    } while (0)
#define ck_assert_msg(condition, ...)                                                                                  \
    do {                                                                                                               \
        if (!(condition)) ck_abort_msg(__VA_ARGS__);                                                                   \
    } while (0)
#define ck_assert(condition) ck_assert_msg((condition), "%s", #condition)
#define ck_assert_of(type, format, a, op, b)                                                                           \
    do {                                                                                                               \
        const type ck_a = (a), ck_b = (b);                                                                             \
        ck_assert_msg(ck_a op ck_b, "%s " #op " %s: " format ", " format, #a, #b, ck_a, ck_b);                         \
    } while (0)
#define ck_assert_int_eq(a, b) ck_assert_of(intmax_t, "%jd", a, ==, b)
#define ck_assert_int_ge(a, b) ck_assert_of(intmax_t, "%jd", a, >=, b)
#define ck_assert_uint_eq(a, b) ck_assert_of(uintmax_t, "%ju", a, ==, b)
#define ck_assert_uint_ge(a, b) ck_assert_of(uintmax_t, "%ju", a, >=, b)
#define ck_assert_uint_le(a, b) ck_assert_of(uintmax_t, "%ju", a, <=, b)
#define ck_assert_ptr_eq(a, b) ck_assert((const void *)(a) == (const void *)(b))
#define ck_assert_ptr_null(a) ck_assert((a) == NULL)
#define ck_assert_ptr_nonnull(a) ck_assert((a) != NULL)
#define ck_assert_str_eq(a, b) ck_assert_msg(strcmp((a), (b)) == 0, "\"%s\" is not \"%s\"", (a), (b))

/* Suite, case and runner are one object. */
#define CK_STAND_IN_TESTS 64
typedef struct SRunner {
    const char *name;
    const TTest *tests[CK_STAND_IN_TESTS];
    int count;
    void (*set_up)(void), (*tear_down)(void);
} SRunner, Suite, TCase;
enum { CK_ENV };

static inline SRunner *ck_stand_in(const char *name) {
    static SRunner runner;
    if (name != NULL) runner.name = name;
    return &runner;
}
#define suite_create(name) ck_stand_in(name)
#define tcase_create(name) ck_stand_in(name)
#define srunner_create(suite) (suite)
#define srunner_free(runner) ((void)(runner))
#define suite_add_tcase(suite, tcase) ((void)(suite), (void)(tcase))
#define tcase_set_timeout(tcase, seconds) ((void)(tcase), (void)(seconds))
#define tcase_add_checked_fixture(tcase, up, down) ((void)((tcase)->set_up = (up), (tcase)->tear_down = (down)))

static inline void tcase_add_test(TCase *tcase, const TTest *test) {
    ck_assert(tcase->count < CK_STAND_IN_TESTS);
    tcase->tests[tcase->count++] = test;
}

static inline void srunner_run_all(SRunner *runner, int mode) {
    (void)mode;
    for (int i = 0; i < runner->count; i++) {
        if (runner->set_up != NULL) runner->set_up();
        printf("%s: %s\n", runner->name, runner->tests[i]->name);
        fflush(stdout);
        runner->tests[i]->run(0);
        if (runner->tear_down != NULL) runner->tear_down();
    }
}
#define srunner_ntests_failed(runner) ((void)(runner), 0)

#endif
