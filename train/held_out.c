/* SPDX-License-Identifier: Apache-2.0
 * A session's out-of-fold logits, copied before the session goes. */
#include "train/held_out.h"

#include <string.h>

#include "train/session.h"

exn_status exn_held_out_copy(exn_held_out *out, const exn_session *s) {
    const size_t table = s->count * s->classes;
    exn_held_out made = {.count = s->count, .exits = s->exits, .classes = s->classes};
    made.content = exn_calloc(s->ctx, s->count, sizeof *made.content);
    made.logits = exn_calloc(s->ctx, table, (s->exits + 1) * sizeof *made.logits);
    if (!made.content || !made.logits) {
        exn_held_out_free(&made, s->ctx);
        return EXN_E_NOMEM;
    }
    for (size_t i = 0; i < s->count; i++) made.content[i] = s->samples[i].content;
    memcpy(made.logits, s->held_out, s->exits * table * sizeof *made.logits);
    memcpy(made.logits + s->exits * table, s->own, table * sizeof *made.logits);
    *out = made;
    return EXN_OK;
}

void exn_held_out_free(exn_held_out *held_out, exn_context *ctx) {
    exn_free(ctx, held_out->content);
    exn_free(ctx, held_out->logits);
    *held_out = (exn_held_out){0};
}

size_t exn_held_out_find(const exn_held_out *held_out, const exn_content *content) {
    for (size_t i = 0; i < held_out->count; i++)
        if (exn_content_compare(&held_out->content[i], content) == 0) return i;
    return SIZE_MAX;
}
