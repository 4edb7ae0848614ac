/* SPDX-License-Identifier: Apache-2.0
 * .npy files: a magic, a Python dictionary in text, raw elements. */
#include "tools/npy.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "tools/image.h"

enum { MAGIC_BYTES = 8, HEADER_BYTES_MAX = 4096 };
static const char magic[] = "\x93NUMPY";

struct exn_npy {
    exn_context *ctx;
    char *path;
    int file;
    off_t begin; /* of the elements */
    exn_dtype dtype;
    exn_shape shape;
    size_t elements;
};

struct exn_npy_writer {
    exn_context *ctx;
    exn_writer *file;
    size_t element_bytes, left;
};

static exn_status read_exactly(const exn_npy *npy, void *out, size_t bytes, off_t at) {
    uint8_t *to = out;
    while (bytes > 0) {
        const ssize_t got = pread(npy->file, to, bytes, at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return exn_fail(npy->ctx, EXN_E_IO, "%s: %s", npy->path, strerror(errno));
        if (got == 0) return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: ends too early", npy->path);
        to += got;
        at += got;
        bytes -= (size_t)got;
    }
    return EXN_OK;
}

/* The text after "'key':" with blanks skipped; NULL if the dictionary has no such key. */
static const char *find_key(const char *header, const char *key) {
    char quoted[32];
    snprintf(quoted, sizeof quoted, "'%s'", key);
    const char *at = strstr(header, quoted);
    if (at == NULL) return NULL;
    at += strlen(quoted);
    at += strspn(at, " ");
    if (*at != ':') return NULL;
    return at + 1 + strspn(at + 1, " ");
}

static bool parse_dtype(exn_dtype *out, const char *at) {
    static const struct {
        const char *text;
        exn_dtype dtype;
    } known[] = {{"'<f4'", EXN_F32}, {"'<i8'", EXN_I64}, {"'|u1'", EXN_U8}};
    for (size_t i = 0; at != NULL && i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(at, known[i].text, strlen(known[i].text)) != 0) continue;
        *out = known[i].dtype;
        return true;
    }
    return false;
}

static bool parse_shape(exn_shape *out, const char *at) {
    if (at == NULL || *at++ != '(') return false;
    out->rank = 0;
    for (;;) {
        at += strspn(at, " ");
        if (*at == ')') return true;
        if (*at < '0' || *at > '9' || out->rank == EXN_RANK_MAX) return false;
        size_t value = 0;
        for (; *at >= '0' && *at <= '9'; at++) {
            value = value * 10 + (size_t)(*at - '0');
            if (value > EXN_ELEMENTS_MAX) return false;
        }
        out->dim[out->rank++] = value;
        at += strspn(at, " ");
        if (*at == ',')
            at++;
        else if (*at != ')')
            return false;
    }
}

/* Where the header's text lies. */
static exn_status read_preamble(size_t *length, size_t *begin, const exn_npy *npy) {
    uint8_t head[12];
    EXN_TRY(read_exactly(npy, head, 10, 0));
    if (memcmp(head, magic, 6) != 0) return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: not a .npy file", npy->path);
    if (head[6] != 1 && head[6] != 2)
        return exn_fail(npy->ctx, EXN_E_UNSUPPORTED, "%s: .npy format %u, only 1 and 2 are read", npy->path,
                        (unsigned)head[6]);
    *length = (size_t)head[8] | (size_t)head[9] << 8;
    *begin = 10;
    if (head[6] == 2) {
        EXN_TRY(read_exactly(npy, head + 10, 2, 10));
        *length |= (size_t)head[10] << 16 | (size_t)head[11] << 24;
        *begin = 12;
    }
    if (*length > HEADER_BYTES_MAX)
        return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: a header of %zu bytes", npy->path, *length);
    return EXN_OK;
}

static exn_status read_header(exn_npy *npy) {
    char text[HEADER_BYTES_MAX + 1];
    size_t length = 0, begin = 0;
    EXN_TRY(read_preamble(&length, &begin, npy));
    EXN_TRY(read_exactly(npy, text, length, (off_t)begin));
    text[length] = '\0';
    if (!parse_dtype(&npy->dtype, find_key(text, "descr")))
        return exn_fail(npy->ctx, EXN_E_UNSUPPORTED, "%s: elements must be float32, int64 or uint8, little-endian",
                        npy->path);
    const char *order = find_key(text, "fortran_order");
    if (order == NULL || strncmp(order, "False", 5) != 0)
        return exn_fail(npy->ctx, EXN_E_UNSUPPORTED, "%s: must be in C order", npy->path);
    if (!parse_shape(&npy->shape, find_key(text, "shape")))
        return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: no readable shape of at most %u dimensions", npy->path,
                        EXN_RANK_MAX);
    exn_status status = exn_shape_count(&npy->elements, npy->ctx, &npy->shape);
    if (status != EXN_OK) return exn_fail_in(npy->ctx, status, "%s", npy->path);
    npy->begin = (off_t)(begin + length);
    struct stat info;
    if (fstat(npy->file, &info) != 0) return exn_fail(npy->ctx, EXN_E_IO, "%s: %s", npy->path, strerror(errno));
    if ((uint64_t)info.st_size < (uint64_t)npy->begin + (uint64_t)npy->elements * exn_dtype_bytes(npy->dtype))
        return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: ends too early for its shape", npy->path);
    return EXN_OK;
}

