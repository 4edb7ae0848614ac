/* SPDX-License-Identifier: Apache-2.0
 * Growing texts. */
#include "graph/text.h"

#include <stdarg.h>
#include <stdio.h>

void exn_text_put(exn_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (text->status == EXN_OK && length > 0)
        text->status = exn_grow(text->ctx, (void **)&text->text, &text->capacity, text->used + (size_t)length + 1, 1);
    if (text->status != EXN_OK || length <= 0) return;
    va_start(arguments, format);
    vsnprintf(text->text + text->used, text->capacity - text->used, format, arguments);
    va_end(arguments);
    text->used += (size_t)length;
}

exn_status exn_text_take(char **out, exn_text *text) {
    if (text->status != EXN_OK)
        exn_free(text->ctx, text->text);
    else
        *out = text->text;
    return text->status;
}
