/* SPDX-License-Identifier: Apache-2.0
 * What unit tests share: contexts whose allocator counts or fails, folders that vanish, bitwise comparison. */
#ifndef EXN_TESTS_UNIT_UNIT_H
#define EXN_TESTS_UNIT_UNIT_H

#include "core/context.h"

#include <check.h>
#include <string.h>

/* An allocator that counts, checks releases, fills fresh memory with 0xA5 and fails on request. Thread-safe. */
typedef struct unit_allocator {
    size_t calls;      /* allocations asked for so far, the failed ones included */
    size_t fail_at;    /* the allocation with this number fails (1 is the first), and all after it; 0: none */
    bool only;         /* not those after it */
    size_t live;       /* blocks not released */
    size_t live_bytes; /* and their bytes */
    size_t peak_bytes;
} unit_allocator;

/* A context with default options. */
exn_context *unit_context(void);
/* A context over `counter`, which the caller zeroed and may change at any time. NULL when the allocator refuses. */
exn_context *unit_context_counting(unit_allocator *counter);

/* Whether the test's machine is emulated, some forty times slower. What it asks of the machine (kernels, bits, threads) stays
 * whole there; what it asks of logic that is the same on all machines may be left to native runs. */
bool unit_emulated(void);

/* Calls `body` with its 1st, 2nd ... allocation failing, alone and with all after it, until it gets through. Every such
 * call must report EXN_E_NOMEM with a message, and release all it took. `body` gets a fresh context. Emulated: every eleventh. */
typedef exn_status unit_body_fn(exn_context *ctx, void *user);
void unit_sweep_failures(unit_body_fn *body, void *user);
/* Only with all after it: for bodies that take long. */
void unit_sweep_failures_onward(unit_body_fn *body, void *user);

/* A fresh empty folder; unit_temp_remove deletes it with all its files and frees the path. */
char *unit_temp_create(void);
void unit_temp_remove(char *folder);
/* "FOLDER/NAME" in memory that the caller frees with free(). */
char *unit_path(const char *folder, const char *name);
/* Path below the project's source folder; free() it. For optional data beside the tree: "../shared/...". */
char *unit_source_path(const char *relative);
/* Makes or replaces a file. */
void unit_write_file(const char *path, const void *bytes, size_t count);

/* Fails and names the first element whose bits differ. NaNs are equal where their bits are. */
#define unit_assert_same_bits(actual, expected, count) unit_same_bits(__FILE__, __LINE__, (actual), (expected), (count))
void unit_same_bits(const char *file, int line, const float *actual, const float *expected, size_t count);
/* Fails and names the first element with |actual - expected| > absolute + relative * |expected|. */
#define unit_assert_near(actual, expected, count, absolute, relative)                                                  \
    unit_near(__FILE__, __LINE__, (actual), (expected), (count), (absolute), (relative))
void unit_near(const char *file, int line, const float *actual, const float *expected, size_t count, double absolute,
               double relative);

/* Fails unless `expression` is EXN_OK; shows the status and the context's message. */
#define unit_assert_ok(ctx, expression)                                                                                \
    do {                                                                                                               \
        const exn_status unit_status = (expression);                                                                   \
        ck_assert_msg(unit_status == EXN_OK, "%s: %s: %s", #expression, exn_status_name(unit_status),                  \
                      exn_context_error(ctx));                                                                         \
    } while (0)
/* Fails unless `expression` has the given status and the message contains `part`. */
#define unit_assert_fails(ctx, expression, wanted, part)                                                               \
    do {                                                                                                               \
        const exn_status unit_status = (expression);                                                                   \
        ck_assert_msg(unit_status == (wanted), "%s: %s, not %s: %s", #expression, exn_status_name(unit_status),        \
                      exn_status_name(wanted), exn_context_error(ctx));                                                \
        ck_assert_msg(strstr(exn_context_error(ctx), (part)) != NULL, "no \"%s\" in \"%s\"", (part),                   \
                      exn_context_error(ctx));                                                                         \
    } while (0)

/* Runs one test case of the given START_TEST functions, as the whole of a test program:
 *     int main(void) { return unit_run("arena", (const TTest *[]){empty, chain, NULL}); } */
int unit_run(const char *name, const TTest *const *tests);
/* The same with functions that run before and after each test, in its process. */
int unit_run_with(const char *name, void (*set_up)(void), void (*tear_down)(void), const TTest *const *tests);

#endif
