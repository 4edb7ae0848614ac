/* SPDX-License-Identifier: Apache-2.0
 * System calls that fail: every call of a save, one after the other, with every reason a disk may have. The program is linked
 * so that the library's calls come through here (see meson.build). */
#include "tests/unit/small.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#include "train/cache.h"

typedef enum place { OPEN, WRITE, SYNC, CLOSE, RENAME, TRUNCATE, READ, STAT, MAP, PLACES } place;

/* The call that fails is number `at` (1 is the first) of all that are counted; 0: none. */
static struct {
    size_t calls, at;
    int error;   /* 0: a write that writes nothing and says no error */
    place where; /* of the call that failed */
    bool failed;
    const char *leaves, *goes; /* not NULL: the call does not fail, but a folder is renamed before it */
    size_t most;               /* bytes that one write or read may move; 0: all */
} fault;

/* Whether this call is the one that fails. */
static bool fails(place where) {
    if (fault.at == 0 || ++fault.calls != fault.at) return false;
    fault.failed = true;
    fault.where = where;
    if (fault.leaves != NULL) return rename(fault.leaves, fault.goes) != 0;
    errno = fault.error;
    return true;
}

static size_t part(size_t count) {
    return fault.most != 0 && fault.most < count ? fault.most : count;
}

int __real_open64(const char *path, int flags, ...);
int __real_openat64(int folder, const char *path, int flags, ...);
ssize_t __real_write(int file, const void *bytes, size_t count);
ssize_t __real_pwrite64(int file, const void *bytes, size_t count, off_t at);
ssize_t __real_pread64(int file, void *bytes, size_t count, off_t at);
int __real_fsync(int file);
int __real_close(int file);
int __real_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __real_ftruncate64(int file, off_t size);
int __real_fstat64(int file, struct stat *info);
void *__real_mmap64(void *at, size_t count, int access, int flags, int file, off_t from);
int __wrap_open64(const char *path, int flags, mode_t mode);
int __wrap_openat64(int folder, const char *path, int flags, mode_t mode);
ssize_t __wrap_write(int file, const void *bytes, size_t count);
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t count, off_t at);
ssize_t __wrap_pread64(int file, void *bytes, size_t count, off_t at);
int __wrap_fsync(int file);
int __wrap_close(int file);
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to);
int __wrap_ftruncate64(int file, off_t size);
int __wrap_fstat64(int file, struct stat *info);
void *__wrap_mmap64(void *at, size_t count, int access, int flags, int file, off_t from);

int __wrap_open64(const char *path, int flags, mode_t mode) {
    return fails(OPEN) ? -1 : __real_open64(path, flags, mode);
}
int __wrap_openat64(int folder, const char *path, int flags, mode_t mode) {
    return fails(OPEN) ? -1 : __real_openat64(folder, path, flags, mode);
}
ssize_t __wrap_write(int file, const void *bytes, size_t count) {
    if (fails(WRITE)) return fault.error == 0 ? 0 : -1;
    return __real_write(file, bytes, part(count));
}
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t count, off_t at) {
    if (fails(WRITE)) return fault.error == 0 ? 0 : -1;
    return __real_pwrite64(file, bytes, part(count), at);
}
ssize_t __wrap_pread64(int file, void *bytes, size_t count, off_t at) {
    return fails(READ) ? -1 : __real_pread64(file, bytes, part(count), at);
}
int __wrap_fsync(int file) {
    return fails(SYNC) ? -1 : __real_fsync(file);
}
/* A failing close has closed. */
int __wrap_close(int file) {
    const bool failing = fails(CLOSE);
    const int error = errno, result = __real_close(file);
    if (failing) errno = error;
    return failing ? -1 : result;
}
int __wrap_renameat(int from_folder, const char *from, int to_folder, const char *to) {
    return fails(RENAME) ? -1 : __real_renameat(from_folder, from, to_folder, to);
}
int __wrap_ftruncate64(int file, off_t size) {
    return fails(TRUNCATE) ? -1 : __real_ftruncate64(file, size);
}

int __wrap_fstat64(int file, struct stat *info) {
    return fails(STAT) ? -1 : __real_fstat64(file, info);
}
void *__wrap_mmap64(void *at, size_t count, int access, int flags, int file, off_t from) {
    return fails(MAP) ? MAP_FAILED : __real_mmap64(at, count, access, flags, file, from);
}

static exn_context *ctx;
static unit_allocator counter;
static exn_model *model;
static exn_profile *first, *second;
static char *folder, *path;

