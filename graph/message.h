/* SPDX-License-Identifier: Apache-2.0
 * A protobuf message that grows while it is written, innermost messages first; the first failure sticks and is reported once,
 * at the end. Tags are those of the tables that the build makes from the ONNX schema. */
#ifndef EXN_GRAPH_MESSAGE_H
#define EXN_GRAPH_MESSAGE_H

#include "core/context.h"

typedef struct exn_message { /* start with everything but ctx zero */
    exn_context *ctx;
    uint8_t *bytes;
    size_t size, capacity;
    exn_status status;
} exn_message;

/* Each appends one field, unless something failed before. */
void exn_message_int(exn_message *m, uint32_t tag, int64_t value);
void exn_message_float(exn_message *m, uint32_t tag, float value);
void exn_message_bytes(exn_message *m, uint32_t tag, const void *bytes, size_t count);
void exn_message_text(exn_message *m, uint32_t tag, const char *text);
/* Packed. */
void exn_message_ints(exn_message *m, uint32_t tag, const int64_t values[], size_t count);
/* Appends the fields of another message to this one's, and frees it. */
void exn_message_merge(exn_message *m, exn_message *fields);
/* Appends a finished message as a field, and frees it. */
void exn_message_nest(exn_message *m, uint32_t tag, exn_message *inner);
/* What was not nested anywhere. */
void exn_message_free(exn_message *m);

#endif
