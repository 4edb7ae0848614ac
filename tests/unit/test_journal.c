/* SPDX-License-Identifier: Apache-2.0
 * The journal: what is finished stays, what is torn, damaged or another run's is as if it were not there. */
#include "tests/unit/unit.h"
#include "train/journal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY "0123456789abcdef0123456789abcdef"
#define OTHER "fedcba9876543210fedcba9876543210"
enum { PARTS = 5, STATES = 4, NUMBERS = 50 };

static exn_context *ctx;
static char *folder, *path;

static void set_up(void) {
    ctx = unit_context();
    folder = unit_temp_create();
    path = unit_path(folder, "progress");
}

static void tear_down(void) {
    exn_context_destroy(ctx);
    free(path);
    unit_temp_remove(folder);
}

static exn_journal *opened(const char *key) {
    exn_journal *journal;
    unit_assert_ok(ctx, exn_journal_open(&journal, ctx, path, key));
    return journal;
}

static exn_archive state(size_t which) {
    exn_archive a = exn_archive_write(ctx);
    for (size_t i = 0; i < NUMBERS + which; i++) {
        size_t number = which * 1000 + i;
        exn_archive_count(&a, &number, SIZE_MAX);
    }
    unit_assert_ok(ctx, exn_archive_end(&a));
    return a;
}

static void write_state(exn_journal *journal, size_t part, size_t which, bool finished) {
    exn_archive a = state(which);
    unit_assert_ok(ctx, finished ? exn_journal_finish(journal, part, &a) : exn_journal_keep(journal, part, &a));
    exn_archive_free(&a);
}

/* The number of the state found, SIZE_MAX where there is none. */
static size_t look(exn_journal *journal, size_t part, bool finished) {
    exn_archive a;
    bool found;
    unit_assert_ok(ctx, finished ? exn_journal_finished(&found, &a, journal, part)
                                 : exn_journal_under_way(&found, &a, journal, part));
    if (!found) return SIZE_MAX;
    size_t first = 0;
    exn_archive_count(&a, &first, SIZE_MAX);
    for (size_t i = 1; i < NUMBERS + first / 1000; i++) {
        size_t number;
        exn_archive_count(&a, &number, SIZE_MAX);
        ck_assert_uint_eq(number, first + i);
    }
    unit_assert_ok(ctx, exn_archive_end(&a));
    exn_archive_free(&a);
    return first / 1000;
}

static void cut(const char *name, size_t size) {
    ck_assert_int_eq(truncate(name, (off_t)size), 0);
}

static size_t size_of(const char *name) {
    FILE *file = fopen(name, "rb");
    ck_assert_ptr_nonnull(file);
    fseek(file, 0, SEEK_END);
    const long size = ftell(file);
    fclose(file);
    return (size_t)size;
}

START_TEST(parts_stay) {
    set_up();
    exn_journal *journal = opened(KEY), *second;
    unit_assert_fails(ctx, exn_journal_open(&second, ctx, path, KEY), EXN_E_BUSY, "in use");
    unit_assert_fails(ctx, exn_journal_remove(ctx, path), EXN_E_BUSY, "in use");
    for (size_t p = 0; p < PARTS; p++) write_state(journal, p, p, true);
    for (size_t p = 0; p < PARTS; p++) ck_assert_uint_eq(look(journal, p, true), p);
    exn_journal_close(journal);
    /* Cut anywhere, the parts before the cut are there, and more can be added. */
    for (size_t size = size_of(path); size > 40; size -= size > 277 ? 237 : 19) {
        cut(path, size);
        journal = opened(KEY);
        size_t there = 0;
        while (there < PARTS && look(journal, there, true) == there) there++;
        for (size_t p = there; p < PARTS; p++) ck_assert_uint_eq(look(journal, p, true), SIZE_MAX);
        write_state(journal, 77, 9, true);
        ck_assert_uint_eq(look(journal, 77, true), 9);
        exn_journal_close(journal);
        cut(path, size);
    }
    journal = opened(OTHER);
    for (size_t p = 0; p < PARTS; p++) ck_assert_uint_eq(look(journal, p, true), SIZE_MAX);
    exn_journal_close(journal);
    unit_assert_ok(ctx, exn_journal_remove(ctx, path));
    ck_assert_int_ne(access(path, F_OK), 0);
    unit_assert_ok(ctx, exn_journal_remove(ctx, path));
    tear_down();
}
END_TEST