static void set_up(void) {
    memset(&fault, 0, sizeof fault);
    ctx = unit_context_counting(&counter);
    folder = unit_temp_create();
    path = unit_path(folder, "file");
    unit_assert_ok(ctx, small_model(&model, ctx));
    unit_assert_ok(ctx, small_profile(&first, model, EXN_HEAD_LINEAR));
    unit_assert_ok(ctx, small_profile(&second, model, EXN_HEAD_CONV));
}

static void tear_down(void) {
    exn_profile_destroy(first);
    exn_profile_destroy(second);
    exn_model_destroy(model);
    exn_context_destroy(ctx);
    ck_assert_uint_eq(counter.live, 0);
    free(path);
    unit_temp_remove(folder);
}

static size_t entries_in(const char *name) {
    DIR *listing = opendir(name);
    ck_assert_ptr_nonnull(listing);
    size_t count = 0;
    while (readdir(listing) != NULL) count++;
    closedir(listing);
    return count;
}

static size_t open_files(void) {
    return access("/proc/self/fd", R_OK) == 0 ? entries_in("/proc/self/fd") : 0;
}

static bool file_is(const uint8_t *bytes, size_t size) {
    size_t actual_size;
    uint8_t *actual = small_read(&actual_size, path);
    const bool same = actual_size == size && memcmp(actual, bytes, size) == 0;
    free(actual);
    return same;
}

/* Saves `second` while call `at` fails; fault.failed says whether there was such a call. */
static exn_status save_failing(size_t at, int error, const char *to) {
    fault.calls = 0;
    fault.failed = false;
    fault.error = error;
    fault.at = at;
    const exn_status status = exn_profile_save(second, to);
    fault.at = 0;
    return status;
}

/* Saves `second` over `first` with call `at` failing; true while there was such a call. */
static bool save_with_fault(size_t at, int error, const uint8_t *old, size_t old_size) {
    unit_write_file(path, old, old_size);
    const size_t live = counter.live, files = open_files(), entries = entries_in(folder);
    exn_fail(ctx, EXN_OK, "nothing");
    const exn_status status = save_failing(at, error, path);
    ck_assert_uint_eq(counter.live, live);
    ck_assert_uint_eq(open_files(), files);
    ck_assert_uint_eq(entries_in(folder), entries); /* no temporary file stays */
    if (!fault.failed) {
        unit_assert_ok(ctx, status);
        ck_assert(!file_is(old, old_size));
        return false;
    }
    if (status == EXN_OK) {
        /* Only closing what was read, or what has already been published, may fail without harm. */
        ck_assert_msg(fault.where == CLOSE, "call %zu (%d) failed, and nobody minds", at, (int)fault.where);
        return true;
    }
    ck_assert_msg(status == EXN_E_IO, "call %zu: %s", at, exn_status_name(status));
    ck_assert_msg(strstr(exn_context_error(ctx), strerror(error)) != NULL, "call %zu: \"%s\"", at,
                  exn_context_error(ctx));
    /* The last sync is the folder's, after the new profile took its name: then the file is the whole new one. */
    exn_profile *again = NULL;
    if (!file_is(old, old_size)) {
        ck_assert_int_eq(fault.where, SYNC);
        unit_assert_ok(ctx, exn_profile_open(&again, model, path, NULL));
        exn_profile_destroy(again);
    }
    return true;
}

START_TEST(a_save_is_whole_or_not_at_all) {
    static const int reasons[] = {ENOSPC, EIO, EACCES, EDQUOT, EROFS};
    size_t size, most = 0;
    unit_assert_ok(ctx, exn_profile_save(first, path));
    uint8_t *old = small_read(&size, path);
    for (size_t r = 0; r < sizeof reasons / sizeof reasons[0]; r++) {
        size_t at = 1;
        while (save_with_fault(at, reasons[r], old, size)) at++;
        most = at > most ? at : most;
    }
    ck_assert_uint_gt(most, 8); /* the calls do come through here: open, lock, write, sync, close, rename, sync ... */
    free(old);
}
END_TEST

/* Some file systems cannot sync a folder: nothing is to be done about it there. The file's own sync must not fail. */
START_TEST(a_folder_that_cannot_be_synced) {
    size_t syncs = 0;
    fault.failed = true;
    for (size_t at = 1; fault.failed; at++) {
        const exn_status status = save_failing(at, EINVAL, path);
        if (!fault.failed || fault.where != SYNC) continue;
        ck_assert_int_eq(status, ++syncs == 1 ? EXN_E_IO : EXN_OK);
    }
    ck_assert_uint_eq(syncs, 2);
}
END_TEST

