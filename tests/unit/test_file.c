/* SPDX-License-Identifier: Apache-2.0
 * Files: what may be mapped, what a writer leaves behind in every outcome, who gets a lock, published hashes. */
#include "core/file.h"
#include "tests/unit/unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static exn_context *ctx;
static char *folder, *path;

static void set_up(void) {
    ctx = unit_context();
    folder = unit_temp_create();
    path = unit_path(folder, "file");
}

static void tear_down(void) {
    free(path);
    unit_temp_remove(folder);
    exn_context_destroy(ctx);
}

static size_t entries(void) {
    DIR *open_folder = opendir(folder);
    ck_assert_ptr_nonnull(open_folder);
    size_t count = 0;
    while (readdir(open_folder) != NULL) count++;
    closedir(open_folder);
    return count - 2; /* . and .. */
}

static void assert_holds(const char *expected) {
    exn_mapping map = {0};
    unit_assert_ok(ctx, exn_mapping_open(&map, ctx, path));
    ck_assert_uint_eq(map.size, strlen(expected));
    ck_assert_int_eq(memcmp(map.bytes, expected, map.size), 0);
    exn_mapping_close(&map);
    ck_assert_ptr_null(map.bytes);
    exn_mapping_close(&map);
}

START_TEST(mapping) {
    unit_write_file(path, "hello", 5);
    assert_holds("hello");
    unit_write_file(path, "", 0);
    exn_mapping map = {(const uint8_t *)path, 9};
    unit_assert_ok(ctx, exn_mapping_open(&map, ctx, path));
    ck_assert_ptr_null(map.bytes);
    ck_assert_uint_eq(map.size, 0);
    exn_mapping_close(&map);
    exn_mapping_close(NULL);
}
END_TEST

START_TEST(what_cannot_be_mapped) {
    exn_mapping map = {NULL, 77};
    char *fifo = unit_path(folder, "fifo");
    unit_assert_fails(ctx, exn_mapping_open(&map, ctx, path), EXN_E_IO, "/file: No such file");
    unit_assert_fails(ctx, exn_mapping_open(&map, ctx, folder), EXN_E_IO, "directory");
    ck_assert_int_eq(mkfifo(fifo, 0600), 0);
    unit_assert_fails(ctx, exn_mapping_open(&map, ctx, fifo), EXN_E_IO, "not a regular file");
    unit_assert_fails(ctx, exn_mapping_open(&map, ctx, "/dev/zero"), EXN_E_IO, "/dev/zero: not a regular file");
    unit_assert_fails(ctx, exn_mapping_open(&map, ctx, NULL), EXN_E_INVALID, "path");
    ck_assert_uint_eq(map.size, 77);
    free(fifo);
}
END_TEST

START_TEST(replacing) {
    exn_writer *writer = NULL;
    unit_write_file(path, "old", 3);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_writer_append(writer, "ne", 2));
    unit_assert_ok(ctx, exn_writer_append(writer, NULL, 0));
    unit_assert_ok(ctx, exn_writer_append(writer, "w", 1));
    assert_holds("old");
    unit_assert_ok(ctx, exn_writer_commit(writer));
    assert_holds("new");
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_uint_eq(info.st_mode & 07777, 0600);
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

START_TEST(discarding) {
    exn_writer *writer = NULL;
    unit_write_file(path, "old", 3);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_writer_append(writer, "new", 3));
    exn_writer_discard(writer);
    exn_writer_discard(NULL);
    assert_holds("old");
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

/* Around and beyond the buffer, in pieces of many sizes. */
START_TEST(large_files) {
    const size_t total = 300000;
    char *expected = malloc(total + 1);
    for (size_t i = 0; i < total; i++) expected[i] = (char)('a' + i * i % 23);
    expected[total] = '\0';
    exn_writer *writer = NULL;
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    for (size_t done = 0, piece = 1; done < total; done += piece, piece = piece * 3 + 1) {
        if (piece > total - done) piece = total - done;
        unit_assert_ok(ctx, exn_writer_append(writer, expected + done, piece));
    }
    unit_assert_ok(ctx, exn_writer_commit(writer));
    assert_holds(expected);
    free(expected);
}
END_TEST

START_TEST(a_full_disk_keeps_the_old_file) {
    exn_writer *writer = NULL;
    unit_write_file(path, "old", 3);
    signal(SIGXFSZ, SIG_IGN); /* the limit stands in for a full disk: write() fails half-way */
    const struct rlimit small = {100000, 100000};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    char *bytes = calloc(1, 200000);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, path));
    unit_assert_ok(ctx, exn_writer_append(writer, bytes, 1000));
    unit_assert_fails(ctx, exn_writer_append(writer, bytes, 200000), EXN_E_IO, "/file: File too large");
    unit_assert_fails(ctx, exn_writer_append(writer, bytes, 1), EXN_E_IO, "File too large");
    exn_fail(ctx, EXN_E_IO, "something else");
    unit_assert_fails(ctx, exn_writer_commit(writer), EXN_E_IO, "/file: File too large");
    free(bytes);
    assert_holds("old");
    ck_assert_uint_eq(entries(), 1);
}
END_TEST

START_TEST(the_device_that_is_always_full) {
    if (access("/dev/full", W_OK) != 0) return;
    exn_writer *writer = NULL;
    unit_assert_fails(ctx, exn_writer_open(&writer, ctx, "/dev/full"), EXN_E_IO, "/dev/full: not a regular file");
    ck_assert_int_eq(access("/dev/full", W_OK), 0);
}
END_TEST