exn_status exn_npy_open(exn_npy **out, exn_context *ctx, const char *path) {
    exn_npy *npy = exn_calloc(ctx, 1, sizeof *npy);
    if (npy == NULL) return EXN_E_NOMEM;
    npy->ctx = ctx;
    npy->path = exn_strdup(ctx, path);
    npy->file = -1;
    exn_status status = npy->path == NULL ? EXN_E_NOMEM : EXN_OK;
    if (status == EXN_OK) status = exn_file_open(&npy->file, ctx, path);
    if (status == EXN_OK) status = read_header(npy);
    if (status != EXN_OK) {
        exn_npy_close(npy);
        return status;
    }
    *out = npy;
    return EXN_OK;
}

void exn_npy_close(exn_npy *npy) {
    if (npy == NULL) return;
    if (npy->file >= 0) close(npy->file);
    exn_free(npy->ctx, npy->path);
    exn_free(npy->ctx, npy);
}

exn_dtype exn_npy_dtype(const exn_npy *npy) {
    return npy->dtype;
}

const exn_shape *exn_npy_shape(const exn_npy *npy) {
    return &npy->shape;
}

exn_status exn_npy_read(exn_npy *npy, void *out, size_t first, size_t count) {
    if (first > npy->elements || count > npy->elements - first)
        return exn_fail(npy->ctx, EXN_E_INVALID, "%s: elements beyond its end", npy->path);
    const size_t bytes = exn_dtype_bytes(npy->dtype);
    EXN_TRY(read_exactly(npy, out, count * bytes, npy->begin + (off_t)(first * bytes)));
    if (npy->dtype != EXN_F32) return EXN_OK;
    const float *values = out;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return exn_fail(npy->ctx, EXN_E_FORMAT, "%s: element %zu is not finite", npy->path, first + i);
    return EXN_OK;
}

/* The header as NumPy pads it: the elements begin at a multiple of 64. */
static size_t make_header(uint8_t header[HEADER_BYTES_MAX], exn_dtype dtype, const exn_shape *shape) {
    char text[HEADER_BYTES_MAX - 128];
    const char *kind = dtype == EXN_F32 ? "<f4" : dtype == EXN_I64 ? "<i8" : "|u1";
    int used = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (", kind);
    for (size_t i = 0; i < shape->rank; i++)
        used +=
            snprintf(text + used, sizeof text - (size_t)used, "%zu,%s", shape->dim[i], i + 1 < shape->rank ? " " : "");
    used += snprintf(text + used, sizeof text - (size_t)used, "), }");
    const size_t total = ((size_t)used + 10 + 1 + 63) / 64 * 64;
    memset(header, ' ', total);
    memcpy(header, magic, 6);
    header[6] = 1;
    header[7] = 0;
    header[8] = (uint8_t)((total - 10) & 255);
    header[9] = (uint8_t)((total - 10) >> 8);
    memcpy(header + 10, text, (size_t)used);
    header[total - 1] = '\n';
    return total;
}

exn_status exn_npy_writer_open(exn_npy_writer **out, exn_context *ctx, const char *path, exn_dtype dtype,
                               const exn_shape *shape) {
    exn_npy_writer *writer = exn_calloc(ctx, 1, sizeof *writer);
    if (writer == NULL) return EXN_E_NOMEM;
    writer->ctx = ctx;
    writer->element_bytes = exn_dtype_bytes(dtype);
    exn_status status = exn_shape_count(&writer->left, ctx, shape);
    if (status == EXN_OK) status = exn_writer_open(&writer->file, ctx, path);
    if (status == EXN_OK) {
        uint8_t header[HEADER_BYTES_MAX];
        status = exn_writer_append(writer->file, header, make_header(header, dtype, shape));
    }
    if (status != EXN_OK) {
        exn_npy_writer_discard(writer);
        return status;
    }
    *out = writer;
    return EXN_OK;
}

exn_status exn_npy_writer_append(exn_npy_writer *writer, const void *elements, size_t count) {
    if (count > writer->left) return exn_fail(writer->ctx, EXN_E_INVALID, "more elements than the array has");
    writer->left -= count;
    return exn_writer_append(writer->file, elements, count * writer->element_bytes);
}

exn_status exn_npy_writer_commit(exn_npy_writer *writer) {
    exn_status status = writer->left == 0 ? exn_writer_commit(writer->file)
                                          : exn_fail(writer->ctx, EXN_E_INVALID, "fewer elements than the array has");
    if (writer->left != 0) exn_writer_discard(writer->file);
    exn_free(writer->ctx, writer);
    return status;
}

void exn_npy_writer_discard(exn_npy_writer *writer) {
    if (writer == NULL) return;
    exn_writer_discard(writer->file);
    exn_free(writer->ctx, writer);
}
