/* SPDX-License-Identifier: Apache-2.0
 * Files: read-only mappings and atomic replacement. */
#ifndef EXN_CORE_FILE_H
#define EXN_CORE_FILE_H

#include "core/context.h"

typedef struct exn_mapping {
    const uint8_t *bytes; /* NULL when empty */
    size_t size;
} exn_mapping;

/* Maps a regular file for reading. Message: "PATH: REASON". */
exn_status exn_mapping_open(exn_mapping *out, exn_context *ctx, const char *path);
void exn_mapping_close(exn_mapping *mapping);
/* Lets go of the memory behind these bytes of a mapping, which comes back from the file when it is read again. Never for
 * memory that is not mapped: that would be cleared. */
void exn_mapping_forget(const void *bytes, size_t count);

/* Writes a file so that readers see the old bytes or all of the new ones: an unpredictably named temporary file in the
 * same folder, mode 0600, written, synced, renamed over the target, folder synced. Any failure leaves the old file. */
typedef struct exn_writer exn_writer;
exn_status exn_writer_open(exn_writer **out, exn_context *ctx, const char *path);
exn_status exn_writer_append(exn_writer *writer, const void *bytes, size_t count);
/* Says that the file can be made again: committing does not wait for the disk, so after a power cut its name may stand for
 * the old bytes, the new ones, or none. For what carries checksums. */
void exn_writer_relax(exn_writer *writer);
/* Commits and frees; after a failed append it discards, and fails. */
exn_status exn_writer_commit(exn_writer *writer);
/* Discards and frees; NULL is legal. */
void exn_writer_discard(exn_writer *writer);

/* All of it at once. */
exn_status exn_file_replace(exn_context *ctx, const char *path, const void *bytes, size_t count);

/* At an offset of an open file, over interruptions. Read: bytes before the file's end, SIZE_MAX on an error; write: whether all
 * were taken. errno says why not. */
size_t exn_read_at(int file, void *bytes, size_t count, size_t offset);
bool exn_write_at(int file, const void *bytes, size_t count, size_t offset);

/* A lock that another process or handle cannot take at the same time: EXN_E_BUSY. The lock file stays beside `path`
 * as "PATH.lock"; the operating system drops the lock when the process dies. */
typedef struct exn_lock exn_lock;
exn_status exn_lock_take(exn_lock **out, exn_context *ctx, const char *path);
void exn_lock_release(exn_lock *lock);

/* 128-bit XXH3 of bytes: recognises, does not authenticate. */
typedef struct exn_hash {
    uint64_t low, high;
} exn_hash;
exn_hash exn_hash_bytes(const void *bytes, size_t count);
/* The same as 32 hex digits. */
#define EXN_HASH_TEXT_BYTES 33u
void exn_hash_text(char text[EXN_HASH_TEXT_BYTES], const void *bytes, size_t count);
uint64_t exn_hash64(const void *bytes, size_t count, uint64_t seed);

#endif