/* The folder leaves before a call: what is saved goes with it, or the old file is still in it; nothing is left half-way. */
START_TEST(a_folder_that_moves_away) {
    size_t size, saved = 0;
    char *inner = unit_path(folder, "inner"), *away = unit_path(folder, "away"), *target = unit_path(inner, "file"),
         *moved = unit_path(away, "file");
    unit_assert_ok(ctx, exn_profile_save(first, path));
    uint8_t *old = small_read(&size, path);
    fault.failed = true;
    for (size_t at = 1; fault.failed; at++) {
        size_t now_size;
        ck_assert_int_eq(mkdir(inner, 0700), 0);
        unit_write_file(target, old, size);
        const size_t live = counter.live, files = open_files();
        fault.leaves = inner;
        fault.goes = away;
        const exn_status status = save_failing(at, 0, target);
        fault.leaves = NULL;
        ck_assert_uint_eq(counter.live, live);
        ck_assert_uint_eq(open_files(), files);
        if (fault.failed) {
            uint8_t *now = small_read(&now_size, moved);
            ck_assert(status == EXN_OK || status == EXN_E_IO);
            ck_assert_int_eq(now_size == size && memcmp(now, old, size) == 0, status != EXN_OK);
            saved += status == EXN_OK;
            free(now);
        }
        unit_temp_remove(strdup(inner));
        unit_temp_remove(strdup(away));
    }
    ck_assert_uint_ge(saved, 4); /* write, sync, close, rename, sync */
    free(old);
    free(inner);
    free(away);
    free(target);
    free(moved);
}
END_TEST

START_TEST(short_writes_are_continued) {
    size_t size;
    unit_assert_ok(ctx, exn_profile_save(second, path));
    uint8_t *whole = small_read(&size, path);
    unit_assert_ok(ctx, exn_profile_save(first, path));
    fault.most = 7;
    unit_assert_ok(ctx, exn_profile_save(second, path));
    fault.most = 0;
    ck_assert(file_is(whole, size));
    free(whole);
}
END_TEST

START_TEST(interrupted_writes_are_repeated) {
    size_t at = 1, size;
    unit_assert_ok(ctx, exn_profile_save(first, path));
    uint8_t *old = small_read(&size, path);
    for (bool more = true; more; at++) {
        unit_write_file(path, old, size);
        const exn_status status = save_failing(at, EINTR, path);
        more = fault.failed;
        if (more && fault.where == WRITE) unit_assert_ok(ctx, status);
    }
    free(old);
}
END_TEST

START_TEST(a_disk_that_takes_nothing) {
    unit_assert_ok(ctx, exn_profile_save(first, path));
    for (size_t at = 1; !fault.failed || fault.where != WRITE; at++) {
        const exn_status status = save_failing(at, 0, path);
        ck_assert(fault.failed);
        if (fault.where == WRITE) unit_assert_fails(ctx, status, EXN_E_IO, strerror(ENOSPC));
    }
}
END_TEST

/* Calls `body` with each of its system calls failing in turn for each reason; returns how many there are. */
static size_t every_call(exn_status body(void)) {
    static const int reasons[] = {EIO, EACCES, ENOSPC};
    size_t at = 0;
    for (size_t r = 0; r < sizeof reasons / sizeof reasons[0]; r++) {
        fault.failed = true;
        for (at = 1; fault.failed; at++) {
            const size_t live = counter.live, files = open_files(), entries = entries_in(folder);
            fault.calls = 0;
            fault.failed = false;
            fault.error = reasons[r];
            fault.at = at;
            const exn_status status = body();
            fault.at = 0;
            ck_assert_uint_eq(counter.live, live);
            ck_assert_uint_eq(open_files(), files);
            ck_assert_uint_eq(entries_in(folder), entries);
            if (!fault.failed || fault.where == CLOSE) continue;
            ck_assert_msg(status == EXN_E_IO && strstr(exn_context_error(ctx), strerror(reasons[r])) != NULL,
                          "call %zu (%d): %s: %s", at, (int)fault.where, exn_status_name(status),
                          exn_context_error(ctx));
        }
    }
    return at - 2;
}

static exn_status load_all(void) {
    exn_model *again;
    exn_profile *profile;
    EXN_TRY(small_model(&again, ctx));
    const exn_status status = exn_profile_open(&profile, again, path, NULL);
    if (status == EXN_OK) exn_profile_destroy(profile);
    exn_model_destroy(again);
    return status;
}

START_TEST(a_load_says_what_failed) {
    unit_assert_ok(ctx, exn_profile_save(first, path));
    ck_assert_uint_ge(every_call(load_all), 8); /* open, stat, map, close: of the network, of the profile */
}
END_TEST

