/* SPDX-License-Identifier: Apache-2.0
 * State as bytes and back: one function walks an object's fields for writing and for reading, so that the two cannot
 * disagree. The first failure stays, and everything after it does nothing: ask for `status` at the end. */
#ifndef EXN_TRAIN_ARCHIVE_H
#define EXN_TRAIN_ARCHIVE_H

#include "core/context.h"
#include "graph/head.h"
#include "train/cache.h"

typedef struct exn_archive {
    exn_context *ctx;
    bool reading;
    exn_status status;
    const uint8_t *from; /* reading: `size` bytes, borrowed */
    uint8_t *to;         /* writing: owned */
    size_t size, capacity, at;
} exn_archive;

exn_archive exn_archive_write(exn_context *ctx);
exn_archive exn_archive_read(exn_context *ctx, const void *bytes, size_t count);
void exn_archive_free(exn_archive *archive);
/* After reading: EXN_E_FORMAT unless every byte was used. */
exn_status exn_archive_end(exn_archive *archive);

/* Read numbers beyond `most` are EXN_E_FORMAT. */
void exn_archive_count(exn_archive *archive, size_t *value, size_t most);
void exn_archive_flag(exn_archive *archive, bool *value);
void exn_archive_u64(exn_archive *archive, uint64_t *value);
/* Of an archive that is written to be hashed: what names a sample. */
void exn_archive_sample(exn_archive *archive, const exn_content *content, int64_t label);
/* May be NaN. */
void exn_archive_reals(exn_archive *archive, double *values, size_t count);
void exn_archive_floats(exn_archive *archive, float *values, size_t count);
/* All tensors of a head whose kind and sizes both sides know; EXN_E_FORMAT unless finite. */
void exn_archive_head(exn_archive *archive, exn_head *head);

#endif
