/* SPDX-License-Identifier: Apache-2.0
 * Reading, checking and replacing a file of packed weights. */
#include "graph/packed.h"

#include <string.h>

#define MAGIC "exnpack\1"
#define MAGIC_BYTES 8u

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the file is what memory holds on little-endian machines");

typedef struct packed_header {
    char magic[MAGIC_BYTES];
    uint64_t sections, file_bytes, reserved;
    exn_hash hash; /* of the header with this field zero, and the table */
    uint64_t padding[2];
} packed_header;
_Static_assert(sizeof(packed_header) == 64, "the header is a cache line of the file");

typedef struct packed_entry {
    exn_hash key, checksum;
    uint64_t offset, bytes;
} packed_entry;
_Static_assert(sizeof(packed_entry) == 48, "entries are packed");

/* One section that a plan asked for. */
typedef struct packed_use {
    exn_hash key;
    const float *floats;
    size_t bytes;
} packed_use;

struct exn_packed {
    exn_context *ctx;
    char *path;                  /* NULL: none */
    exn_mapping file;            /* empty where there was nothing to trust */
    const packed_entry *entries; /* within the file */
    size_t entry_count, next;    /* next: where the search begins, because plans ask in the order of the file */
    packed_use *uses;
    size_t use_count, use_capacity;
    bool grown; /* something was added */
};

static bool same_hash(exn_hash a, exn_hash b) {
    return a.low == b.low && a.high == b.high;
}

static exn_hash table_hash(const packed_header *header, const packed_entry *entries, size_t count) {
    packed_header bare = *header;
    bare.hash = (exn_hash){0};
    const exn_hash both[2] = {exn_hash_bytes(&bare, sizeof bare), exn_hash_bytes(entries, count * sizeof *entries)};
    return exn_hash_bytes(both, sizeof both);
}

/* Takes the table in, if header and table are whole. */
static void read_table(exn_packed *packed) {
    packed_header header;
    const exn_mapping *file = &packed->file;
    if (file->size < sizeof header) return;
    memcpy(&header, file->bytes, sizeof header);
    if (memcmp(header.magic, MAGIC, MAGIC_BYTES) != 0 || header.file_bytes != file->size ||
        header.sections > (file->size - sizeof header) / sizeof(packed_entry))
        return;
    const packed_entry *entries = (const void *)(file->bytes + sizeof header);
    if (!same_hash(header.hash, table_hash(&header, entries, (size_t)header.sections))) return;
    packed->entries = entries;
    packed->entry_count = (size_t)header.sections;
}

exn_status exn_packed_open(exn_packed **out, exn_context *ctx, const char *path) {
    exn_packed *packed = exn_calloc(ctx, 1, sizeof *packed);
    if (packed == NULL) return EXN_E_NOMEM;
    packed->ctx = ctx;
    *out = packed;
    if (path == NULL) return EXN_OK;
    packed->path = exn_strdup(ctx, path);
    if (packed->path == NULL) {
        exn_packed_close(packed);
        *out = NULL;
        return EXN_E_NOMEM;
    }
    if (exn_mapping_open(&packed->file, ctx, path) == EXN_OK) read_table(packed);
    return EXN_OK;
}

void exn_packed_close(exn_packed *packed) {
    if (packed == NULL) return;
    exn_context *ctx = packed->ctx;
    exn_mapping_close(&packed->file);
    exn_free(ctx, packed->uses);
    exn_free(ctx, packed->path);
    exn_free(ctx, packed);
}

static exn_status note_use(exn_packed *packed, packed_use use) {
    void *uses = packed->uses;
    EXN_TRY(exn_grow(packed->ctx, &uses, &packed->use_capacity, packed->use_count + 1, sizeof use));
    packed->uses = uses;
    packed->uses[packed->use_count++] = use;
    return EXN_OK;
}

