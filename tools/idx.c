/* SPDX-License-Identifier: Apache-2.0
 * IDX: two zero bytes, the element type, the rank, big-endian sizes, elements. */
#include "tools/idx.h"

#include <unistd.h>

#include <zlib.h>

#include "tools/image.h"

enum { IDX_U8 = 0x08, IDX_RANK_MAX = 4 };
static const size_t idx_bytes_max = (size_t)1 << 30;

static bool header_good(const uint8_t head[4]) {
    return head[0] == 0 && head[1] == 0 && head[2] == IDX_U8 && head[3] >= 1 && head[3] <= IDX_RANK_MAX;
}

static exn_status open_file(gzFile *out, exn_context *ctx, const char *path) {
    int descriptor = -1;
    EXN_TRY(exn_file_open(&descriptor, ctx, path));
    *out = gzdopen(descriptor, "rb");
    if (*out != NULL) return EXN_OK;
    close(descriptor);
    return exn_fail(ctx, EXN_E_NOMEM, "%s: out of memory", path);
}

bool exn_idx_recognise(const char *path) {
    gzFile file = NULL;
    if (open_file(&file, NULL, path) != EXN_OK) return false;
    uint8_t head[4];
    const bool good = gzread(file, head, sizeof head) == (int)sizeof head && header_good(head);
    gzclose_r(file);
    return good;
}

static exn_status read_exactly(void *out, gzFile file, size_t bytes, exn_context *ctx) {
    uint8_t *to = out;
    while (bytes > 0) {
        const unsigned part = bytes < (1u << 20) ? (unsigned)bytes : 1u << 20;
        const int got = gzread(file, to, part);
        if (got <= 0) return exn_fail(ctx, EXN_E_FORMAT, "ends too early or is damaged");
        to += got;
        bytes -= (size_t)got;
    }
    return EXN_OK;
}

/* The block grows with what the file really holds: a header alone cannot ask for a gigabyte. */
static exn_status read_elements(exn_tensor *out, gzFile file, size_t count, exn_context *ctx) {
    size_t have = 0, capacity = 0;
    void *block = NULL;
    exn_status status = EXN_OK;
    while (status == EXN_OK && have < count) {
        const size_t part = count - have < (1u << 20) ? count - have : 1u << 20;
        status = exn_grow(ctx, &block, &capacity, have + part, 1);
        if (status == EXN_OK) status = read_exactly((uint8_t *)block + have, file, part, ctx);
        have += part;
    }
    if (status != EXN_OK) {
        exn_free(ctx, block);
        return status;
    }
    out->data = block;
    return EXN_OK;
}

static exn_status load(exn_tensor *out, gzFile file, exn_context *ctx) {
    uint8_t head[4];
    EXN_TRY(read_exactly(head, file, sizeof head, ctx));
    if (!header_good(head)) return exn_fail(ctx, EXN_E_FORMAT, "not an IDX file of unsigned bytes");
    exn_tensor tensor = {.dtype = EXN_U8, .shape = {.rank = head[3]}};
    for (size_t i = 0; i < tensor.shape.rank; i++) {
        uint8_t size[4];
        EXN_TRY(read_exactly(size, file, sizeof size, ctx));
        tensor.shape.dim[i] = (size_t)size[0] << 24 | (size_t)size[1] << 16 | (size_t)size[2] << 8 | size[3];
    }
    size_t count = 0;
    EXN_TRY(exn_shape_count(&count, ctx, &tensor.shape));
    if (count > idx_bytes_max) return exn_fail(ctx, EXN_E_UNSUPPORTED, "more than %zu bytes", idx_bytes_max);
    EXN_TRY(read_elements(&tensor, file, count, ctx));
    *out = tensor;
    return EXN_OK;
}

exn_status exn_idx_load(exn_tensor *out, exn_context *ctx, const char *path) {
    gzFile file = NULL;
    EXN_TRY(open_file(&file, ctx, path));
    const exn_status status = load(out, file, ctx);
    gzclose_r(file);
    return status == EXN_OK ? EXN_OK : exn_fail_in(ctx, status, "%s", path);
}
