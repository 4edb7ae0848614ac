/* SPDX-License-Identifier: Apache-2.0
 * Atomic replacement: everything happens in a temporary file of the target's folder, and rename publishes it.
 *
 * The folder stays open from beginning to end, so a folder that is moved meanwhile cannot split the work. */
#include "core/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)65536)
#define TEMP_NAME_BYTES 32u
#define TEMP_NAME_TRIES 16

struct exn_writer {
    exn_context *ctx;
    char *path;       /* as the caller said it, for messages */
    char *target;     /* the same with symbolic links resolved: links stay, what they point to is replaced */
    const char *name; /* of the target within its folder; points into target */
    int folder, file; /* -1: not open */
    char temp[TEMP_NAME_BYTES];
    int error;    /* the errno that spoiled it; 0: none */
    bool relaxed; /* committing waits for no disk */
    size_t used;
    char *buffer;
};

/* Records "PATH: REASON" and spoils the writer. */
static exn_status spoil(exn_writer *writer, int error) {
    writer->error = error;
    return exn_fail(writer->ctx, EXN_E_IO, "%s: %s", writer->path, strerror(error));
}

/* Fills in target. A name that does not exist yet is legal; what exists must be a regular file, because renaming over
 * a device or a pipe would destroy it. */
static exn_status resolve_target(exn_writer *writer) {
    struct stat info;
    const bool exists = lstat(writer->path, &info) == 0;
    if (!exists && errno != ENOENT) return spoil(writer, errno);
    if (exists && S_ISLNK(info.st_mode)) {
        char *resolved = realpath(writer->path, NULL);
        if (resolved == NULL || stat(resolved, &info) != 0) {
            const int error = errno;
            free(resolved);
            return spoil(writer, error);
        }
        writer->target = exn_strdup(writer->ctx, resolved);
        free(resolved);
    } else {
        writer->target = exn_strdup(writer->ctx, writer->path);
    }
    if (writer->target == NULL) return EXN_E_NOMEM;
    if (exists && S_ISDIR(info.st_mode)) return spoil(writer, EISDIR);
    if (exists && !S_ISREG(info.st_mode))
        return exn_fail(writer->ctx, EXN_E_IO, "%s: not a regular file", writer->path);
    return EXN_OK;
}

static exn_status open_folder(exn_writer *writer) {
    char *slash = strrchr(writer->target, '/');
    writer->name = slash != NULL ? slash + 1 : writer->target;
    if (writer->name[0] == '\0') return spoil(writer, EISDIR);
    const char *folder = ".";
    if (slash == writer->target) folder = "/";
    if (slash != NULL && slash != writer->target) {
        *slash = '\0';
        folder = writer->target;
    }
    writer->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return writer->folder >= 0 ? EXN_OK : spoil(writer, errno);
}

/* A name nobody can guess, so that nobody can wait for us with a link of that name. */
static exn_status create_temp(exn_writer *writer) {
    for (int tries = 0; tries < TEMP_NAME_TRIES; tries++) {
        uint64_t noise = 0;
        if (getrandom(&noise, sizeof noise, 0) != (ssize_t)sizeof noise) return spoil(writer, errno);
        snprintf(writer->temp, sizeof writer->temp, ".exeunt-%016" PRIx64, noise);
        writer->file = openat(writer->folder, writer->temp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (writer->file >= 0) return EXN_OK;
        if (errno != EEXIST) break;
    }
    return spoil(writer, errno);
}

exn_status exn_writer_open(exn_writer **out, exn_context *ctx, const char *path) {
    if (path == NULL || path[0] == '\0') return exn_fail(ctx, EXN_E_INVALID, "path: empty");
    exn_writer *writer = exn_calloc(ctx, 1, sizeof *writer);
    if (writer == NULL) return EXN_E_NOMEM;
    *writer = (exn_writer){.ctx = ctx, .folder = -1, .file = -1};
    exn_status status = EXN_E_NOMEM;
    if ((writer->path = exn_strdup(ctx, path)) != NULL && (writer->buffer = exn_malloc(ctx, BUFFER_BYTES, 1)) != NULL)
        status = resolve_target(writer);
    if (status == EXN_OK) status = open_folder(writer);
    if (status == EXN_OK) status = create_temp(writer);
    if (status != EXN_OK) {
        exn_writer_discard(writer);
        return status;
    }
    *out = writer;
    return EXN_OK;
}

static exn_status write_all(exn_writer *writer, const char *bytes, size_t count) {
    while (count > 0) {
        const ssize_t written = write(writer->file, bytes, count);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) return spoil(writer, written < 0 ? errno : ENOSPC); /* 0: no error, and never an end */
        bytes += written;
        count -= (size_t)written;
    }
    return EXN_OK;
}

static exn_status flush_buffer(exn_writer *writer) {
    const size_t used = writer->used;
    writer->used = 0;
    return write_all(writer, writer->buffer, used);
}

exn_status exn_writer_append(exn_writer *writer, const void *bytes, size_t count) {
    if (writer->error != 0) return spoil(writer, writer->error);
    if (count > BUFFER_BYTES - writer->used) EXN_TRY(flush_buffer(writer));
    if (count > BUFFER_BYTES) return write_all(writer, bytes, count);
    if (count > 0) memcpy(writer->buffer + writer->used, bytes, count);
    writer->used += count;
    return EXN_OK;
}

void exn_writer_relax(exn_writer *writer) {
    writer->relaxed = true;
}

/* Some file systems cannot sync a folder and say EINVAL; there is nothing to be done about it there. */
static bool sync_folder(int folder) {
    return fsync(folder) == 0 || errno == EINVAL;
}

static exn_status publish(exn_writer *writer) {
    if (writer->error != 0) return spoil(writer, writer->error);
    EXN_TRY(flush_buffer(writer));
    if (!writer->relaxed && fsync(writer->file) != 0) return spoil(writer, errno);
    const int refused = close(writer->file); /* network file systems report a full disk only here */
    writer->file = -1;
    if (refused != 0) return spoil(writer, errno);
    if (renameat(writer->folder, writer->temp, writer->folder, writer->name) != 0) return spoil(writer, errno);
    writer->temp[0] = '\0';
    return writer->relaxed || sync_folder(writer->folder) ? EXN_OK : spoil(writer, errno);
}

exn_status exn_writer_commit(exn_writer *writer) {
    const exn_status status = publish(writer);
    exn_writer_discard(writer);
    return status;
}

void exn_writer_discard(exn_writer *writer) {
    if (writer == NULL) return;
    if (writer->file >= 0) close(writer->file);
    if (writer->folder >= 0 && writer->temp[0] != '\0') unlinkat(writer->folder, writer->temp, 0);
    if (writer->folder >= 0) close(writer->folder);
    exn_context *ctx = writer->ctx;
    exn_free(ctx, writer->buffer);
    exn_free(ctx, writer->target);
    exn_free(ctx, writer->path);
    exn_free(ctx, writer);
}

exn_status exn_file_replace(exn_context *ctx, const char *path, const void *bytes, size_t count) {
    exn_writer *writer;
    EXN_TRY(exn_writer_open(&writer, ctx, path));
    const exn_status status = exn_writer_append(writer, bytes, count);
    if (status == EXN_OK) return exn_writer_commit(writer);
    exn_writer_discard(writer);
    return status;
}
