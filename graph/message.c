/* SPDX-License-Identifier: Apache-2.0
 * Encoding through nanopb, field by field: a stream over a buffer that grows. */
#include "graph/message.h"

#include <pb_encode.h>
#include <string.h>

static bool append(pb_ostream_t *stream, const pb_byte_t *bytes, size_t count) {
    exn_message *m = stream->state;
    m->status = exn_grow(m->ctx, (void **)&m->bytes, &m->capacity, m->size + count, 1);
    if (m->status != EXN_OK) return false;
    if (count > 0) memcpy(m->bytes + m->size, bytes, count);
    m->size += count;
    return true;
}

static pb_ostream_t stream_of(exn_message *m) {
    return (pb_ostream_t){.callback = append, .state = m, .max_size = m->status == EXN_OK ? SIZE_MAX : 0};
}

void exn_message_int(exn_message *m, uint32_t tag, int64_t value) {
    pb_ostream_t stream = stream_of(m);
    if (pb_encode_tag(&stream, PB_WT_VARINT, tag)) pb_encode_varint(&stream, (uint64_t)value);
}

void exn_message_float(exn_message *m, uint32_t tag, float value) {
    pb_ostream_t stream = stream_of(m);
    if (pb_encode_tag(&stream, PB_WT_32BIT, tag)) pb_encode_fixed32(&stream, &value);
}

void exn_message_bytes(exn_message *m, uint32_t tag, const void *bytes, size_t count) {
    pb_ostream_t stream = stream_of(m);
    if (pb_encode_tag(&stream, PB_WT_STRING, tag)) pb_encode_string(&stream, bytes, count);
}

void exn_message_text(exn_message *m, uint32_t tag, const char *text) {
    exn_message_bytes(m, tag, text, strlen(text));
}

void exn_message_ints(exn_message *m, uint32_t tag, const int64_t values[], size_t count) {
    exn_message packed = {.ctx = m->ctx};
    pb_ostream_t stream = stream_of(&packed);
    for (size_t i = 0; i < count && packed.status == EXN_OK; i++) pb_encode_varint(&stream, (uint64_t)values[i]);
    exn_message_nest(m, tag, &packed);
}

void exn_message_merge(exn_message *m, exn_message *fields) {
    if (m->status == EXN_OK) m->status = fields->status;
    pb_ostream_t stream = stream_of(m);
    pb_write(&stream, fields->bytes, fields->size);
    exn_message_free(fields);
}

void exn_message_nest(exn_message *m, uint32_t tag, exn_message *inner) {
    if (m->status == EXN_OK) m->status = inner->status;
    exn_message_bytes(m, tag, inner->bytes, inner->size);
    exn_message_free(inner);
}

void exn_message_free(exn_message *m) {
    exn_free(m->ctx, m->bytes);
    *m = (exn_message){.ctx = m->ctx, .status = m->status};
}
