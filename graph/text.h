/* SPDX-License-Identifier: Apache-2.0
 * A text that grows while it is written; the first failure sticks and is reported once, at the end. */
#ifndef EXN_GRAPH_TEXT_H
#define EXN_GRAPH_TEXT_H

#include "core/context.h"

typedef struct exn_text { /* start with everything but ctx zero */
    exn_context *ctx;
    char *text;
    size_t used, capacity;
    exn_status status;
} exn_text;

/* Appends, unless something failed before. */
void exn_text_put(exn_text *text, const char *format, ...) EXN_PRINTF(2, 3);
/* Hands the text over, to be freed with exn_free; on failure frees what there is. */
exn_status exn_text_take(char **out, exn_text *text);

#endif