/* The entry's floats, if they lie within the file and are what was written. */
static const float *checked_section(const exn_packed *packed, const packed_entry *entry) {
    const exn_mapping *file = &packed->file;
    if (entry->offset % EXN_ALIGNMENT != 0 || entry->offset > file->size || entry->bytes > file->size - entry->offset)
        return NULL;
    const uint8_t *bytes = file->bytes + entry->offset;
    return same_hash(exn_hash_bytes(bytes, (size_t)entry->bytes), entry->checksum) ? (const void *)bytes : NULL;
}

exn_status exn_packed_find(const float **out, exn_packed *packed, exn_hash key, size_t count) {
    *out = NULL;
    for (size_t i = 0; i < packed->entry_count; i++) {
        const size_t at = (packed->next + i) % packed->entry_count;
        const packed_entry *entry = &packed->entries[at];
        if (!same_hash(entry->key, key) || entry->bytes / sizeof(float) != count || entry->bytes % sizeof(float) != 0)
            continue;
        const float *floats = checked_section(packed, entry);
        if (floats == NULL) continue;
        EXN_TRY(note_use(packed, (packed_use){key, floats, (size_t)entry->bytes}));
        packed->next = at + 1;
        *out = floats;
        break;
    }
    return EXN_OK;
}

exn_status exn_packed_add(exn_packed *packed, exn_hash key, const float *floats, size_t count) {
    packed->grown = true;
    return note_use(packed, (packed_use){key, floats, count * sizeof *floats});
}

const float *exn_packed_lend(const exn_packed *packed, exn_hash key, size_t count) {
    for (size_t i = 0; i < packed->use_count; i++)
        if (same_hash(packed->uses[i].key, key) && packed->uses[i].bytes == count * sizeof(float))
            return packed->uses[i].floats;
    return NULL;
}

/* ---- writing ---- */

static void fill_table(packed_entry *entries, packed_header *header, const exn_packed *packed) {
    size_t offset = exn_round_up(sizeof *header + packed->use_count * sizeof *entries);
    for (size_t i = 0; i < packed->use_count; i++) {
        const packed_use *use = &packed->uses[i];
        entries[i] = (packed_entry){use->key, exn_hash_bytes(use->floats, use->bytes), offset, use->bytes};
        offset += exn_round_up(use->bytes);
    }
    *header = (packed_header){.sections = packed->use_count, .file_bytes = offset};
    memcpy(header->magic, MAGIC, MAGIC_BYTES);
    header->hash = table_hash(header, entries, packed->use_count);
}

/* Bytes, and zeros up to the alignment. */
static exn_status append_aligned(exn_writer *writer, const void *bytes, size_t count) {
    static const char zeros[EXN_ALIGNMENT];
    EXN_TRY(exn_writer_append(writer, bytes, count));
    return exn_writer_append(writer, zeros, exn_round_up(count) - count);
}

static exn_status write_file(exn_writer *writer, const exn_packed *packed, packed_header *header) {
    static const char zeros[EXN_ALIGNMENT];
    const size_t table = packed->use_count * sizeof(packed_entry);
    packed_entry *entries = exn_calloc(packed->ctx, packed->use_count, sizeof *entries);
    if (entries == NULL) return EXN_E_NOMEM;
    fill_table(entries, header, packed);
    exn_status status = exn_writer_append(writer, header, sizeof *header);
    if (status == EXN_OK) status = exn_writer_append(writer, entries, table);
    if (status == EXN_OK)
        status = exn_writer_append(writer, zeros, exn_round_up(sizeof *header + table) - sizeof *header - table);
    for (size_t i = 0; i < packed->use_count && status == EXN_OK; i++)
        status = append_aligned(writer, packed->uses[i].floats, packed->uses[i].bytes);
    exn_free(packed->ctx, entries);
    return status;
}

exn_status exn_packed_save(exn_packed *packed) {
    exn_writer *writer;
    packed_header header;
    if (!packed->grown || packed->path == NULL) return EXN_OK;
    EXN_TRY(exn_writer_open(&writer, packed->ctx, packed->path));
    exn_writer_relax(writer); /* checksums tell a torn file from a whole one */
    const exn_status status = write_file(writer, packed, &header);
    if (status == EXN_OK) return exn_writer_commit(writer);
    exn_writer_discard(writer);
    return status;
}
