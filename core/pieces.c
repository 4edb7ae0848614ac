/* SPDX-License-Identifier: Apache-2.0
 * Pieces of memory that many blocks share. */
#include "core/pieces.h"

#include <sys/mman.h>

/* Large pages of the usual CPUs; where they have another size, the advice is merely less useful. */
#define LARGE_PAGE ((size_t)2 << 20)

/* Whether the system can follow is its own affair. */
static void ask_for_large_pages(void *block, size_t bytes) {
#ifdef MADV_HUGEPAGE
    madvise(block, bytes, MADV_HUGEPAGE);
#else
    (void)block;
    (void)bytes;
#endif
}

/* The first as large as all that is expected, later ones a quarter of what was had before; enough for `bytes`. */
static size_t piece_bytes(const exn_pieces *pieces, size_t bytes) {
    const size_t piece = pieces->count == 0 ? pieces->expected : pieces->bytes / 4;
    return exn_round_up(piece > bytes ? piece : bytes);
}

static exn_status add_piece(exn_pieces *pieces, exn_context *ctx, size_t least) {
    void *items = pieces->items;
    EXN_TRY(exn_grow(ctx, &items, &pieces->capacity, pieces->count + 1, sizeof *pieces->items));
    pieces->items = items;
    const size_t bytes = piece_bytes(pieces, least);
    const bool large = bytes >= LARGE_PAGE;
    void *piece = exn_malloc_aligned(ctx, bytes, 1, large ? LARGE_PAGE : EXN_ALIGNMENT);
    if (piece == NULL) return EXN_E_NOMEM;
    if (large) ask_for_large_pages(piece, bytes - bytes % LARGE_PAGE); /* what is over must not cost a whole one */
    pieces->items[pieces->count++] = piece;
    pieces->bytes += bytes;
    pieces->next = piece;
    pieces->left = bytes;
    return EXN_OK;
}

exn_status exn_pieces_take(void **out, exn_pieces *pieces, exn_context *ctx, size_t count, size_t size) {
    size_t bytes = 0;
    if (!exn_size_mul(&bytes, count, size) || exn_round_up(bytes) == SIZE_MAX)
        return exn_fail(ctx, EXN_E_NOMEM, "out of memory: %zu x %zu bytes", count, size);
    bytes = exn_round_up(bytes);
    if (pieces->next == NULL || bytes > pieces->left) EXN_TRY(add_piece(pieces, ctx, bytes));
    *out = pieces->next;
    pieces->next += bytes;
    pieces->left -= bytes;
    return EXN_OK;
}

void exn_pieces_release(exn_pieces *pieces, exn_context *ctx) {
    for (size_t i = 0; i < pieces->count; i++) exn_free(ctx, pieces->items[i]);
    exn_free(ctx, pieces->items);
    *pieces = (exn_pieces){0};
}
