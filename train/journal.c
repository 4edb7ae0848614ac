/* SPDX-License-Identifier: Apache-2.0
 * Finished parts in one file, two places in turn for the one under way. */
#include "train/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC 0x31726e6c6a6e7865ull /* "exnjlnr1" in little-endian order */
#define KEY_BYTES (EXN_HASH_TEXT_BYTES - 1u)
/* Half of what a kill may cost: a step may take the other half. */
#define INTERVAL_S 1.0

typedef struct header {
    uint64_t magic;
    char key[KEY_BYTES];
} header;

typedef struct part_head {
    uint64_t part, order, bytes, checksum; /* order: of states, the newer one's is larger */
} part_head;

typedef struct place { /* of a finished part's state in the file */
    size_t part, offset, bytes;
} place;

struct exn_journal {
    exn_context *ctx;
    char *path, *slot[2];
    char key[KEY_BYTES];
    int file;
    size_t end; /* of what is whole */
    place *places;
    size_t count, capacity;
    uint64_t order; /* of the next state */
    double kept;    /* when */
};

static exn_status io_error(const exn_journal *j, const char *path, const char *what) {
    return exn_fail(j->ctx, EXN_E_IO, "%s: cannot %s: %s", path, what, strerror(errno));
}

/* ---- bytes ---- */

/* Over the key, too: a state of another run is not taken for one of this. */
static uint64_t checksum(const exn_journal *j, const part_head *head, const void *bytes) {
    const uint64_t of_key = exn_hash64(j->key, sizeof j->key, MAGIC);
    const uint64_t of_head = exn_hash64(head, offsetof(part_head, checksum), of_key);
    return exn_hash64(bytes, (size_t)head->bytes, of_head);
}

/* Reads a part at `offset`. *bytes NULL: it is not whole. Else to be freed. */
static exn_status read_part(part_head *head, uint8_t **bytes, const exn_journal *j, int file, size_t offset) {
    struct stat info;
    *bytes = NULL;
    if (fstat(file, &info) || (uint64_t)info.st_size < offset + sizeof *head) return EXN_OK;
    if (exn_read_at(file, head, sizeof *head, offset) != sizeof *head) return EXN_OK;
    if (head->bytes > (uint64_t)info.st_size - offset - sizeof *head) return EXN_OK;
    uint8_t *read = exn_malloc(j->ctx, (size_t)head->bytes + 1, 1);
    if (!read) return EXN_E_NOMEM;
    if (exn_read_at(file, read, (size_t)head->bytes, offset + sizeof *head) == head->bytes &&
        head->checksum == checksum(j, head, read))
        *bytes = read;
    else
        exn_free(j->ctx, read);
    return EXN_OK;
}

static bool write_part(const exn_journal *j, int file, size_t offset, size_t part, const exn_archive *state) {
    part_head head = {.part = part, .order = j->order, .bytes = state->size};
    head.checksum = checksum(j, &head, state->to);
    return exn_write_at(file, &head, sizeof head, offset) &&
           exn_write_at(file, state->to, state->size, offset + sizeof head) && !fdatasync(file);
}

/* ---- opening ---- */

static exn_status load(exn_journal *j) {
    for (;;) {
        part_head head;
        uint8_t *bytes;
        EXN_TRY(read_part(&head, &bytes, j, j->file, j->end));
        if (!bytes) break;
        exn_free(j->ctx, bytes);
        EXN_TRY(exn_grow(j->ctx, (void **)&j->places, &j->capacity, j->count + 1, sizeof *j->places));
        j->places[j->count++] = (place){(size_t)head.part, j->end + sizeof head, (size_t)head.bytes};
        j->end += sizeof head + (size_t)head.bytes;
    }
    return ftruncate(j->file, (off_t)j->end) ? io_error(j, j->path, "truncate") : EXN_OK;
}

