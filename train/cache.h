/* SPDX-License-Identifier: Apache-2.0
 * The feature cache: what the frozen backbone said about every input, in memory or in a file that survives a kill.
 *
 * A record is one input: its content hash, then floats (the untouched network's logits, then what each exit reads: see extract.c). Labels
 * are not part of it, so that a photo may be relabelled without extracting it again.
 *
 * File, in the machine's byte order (another order does not recognise the magic number and is refused):
 *     header  magic u64, version u32, floats per record u32, half u32, 0 u32, key text[32], checksum u64 of the bytes before it
 *     record  hash u8[16], checksum u64 of hash and values, values (float, or IEEE half)
 * Records are appended, or written over one that was dropped. A tail that is short or damaged is cut off when the file is opened, and
 * a damaged record before it is as if it were not there. */
#ifndef EXN_TRAIN_CACHE_H
#define EXN_TRAIN_CACHE_H

#include "core/file.h"

#define EXN_CONTENT_BYTES 16u
typedef struct exn_content { /* 128-bit hash of an input's floats in memory order */
    uint8_t bytes[EXN_CONTENT_BYTES];
} exn_content;
exn_content exn_content_of(const float *values, size_t count);
int exn_content_compare(const exn_content *a, const exn_content *b);

typedef struct exn_cache exn_cache;
#define EXN_CACHE_MISSING SIZE_MAX

/* `key` tells caches of different networks or exits apart (EXN_HASH_TEXT_BYTES - 1 characters). path NULL: in memory.
 * limit: bytes that records may take (0: any number); beyond it, those that nobody holds give way, and if all are held it is
 * EXN_E_NOMEM. half: values are kept in half precision, which is about 3 digits; beyond 65504 it is EXN_E_INVALID. A file with
 * another key or precision is emptied; one that is no cache is refused with EXN_E_FORMAT; one in use by another process with
 * EXN_E_BUSY. The file's mode is 0600. */
exn_status exn_cache_open(exn_cache **out, exn_context *ctx, const char *path, const char *key, size_t record_floats,
                          size_t limit, bool half);
void exn_cache_close(exn_cache *cache);
/* Index of a record, or EXN_CACHE_MISSING. */
size_t exn_cache_find(const exn_cache *cache, const exn_content *content);
/* Adds a record that is not there yet, in two parts. All that may fail but for a full cache or a file that cannot be written fails
 * in the first. */
exn_status exn_cache_prepare(exn_cache *cache, const float *record);
exn_status exn_cache_put(size_t *index, exn_cache *cache, const exn_content *content);
/* Copies floats first .. first+count-1 of a record. Fails only where a file can no longer be read. */
exn_status exn_cache_read(float *out, const exn_cache *cache, size_t index, size_t first, size_t count);
size_t exn_cache_count(const exn_cache *cache);
/* A record that is held stays, until it is let go. One that is dropped is gone: its place may be taken by another. */
void exn_cache_hold(exn_cache *cache, size_t index);
void exn_cache_let_go(exn_cache *cache, size_t index);
void exn_cache_drop(exn_cache *cache, size_t index);
/* Bytes that one record takes where the cache keeps it. */
size_t exn_cache_record_bytes(size_t record_floats, bool half);

#endif
