/* SPDX-License-Identifier: Apache-2.0
 * A file of packed weights that is mapped ready to run.
 *
 * Each section is named by a key, the hash of all that its bytes follow from: layout, weights, what folding attached. So a
 * section is found or it is not, and no file can be stale. Each carries a checksum that is compared when a plan takes it:
 * one pass over bytes that the first run reads anyway, and none over those that no plan asks for. A file with damage is a
 * file without the damaged sections. Sizes come from the plan, never from the file.
 *
 *     header   magic, number of sections, size of the file, hash of header and table
 *     table    key, checksum, offset, bytes of each section
 *     sections EXN_ALIGNMENT aligned, in the order in which a plan reads them */
#ifndef EXN_GRAPH_PACKED_H
#define EXN_GRAPH_PACKED_H

#include "core/file.h"

/* Part of every key: to be raised when the same layout text comes to stand for other bytes. tests/unit/test_packed.c
 * notices. */
#define EXN_PACKED_LAYOUT 1

typedef struct exn_packed exn_packed;

/* A file that is absent, unreadable or damaged gives an empty one: only memory can be wanting. path NULL: without a file, to
 * remember what is added and lend it. */
exn_status exn_packed_open(exn_packed **out, exn_context *ctx, const char *path);
/* The section's floats, EXN_ALIGNMENT aligned, valid until closing; *out is NULL where the file has none with this key,
 * this size and its own checksum. */
exn_status exn_packed_find(const float **out, exn_packed *packed, exn_hash key, size_t count);
/* Remembers a section that was not found; the floats are borrowed until exn_packed_save. */
exn_status exn_packed_add(exn_packed *packed, exn_hash key, const float *floats, size_t count);
/* What was found or added under this key and is so many floats, or NULL; as long as it stays where it is. */
const float *exn_packed_lend(const exn_packed *packed, exn_hash key, size_t count);
/* If anything was added, replaces the file by what was found and added, in the order of asking: mode 0600, atomically.
 * A failure leaves everything as it was. */
exn_status exn_packed_save(exn_packed *packed);
/* NULL is legal. */
void exn_packed_close(exn_packed *packed);

#endif