static exn_status open_file(exn_journal *j) {
    header wanted = {.magic = MAGIC}, found;
    memcpy(wanted.key, j->key, sizeof wanted.key);
    j->file = open(j->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (j->file < 0) return io_error(j, j->path, "open");
    if (flock(j->file, LOCK_EX | LOCK_NB))
        return exn_fail(j->ctx, EXN_E_BUSY, "%s: in use by another process", j->path);
    const size_t n = exn_read_at(j->file, &found, sizeof found, 0);
    if (n == SIZE_MAX) return io_error(j, j->path, "read");
    if (n > 0 && (n < sizeof found.magic || found.magic != MAGIC))
        return exn_fail(j->ctx, EXN_E_FORMAT, "%s: exists and keeps no progress", j->path);
    j->end = sizeof wanted;
    if (n == sizeof found && !memcmp(&found, &wanted, sizeof found)) return load(j);
    if (n > 0)
        exn_log(j->ctx, EXN_LOG_WARNING,
                "%s: is of other samples, options or another version, or cut short; training starts from the beginning",
                j->path);
    if (ftruncate(j->file, 0) || !exn_write_at(j->file, &wanted, sizeof wanted, 0))
        return io_error(j, j->path, "write");
    return EXN_OK;
}

static char *join(exn_context *ctx, const char *path, size_t slot) {
    const size_t bytes = strlen(path) + 3;
    char *name = exn_malloc(ctx, bytes, 1);
    if (name) snprintf(name, bytes, "%s.%zu", path, slot);
    return name;
}

exn_status exn_journal_open(exn_journal **out, exn_context *ctx, const char *path, const char *key) {
    exn_journal *j = exn_calloc(ctx, 1, sizeof *j);
    if (!j) return EXN_E_NOMEM;
    *j = (exn_journal){.ctx = ctx, .file = -1, .kept = exn_now()};
    memcpy(j->key, key, strnlen(key, KEY_BYTES));
    j->path = exn_strdup(ctx, path);
    for (size_t s = 0; s < 2; s++) j->slot[s] = join(ctx, path, s);
    exn_status status = j->path && j->slot[0] && j->slot[1] ? open_file(j) : EXN_E_NOMEM;
    if (status == EXN_OK)
        *out = j;
    else
        exn_journal_close(j);
    return status;
}

void exn_journal_close(exn_journal *j) {
    if (!j) return;
    if (j->file >= 0) close(j->file);
    for (size_t s = 0; s < 2; s++) exn_free(j->ctx, j->slot[s]);
    exn_free(j->ctx, j->path);
    exn_free(j->ctx, j->places);
    exn_free(j->ctx, j);
}

exn_status exn_journal_remove(exn_context *ctx, const char *path) {
    uint64_t magic = 0;
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return EXN_OK;
    const bool busy = flock(file, LOCK_EX | LOCK_NB) != 0;
    const bool ours = exn_read_at(file, &magic, sizeof magic, 0) == 0 || magic == MAGIC;
    if (!busy && ours) {
        unlink(path);
        for (size_t s = 0; s < 2; s++) {
            char *name = join(ctx, path, s);
            if (name) unlink(name);
            exn_free(ctx, name);
        }
    }
    close(file);
    return busy ? exn_fail(ctx, EXN_E_BUSY, "%s: in use by another process", path) : EXN_OK;
}

/* ---- parts ---- */

exn_status exn_journal_finished(bool *found, exn_archive *out, exn_journal *j, size_t part) {
    *found = false;
    for (size_t i = 0; i < j->count; i++) {
        const place *p = &j->places[i];
        if (p->part != part) continue;
        part_head head;
        uint8_t *bytes;
        EXN_TRY(read_part(&head, &bytes, j, j->file, p->offset - sizeof head));
        if (!bytes) return exn_fail(j->ctx, EXN_E_IO, "%s: changed while in use", j->path);
        *out = exn_archive_read(j->ctx, bytes, (size_t)head.bytes);
        out->to = bytes;
        *found = true;
        return EXN_OK;
    }
    return EXN_OK;
}

exn_status exn_journal_finish(exn_journal *j, size_t part, const exn_archive *state) {
    EXN_TRY(exn_grow(j->ctx, (void **)&j->places, &j->capacity, j->count + 1, sizeof *j->places));
    if (!write_part(j, j->file, j->end, part, state)) return io_error(j, j->path, "append");
    j->places[j->count++] = (place){part, j->end + sizeof(part_head), state->size};
    j->end += sizeof(part_head) + state->size;
    j->kept = exn_now();
    return EXN_OK;
}

exn_status exn_journal_under_way(bool *found, exn_archive *out, exn_journal *j, size_t part) {
    uint8_t *best = NULL;
    part_head newest = {0};
    exn_status status = EXN_OK;
    for (size_t s = 0; status == EXN_OK && s < 2; s++) {
        part_head head;
        uint8_t *bytes = NULL;
        const int file = open(j->slot[s], O_RDONLY | O_CLOEXEC);
        if (file < 0) continue;
        status = read_part(&head, &bytes, j, file, 0);
        close(file);
        if (!bytes) continue;
        if (head.order >= j->order) j->order = head.order + 1;
        const bool newer = head.part == part && (!best || head.order > newest.order);
        exn_free(j->ctx, newer ? best : bytes);
        if (!newer) continue;
        best = bytes;
        newest = head;
    }
    *found = status == EXN_OK && best;
    if (!*found) {
        exn_free(j->ctx, best);
        return status;
    }
    *out = exn_archive_read(j->ctx, best, (size_t)newest.bytes);
    out->to = best;
    return EXN_OK;
}

exn_status exn_journal_keep(exn_journal *j, size_t part, const exn_archive *state) {
    const char *path = j->slot[j->order % 2];
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) return io_error(j, path, "open");
    const bool written = write_part(j, file, 0, part, state);
    const exn_status status = written ? EXN_OK : io_error(j, path, "write");
    close(file);
    j->order++;
    j->kept = exn_now();
    return status;
}

bool exn_journal_due(const exn_journal *j) {
    return exn_now() - j->kept >= INTERVAL_S;
}
