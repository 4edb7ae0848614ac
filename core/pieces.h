/* SPDX-License-Identifier: Apache-2.0
 * Many blocks that live and die together, side by side in a few large pieces that ask for large pages. */
#ifndef EXN_CORE_PIECES_H
#define EXN_CORE_PIECES_H

#include "core/context.h"

/* All zero: nothing taken yet. */
typedef struct exn_pieces {
    void **items;
    size_t count, capacity;
    unsigned char *next; /* free bytes of the piece in use */
    size_t left;
    size_t bytes;    /* of all pieces */
    size_t expected; /* bytes that will be taken in all, as far as is known before the first: one piece then serves */
} exn_pieces;

/* Memory for count * size bytes, EXN_ALIGNMENT aligned, not cleared; where it fits, right behind the block taken before.
 * Whoever reads blocks in the order of taking reads one stream, and few address translations serve it. */
exn_status exn_pieces_take(void **out, exn_pieces *pieces, exn_context *ctx, size_t count, size_t size);
/* Frees everything that was taken. */
void exn_pieces_release(exn_pieces *pieces, exn_context *ctx);

#endif
