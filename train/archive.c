/* SPDX-License-Identifier: Apache-2.0
 * Fields of fixed width in the machine's byte order: what is written is read on the same machine. */
#include "train/archive.h"

#include <math.h>
#include <string.h>

exn_archive exn_archive_write(exn_context *ctx) {
    return (exn_archive){.ctx = ctx};
}

exn_archive exn_archive_read(exn_context *ctx, const void *bytes, size_t count) {
    return (exn_archive){.ctx = ctx, .reading = true, .from = bytes, .size = count};
}

void exn_archive_free(exn_archive *a) {
    exn_free(a->ctx, a->to);
    a->to = NULL;
}

static void fail(exn_archive *a, const char *what) {
    if (a->status == EXN_OK) a->status = exn_fail(a->ctx, EXN_E_FORMAT, "kept state: %s", what);
}

exn_status exn_archive_end(exn_archive *a) {
    if (a->reading && a->at != a->size) fail(a, "longer than it should be");
    return a->status;
}

static void exchange(exn_archive *a, void *bytes, size_t count) {
    if (a->status != EXN_OK || !count) return;
    if (a->reading) {
        if (a->size - a->at < count) {
            fail(a, "shorter than it should be");
            return;
        }
        memcpy(bytes, a->from + a->at, count);
        a->at += count;
        return;
    }
    size_t size;
    a->status =
        exn_size_add(&size, a->size, count) ? exn_grow(a->ctx, (void **)&a->to, &a->capacity, size, 1) : EXN_E_NOMEM;
    if (a->status != EXN_OK) return;
    memcpy(a->to + a->size, bytes, count);
    a->size = size;
}

void exn_archive_u64(exn_archive *a, uint64_t *value) {
    exchange(a, value, sizeof *value);
}

void exn_archive_count(exn_archive *a, size_t *value, size_t most) {
    uint64_t wide = *value;
    exchange(a, &wide, sizeof wide);
    if (!a->reading || a->status != EXN_OK) return;
    if (wide > most)
        fail(a, "a number is out of range");
    else
        *value = (size_t)wide;
}

void exn_archive_flag(exn_archive *a, bool *value) {
    size_t number = *value;
    exn_archive_count(a, &number, 1);
    if (a->reading) *value = number != 0;
}

void exn_archive_sample(exn_archive *a, const exn_content *content, int64_t label) {
    exn_content copy = *content;
    uint64_t number = (uint64_t)label;
    exchange(a, copy.bytes, sizeof copy.bytes);
    exn_archive_u64(a, &number);
}

void exn_archive_reals(exn_archive *a, double *values, size_t count) {
    exchange(a, values, count * sizeof *values);
}

void exn_archive_floats(exn_archive *a, float *values, size_t count) {
    exchange(a, values, count * sizeof *values);
}

void exn_archive_head(exn_archive *a, exn_head *head) {
    for (int which = 0; which < EXN_HEAD_TENSORS; which++) {
        exn_shape shape;
        const size_t count = exn_head_tensor_shape(&shape, head, (exn_head_tensor)which);
        exn_archive_floats(a, head->tensor[which], count);
        for (size_t i = 0; a->reading && a->status == EXN_OK && i < count; i++)
            if (!isfinite(head->tensor[which][i])) fail(a, "a weight is not finite");
    }
}
