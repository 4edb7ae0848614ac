/* SPDX-License-Identifier: Apache-2.0
 * Files: mapping, hashing, locking. Writing is in writer.c. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

/* ---- Mapping ---- */

/* NULL: this is a file whose bytes can be mapped. */
static const char *reason_not_to_map(const struct stat *info) {
    if (S_ISDIR(info->st_mode)) return strerror(EISDIR);
    if (!S_ISREG(info->st_mode)) return "not a regular file";
    if ((uintmax_t)info->st_size > SIZE_MAX / 2) return strerror(EFBIG);
    return NULL;
}

static exn_status map_descriptor(exn_mapping *out, exn_context *ctx, const char *path, int fd) {
    struct stat info;
    if (fstat(fd, &info) != 0) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    const char *reason = reason_not_to_map(&info);
    if (reason != NULL) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, reason);
    const size_t size = (size_t)info.st_size;
    if (ctx != NULL && size > exn_context_limits(ctx)->file_bytes)
        return exn_fail(ctx, EXN_E_FORMAT, "%s: %zu bytes; the context's limit is %zu", path, size,
                        exn_context_limits(ctx)->file_bytes);
    void *bytes = NULL;
    if (size > 0 && (bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    *out = (exn_mapping){bytes, size};
    return EXN_OK;
}

exn_status exn_mapping_open(exn_mapping *out, exn_context *ctx, const char *path) {
    if (path == NULL) return exn_fail(ctx, EXN_E_INVALID, "path: NULL");
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* opening a FIFO must not wait for its writer */
    if (fd < 0) return exn_fail(ctx, EXN_E_IO, "%s: %s", path, strerror(errno));
    const exn_status status = map_descriptor(out, ctx, path, fd);
    close(fd);
    return status;
}

void exn_mapping_close(exn_mapping *mapping) {
    if (mapping == NULL) return;
    if (mapping->bytes != NULL) munmap((void *)(uintptr_t)mapping->bytes, mapping->size);
    *mapping = (exn_mapping){NULL, 0};
}

void exn_mapping_forget(const void *bytes, size_t count) {
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), first = (uintptr_t)bytes / page * page;
    if (count > 0) madvise((void *)first, (uintptr_t)bytes + count - first, MADV_DONTNEED);
}

/* ---- Lock ---- */

struct exn_lock {
    exn_context *ctx;
    int fd;
};

static exn_status take_lock(exn_lock *lock, const char *path, const char *lock_path) {
    lock->fd = open(lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
    if (lock->fd < 0) return exn_fail(lock->ctx, EXN_E_IO, "%s: %s", lock_path, strerror(errno));
    int refused;
    do refused = flock(lock->fd, LOCK_EX | LOCK_NB);
    while (refused != 0 && errno == EINTR);
    if (refused == 0) return EXN_OK;
    if (errno == EWOULDBLOCK) return exn_fail(lock->ctx, EXN_E_BUSY, "%s: locked by another writer", path);
    return exn_fail(lock->ctx, EXN_E_IO, "%s: %s", lock_path, strerror(errno));
}

/* Opens and locks "TARGET.lock", where TARGET is `path` with links resolved, so that all names of a file share a lock. */
static exn_status lock_beside(exn_lock *lock, const char *path) {
    char *resolved = realpath(path, NULL); /* NULL: no such file yet, and its name is its own */
    const char *target = resolved != NULL ? resolved : path;
    const size_t room = strlen(target) + sizeof ".lock";
    char *lock_path = exn_malloc(lock->ctx, room, 1);
    exn_status status = EXN_E_NOMEM;
    if (lock_path != NULL) {
        snprintf(lock_path, room, "%s.lock", target);
        status = take_lock(lock, path, lock_path);
    }
    exn_free(lock->ctx, lock_path);
    free(resolved);
    return status;
}

exn_status exn_lock_take(exn_lock **out, exn_context *ctx, const char *path) {
    if (path == NULL) return exn_fail(ctx, EXN_E_INVALID, "path: NULL");
    exn_lock *lock = exn_calloc(ctx, 1, sizeof *lock);
    if (lock == NULL) return EXN_E_NOMEM;
    *lock = (exn_lock){ctx, -1};
    const exn_status status = lock_beside(lock, path);
    if (status == EXN_OK)
        *out = lock;
    else
        exn_lock_release(lock);
    return status;
}

void exn_lock_release(exn_lock *lock) {
    if (lock == NULL) return;
    if (lock->fd >= 0) close(lock->fd); /* drops the lock */
    exn_free(lock->ctx, lock);
}

/* ---- Hash ---- */

exn_hash exn_hash_bytes(const void *bytes, size_t count) {
    const XXH128_hash_t hash = XXH3_128bits(bytes, count);
    return (exn_hash){hash.low64, hash.high64};
}

void exn_hash_text(char text[EXN_HASH_TEXT_BYTES], const void *bytes, size_t count) {
    const exn_hash hash = exn_hash_bytes(bytes, count);
    snprintf(text, EXN_HASH_TEXT_BYTES, "%016" PRIx64 "%016" PRIx64, hash.high, hash.low);
}

uint64_t exn_hash64(const void *bytes, size_t count, uint64_t seed) {
    return XXH3_64bits_withSeed(bytes, count, seed);
}

/* ---- offsets ---- */

size_t exn_read_at(int file, void *bytes, size_t count, size_t offset) {
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

bool exn_write_at(int file, const void *bytes, size_t count, size_t offset) {
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