static exn_status export_once(void) {
    const exn_export_options options = {.struct_size = sizeof options, .form = EXN_EXPORT_CUT};
    return exn_profile_export(first, path, &options);
}

START_TEST(an_export_says_what_failed) {
    unit_assert_ok(ctx, export_once());
    ck_assert_uint_gt(every_call(export_once), 5);
}
END_TEST

/* ---- the feature cache ---- */

enum { RECORDS = 3, FLOATS = 5 };

static void make_record(float record[FLOATS], size_t index) {
    for (size_t i = 0; i < FLOATS; i++) record[i] = (float)(index * FLOATS + i);
}

/* Opens, appends what is missing, reads all back. */
static exn_status fill(void) {
    exn_cache *cache;
    float record[FLOATS], back[FLOATS];
    EXN_TRY(exn_cache_open(&cache, ctx, path, "0123456789abcdef0123456789abcdef", FLOATS, 0, false));
    exn_status status = EXN_OK;
    for (size_t i = 0; i < RECORDS && status == EXN_OK; i++) {
        make_record(record, i);
        const exn_content content = exn_content_of(record, FLOATS);
        size_t at = exn_cache_find(cache, &content);
        if (at == EXN_CACHE_MISSING) {
            status = exn_cache_prepare(cache, record);
            if (status == EXN_OK) status = exn_cache_put(&at, cache, &content);
        }
        if (status == EXN_OK) status = exn_cache_read(back, cache, at, 0, FLOATS);
        if (status == EXN_OK) unit_assert_same_bits(back, record, FLOATS);
    }
    exn_cache_close(cache);
    return status;
}

START_TEST(a_cache_keeps_what_it_had) {
    static const int reasons[] = {ENOSPC, EIO};
    for (size_t r = 0; r < 2; r++) {
        bool more = true;
        for (size_t at = 1; more; at++) {
            const size_t live = counter.live, files = open_files();
            unlink(path);
            fault.calls = 0;
            fault.failed = false;
            fault.error = reasons[r];
            fault.at = at;
            const exn_status status = fill();
            fault.at = 0;
            more = fault.failed;
            ck_assert_msg(status == EXN_OK ? !more || fault.where == CLOSE : status == EXN_E_IO, "call %zu: %s", at,
                          exn_context_error(ctx));
            ck_assert_uint_eq(counter.live, live);
            ck_assert_uint_eq(open_files(), files);
            unit_assert_ok(ctx, fill()); /* the disk has room again */
        }
    }
    fault.most = 3;
    unlink(path);
    unit_assert_ok(ctx, fill());
    unit_assert_ok(ctx, fill());
}
END_TEST

/* Personalising whose cache file fails at some call says so, and leaves the profile as it was. */
START_TEST(a_failing_cache_fails_the_lesson) {
    for (size_t at = 1; at < 40; at += 3) {
        exn_trainer *trainer = NULL;
        size_t size;
        const exn_trainer_options options = {.struct_size = sizeof options, .cache_path = path, .costs = "macs"};
        char *kept = unit_path(folder, "me");
        unlink(path);
        unit_assert_ok(ctx, exn_profile_save(first, kept));
        uint8_t *before = small_read(&size, kept);
        fault.calls = 0;
        fault.failed = false;
        fault.error = EIO;
        fault.at = at;
        exn_status status = exn_trainer_create(&trainer, first, &options);
        if (status == EXN_OK) status = small_add(trainer, 10, 100);
        if (status == EXN_OK) status = exn_trainer_run(trainer, NULL, NULL);
        fault.at = 0;
        exn_trainer_destroy(trainer);
        if (fault.failed && fault.where != CLOSE) ck_assert_int_eq(status, EXN_E_IO);
        if (status != EXN_OK) {
            size_t after_size;
            unit_assert_ok(ctx, exn_profile_save(first, kept));
            uint8_t *after = small_read(&after_size, kept);
            ck_assert_uint_eq(after_size, size);
            ck_assert_mem_eq(after, before, size);
            free(after);
        }
        free(before);
        free(kept);
    }
}
END_TEST

int main(void) {
    return unit_run_with("faults", set_up, tear_down,
                         (const TTest *const[]){a_save_is_whole_or_not_at_all, a_folder_that_cannot_be_synced,
                                                a_folder_that_moves_away, short_writes_are_continued,
                                                interrupted_writes_are_repeated, a_disk_that_takes_nothing,
                                                a_load_says_what_failed, an_export_says_what_failed,
                                                a_cache_keeps_what_it_had, a_failing_cache_fails_the_lesson, NULL});
}