START_TEST(the_newest_whole_state_counts) {
    set_up();
    char name[2][512];
    for (size_t s = 0; s < 2; s++) snprintf(name[s], sizeof name[s], "%s.%zu", path, s);
    for (size_t torn = 0; torn < 2; torn++) {
        exn_journal *journal = opened(KEY);
        ck_assert_uint_eq(look(journal, 3, false), SIZE_MAX);
        for (size_t i = 1; i <= STATES; i++) {
            write_state(journal, 3, i, false);
            ck_assert_uint_eq(look(journal, 3, false), i);
        }
        ck_assert_uint_eq(look(journal, 4, false), SIZE_MAX);
        exn_journal_close(journal);
        cut(name[(STATES - 1) % 2],
            size_of(name[(STATES - 1) % 2]) - 1 - torn * 300); /* a kill while the last was written */
        journal = opened(KEY);
        ck_assert_uint_eq(look(journal, 3, false), STATES - 1);
        write_state(journal, 3, 8, false); /* over the torn one, not over the whole one */
        cut(name[(STATES - 1) % 2], 10);
        ck_assert_uint_eq(look(journal, 3, false), STATES - 1);
        exn_journal_close(journal);
        journal = opened(OTHER);
        ck_assert_uint_eq(look(journal, 3, false), SIZE_MAX);
        exn_journal_close(journal);
        unit_assert_ok(ctx, exn_journal_remove(ctx, path));
        ck_assert_int_ne(access(name[0], F_OK), 0);
    }
    tear_down();
}
END_TEST

static exn_status read_state(exn_context *reader, void *user) {
    exn_journal *journal;
    exn_archive a = {0};
    bool found = false;
    (void)user;
    EXN_TRY(exn_journal_open(&journal, reader, path, KEY));
    const exn_status status = exn_journal_under_way(&found, &a, journal, 3);
    ck_assert(found == (status == EXN_OK));
    if (found) exn_archive_free(&a);
    exn_journal_close(journal);
    return status;
}

/* Of two states, what was read of the one goes where the other cannot be read. */
START_TEST(memory_may_fail) {
    set_up();
    exn_journal *journal = opened(KEY);
    for (size_t i = 1; i <= 2; i++) write_state(journal, 3, i, false);
    exn_journal_close(journal);
    unit_sweep_failures(read_state, NULL);
    tear_down();
}
END_TEST

START_TEST(other_files_stay) {
    set_up();
    FILE *file = fopen(path, "w");
    fputs("a letter to a friend", file);
    fclose(file);
    exn_journal *journal;
    unit_assert_fails(ctx, exn_journal_open(&journal, ctx, path, KEY), EXN_E_FORMAT, "keeps no progress");
    unit_assert_ok(ctx, exn_journal_remove(ctx, path));
    ck_assert_uint_eq(size_of(path), 20);
    tear_down();
}
END_TEST

/* Numbers that a state may not have are refused, and nothing after them is read. */
START_TEST(archives_are_checked) {
    set_up();
    exn_archive a = exn_archive_write(ctx);
    size_t seven = 7, out = 1;
    bool flag = false;
    exn_archive_count(&a, &seven, 7);
    exn_archive b = exn_archive_read(ctx, a.to, a.size);
    exn_archive_count(&b, &out, 6);
    ck_assert_uint_eq(out, 1);
    unit_assert_fails(ctx, exn_archive_end(&b), EXN_E_FORMAT, "out of range");
    b = exn_archive_read(ctx, a.to, a.size);
    exn_archive_flag(&b, &flag);
    unit_assert_fails(ctx, exn_archive_end(&b), EXN_E_FORMAT, "out of range");
    b = exn_archive_read(ctx, a.to, a.size);
    exn_archive_count(&b, &out, 7);
    exn_archive_count(&b, &out, 7);
    unit_assert_fails(ctx, exn_archive_end(&b), EXN_E_FORMAT, "shorter");
    b = exn_archive_read(ctx, a.to, a.size);
    unit_assert_fails(ctx, exn_archive_end(&b), EXN_E_FORMAT, "longer");
    exn_archive_free(&a);
    tear_down();
}
END_TEST

int main(void) {
    return unit_run("journal", (const TTest *const[]){parts_stay, the_newest_whole_state_counts, other_files_stay,
                                                      memory_may_fail, archives_are_checked, NULL});
}