START_TEST(where_nothing_can_be_written) {
    exn_writer *writer = NULL;
    char *missing = unit_path(folder, "none/file"), *slash = unit_path(folder, "none/");
    unit_assert_fails(ctx, exn_writer_open(&writer, ctx, missing), EXN_E_IO, "none/file: No such file");
    unit_assert_fails(ctx, exn_writer_open(&writer, ctx, slash), EXN_E_IO, "none/: ");
    unit_assert_fails(ctx, exn_writer_open(&writer, ctx, folder), EXN_E_IO, "directory");
    unit_assert_fails(ctx, exn_writer_open(&writer, ctx, ""), EXN_E_INVALID, "path");
    if (geteuid() != 0) {
        ck_assert_int_eq(chmod(folder, 0500), 0);
        unit_assert_fails(ctx, exn_writer_open(&writer, ctx, path), EXN_E_IO, "/file: Permission denied");
        ck_assert_int_eq(chmod(folder, 0700), 0);
    }
    ck_assert_ptr_null(writer);
    free(missing);
    free(slash);
}
END_TEST

START_TEST(links_stay_links) {
    char *link = unit_path(folder, "link");
    exn_writer *writer = NULL;
    unit_write_file(path, "old", 3);
    ck_assert_int_eq(symlink("file", link), 0);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, link));
    unit_assert_ok(ctx, exn_writer_append(writer, "new", 3));
    unit_assert_ok(ctx, exn_writer_commit(writer));
    assert_holds("new");
    struct stat info;
    ck_assert(lstat(link, &info) == 0 && S_ISLNK(info.st_mode));
    free(link);
}
END_TEST

START_TEST(names_without_a_folder) {
    exn_writer *writer = NULL;
    ck_assert_int_eq(chdir(folder), 0);
    unit_assert_ok(ctx, exn_writer_open(&writer, ctx, "file"));
    unit_assert_ok(ctx, exn_writer_append(writer, "x", 1));
    unit_assert_ok(ctx, exn_writer_commit(writer));
    assert_holds("x");
}
END_TEST

static exn_status write_and_lock(exn_context *each, void *user) {
    exn_writer *writer = NULL;
    exn_lock *lock = NULL;
    EXN_TRY(exn_lock_take(&lock, each, user));
    exn_status status = exn_writer_open(&writer, each, user);
    if (status == EXN_OK) status = exn_writer_commit(writer);
    exn_lock_release(lock);
    return status;
}

START_TEST(memory_may_fail) {
    unit_sweep_failures(write_and_lock, path);
    ck_assert_uint_eq(entries(), 2); /* the file and its lock */
}
END_TEST

START_TEST(locks) {
    exn_lock *lock = NULL, *second = NULL;
    unit_assert_ok(ctx, exn_lock_take(&lock, ctx, path));
    unit_assert_fails(ctx, exn_lock_take(&second, ctx, path), EXN_E_BUSY, "/file: locked");
    ck_assert_ptr_null(second);
    exn_lock_release(lock);
    unit_assert_ok(ctx, exn_lock_take(&second, ctx, path));
    exn_lock_release(second);
    exn_lock_release(NULL);
    char *missing = unit_path(folder, "none/file");
    unit_assert_fails(ctx, exn_lock_take(&lock, ctx, missing), EXN_E_IO, "none/file.lock: No such file");
    free(missing);
}
END_TEST

START_TEST(a_link_shares_the_lock) {
    char *link = unit_path(folder, "link");
    exn_lock *lock = NULL, *second = NULL;
    unit_write_file(path, "", 0);
    ck_assert_int_eq(symlink("file", link), 0);
    unit_assert_ok(ctx, exn_lock_take(&lock, ctx, path));
    unit_assert_fails(ctx, exn_lock_take(&second, ctx, link), EXN_E_BUSY, "/link: locked");
    exn_lock_release(lock);
    free(link);
}
END_TEST

START_TEST(a_dead_process_holds_no_lock) {
    int ready[2];
    ck_assert_int_eq(pipe(ready), 0);
    const pid_t child = fork();
    if (child == 0) {
        exn_lock *held = NULL;
        const char outcome = exn_lock_take(&held, ctx, path) == EXN_OK ? 'y' : 'n';
        _exit(write(ready[1], &outcome, 1) == 1 ? pause() : 1);
    }
    char outcome = 0;
    ck_assert(read(ready[0], &outcome, 1) == 1 && outcome == 'y');
    exn_lock *lock = NULL;
    unit_assert_fails(ctx, exn_lock_take(&lock, ctx, path), EXN_E_BUSY, "locked");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    unit_assert_ok(ctx, exn_lock_take(&lock, ctx, path));
    exn_lock_release(lock);
}
END_TEST

START_TEST(hashes) {
    char text[EXN_HASH_TEXT_BYTES];
    exn_hash_text(text, NULL, 0);
    ck_assert_str_eq(text, "99aa06d3014798d86001c324468d497f"); /* XXH3's own, for no bytes */
    exn_hash_text(text, "abc", 3);
    ck_assert_str_eq(text, "06b05ab6733a618578af5f94892f3950");
    ck_assert_uint_eq(exn_hash64("abc", 3, 0), 0x78af5f94892f3950u);
    ck_assert_uint_ne(exn_hash64("abc", 3, 1), exn_hash64("abc", 3, 0));
}
END_TEST

int main(void) {
    return unit_run_with("file", set_up, tear_down,
                         (const TTest *const[]){mapping, what_cannot_be_mapped, replacing, discarding, large_files,
                                                a_full_disk_keeps_the_old_file, the_device_that_is_always_full,
                                                where_nothing_can_be_written, links_stay_links, names_without_a_folder,
                                                memory_may_fail, locks, a_link_shares_the_lock,
                                                a_dead_process_holds_no_lock, hashes, NULL});
}
